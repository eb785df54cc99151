//! Clients that are slow, silent or many, on real sockets; and a handler with a mistake.

use axum::routing::get;

use super::*;

const HALF: &str = "GET /v1/accounts HTTP/1.1\r\nhost: localhost\r\n";

fn settings(connections: usize) -> Settings {
    Settings { connections, ..Settings::default() }
}

/// A worker that waits for messages: a connection that is busy.
fn waiting_worker() -> String {
    let body = r#"{"queue":"q","wait_ms":60000}"#;
    format!(
        "POST /v1/queues/lease HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn brief(mut settings: Settings) -> Settings {
    let brief = Duration::from_millis(50);
    settings.timeouts = Timeouts { header: brief, body: brief, idle: brief, write: brief };
    settings
}

#[tokio::test]
async fn half_sent_requests_give_way_to_whole_ones() {
    let server = server_with(settings(8), Vec::new()).await;
    let mut half = Vec::new();
    for _ in 0..140 {
        half.push(server.raw(HALF).await);
    }
    check(server.get("/healthz").await, 200, "status", "ok".into()).await;
    check(server.get("/v1/accounts").await, 200, "events", 0.into()).await;
    assert_eq!(rest(half.remove(0)).await, "", "the first had to go");
}

#[tokio::test]
async fn a_host_whose_connections_are_all_busy_still_reports_its_health() {
    let server = server_with(settings(2), Vec::new()).await;
    let workers = [server.raw(&waiting_worker()).await, server.raw(&waiting_worker()).await];
    // A worker's connection is busy when its request has come, which another request waits for.
    let crowded = async {
        loop {
            let response = server.get("/v1/accounts").await;
            if response.status() != 200 {
                return response;
            }
            tokio::task::yield_now().await;
        }
    };
    let crowded = tokio::time::timeout(SOON, crowded).await.expect("the workers' requests come");
    assert_eq!(crowded.headers()["retry-after"], "1");
    check(crowded, 503, "type", "urn:sagabox:problem:crowded".into()).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        let response = server.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["connection"], "close");
    }
    drop(workers);
    let free = async {
        while server.get("/v1/accounts").await.status() != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, free).await.expect("a client that hangs up makes room");
}

#[tokio::test]
async fn a_client_that_sends_nothing_more_is_given_up() {
    let server = server_with(brief(settings(8)), Vec::new()).await;
    assert_eq!(server.answer("").await, "");
    assert_eq!(server.answer(HALF).await, "");
    let idle = server.answer("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(status_of(&idle), 200, "{idle}");
    let half = "POST /v1/queues/lease HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let late = server.answer(half).await;
    assert_eq!(status_of(&late), 408, "{late}");
    assert!(late.contains("urn:sagabox:problem:too-slow"), "{late}");
    // A worker may wait longer than a silent client.
    let body = r#"{"queue":"q","wait_ms":500}"#;
    let lease = server.post("/v1/queues/lease", "application/json", body.into()).await;
    check(lease, 200, "messages", Value::Array(Vec::new())).await;
}

#[tokio::test]
async fn a_stop_waits_for_no_client_that_asks_nothing() {
    let mut server = server().await;
    let answered = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut idle = server.raw(answered).await;
    idle.read_exact(&mut [0; 15]).await.unwrap();
    let silent = server.raw("").await;
    let half_header = server.raw(HALF).await;
    let half_body = server
        .raw("POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        .await;
    // They were accepted in this order: when this is answered, all are known.
    check(server.get("/healthz").await, 200, "status", "ok".into()).await;
    server.stop.take();
    tokio::time::timeout(SOON, &mut server.served).await.expect("the server stops").unwrap();
    assert_eq!(rest(silent).await, "");
    assert_eq!(rest(half_header).await, "");
    let cut = rest(half_body).await;
    assert_eq!(status_of(&cut), 503, "{cut}");
    assert!(cut.contains("urn:sagabox:problem:stopping"), "{cut}");
    drop(idle);
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_server_stops() {
    let (begun, begins) = oneshot::channel();
    let (end, ends) = oneshot::channel();
    let parts = Arc::new(std::sync::Mutex::new(Some((begun, ends))));
    let slow = get(async move || {
        let (begun, ends) = parts.lock().unwrap().take().unwrap();
        let _ = begun.send(());
        ends.await.unwrap_or("dropped")
    });
    let mut server = server_with(Settings::default(), vec![("/slow", slow)]).await;
    let slow = server.raw("GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    begins.await.unwrap();
    server.stop.take();
    let early = tokio::time::timeout(Duration::from_millis(50), &mut server.served).await;
    assert!(early.is_err(), "a request is under way");
    end.send("the whole answer").unwrap();
    tokio::time::timeout(SOON, &mut server.served).await.expect("the server stops").unwrap();
    assert!(rest(slow).await.ends_with("the whole answer"));
}

#[tokio::test]
async fn a_mistake_in_a_handler_is_a_problem_and_the_connection_goes_on() {
    async fn mistaken() -> &'static str {
        panic!("a test of mistakes")
    }
    let server = server_with(Settings::default(), vec![("/mistaken", get(mistaken))]).await;
    let ask = "GET /mistaken HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = server.answer(&format!("{ask}{last}")).await;
    assert_eq!(status_of(&answer), 500, "{answer}");
    assert!(answer.contains("urn:sagabox:problem:internal"), "{answer}");
    assert!(answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
}
