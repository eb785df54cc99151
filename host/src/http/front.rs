//! What stands before the router. `POST /events` is by far the most frequent request
//! there is; it goes straight to its handler, because matching a path, the boxes that a
//! route is made of, and what is attached to a request on its way cost as much again as
//! reading an event.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use futures::future::{BoxFuture, Either};
use tower_service::Service;

use super::{Shared, events};

type Answer = Result<Response, Infallible>;

#[derive(Clone)]
pub struct Front {
    pub site: Shared,
    pub router: Router,
}

impl Service<Request> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<BoxFuture<'static, Answer>, <Router as Service<Request>>::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // As the router: each request has a service of its own.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() == events::PATH && request.method() == Method::POST {
            let site = Shared::clone(&self.site);
            return Either::Left(Box::pin(async move {
                Ok(events::post(State(site), request).await.into_response())
            }));
        }
        Either::Right(self.router.call(request))
    }
}
