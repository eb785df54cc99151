//! What holds for all pages: headers, escaping, errors, files, navigation, and the list of pages in
//! the documentation.

use std::collections::BTreeSet;
use std::path::Path;

use axum::http::header;

use super::*;
use crate::api::tests::{Server, server};

const DOCUMENTED: &str = include_str!("../../../docs/pages.md");

async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let request = server.client.get(format!("{}{path}", server.base));
    headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value))
        .send()
        .await
        .unwrap()
}

/// The files of templates, with their text.
fn templates() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/pages");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn no_template_lets_a_value_be_markup_or_has_a_script_or_style_in_it() {
    let templates = templates();
    assert!(templates.len() > 3, "{}", templates.len());
    for (file, text) in templates {
        for forbidden in [
            "|safe",
            "| safe",
            "escape(",
            "|e(",
            "{% filter",
            "<style",
            "style=",
            " on",
            "hx-on",
            "js:",
            "javascript:",
        ] {
            // ` on` is the beginning of an attribute such as `onclick=`.
            let found = text.match_indices(forbidden).any(|(at, _)| match forbidden {
                " on" => {
                    let name = text[at + 1..].split(|c: char| !c.is_ascii_alphanumeric()).next();
                    let name = name.unwrap_or_default();
                    name.len() > 3 && text[at + 1 + name.len()..].starts_with('=')
                }
                _ => true,
            });
            assert!(!found, "{file} has `{forbidden}`");
        }
        for script in text.split("<script").skip(1) {
            assert!(
                script.starts_with(" src=\"{{ crate::pages::assets::address("),
                "{file} has a script in it"
            );
        }
    }
}

#[test]
fn the_navigation_leads_to_pages_and_needs_what_they_need() {
    let routes = routes();
    for entry in frame::NAVIGATION {
        let route = routes.iter().find(|route| !route.is_form && route.path == entry.path);
        let route = route.unwrap_or_else(|| panic!("no page {}", entry.path));
        assert_eq!(route.needs, entry.needs, "{}", entry.path);
    }
}

#[test]
fn the_documentation_lists_every_page_with_its_roles() {
    let row = |route: PageRoute| {
        let method = if route.is_form { "POST" } else { "GET" };
        let roles = route.needs.permission().map_or("everyone".to_owned(), Permission::roles);
        format!("| `{method} {}` | {roles} |", route.path)
    };
    let served: BTreeSet<String> = routes().into_iter().map(row).collect();
    let rows =
        DOCUMENTED.lines().filter(|line| line.starts_with("| `GET") || line.starts_with("| `POST"));
    let columns = |line: &str| line.splitn(4, '|').take(3).collect::<Vec<_>>().join("|") + "|";
    let documented: BTreeSet<String> = rows.map(columns).collect();
    assert_eq!(documented, served);
}

#[tokio::test]
async fn every_page_has_a_strict_policy_and_is_not_stored() {
    let server = server().await;
    for route in routes().into_iter().filter(|route| !route.is_form) {
        let path = route.path;
        let answer = get(&server, &path.replace("{id}", "1"), &[("accept", "text/html")]).await;
        let headers = answer.headers().clone();
        if headers[header::CONTENT_TYPE] == "text/event-stream" {
            continue;
        }
        assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8", "{path}");
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert!(headers[header::CACHE_CONTROL].to_str().unwrap().contains("no-store"), "{path}");
        let html = answer.text().await.unwrap();
        for wanted in ["<html lang=\"en\"", "<main id=\"main\"", "<title>", "</html>"] {
            assert!(html.contains(wanted), "{path} has no {wanted}");
        }
        assert_eq!(html.matches("<h1").count(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_refusal_is_a_page_for_people_and_a_problem_for_programs() {
    let server = server().await;
    let nowhere = "/nowhere/%3Cscript%3Ealert(1)%3C/script%3E";
    let page = get(&server, nowhere, &[("accept", "text/html,*/*")]).await;
    assert_eq!(page.status(), 404);
    assert!(page.headers().contains_key(header::CONTENT_SECURITY_POLICY));
    let html = page.text().await.unwrap();
    assert!(html.contains("404 Not found.") && !html.contains("<script>alert"), "{html}");
    let part = get(&server, nowhere, &[("hx-request", "true")]).await.text().await.unwrap();
    assert!(part.starts_with("<div class=\"problem\" role=\"alert\">"), "{part}");
    for (path, headers) in [(nowhere, &[][..]), ("/v1/nothing", &[("accept", "text/html")])] {
        let problem = get(&server, path, headers).await;
        assert_eq!(problem.headers()[header::CONTENT_TYPE], "application/problem+json", "{path}");
    }
}

#[tokio::test]
async fn files_are_kept_under_an_address_that_names_their_content() {
    let server = server().await;
    let html = get(&server, "/nowhere", &[("accept", "text/html")]).await.text().await.unwrap();
    let addresses: Vec<&str> =
        html.split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert_eq!(addresses.len(), 4, "{addresses:?}");
    for address in addresses {
        let kept = get(&server, address, &[]).await;
        assert!(kept.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        let (path, _) = address.split_once("?v=").unwrap();
        for other in [path.to_owned(), format!("{path}?v=0")] {
            let asked = get(&server, &other, &[]).await;
            assert_eq!(asked.headers()[header::CACHE_CONTROL], "no-cache", "{other}");
        }
    }
}

#[tokio::test]
async fn the_readers_own_theme_is_in_the_page() {
    let server = server().await;
    for (cookie, theme) in [
        ("theme=dark", "dark"),
        ("a=b; theme=light", "light"),
        ("theme=\"><script>", "auto"),
        ("", "auto"),
    ] {
        let headers = [("accept", "text/html"), ("cookie", cookie)];
        let html = get(&server, "/nowhere", &headers).await.text().await.unwrap();
        assert!(html.contains(&format!("<html lang=\"en\" data-theme=\"{theme}\">")), "{html}");
    }
}
