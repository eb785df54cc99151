//! The bodies of an exchange. A request's comes in time and within the memory that all
//! bodies share, or not at all; an answer's keeps the connection busy to its end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::connection::Exchange;

/// What is still on its way when the host stops gets so long.
const STOPPING_GRACE: Duration = Duration::from_secs(1);

/// Why a request's body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum BodyError {
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("the host has reached its limit of request bodies in memory")]
    Crowded,
    #[error("the host is shutting down")]
    Stopping,
}

pub(super) struct Received {
    body: Incoming,
    exchange: Exchange,
    deadline: Instant,
    stop: CancellationToken,
    /// Made when the body is waited for; most come with their header.
    waiting: Option<Pin<Box<Waiting>>>,
}

struct Waiting {
    timer: Pin<Box<Sleep>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    is_stopping: bool,
}

impl Received {
    pub(crate) fn new(
        body: Incoming,
        exchange: Exchange,
        timeout: Duration,
        stop: CancellationToken,
    ) -> Self {
        Self { body, exchange, deadline: Instant::now() + timeout, stop, waiting: None }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let waiting = self.waiting.get_or_insert_with(|| {
            Box::pin(Waiting {
                timer: Box::pin(tokio::time::sleep_until(self.deadline)),
                stopped: Box::pin(self.stop.clone().cancelled_owned()),
                is_stopping: false,
            })
        });
        if !waiting.is_stopping && waiting.stopped.as_mut().poll(cx).is_ready() {
            waiting.is_stopping = true;
            let soon = Instant::now() + STOPPING_GRACE;
            waiting.timer.as_mut().reset(soon.min(self.deadline));
        }
        let late = if waiting.is_stopping { BodyError::Stopping } else { BodyError::TooSlow };
        waiting.timer.as_mut().poll(cx).map(|()| late)
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                Poll::Ready(Some(match this.exchange.take_body_bytes(bytes) {
                    true => Ok(frame),
                    false => Err(BodyError::Crowded.into()),
                }))
            }
            Poll::Ready(other) => Poll::Ready(other.map(|frame| frame.map_err(Into::into))),
            Poll::Pending => this.poll_late(cx).map(|late| Some(Err(late.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pub(super) struct Answer {
    pub body: Body,
    pub _exchange: Exchange,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
