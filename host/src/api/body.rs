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

/// A piece of an answer. HTTP/2 keeps one for each request in memory beyond what the client takes.
const PIECE_BYTES: usize = 64 << 10;
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

/// An answer. It is handed over in pieces, and keeps its exchange until the client has taken nearly all
/// of it: HTTP/2 would keep a whole one in memory as soon as the client takes the first byte.
pub(super) struct Answer {
    body: Body,
    /// Of the frame that is being handed over.
    rest: Bytes,
    _exchange: Exchange,
}

impl Answer {
    pub(super) fn new(body: Body, exchange: Exchange) -> Self {
        Self { body, rest: Bytes::new(), _exchange: exchange }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                other => return other,
            };
            match frame.into_data() {
                Ok(data) if data.len() > PIECE_BYTES => self.rest = data,
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        let bytes = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::StreamExt as _;

    use super::*;
    use crate::api::connection::Connections;

    #[tokio::test]
    async fn a_large_answer_comes_in_pieces_and_keeps_its_exchange_to_the_last_one() {
        let connections = Arc::new(Connections::new(1, 0, 0));
        let connection = connections.admit().unwrap();
        let bytes = 3 * PIECE_BYTES + 7;
        let text: String = "abc".chars().cycle().take(bytes).collect();
        let exchange = Exchange::begin(&connection, &connections);
        let answer = Answer::new(Body::from(text.clone()), exchange);
        assert_eq!(answer.size_hint().exact(), Some(bytes as u64));
        let mut pieces = Body::new(answer).into_data_stream();
        let mut read = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.unwrap();
            assert!(piece.len() <= PIECE_BYTES && connection.is_busy());
            read.extend_from_slice(&piece);
        }
        assert!(read == text.as_bytes());
        drop(pieces);
        connection.flushed();
        assert!(!connection.is_busy());
    }
}
