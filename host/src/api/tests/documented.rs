//! `docs/http.md` and the code list the same routes and the same types of problems.

use std::collections::BTreeSet;

use axum::response::IntoResponse as _;
use sagabox_engine::engine::OfferError;
use sagabox_engine::model::{EventError, QueueError};
use utoipa::openapi::path::HttpMethod;

use super::*;
use crate::io::cloudevents::ParseError;
use crate::plugins::readable::Unreadable;

const PAGE: &str = include_str!("../../../../docs/http.md");

/// The methods that a path supports, without `HEAD`, which every `GET` supports.
async fn methods(server: &Server, path: &str) -> Vec<String> {
    let url = format!("{}{}", server.base, path.replace("{id}", "1"));
    let request = server.client.delete(url).header("content-type", "application/json");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 405, "no route supports DELETE: {path}");
    let allowed = response.headers()["allow"].to_str().unwrap().to_owned();
    allowed.split(',').map(|name| name.trim().to_owned()).filter(|name| name != "HEAD").collect()
}

#[tokio::test]
async fn every_route_has_a_section_and_every_section_a_route() {
    let server = server().await;
    let mut served = BTreeSet::new();
    for route in routes::routes() {
        let method = match route.method {
            HttpMethod::Get => "GET",
            _ => "POST",
        };
        let path = route.path;
        assert!(methods(&server, path).await.iter().any(|name| name == method), "{method} {path}");
        served.insert(format!("{method} {path}"));
    }
    let headings: Vec<String> =
        PAGE.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect();
    let documented: BTreeSet<String> = headings.iter().cloned().collect();
    assert_eq!(documented.len(), headings.len(), "a route has two sections");
    let listed: BTreeSet<String> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("| [`")?.split_once("`](#"))
        .map(|(route, _)| route.to_owned())
        .collect();
    assert_eq!(documented, served);
    assert_eq!(listed, served);
}

#[test]
fn the_table_of_problems_lists_those_that_the_code_answers() {
    let unreadable = Unreadable {
        event_type: String::new(),
        plugin: String::new(),
        pointer: String::new(),
        reason: String::new(),
    };
    let answered = [
        Problem::bad_request(""),
        Problem::unacceptable("", ""),
        Problem::unauthorized(""),
        Problem::forbidden(""),
        Problem::unsupported_media_type(""),
        Problem::too_slow(""),
        Problem::crowded("", Duration::ZERO),
        Problem::not_found(""),
        Problem::conflict(""),
        Problem::key_reused(""),
        Problem::key_in_use("", None),
        Problem::identity_provider(""),
        Problem::rate_limited("", Duration::ZERO),
        Problem::method_not_allowed(""),
        Problem::too_large(""),
        Problem::internal(""),
        Problem::unavailable(""),
        Problem::stopping(),
        Problem::unreadable(&unreadable, None),
        ParseError::Event { index: None, error: EventError::new("id", "") }.into(),
        OfferError::Busy { retry_after: Duration::ZERO }.into(),
        OfferError::Paused { reason: String::new(), retry_after: Duration::ZERO }.into(),
        OfferError::Rejected(String::new()).into(),
        QueueError::Busy.into(),
        QueueError::NoSuchLease(1).into(),
        QueueError::Ended { lease: 1, acknowledged: 0, given_back: 0, expired: 0 }.into(),
    ];
    let row = |problem: Problem| {
        let name = problem.kind.strip_prefix("urn:sagabox:problem:").unwrap().to_owned();
        let status = problem.clone().into_response().status();
        assert_eq!(status, problem.status, "{problem:?}");
        format!("| `{name}` | {} | {} |", problem.status, problem.title)
    };
    let answered: BTreeSet<String> = answered.into_iter().map(row).collect();
    let (_, table) = PAGE.split_once("| type, after `urn:sagabox:problem:` |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let documented: BTreeSet<String> = table
        .lines()
        .skip(2)
        .map(|line| line.splitn(5, '|').take(4).collect::<Vec<_>>().join("|") + "|")
        .collect();
    assert_eq!(documented, answered);
    // A constructor that is not in the list above would be missing from the page, too.
    let source = include_str!("../problem.rs").split("#[cfg(test)]").next().unwrap();
    let constructed = source.matches("Self::new(").count();
    assert_eq!(constructed, answered.len() + 1, "`busy` is constructed twice");
}
