//! Pages for operators, rendered by the server.
//!
//! A page shows what the API answers: its handler calls the API's handlers, which check what the
//! caller may see. Templates escape every value, so nothing of an event becomes markup, and what is
//! invisible or turns the direction of writing is shown (`visible`). Each page
//! works without script; with script, htmx replaces the parts that a stream sends again (`live`).
//! This room does not know the store's tables, the configuration or the command line.

mod administration;
mod assets;
mod batch_draft;
mod batches;
mod chart;
mod dead_letter;
mod dead_letters;
mod drawing;
mod edited;
mod errors;
mod fields;
mod form;
mod frame;
mod instance;
mod live;
mod login;
mod overview;
mod pauses;
mod plugin_choice;
mod plugins;
mod queues;
mod search;
mod send;
#[cfg(test)]
mod tests;
mod timeline;
mod topology;
mod views;
mod visible;
mod what_if;
mod words;

use std::sync::Arc;

use axum::extract::Request;
use axum::handler::Handler;
use axum::http::Uri;
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{self, MethodRouter};

use self::live::Live;
use crate::access::Permission;
use crate::api::{self, Beside, Caller, Needs, Served, Shared};

/// The state that the pages share.
struct PagesState {
    site: Shared,
    live: Arc<Live>,
}

/// It is cloned for each request.
type Pages = Arc<PagesState>;

/// One method of one page.
struct PageRoute {
    path: &'static str,
    needs: Needs,
    /// Whether it changes something.
    is_form: bool,
    handler: MethodRouter<Pages>,
}

/// A page that is read.
fn page<H, T>(path: &'static str, needs: Needs, handler: H) -> PageRoute
where
    H: Handler<T, Pages>,
    T: 'static,
{
    PageRoute { path, needs, is_form: false, handler: routing::get(handler) }
}

/// What a form of a page is sent to. Each request of a reader, an operator or an administrator is in
/// the audit log before it is done.
fn form<H, T>(path: &'static str, needs: Needs, handler: H) -> PageRoute
where
    H: Handler<T, Pages>,
    T: 'static,
{
    PageRoute { path, needs, is_form: true, handler: routing::post(handler) }
}

/// All pages. A page of another file adds its own here, and to `frame::NAVIGATION`.
fn routes() -> Vec<PageRoute> {
    let first = vec![page("/", Needs::ForPlugin(Permission::Read), first)];
    let pages = [
        first,
        login::routes(),
        overview::routes(),
        search::routes(),
        views::routes(),
        instance::routes(),
        what_if::routes(),
        dead_letters::routes(),
        dead_letter::routes(),
        batches::routes(),
        plugins::routes(),
        queues::routes(),
        pauses::routes(),
        send::routes(),
        topology::routes(),
        administration::routes(),
    ];
    pages.into_iter().flatten().collect()
}

impl PageRoute {
    fn is_audited(&self) -> bool {
        let permission = self.needs.permission();
        let changes = [Permission::Read, Permission::Operate, Permission::Administer];
        self.is_form && permission.is_some_and(|permission| changes.contains(&permission))
    }
}

/// The pages and their files, as the host serves them beside the API.
pub(crate) fn beside(site: &Shared) -> Beside {
    let live = Arc::new(Live::new(site.stopping.clone()));
    let pages = Arc::new(PagesState { site: Arc::clone(site), live });
    let serve = |route: PageRoute| -> Served {
        let is_audited = route.is_audited();
        let handler = route.handler.with_state(Arc::clone(&pages));
        let body_bytes = form::bytes_max(site.limits.body_bytes);
        let guarded = api::guarded(site, route.needs, is_audited, body_bytes, handler);
        (route.path, guarded.layer(from_fn(errors::as_pages)))
    };
    let mut served: Vec<Served> = routes().into_iter().map(serve).collect();
    served.extend(assets::served());
    Beside { served, fallback: routing::any(not_found) }
}

/// All paths that are served, for tests that try each of them.
#[cfg(test)]
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    let pages = routes().into_iter().map(|route| route.path);
    pages.chain(assets::served().into_iter().map(|(path, _)| path))
}

/// Leads to the first page that the caller may read.
async fn first(caller: Caller) -> Redirect {
    let entry = frame::NAVIGATION.iter().find(|entry| entry.is_open_to(&caller));
    Redirect::to(entry.map_or("/instances", |entry| entry.path))
}

/// Browsers get a page, clients of the API a problem.
async fn not_found(uri: Uri, request: Request) -> Response {
    let is_of_api = uri.path().starts_with("/v1/");
    let refused = api::not_found(uri).await.into_response();
    if is_of_api { refused } else { errors::answer(&request.into_parts().0.headers, refused) }
}
