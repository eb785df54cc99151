//! A connection's bytes, with a deadline for everything that a client can let last: the
//! header of a request, the time between two requests, taking the answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::connection::{Connection, Timeouts};

pub(super) struct Stream<S> {
    stream: S,
    connection: Arc<Connection>,
    timeouts: Timeouts,
    /// Runs to `armed`, which is never later than the deadline when it is waited for. It is
    /// moved when it has run out or would come too late: not for each request.
    timer: Pin<Box<Sleep>>,
    armed: Instant,
}

impl<S> Stream<S> {
    pub(crate) fn new(stream: S, connection: Arc<Connection>, timeouts: Timeouts) -> Self {
        let armed = Instant::now() + timeouts.idle;
        let timer = Box::pin(tokio::time::sleep_until(armed));
        Self { stream, connection, timeouts, timer, armed }
    }

    /// To be asked when the socket has nothing to say: whether it was silent for too long.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let Some(deadline) = self.connection.deadline(&self.timeouts) else {
                return Poll::Pending;
            };
            if deadline < self.armed || self.timer.is_elapsed() {
                self.timer.as_mut().reset(deadline);
                self.armed = deadline;
            }
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn or_expired<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Pending => self.poll_expired(cx).map(Err),
            ready @ Poll::Ready(_) => ready,
        }
    }

    fn written(
        &mut self,
        polled: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if polled.is_pending() {
            self.connection.blocked();
        }
        self.or_expired(polled, cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let received = &buffer.filled()[before..];
        if !received.is_empty() {
            this.connection.received(received);
        }
        this.or_expired(polled, cx)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.written(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.written(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        if polled.is_ready() {
            this.connection.flushed();
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;
    use crate::api::connection::{Connections, Exchange};

    const SECOND: Duration = Duration::from_secs(1);
    const TIMEOUTS: Timeouts = Timeouts {
        header: SECOND,
        body: Duration::from_secs(2),
        idle: Duration::from_secs(3),
        write: Duration::from_secs(4),
    };

    fn connected() -> (Stream<DuplexStream>, DuplexStream, Arc<Connection>, Arc<Connections>) {
        let connections = Arc::new(Connections::new(1, 1, 1));
        let connection = connections.admit().unwrap();
        let (near, far) = tokio::io::duplex(8);
        (Stream::new(near, Arc::clone(&connection), TIMEOUTS), far, connection, connections)
    }

    async fn check_timed_out<T: std::fmt::Debug>(
        after: Duration,
        ended: impl Future<Output = io::Result<T>>,
    ) {
        let start = Instant::now();
        assert_eq!(ended.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let took = start.elapsed();
        assert!(took >= after && took < after + SECOND / 10, "after {took:?}, not {after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_and_one_that_drips_its_header_are_given_up() {
        let (mut stream, _far, ..) = connected();
        check_timed_out(TIMEOUTS.idle, stream.read(&mut [0; 8])).await;

        let (mut stream, mut far, ..) = connected();
        let drip = async {
            while far.write_all(b"x").await.is_ok() {
                tokio::time::sleep(SECOND / 20).await;
            }
        };
        let read = async {
            loop {
                let _read = stream.read(&mut [0; 8]).await?;
            }
            #[expect(unreachable_code, reason = "says what the loop never returns")]
            Ok(())
        };
        tokio::select! {
            () = drip => unreachable!("the other end is there"),
            () = check_timed_out(TIMEOUTS.header, read) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_take_its_answer_is_given_up_also_if_it_sips() {
        let (mut stream, _far, ..) = connected();
        check_timed_out(TIMEOUTS.write, stream.write_all(&[0; 100])).await;

        let (mut stream, mut far, ..) = connected();
        let sip = async {
            while far.read_u8().await.is_ok() {
                tokio::time::sleep(SECOND / 20).await;
            }
        };
        tokio::select! {
            () = sip => unreachable!("the other end is there"),
            () = check_timed_out(TIMEOUTS.write, stream.write_all(&[0; 1000])) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_request_is_answered_silence_is_no_fault() {
        let (mut stream, mut far, connection, connections) = connected();
        let exchange = Exchange::begin(&connection, &connections);
        let mut buffer = [0; 8];
        let long = tokio::time::timeout(TIMEOUTS.idle * 100, stream.read(&mut buffer));
        long.await.unwrap_err();
        drop(exchange);
        stream.flush().await.unwrap();
        far.write_all(b"x").await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 1);
        check_timed_out(TIMEOUTS.header, stream.read(&mut [0; 8])).await;
    }
}
