//! A service that answers lookups, and counts the questions.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;

/// An HTTP server on a free port of this machine.
pub struct Lookup {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    server: Option<tokio::task::JoinHandle<()>>,
}

struct Seen {
    /// Paths, in the order of the questions.
    asked: Vec<String>,
    status: StatusCode,
    /// Seconds of `Retry-After`, by path, with 503; before anything else.
    pauses: Vec<(String, u64)>,
    answer: Value,
}

impl Lookup {
    /// Answers each question with this value.
    ///
    /// # Panics
    /// If no port can be opened.
    pub async fn start(answer: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let status = StatusCode::OK;
        let seen = Seen { asked: Vec::new(), status, pauses: Vec::new(), answer };
        let mut lookup = Self { address, seen: Arc::new(Mutex::new(seen)), server: None };
        lookup.serve(listener);
        lookup
    }

    /// The URL, as a configuration has it.
    #[must_use]
    pub fn template(&self) -> String {
        format!("http://{}/{{key}}", self.address)
    }

    /// Answers all questions with this status, from now on.
    pub fn answer_with(&self, status: StatusCode) {
        self.seen().status = status;
    }

    /// Answers the next question of this key with 503 and `Retry-After`.
    pub fn pause_next(&self, key: &str, seconds: u64) {
        self.seen().pauses.push((format!("/{key}"), seconds));
    }

    /// The questions so far.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.seen().asked.clone()
    }

    /// Closes the port: connections are refused.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            // Its end closes the listener; connections that are open end with it.
            let _ = server.await;
        }
    }

    /// Opens the same port again.
    ///
    /// # Panics
    /// If another program has taken it meanwhile.
    pub async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is still free");
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let app = Router::new().fallback(answer).with_state(Arc::clone(&self.seen));
        self.server = Some(tokio::spawn(async move {
            axum::serve(listener, app).await.expect("the lookup serves until it is stopped");
        }));
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }
}

async fn answer(State(seen): State<Arc<Mutex<Seen>>>, uri: Uri) -> Response {
    let mut seen = seen.lock().expect("no holder of this lock panics");
    seen.asked.push(uri.path().to_owned());
    if let Some(at) = seen.pauses.iter().position(|(path, _)| path == uri.path()) {
        let (_, seconds) = seen.pauses.remove(at);
        let header = (header::RETRY_AFTER, seconds.to_string());
        return (StatusCode::SERVICE_UNAVAILABLE, [header]).into_response();
    }
    let header = (header::CONTENT_TYPE, "application/json");
    (seen.status, [header], seen.answer.to_string()).into_response()
}
