//! An OCI registry on this machine: as much of the distribution specification as pulling needs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// `ada:secret`, as a browser sends it.
const LOGIN: &str = "Basic YWRhOnNlY3JldA==";
const TOKEN: &str = "a-token-for-";

/// Whom it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Open,
    /// Those who say name and password with each request.
    Basic,
    /// Those who got a token for the repository, for their name and password.
    Token,
}

pub struct Registry {
    /// `127.0.0.1:PORT`.
    pub address: String,
    shelf: Arc<Mutex<Shelf>>,
    server: tokio::task::JoinHandle<()>,
}

struct Shelf {
    door: Door,
    address: String,
    /// By `NAME@REFERENCE`; a reference is a tag or a digest.
    manifests: BTreeMap<String, Bytes>,
    /// By digest.
    blobs: BTreeMap<String, Bytes>,
    /// Blobs whose connection breaks in their middle.
    cut: Vec<String>,
}

impl Registry {
    /// # Panics
    /// If no port can be opened.
    pub async fn start(door: Door) -> Self {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let shelf = Shelf {
            door,
            address: address.clone(),
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
            cut: Vec::new(),
        };
        let shelf = Arc::new(Mutex::new(shelf));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shelf));
        let server = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("it serves until it is dropped");
        });
        Self { address, shelf, server }
    }

    /// A component under a tag, as `wkg oci push` lays it out. Returns the manifest's digest.
    pub fn push(&self, name: &str, tag: &str, component: &[u8], annotations: &Value) -> String {
        let config = self.push_blob(b"{}");
        let layer = self.push_blob(component);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": CONFIG, "digest": config, "size": 2 },
            "layers": [{
                "mediaType": "application/wasm",
                "digest": layer,
                "size": component.len(),
            }],
            "annotations": annotations,
        });
        self.push_manifest(name, tag, &manifest)
    }

    /// # Panics
    /// Never: a value can be written.
    pub fn push_manifest(&self, name: &str, tag: &str, manifest: &Value) -> String {
        let bytes = Bytes::from(serde_json::to_vec(manifest).expect("a value can be written"));
        let digest = digest(&bytes);
        let mut shelf = lock(&self.shelf);
        for reference in [tag, &digest] {
            shelf.manifests.insert(format!("{name}@{reference}"), bytes.clone());
        }
        digest
    }

    fn push_blob(&self, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        lock(&self.shelf).blobs.insert(digest.clone(), Bytes::copy_from_slice(bytes));
        digest
    }

    /// From now on it gives something else for this digest.
    pub fn alter(&self, digest: &str, bytes: &[u8]) {
        let mut shelf = lock(&self.shelf);
        let bytes = Bytes::copy_from_slice(bytes);
        let of_manifest = format!("@{digest}");
        for (key, manifest) in &mut shelf.manifests {
            if key.ends_with(&of_manifest) {
                manifest.clone_from(&bytes);
            }
        }
        if let Some(blob) = shelf.blobs.get_mut(digest) {
            *blob = bytes;
        }
    }

    /// From now on the connection breaks when half of this blob is through.
    pub fn cut(&self, digest: &str) {
        lock(&self.shelf).cut.push(digest.to_owned());
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// As registries write it: `sha256:` and 64 digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().expect("no holder of this lock panics")
}

async fn answer(State(shelf): State<Arc<Mutex<Shelf>>>, uri: Uri, headers: HeaderMap) -> Response {
    let shelf = lock(&shelf);
    let login = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if uri.path() == "/token" {
        return token(uri.query().unwrap_or_default(), login);
    }
    let path = uri.path().trim_start_matches("/v2/");
    let (name, what) = match (path.split_once("/manifests/"), path.split_once("/blobs/")) {
        (Some((name, reference)), _) => (name, Ok(reference)),
        (_, Some((name, digest))) => (name, Err(digest)),
        _ => ("", Ok("")),
    };
    if !shelf.knows(name, login) {
        return shelf.unknown();
    }
    match what {
        Ok("") => StatusCode::OK.into_response(),
        Ok(reference) => match shelf.manifests.get(&format!("{name}@{reference}")) {
            Some(manifest) => {
                let content_type = HeaderValue::from_static(MANIFEST);
                ([(header::CONTENT_TYPE, content_type)], manifest.clone()).into_response()
            }
            None => missing("MANIFEST_UNKNOWN", "manifest unknown"),
        },
        Err(digest) => match shelf.blobs.get(digest) {
            Some(blob) if shelf.cut.iter().any(|cut| cut == digest) => half(blob),
            Some(blob) => blob.clone().into_response(),
            None => missing("BLOB_UNKNOWN", "blob unknown to registry"),
        },
    }
}

impl Shelf {
    fn knows(&self, name: &str, login: Option<&str>) -> bool {
        match self.door {
            Door::Open => true,
            Door::Basic => login == Some(LOGIN),
            Door::Token => !name.is_empty() && login == Some(&format!("Bearer {TOKEN}{name}")),
        }
    }

    fn unknown(&self) -> Response {
        let challenge = match self.door {
            Door::Token => {
                format!("Bearer realm=\"http://{}/token\",service=\"here\"", self.address)
            }
            _ => "Basic realm=\"here\"".to_owned(),
        };
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
    }
}

/// A token for what the query asks, if it is pulling.
fn token(query: &str, login: Option<&str>) -> Response {
    let scope = query.split('&').find_map(|pair| pair.strip_prefix("scope="));
    let scope = scope.unwrap_or_default().replace("%3A", ":").replace("%2F", "/");
    let name = scope.strip_prefix("repository:").and_then(|rest| rest.strip_suffix(":pull"));
    match name {
        Some(name) if login == Some(LOGIN) && query.contains("service=here") => {
            axum::Json(json!({ "token": format!("{TOKEN}{name}") })).into_response()
        }
        _ => (StatusCode::UNAUTHORIZED, "who are you?").into_response(),
    }
}

fn missing(code: &str, message: &str) -> Response {
    let body = json!({ "errors": [{ "code": code, "message": message }] });
    (StatusCode::NOT_FOUND, axum::Json(body)).into_response()
}

/// The connection breaks after half of it.
fn half(blob: &Bytes) -> Response {
    let first = blob.slice(..blob.len() / 2);
    let broken = async {
        // What there is is sent while this waits.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("the registry went away"))
    };
    let length = blob.len().to_string();
    let body = Body::from_stream(stream::iter([Ok(first)]).chain(stream::once(broken)));
    ([(header::CONTENT_LENGTH, length)], body).into_response()
}
