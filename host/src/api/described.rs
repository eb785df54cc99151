//! A route with what it takes and answers, read from the type of its handler: the OpenAPI document
//! cannot say anything that the code does not do.

use axum::Json;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, Ref, RefOr, Required, ResponseBuilder, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::Shared;
use super::authorize::Needs;
use super::caller::Caller;
use super::extract::{Accepted, Arguments, Filter, Segments, Written};
use super::problem::{MEDIA_TYPE, Problem};
use crate::access::Permission;
use crate::io::cloudevents;
use crate::store::query::shapes::CloudEvent;

const JSON: &str = "application/json";
/// What any route can refuse with, by its status.
const ANY: [u16; 8] = [400, 403, 405, 408, 413, 415, 500, 503];
/// A route that says nothing of its callers is for administrators.
const UNSAID: Needs = Needs::ForAll(Permission::Administer);
/// The name of the tokens in the document.
pub(super) const TOKEN: &str = "token";

pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

/// One method of one path.
pub(super) struct Route {
    pub path: &'static str,
    pub method: HttpMethod,
    /// What it does, as a sentence without a full stop.
    pub summary: &'static str,
    pub handler: MethodRouter<Shared>,
    pub needs: Needs,
    /// Whether the answer has a secret.
    pub is_secret: bool,
    /// Further statuses than those of every route.
    refuses: &'static [u16],
    describe: fn(&mut Draft),
}

/// What is known of an operation so far.
pub(super) struct Draft {
    operation: OperationBuilder,
    schemas: Schemas,
    /// Statuses that follow from what the handler takes.
    refuses: Vec<u16>,
}

pub(super) fn get<H, T, D>(path: &'static str, summary: &'static str, handler: H) -> Route
where
    H: Handler<T, Shared> + Described<D>,
    T: 'static,
{
    let (method, handler) = (HttpMethod::Get, routing::get(handler));
    let needs = UNSAID;
    Route {
        path,
        method,
        summary,
        handler,
        needs,
        is_secret: false,
        refuses: &[],
        describe: H::describe,
    }
}

pub(super) fn post<H, T, D>(path: &'static str, summary: &'static str, handler: H) -> Route
where
    H: Handler<T, Shared> + Described<D>,
    T: 'static,
{
    let (method, handler) = (HttpMethod::Post, routing::post(handler));
    let needs = UNSAID;
    Route {
        path,
        method,
        summary,
        handler,
        needs,
        is_secret: false,
        refuses: &[],
        describe: H::describe,
    }
}

impl Route {
    pub(super) fn needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    /// Whether each request is recorded: what readers, operators and administrators change.
    pub(super) fn is_audited(&self) -> bool {
        let permission = self.needs.permission();
        self.method == HttpMethod::Post
            && matches!(
                permission,
                Some(Permission::Read | Permission::Operate | Permission::Administer)
            )
    }

    pub(super) fn answers_secret(self) -> Self {
        Self { is_secret: true, ..self }
    }

    pub(super) fn refuses(self, refuses: &'static [u16]) -> Self {
        Self { refuses, ..self }
    }

    /// The operation, and the schemas that it refers to.
    pub(super) fn operation(&self) -> (Operation, Schemas) {
        let operation = OperationBuilder::new()
            .summary(Some(self.summary))
            .operation_id(Some(self.id()))
            .tag(self.tag());
        let mut draft = Draft { operation, schemas: Vec::new(), refuses: Vec::new() };
        (self.describe)(&mut draft);
        let problem = draft.reference::<Problem>();
        let mut statuses: Vec<u16> = ANY.iter().chain(self.refuses).copied().collect();
        statuses.append(&mut draft.refuses);
        if let Some(permission) = self.needs.permission() {
            statuses.extend([401, 429]);
            let roles = format!("Roles: {}", permission.roles());
            let security = SecurityRequirement::new(TOKEN, Vec::<String>::new());
            draft.change(|operation| operation.description(Some(roles)).security(security));
        }
        if self.is_audited() {
            statuses.extend([409, 422]);
            let key = ParameterBuilder::new()
                .name("Idempotency-Key")
                .parameter_in(ParameterIn::Header)
                .description(Some(
                    "The request is done once, however often it is sent with this key",
                ))
                .schema(Some(String::schema()));
            draft.change(|operation| operation.parameter(key));
        }
        statuses.sort_unstable();
        statuses.dedup();
        for status in statuses {
            let response = ResponseBuilder::new()
                .description(title_of(status))
                .content(MEDIA_TYPE, Content::new(Some(problem.clone())));
            draft.operation = draft.operation.response(status.to_string(), response.build());
        }
        (draft.operation.build(), draft.schemas)
    }

    /// Unique: the method and the path without its version.
    fn id(&self) -> String {
        let method = match self.method {
            HttpMethod::Get => "get",
            _ => "post",
        };
        let words = self.path.trim_start_matches("/v1").split(['/', '-', '.']);
        let words = words.map(|word| word.trim_matches(['{', '}'])).filter(|word| !word.is_empty());
        words.fold(method.to_owned(), |id, word| {
            let (first, rest) = word.split_at(1);
            format!("{id}{}{rest}", first.to_ascii_uppercase())
        })
    }

    /// The first word of the path.
    fn tag(&self) -> &'static str {
        let rest = self.path.strip_prefix("/v1/").unwrap_or("monitoring");
        match rest.split('/').next().unwrap_or(rest) {
            "instance" => "instances",
            "openapi.json" => "monitoring",
            first => first,
        }
    }
}

fn title_of(status: u16) -> String {
    let status = axum::http::StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("Refused").to_owned()
}

impl Draft {
    fn reference<T: ToSchema>(&mut self) -> Ref {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        Ref::from_schema_name(T::name())
    }

    fn change(&mut self, change: impl FnOnce(OperationBuilder) -> OperationBuilder) {
        self.operation = change(std::mem::take(&mut self.operation));
    }

    fn answers<T: ToSchema>(&mut self, status: &str, description: &str) {
        let content = Content::new(Some(self.reference::<T>()));
        let response = ResponseBuilder::new().description(description).content(JSON, content);
        self.change(|operation| operation.response(status, response.build()));
    }
}

/// A handler whose arguments and answer are described. `M` distinguishes the numbers of arguments.
pub(super) trait Described<M> {
    fn describe(draft: &mut Draft);
}

macro_rules! described {
    ($($argument:ident),*) => {
        impl<F, Answer, $($argument),*> Described<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Answer,
            Answer: Future,
            Answer::Output: Answered,
            $($argument: Taken,)*
        {
            fn describe(draft: &mut Draft) {
                $($argument::describe(draft);)*
                Answer::Output::describe(draft);
            }
        }
    };
}
described!();
described!(A);
described!(A, B);
described!(A, B, C);
described!(A, B, C, D);

/// Something that a handler takes from a request.
pub(super) trait Taken {
    fn describe(draft: &mut Draft);
}

impl Taken for State<Shared> {
    fn describe(_: &mut Draft) {}
}

impl Taken for Caller {
    fn describe(_: &mut Draft) {}
}

impl<T: IntoParams> Taken for Filter<T> {
    fn describe(draft: &mut Draft) {
        let parameters = T::into_params(|| Some(ParameterIn::Query));
        // A list refuses a limit that is out of its range, and an `after` of another list.
        if parameters.iter().any(|parameter| parameter.name == "limit") {
            draft.refuses.push(422);
        }
        draft.change(|operation| operation.parameters(Some(parameters)));
    }
}

impl<T: ToSchema> Taken for Arguments<T> {
    fn describe(draft: &mut Draft) {
        let content = Content::new(Some(draft.reference::<T>()));
        let required = Some(Required::True);
        let body = RequestBodyBuilder::new().required(required).content(JSON, content).build();
        draft.change(|operation| operation.request_body(Some(body)));
    }
}

/// The only part of a path that varies is an id.
impl Taken for Segments<String> {
    fn describe(draft: &mut Draft) {
        let parameter = ParameterBuilder::new()
            .name("id")
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(u64::schema()));
        draft.change(|operation| operation.parameter(parameter));
    }
}

/// The events of `POST /v1/events`, the only handler that takes a whole request.
impl Taken for Request {
    fn describe(draft: &mut Draft) {
        let event = draft.reference::<CloudEvent>();
        let batch = ArrayBuilder::new().items(event.clone());
        let body = RequestBodyBuilder::new()
            .description(Some(
                "Events in structured or batch mode. In binary mode, the `ce-` headers have the \
                 attributes, and the body is the data.",
            ))
            .required(Some(Required::True))
            .content(cloudevents::STRUCTURED, Content::new(Some(event)))
            .content(cloudevents::BATCH, Content::new(Some(batch)))
            .build();
        draft.change(|operation| operation.request_body(Some(body)));
    }
}

/// What a handler answers.
pub(super) trait Answered {
    fn describe(draft: &mut Draft);
}

impl<T: ToSchema> Answered for Json<T> {
    fn describe(draft: &mut Draft) {
        draft.answers::<T>("200", "OK");
    }
}

impl<T: ToSchema> Answered for Accepted<T> {
    fn describe(draft: &mut Draft) {
        draft.answers::<T>("202", "Accepted");
    }
}

impl<T: ToSchema> Answered for Written<T> {
    fn describe(draft: &mut Draft) {
        draft.answers::<T>("200", "OK");
    }
}

impl<T: Answered> Answered for Result<T, Problem> {
    fn describe(draft: &mut Draft) {
        T::describe(draft);
    }
}

/// The figures of `GET /metrics`.
impl<const N: usize> Answered for ([(axum::http::HeaderName, &'static str); N], String) {
    fn describe(draft: &mut Draft) {
        let content = Content::new(Some(String::schema()));
        let response = ResponseBuilder::new().description("OK").content("text/plain", content);
        draft.change(|operation| operation.response("200", response.build()));
    }
}
