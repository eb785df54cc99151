//! HTTP/1.1 over a plain socket: as little as a load generator needs. A client that
//! pools, decodes and retries would cost more than the host that it measures.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request, ready to be written as it is.
pub type Request = bytes::Bytes;

pub fn post(path: &str, content_type: &str, body: &[u8]) -> Request {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request.into()
}

pub fn get(path: &str) -> Request {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into()
}

/// One keep-alive connection, on which requests follow one another.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer<'c> {
    pub status: u16,
    pub body: &'c [u8],
}

impl Connection {
    /// # Errors
    /// If no server listens there.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| address.to_string())?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request and waits for its whole answer.
    ///
    /// # Errors
    /// If the connection ends, or what comes is not understood.
    pub async fn call(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.send(request).await?;
        self.receive().await
    }

    /// # Errors
    /// If the connection has ended.
    pub async fn send(&mut self, request: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(request).await?)
    }

    /// # Errors
    /// If the connection ends, or what comes is not understood.
    pub async fn receive(&mut self) -> Result<Answer<'_>> {
        self.buffer.clear();
        let (status, head, length) = loop {
            self.read_more().await?;
            if let Some(read) = read_head(&self.buffer)? {
                break read;
            }
        };
        while self.buffer.len() < head + length {
            self.read_more().await?;
        }
        ensure!(self.buffer.len() == head + length, "more came than one answer");
        Ok(Answer { status, body: &self.buffer[head..] })
    }

    async fn read_more(&mut self) -> Result<()> {
        ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
        Ok(())
    }
}

/// Status, length of the head and of the body; none if the head is not complete yet.
fn read_head(bytes: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).context("the head of an answer")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.with_context(|| format!("not an answer: {head}"))?;
    for line in lines {
        let (name, value) =
            line.split_once(':').with_context(|| format!("not a header: {line}"))?;
        if name.eq_ignore_ascii_case("content-length") {
            return Ok(Some((status, end + 4, value.trim().parse()?)));
        }
    }
    bail!("an answer without a length: {head}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_where_the_body_ends() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nx: y\r\n\r\n{}";
        assert_eq!(read_head(answer).unwrap(), Some((202, answer.len() - 2, 2)));
        assert_eq!(read_head(&answer[..30]).unwrap(), None);
        assert!(read_head(b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n").is_err());
    }
}
