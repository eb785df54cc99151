//! Login at an identity provider by `OpenID` Connect: the code flow with PKCE, a state and a nonce.
//!
//! What the provider says of itself is read when a person signs in, and again after some minutes
//! or when a token is signed with a key that is not known yet: providers change their keys. The
//! library checks signature, issuer, audience, expiry and nonce. Only then are claims looked at.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreIdToken, CoreTokenResponse};
use openidconnect::{
    AsyncHttpClient, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IssuerUrl, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, ProviderMetadataWithLogout,
    RedirectUrl, Scope, SignatureVerificationError, TokenResponse as _,
};
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::time::Instant;

use super::grants::Claims;
use super::pending::Pending;
use crate::access::{Person, Secret};
use crate::api::problem::Problem;
use crate::io::locks::lock;
use crate::io::secrets::{Given, is_loopback};
use crate::io::sinks::causes;

/// How long a provider may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long what a provider says of itself is taken for granted.
const METADATA_AGE: Duration = Duration::from_mins(5);
/// Of an answer. Key sets and claims have some kilobytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Of a provider's own words in a problem.
const SHOWN_CHARS_MAX: usize = 300;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcSettings {
    pub issuer: String,
    pub client_id: String,
    /// None for a public client.
    pub client_secret: Option<Given>,
    /// Besides `openid`.
    pub scopes: Vec<String>,
    /// The address of this host for browsers; none: the one that the request names.
    pub url: Option<String>,
    /// What the login page calls the provider; none: its host.
    pub name: Option<String>,
    pub claims: Claims,
}

/// What a provider sends a browser back with.
#[derive(Deserialize)]
pub(crate) struct Answer {
    pub(super) code: Option<String>,
    pub(super) state: Option<String>,
    pub(super) error: Option<String>,
    pub(super) error_description: Option<String>,
}

type Metadata = Arc<ProviderMetadataWithLogout>;
type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

pub(crate) struct Provider {
    settings: OidcSettings,
    name: String,
    issuer: IssuerUrl,
    secret: Option<ClientSecret>,
    http: Http,
    known: Mutex<Option<(Instant, Metadata)>>,
    pending: Pending<Started>,
}

/// A login that is under way.
struct Started {
    state: CsrfToken,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    back: String,
    next: String,
}

pub(super) struct Begun {
    /// The secret that the browser keeps until it comes back.
    pub binding: Secret,
    /// Where the browser goes.
    pub location: String,
}

/// Whether they would do the same.
impl PartialEq for Provider {
    fn eq(&self, other: &Self) -> bool {
        let secret = |own: &Self| own.secret.as_ref().map(|secret| secret.secret().clone());
        self.settings == other.settings && secret(self) == secret(other)
    }
}

impl Provider {
    /// # Errors
    /// If the secret cannot be read, or the issuer is no address.
    pub(crate) fn open(settings: OidcSettings) -> anyhow::Result<Self> {
        let issuer = Url::parse(&settings.issuer)
            .with_context(|| format!("login.oidc.issuer: `{}`", settings.issuer))?;
        let secret = settings.client_secret.as_ref().map(Given::read).transpose();
        let secret = secret.map_err(|why| anyhow::anyhow!("login.oidc.client_secret: {why}"))?;
        let builder = reqwest::Client::builder().timeout(TIMEOUT);
        // A redirect could lead anywhere in the network of this host.
        let builder = builder.redirect(reqwest::redirect::Policy::none());
        let builder = if is_loopback(&issuer) { builder.no_proxy() } else { builder };
        let name = settings.name.clone();
        let name = name.unwrap_or_else(|| issuer.host_str().unwrap_or_default().to_owned());
        Ok(Self {
            name,
            issuer: IssuerUrl::new(settings.issuer.clone())?,
            secret: secret.map(|secret| ClientSecret::new(secret.expose().to_owned())),
            http: Http(builder.build()?),
            known: Mutex::new(None),
            pending: Pending::default(),
            settings,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where a person ends the login at the provider itself, if that is known.
    pub(crate) fn sign_out_url(&self) -> Option<String> {
        let known = lock(&self.known);
        let (_, metadata) = known.as_ref()?;
        let end = metadata.additional_metadata().end_session_endpoint.as_ref()?;
        let mut url = end.url().clone();
        url.query_pairs_mut().append_pair("client_id", &self.settings.client_id);
        Some(url.into())
    }

    /// `back` is where the provider sends the browser, and `next` the page after the login.
    pub(super) async fn begin(&self, back: String, next: String) -> Result<Begun, Problem> {
        let metadata = self.metadata(METADATA_AGE).await?;
        let client = self.client(&metadata, &back)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let (url, state, nonce) = client
            .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
            .add_scopes(self.settings.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(challenge)
            .url();
        let binding =
            Secret::for_session().map_err(|error| Problem::internal(error.to_string()))?;
        self.pending.add(&binding, Started { state, nonce, verifier, back, next });
        Ok(Begun { binding, location: url.into() })
    }

    /// Who the person is, and the page after the login.
    pub(super) async fn finish(
        &self,
        binding: Option<&Secret>,
        answer: Answer,
    ) -> Result<(Person, String), Problem> {
        let over = || {
            Problem::bad_request(
                "this login is over, was used already, or was begun in another browser; begin again at \
                 /login",
            )
        };
        // It is taken before anything else: no answer is looked at twice.
        let started = binding.and_then(|binding| self.pending.take(binding)).ok_or_else(over)?;
        if answer.state.as_deref() != Some(started.state.secret().as_str()) {
            return Err(over());
        }
        if let Some(error) = answer.error {
            let why = answer.error_description.map(|text| format!(": {text}")).unwrap_or_default();
            let detail = format!("{} has refused the login: {error}{why}", self.name);
            return Err(Problem::forbidden(clip(&detail)));
        }
        let code = answer.code.ok_or_else(over)?;
        let metadata = self.metadata(METADATA_AGE).await?;
        let tokens = self.exchange(&metadata, code, started.verifier, &started.back).await?;
        let id_token = tokens.id_token().ok_or_else(|| {
            self.failed("the answer has no ID token; is `openid` among the scopes of the client?")
        })?;
        let mut claims = self.verified(&metadata, id_token, &started.nonce, &started.back).await?;
        if !claims.contains_key(&self.settings.claims.roles)
            && let Some(endpoint) = metadata.userinfo_endpoint()
        {
            let access_token = tokens.access_token().secret();
            self.add_user_info(endpoint.url(), access_token, &mut claims).await?;
        }
        Ok((self.settings.claims.person(&claims)?, started.next))
    }

    async fn exchange(
        &self,
        metadata: &Metadata,
        code: String,
        verifier: PkceCodeVerifier,
        back: &str,
    ) -> Result<CoreTokenResponse, Problem> {
        let client = self.client(metadata, back)?;
        let request = client.exchange_code(AuthorizationCode::new(code));
        let request = request.map_err(|error| self.failed(&error.to_string()))?;
        let answer = request.set_pkce_verifier(verifier).request_async(&self.http).await;
        answer.map_err(|error| {
            let hint =
                "compare client_id, client_secret and the redirect URL with those of the provider";
            self.failed(&format!("it does not accept the code: {}; {hint}", chain(&error)))
        })
    }

    /// The claims of a token, after the token has passed every check.
    async fn verified(
        &self,
        metadata: &Metadata,
        id_token: &CoreIdToken,
        nonce: &Nonce,
        back: &str,
    ) -> Result<Map<String, Value>, Problem> {
        let check = |metadata: &Metadata| -> Result<Result<(), ClaimsVerificationError>, Problem> {
            let client = self.client(metadata, back)?;
            Ok(id_token.claims(&client.id_token_verifier(), nonce).map(|_| ()))
        };
        let mut checked = check(metadata)?;
        if let Err(ClaimsVerificationError::SignatureVerification(
            SignatureVerificationError::NoMatchingKey,
        )) = &checked
        {
            checked = check(&self.metadata(Duration::ZERO).await?)?;
        }
        checked.map_err(|error| {
            self.failed(&format!("its ID token is not valid: {}", chain(&error)))
        })?;
        // The library has types for the claims of the standard alone.
        let text = id_token.to_string();
        let payload = text.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
        claims.ok_or_else(|| self.failed("its ID token has no claims"))
    }

    /// Adds what the provider says about the person outside of the token.
    async fn add_user_info(
        &self,
        endpoint: &Url,
        access_token: &str,
        claims: &mut Map<String, Value>,
    ) -> Result<(), Problem> {
        let request = self.http.0.get(endpoint.clone()).bearer_auth(access_token);
        let reading = async {
            let response = request.send().await?.error_for_status()?;
            bounded(response).await
        };
        let body = reading
            .await
            .map_err(|error| self.failed(&format!("it does not say who the person is: {error}")))?;
        let user_info: Map<String, Value> = serde_json::from_slice(&body)
            .map_err(|error| self.failed(&format!("what it says of the person: {error}")))?;
        if user_info.get("sub") != claims.get("sub") {
            return Err(self.failed("what it says is of another person (`sub`)"));
        }
        for (name, value) in user_info {
            claims.entry(name).or_insert(value);
        }
        Ok(())
    }

    fn client(&self, metadata: &Metadata, back: &str) -> Result<Client, Problem> {
        let client_id = ClientId::new(self.settings.client_id.clone());
        let metadata = ProviderMetadataWithLogout::clone(metadata);
        let client = CoreClient::from_provider_metadata(metadata, client_id, self.secret.clone());
        let back = RedirectUrl::new(back.to_owned())
            .map_err(|error| Problem::bad_request(format!("the host's own address: {error}")))?;
        Ok(client.set_redirect_uri(back))
    }

    async fn metadata(&self, age: Duration) -> Result<Metadata, Problem> {
        if let Some((since, known)) = &*lock(&self.known)
            && since.elapsed() < age
        {
            return Ok(Arc::clone(known));
        }
        let read = ProviderMetadataWithLogout::discover_async(self.issuer.clone(), &self.http);
        let metadata = Arc::new(read.await.map_err(|error| {
            let hint = "compare login.oidc.issuer with the issuer that the provider names";
            self.failed(&format!("it does not describe itself: {}; {hint}", chain(&error)))
        })?);
        *lock(&self.known) = Some((Instant::now(), Arc::clone(&metadata)));
        Ok(metadata)
    }

    /// Says what the provider, or its configuration, is at fault with.
    fn failed(&self, why: &str) -> Problem {
        let detail = clip(&format!("the identity provider {}: {why}", self.issuer.as_str()));
        tracing::warn!("a login failed: {detail}");
        Problem::identity_provider(detail)
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn clip(text: &str) -> String {
    let plain = || text.chars().filter(|own| !own.is_control());
    let more = if plain().nth(SHOWN_CHARS_MAX).is_some() { "…" } else { "" };
    plain().take(SHOWN_CHARS_MAX).collect::<String>() + more
}

/// The client of the library, which has none of its own here.
struct Http(reqwest::Client);

#[derive(Debug, Error)]
pub(crate) enum HttpError {
    #[error("{}", causes(.0))]
    Request(reqwest::Error),
    #[error("the answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("{0}")]
    Answer(#[from] axum::http::Error),
}

// Not by `#[from]`: the text has the causes already.
impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        Self::Request(error)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let response = self.0.execute(request.try_into()?).await?;
            let mut answer = axum::http::Response::builder().status(response.status());
            for (name, value) in response.headers() {
                answer = answer.header(name, value);
            }
            Ok(answer.body(bounded(response).await?)?)
        })
    }
}

async fn bounded(mut response: reqwest::Response) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(HttpError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
