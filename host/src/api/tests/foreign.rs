//! Every route, as the host itself lists them, keeps foreign web pages out.

use super::*;
use crate::api::described::Route;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"placed"}"#;

/// Every path that is served, and one that is not.
fn paths() -> Vec<String> {
    let served = routes::routes().into_iter().map(|route| route.path);
    let served = served.chain(crate::pages::paths());
    served.chain(["/nothing"]).map(|path| path.replace("{id}", "1")).collect()
}

/// An own host, and a body that does something on the routes that take one.
fn request(method: &str, path: &str, host: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    for (name, value) in [("host", host)].iter().chain(headers) {
        text += &format!("{name}: {value}\r\n");
    }
    text + &format!("content-length: {}\r\n\r\n{body}", body.len())
}

/// Every way in which something can be asked, in this way alone.
async fn check_all(server: &Server, headers: &[(&str, &str)], host: &str, refused_with: u16) {
    for path in paths() {
        for method in METHODS {
            let answer = server.answer(&request(method, &path, host, headers, "{}")).await;
            let status = status_of(&answer);
            assert_eq!(status, refused_with, "{method} {path} {headers:?}: {answer}");
            let is_problem = answer.contains("content-type: application/problem+json");
            assert!(is_problem && !answer.contains("access-control-allow"), "{answer}");
        }
    }
}

#[tokio::test]
async fn no_route_answers_a_foreign_name() {
    let server = server().await;
    let json = ("content-type", "application/json");
    check_all(&server, &[json], "evil.example", 403).await;
    check_all(&server, &[json], "127.0.0.1.evil.example:8321", 403).await;
    check_all(&server, &[json, ("host", "localhost")], "localhost", 400).await;
}

#[tokio::test]
async fn no_route_answers_a_page_of_another_site() {
    let server = server().await;
    let json = ("content-type", "application/json");
    let own = server.address.to_string();
    for foreign in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        // Another service of this machine.
        ("origin", "http://127.0.0.1:1"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        check_all(&server, &[json, foreign], &own, 403).await;
    }
}

#[tokio::test]
async fn nothing_is_changed_by_what_a_page_can_send_without_asking() {
    let server = server().await;
    let own = server.address.to_string();
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
    ] {
        let headers: Vec<_> = content_type.map(|kind| ("content-type", kind)).into_iter().collect();
        for path in paths() {
            for body in ["{}", "", EVENT] {
                let answer = server.answer(&request("POST", &path, &own, &headers, body)).await;
                // A form could be one of the host's own pages, but does not say so.
                let is_form = content_type == Some("application/x-www-form-urlencoded");
                let expected = if is_form && !path.starts_with("/v1/") { 403 } else { 415 };
                assert_eq!(
                    status_of(&answer),
                    expected,
                    "{path} {content_type:?} {body}: {answer}"
                );
            }
        }
    }
    check(server.get("/v1/accounts").await, 200, "events", 0.into()).await;
}

#[tokio::test]
async fn a_preflight_is_never_granted() {
    let server = server().await;
    let own = server.address.to_string();
    for path in paths() {
        let ask = [
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        let answer = server.answer(&request("OPTIONS", &path, &own, &ask, "")).await;
        assert!(
            status_of(&answer) >= 400 && !answer.contains("access-control"),
            "{path}: {answer}"
        );
    }
}

#[tokio::test]
async fn the_host_itself_and_programs_are_let_in() {
    let server = server().await;
    let own = format!("localhost:{}", server.address.port());
    let origin = format!("http://{own}");
    let json = ("content-type", "application/json");
    for headers in [vec![], vec![("origin", origin.as_str()), ("sec-fetch-site", "same-origin")]] {
        // The answer of a stream does not end.
        for path in paths().into_iter().filter(|path| !path.ends_with("/live")) {
            let get = server.answer(&request("GET", &path, &own, &headers, "")).await;
            assert!(![403, 415].contains(&status_of(&get)), "{path}: {get}");
            let headers = [headers.as_slice(), &[json]].concat();
            let post = server.answer(&request("POST", &path, &own, &headers, "{}")).await;
            let is_event_without_a_form = path == "/v1/events" && status_of(&post) == 415;
            assert!(
                is_event_without_a_form || ![403, 415].contains(&status_of(&post)),
                "{path}: {post}"
            );
        }
    }
}

#[tokio::test]
async fn nothing_is_a_path_that_varies_but_numbers() {
    let served = routes::routes().into_iter().map(|Route { path, .. }| path);
    for path in served.chain(crate::pages::paths()) {
        assert!(!path.replace("{id}", "").contains('{'), "{path}: clients change names in paths");
    }
}
