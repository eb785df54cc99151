//! A provider that answers whatever a test says: what a real one never would.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::PrivateSigningKey as _;
use openidconnect::core::{CoreHmacKey, CoreJwsSigningAlgorithm};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::grants::{Claims, Grant};
use super::oidc::{Answer, OidcSettings, Provider};
use crate::access::{Person, Role};
use crate::api::problem::Problem;
use crate::io::locks::lock;
use crate::io::secrets::{Given, Secret};

const SECRET: &str = "a secret of the test";
const BACK: &str = "http://127.0.0.1:1/login/callback";

/// A token that passes every check, before a test changes it.
struct Fake {
    issuer: String,
    answer: Arc<Mutex<Value>>,
    provider: Provider,
}

impl Fake {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let described = json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys"),
            "userinfo_endpoint": format!("{issuer}/person"),
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["HS256"],
        });
        let answer: Arc<Mutex<Value>> = Arc::default();
        let token = Arc::clone(&answer);
        let person = json!({"sub": "7", "groups": ["ops"]});
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(async || Json(described)))
            .route("/keys", get(async || Json(json!({"keys": []}))))
            .route("/person", get(async || Json(person)))
            .route("/token", post(async move || Json(lock(&token).clone())));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let grant = Grant {
            value: "ops".to_owned(),
            roles: BTreeSet::from([Role::Operator]),
            payloads: false,
            plugins: BTreeSet::new(),
        };
        let settings = OidcSettings {
            issuer: issuer.clone(),
            client_id: "sagabox".to_owned(),
            client_secret: Some(Given::Value(Secret::new(SECRET))),
            scopes: Vec::new(),
            url: None,
            name: None,
            claims: Claims { roles: "groups".to_owned(), name: None, grants: vec![grant] },
        };
        Self { issuer, answer, provider: Provider::open(settings).unwrap() }
    }

    /// A login whose token has been changed.
    async fn login(
        &self,
        secret: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<(Person, String), Problem> {
        let begun = self.provider.begin(BACK.to_owned(), "/next".to_owned()).await.unwrap();
        let location: Url = begun.location.parse().unwrap();
        let asked: HashMap<String, String> = location.query_pairs().into_owned().collect();
        assert_eq!((&*asked["redirect_uri"], &*asked["code_challenge_method"]), (BACK, "S256"));
        let now = jiff::Timestamp::now().as_second();
        let mut claims = json!({
            "iss": self.issuer, "aud": "sagabox", "sub": "7", "exp": now + 60, "iat": now,
            "nonce": asked["nonce"], "groups": ["ops"],
        });
        change(&mut claims);
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&json!({"alg": "HS256"})), encode(&claims));
        let key = CoreHmacKey::new(secret.as_bytes().to_vec());
        let signature = key.sign(&CoreJwsSigningAlgorithm::HmacSha256, signed.as_bytes()).unwrap();
        let id_token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        *lock(&self.answer) =
            json!({"access_token": "a", "token_type": "Bearer", "id_token": id_token});
        let state = Some(asked["state"].clone());
        let answer =
            Answer { code: Some("c".to_owned()), state, error: None, error_description: None };
        self.provider.finish(Some(&begun.binding), answer).await
    }

    #[track_caller]
    fn refused(login: Result<(Person, String), Problem>, part: &str) {
        let problem = login.unwrap_err();
        assert_eq!(problem.status, 502, "{problem:?}");
        assert!(problem.detail.contains(part), "{problem:?}");
        assert!(!problem.detail.contains(SECRET));
    }
}

#[tokio::test]
async fn a_token_is_believed_only_if_it_passes_every_check() {
    let fake = Fake::start().await;
    let (person, next) = fake.login(SECRET, |_| {}).await.unwrap();
    assert_eq!((&*person.subject, &*person.issuer, &*next), ("7", &*fake.issuer, "/next"));
    let changed =
        async |name: &str, value: Value| fake.login(SECRET, |claims| claims[name] = value).await;
    Fake::refused(changed("aud", json!("another client")).await, "Invalid audience");
    Fake::refused(changed("iss", json!("http://127.0.0.1:1")).await, "Invalid issuer");
    Fake::refused(changed("nonce", json!("of another login")).await, "Invalid nonce");
    Fake::refused(changed("nonce", Value::Null).await, "Invalid nonce");
    Fake::refused(changed("exp", json!(1)).await, "Expired");
    Fake::refused(fake.login("another secret", |_| {}).await, "Signature verification failed");
}

#[tokio::test]
async fn what_the_token_does_not_say_is_asked_and_must_be_of_the_same_person() {
    let fake = Fake::start().await;
    let without = |claims: &mut Value| {
        claims.as_object_mut().unwrap().remove("groups");
    };
    let (person, _) = fake.login(SECRET, without).await.unwrap();
    assert_eq!(person.roles, BTreeSet::from([Role::Operator]));
    let other = fake.login(SECRET, |claims| {
        without(claims);
        claims["sub"] = json!("8");
    });
    Fake::refused(other.await, "another person");
}

#[tokio::test]
async fn a_provider_that_refuses_is_repeated_in_its_own_words() {
    let fake = Fake::start().await;
    let begun = fake.provider.begin(BACK.to_owned(), "/".to_owned()).await.unwrap();
    let location: Url = begun.location.parse().unwrap();
    let state = location.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let answer = Answer {
        code: None,
        state: Some(state),
        error: Some("access_denied".to_owned()),
        error_description: Some("not today\n<b>".to_owned()),
    };
    let problem = fake.provider.finish(Some(&begun.binding), answer).await.unwrap_err();
    assert_eq!(problem.status, 403);
    assert!(problem.detail.ends_with("has refused the login: access_denied: not today<b>"));
}
