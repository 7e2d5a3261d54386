//! One kept HTTP/1.1 connection that sends bytes made before and reads no more of the answer than it must.
//!
//! A client library would take more CPU than some of the servers it measures.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any server may take.
const PATIENCE: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true).context("cannot switch off Nagle's algorithm")?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a request and returns the status of its answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        let answered = async {
            self.stream.write_all(request).await.context("cannot send")?;
            self.buffer.clear();
            loop {
                let read = self.stream.read_buf(&mut self.buffer).await.context("cannot receive")?;
                ensure!(read > 0, "the connection was closed before the answer");
                if let Some((status, length)) = whole(&self.buffer)? {
                    ensure!(self.buffer.len() == length, "more than one answer");
                    return Ok(status);
                }
                ensure!(self.buffer.len() < ANSWER_BYTES_MAX, "an answer of more than {ANSWER_BYTES_MAX} bytes");
            }
        };
        timeout(PATIENCE, answered).await.context("no answer in time")?
    }
}

/// Status and length of an answer, when all of it is there.
fn whole(answer: &[u8]) -> Result<Option<(u16, usize)>> {
    let Some(head_end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..head_end]).context("a head that is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let Some(status) = status else { bail!("not an HTTP answer: {head}") };
    let length =
        lines.filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let Some((_, length)) = length else { bail!("an answer without Content-Length: {head}") };
    let length = head_end + 4 + length.trim().parse::<usize>().context("not a length")?;
    Ok((answer.len() >= length).then_some((status, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is_there() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        assert_eq!(whole(answer).expect("an answer"), Some((200, answer.len())));
        assert_eq!(whole(&answer[..answer.len() - 1]).expect("a part"), None);
        assert_eq!(whole(b"HTTP/1.1 200 OK\r\n").expect("a part"), None);
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(whole(b"nonsense\r\n\r\n").is_err());
    }
}
