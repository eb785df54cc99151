//! The check before every route: who asks, whether the caller may, and the record of it.
//!
//! What changes something for an operator is in the audit log before it is done: without an
//! entry nothing is done, and a host that ends in between leaves an entry without a status.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::FutureExt as _;
use serde_json::value::RawValue;

use super::access::Access;
use super::caller::Caller;
use super::extract;
use super::guard;
use super::idempotency::{self, Begun};
use super::problem::Problem;
use super::refusals;
use super::streaming;
use crate::access::{AuditEntry, Fingerprint, Permission};

/// Of a path in an entry.
const ACTION_BYTES_MAX: usize = 256;
/// Of a member of a request in an entry.
const MEMBER_BYTES_MAX: usize = 1024;
const REASON: &str = "reason";
/// The members that have payloads.
const PAYLOADS: [&str; 2] = ["event", "file"];

/// The client, as the server has seen it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub address: IpAddr,
    /// Of the certificate that it has shown.
    pub certificate: Option<Fingerprint>,
}

/// What a route needs of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Everyone who reaches the host may ask.
    Nothing,
    /// A permission. What is about one plugin checks the plugin itself.
    ForPlugin(Permission),
    /// A permission, for all plugins: no token that is restricted to some.
    ForAll(Permission),
}

impl Needs {
    pub(crate) fn permission(self) -> Option<Permission> {
        match self {
            Self::Nothing => None,
            Self::ForPlugin(permission) | Self::ForAll(permission) => Some(permission),
        }
    }
}

/// The state of the check before one route.
#[derive(Clone)]
pub(super) struct Gate {
    pub access: Arc<Access>,
    pub needs: Needs,
    /// Whether a request is recorded before it is done.
    pub is_audited: bool,
    /// Whether its answer has a secret, which is not kept for requests with an idempotency key.
    pub is_secret: bool,
    pub body_bytes: usize,
}

pub(super) async fn authorize(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    if gate.needs == Needs::Nothing {
        return next.run(request).await;
    }
    let action = action(request.method(), request.uri());
    let peer = request.extensions().get::<Peer>().copied();
    let origin = gate.access.origin(request.headers(), peer.map(|peer| peer.address));
    let identified = gate.access.identify(request.headers(), peer);
    let who = identified.as_ref().ok().cloned();
    let response = match identified.and_then(|caller| gate.check(&caller).map(|()| caller)) {
        Err(problem) => problem.into_response(),
        Ok(caller) if gate.is_audited => {
            return match gate.run(caller, action, request, next).await {
                Ok(response) => response,
                Err(problem) => problem.into_response(),
            };
        }
        Ok(caller) => {
            let (access, reader) = (Arc::clone(&gate.access), caller.clone());
            streaming::while_admitted(run(caller, request, next).await, access, reader)
        }
    };
    if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&response.status()) {
        let entry = gate.entry(who.as_ref(), origin, action);
        gate.access.note_refusal(AuditEntry { status: Some(response.status().as_u16()), ..entry });
    }
    response
}

async fn run(caller: Caller, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(caller);
    next.run(request).await
}

impl Gate {
    fn check(&self, caller: &Caller) -> Result<(), Problem> {
        match self.needs {
            Needs::Nothing => Ok(()),
            Needs::ForPlugin(permission) => caller.check(permission),
            Needs::ForAll(permission) => {
                caller.check(permission)?;
                caller.check_whole()
            }
        }?;
        caller.charge(1)
    }

    fn entry(&self, caller: Option<&Caller>, origin: IpAddr, action: String) -> AuditEntry {
        AuditEntry {
            at: (self.access.clock)(),
            who: caller.map_or(refusals::UNKNOWN, Caller::name).to_owned(),
            token: caller.and_then(Caller::token),
            origin: origin.to_string(),
            action,
            target: None,
            reason: None,
            status: None,
        }
    }

    /// Runs a request that is recorded.
    async fn run(
        self,
        caller: Caller,
        action: String,
        request: Request,
        next: Next,
    ) -> Result<Response, Problem> {
        let (mut parts, body) = request.into_parts();
        let body = extract::bytes(&parts.headers, body, self.body_bytes).await?;
        // It is unpacked.
        parts.headers.remove(header::CONTENT_ENCODING);
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        let key = idempotency::key(&parts.headers)?;
        let asked = Asked { action, key, parts, body };
        // A client that goes away must leave no entry without a status, and no key in use.
        let running = tokio::spawn(self.run_to_its_end(caller, asked, next));
        running.await.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Problem::stopping()),
        })
    }

    async fn run_to_its_end(
        self,
        caller: Caller,
        asked: Asked,
        next: Next,
    ) -> Result<Response, Problem> {
        let Asked { action, key, parts, body } = asked;
        let query = parts.uri.query().unwrap_or_default();
        let asked = [action.as_bytes(), query.as_bytes(), &body];
        let reserved = match idempotency::begin(&self.access, &caller, key, asked).await? {
            Begun::Done(response) => return Ok(response),
            Begun::Plain => None,
            Begun::New(reserved) => Some(reserved),
        };
        let (target, reason) = described(&members(&parts.headers, &body));
        let entry = self.entry(Some(&caller), caller.origin, action);
        let entry = AuditEntry { target, reason, ..entry };
        let id = match self.access.records.add_audit(&entry).await {
            Ok(id) => id,
            Err(error) => {
                if let Some(reserved) = reserved {
                    reserved.release(&self.access).await;
                }
                let detail = format!("write the audit log: {error}; nothing was done");
                return Err(Problem::unavailable(detail));
            }
        };
        let request = Request::from_parts(parts, Body::from(body));
        let answered = AssertUnwindSafe(run(caller, request, next)).catch_unwind().await;
        let answered = match (answered, reserved) {
            (Ok(response), Some(reserved)) => {
                Ok(reserved.finish(&self.access, response, self.is_secret).await)
            }
            (Err(panic), Some(reserved)) => {
                reserved.release(&self.access).await;
                Err(panic)
            }
            (answered, None) => answered,
        };
        let broken = StatusCode::INTERNAL_SERVER_ERROR;
        let status = answered.as_ref().map_or(broken, Response::status);
        if let Err(error) = self.access.records.complete_audit(id, status.as_u16()).await {
            tracing::warn!(%error, id, "an audit entry has no status");
        }
        answered.map_err(|panic| std::panic::resume_unwind(panic))
    }
}

/// A request that is recorded, with its whole body.
struct Asked {
    action: String,
    /// That of the header `Idempotency-Key`.
    key: Option<String>,
    parts: Parts,
    body: Bytes,
}

/// What a request asks for, as an entry says it.
pub(super) fn action(method: &Method, uri: &Uri) -> String {
    let mut action = format!("{method} {}", uri.path());
    // A client can send other characters than ASCII, though no URI has them.
    action.truncate(action.floor_char_boundary(ACTION_BYTES_MAX));
    action
}

type Members = BTreeMap<String, Box<RawValue>>;

/// The members of a JSON object, or of a form. Empty for anything else.
fn members(headers: &HeaderMap, body: &Bytes) -> Members {
    if !headers.get(header::CONTENT_TYPE).is_some_and(|value| guard::is_of(value, guard::FORM)) {
        return serde_json::from_slice(body).unwrap_or_default();
    }
    let text = std::str::from_utf8(body).unwrap_or_default();
    let json = |value: &str| serde_json::value::to_raw_value(value).ok();
    let pairs = form_pairs(text).into_iter();
    pairs.filter_map(|(name, value)| Some((name, json(&value)?))).collect()
}

fn form_pairs(text: &str) -> Vec<(String, String)> {
    let Ok(mut url) = reqwest::Url::parse("form:") else { return Vec::new() };
    url.set_query(Some(text));
    let pairs = url.query_pairs();
    pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// The members of a request without its payload, and its reason.
fn described(members: &Members) -> (Option<String>, Option<String>) {
    let mut members = members.clone();
    let reason = members.remove(REASON).and_then(|raw| serde_json::from_str(raw.get()).ok());
    let mut kept = BTreeMap::new();
    for (name, value) in members {
        let length = value.get().len();
        let value = match PAYLOADS.contains(&name.as_str()) || length > MEMBER_BYTES_MAX {
            true => serde_json::value::to_raw_value(&format!("{length} bytes")).ok(),
            false => Some(value),
        };
        kept.extend(value.map(|value| (name, value)));
    }
    let target = (!kept.is_empty()).then(|| serde_json::to_string(&kept).ok()).flatten();
    (target, reason)
}

#[cfg(test)]
mod tests {
    use axum::middleware::from_fn_with_state;
    use axum::{Router, routing};
    use sagabox_engine::model::Timestamp;
    use tower::ServiceExt as _;

    use super::*;
    use crate::access::AuditFilter;
    use crate::api::access::AccessSettings;
    use crate::store::connect::connect;

    #[test]
    fn the_action_of_a_long_path_ends_between_two_characters() {
        for length in 0..4 {
            let path = format!("/{}{}", "a".repeat(length), "é".repeat(200));
            let named = action(&Method::GET, &path.parse().unwrap());
            assert!(named.len() > ACTION_BYTES_MAX - 2 && named.len() <= ACTION_BYTES_MAX);
            assert!(format!("GET {path}").starts_with(&named), "{named}");
        }
    }

    #[tokio::test]
    async fn a_request_that_panics_leaves_neither_its_key_in_use_nor_its_entry_open() {
        async fn mistaken() -> StatusCode {
            panic!("planted")
        }
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("a.db").display());
        let records = connect(&url).await.unwrap().access_records;
        let settings = AccessSettings { local_without_token: true, ..AccessSettings::default() };
        let clock = Arc::new(|| Timestamp(0));
        let access = Access::open(Arc::clone(&records), settings, clock).await.unwrap();
        let needs = Needs::ForPlugin(Permission::Operate);
        let gate = Gate { access, needs, is_audited: true, is_secret: false, body_bytes: 100 };
        let handler = routing::post(mistaken).route_layer(from_fn_with_state(gate, authorize));
        let router: Router = Router::new().route("/x", handler);
        for _ in 0..2 {
            let peer = Peer { address: [127, 0, 0, 1].into(), certificate: None };
            let request = Request::post("/x").header(idempotency::HEADER, "k").extension(peer);
            let asked = router.clone().oneshot(request.body(Body::empty()).unwrap());
            assert!(AssertUnwindSafe(asked).catch_unwind().await.is_err(), "it is answered");
        }
        let all = AuditFilter { limit: 9, ..AuditFilter::default() };
        let entries = records.audit(&all).await.unwrap().rows;
        let statuses: Vec<_> = entries.iter().map(|entry| entry.status).collect();
        assert_eq!(statuses, [Some(500); 2]);
    }

    #[test]
    fn an_entry_has_the_members_of_a_request_without_its_payload() {
        let body = r#"{"reason":"why","key":"k-1","event":{"data":"secret"},"ids":[1,2]}"#;
        let described =
            |body: &str| described(&members(&HeaderMap::new(), &body.to_owned().into()));
        let (target, reason) = described(body);
        assert_eq!(reason.as_deref(), Some("why"));
        assert_eq!(target.as_deref(), Some(r#"{"event":"17 bytes","ids":[1,2],"key":"k-1"}"#));
        assert_eq!(described("[]"), (None, None));
        assert_eq!(described(""), (None, None));
        let long = format!(r#"{{"key":"{}"}}"#, "k".repeat(2000));
        assert_eq!(described(&long).0.as_deref(), Some(r#"{"key":"2002 bytes"}"#));
    }

    #[test]
    fn an_entry_has_the_fields_of_a_form() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(guard::FORM));
        let body = "reason=too+late%21&key=a%26b&event=%7B%7D";
        let (target, reason) = described(&members(&headers, &body.into()));
        assert_eq!(reason.as_deref(), Some("too late!"));
        assert_eq!(target.as_deref(), Some(r#"{"event":"4 bytes","key":"a&b"}"#));
    }
}
