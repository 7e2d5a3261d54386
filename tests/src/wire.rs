//! An HTTP/1.1 client written out by hand, so that the door is not judged through the library it is made of.
//!
//! It keeps connections, reads an answer that arrives before the request was sent whole (413), and tells an
//! answer from a broken connection. It never repeats a request: that is for providers to do.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// How long a provider of ours waits. Longer than any door may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than any answer of ours.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A request. `Host` and `Content-Length` are added.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its method.
    pub method: &'static str,
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Bytes,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// A client of one server.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    idle: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Connection {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    /// Bytes that were read and not used.
    rest: Vec<u8>,
}

impl Request {
    /// A look at a page.
    pub fn get(path: &str) -> Self {
        Self { method: "GET", path: path.to_owned(), headers: Vec::new(), body: Bytes::new() }
    }

    fn head(&self, address: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {address}\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if !self.body.is_empty() || self.method == "POST" {
            head.extend(["Content-Length: ", &self.body.len().to_string(), "\r\n"]);
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// A client without connections.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::new(Vec::new()) }
    }

    /// Sends a request and reads the answer. An error says nothing about whether the server saw it.
    pub async fn send(&self, request: &Request) -> Result<Answer> {
        timeout(PATIENCE, self.exchange(request)).await.with_context(|| format!("no answer within {PATIENCE:?}"))?
    }

    async fn exchange(&self, request: &Request) -> Result<Answer> {
        let mut connection = match self.idle() {
            Some(connection) => connection,
            None => Connection::open(self.address).await?,
        };
        let Exchange { answer, reusable } = connection.exchange(&request.head(self.address), &request.body).await?;
        if reusable {
            self.idle.lock().expect("nothing panics while it holds the lock").push(connection);
        }
        Ok(answer)
    }

    /// A kept connection that the server has not closed meanwhile, as far as one can know.
    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().expect("nothing panics while it holds the lock");
        while let Some(connection) = idle.pop() {
            let unread = connection.read.try_read(&mut [0]);
            if unread.is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                return Some(connection);
            }
        }
        None
    }
}

struct Exchange {
    answer: Answer,
    /// Whether the connection can carry another request.
    reusable: bool,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true).context("cannot switch off Nagle's algorithm")?;
        let (read, write) = stream.into_split();
        Ok(Self { read, write, rest: Vec::new() })
    }

    async fn exchange(&mut self, head: &[u8], body: &[u8]) -> Result<Exchange> {
        let Self { read, write, rest } = self;
        let send = async {
            write.write_all(head).await?;
            write.write_all(body).await?;
            write.flush().await
        };
        let receive = receive(read, rest);
        tokio::pin!(send, receive);
        let (answer, sent) = tokio::select! {
            biased;
            sent = &mut send => (receive.await, sent.is_ok()),
            answer = &mut receive => (answer, false),
        };
        let answer = answer?;
        let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(Exchange { answer, reusable: sent && !closes })
    }
}

async fn receive(read: &mut OwnedReadHalf, rest: &mut Vec<u8>) -> Result<Answer> {
    let end = loop {
        if let Some(end) = find(rest, b"\r\n\r\n") {
            break end;
        }
        more(read, rest).await?;
    };
    let head = String::from_utf8_lossy(&rest[..end]).into_owned();
    rest.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status in {first:?}"))?;
    let split = |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let headers = lines.map(|line| split(line).with_context(|| format!("no header: {line:?}")));
    let mut answer = Answer { status, headers: headers.collect::<Result<_>>()?, body: Vec::new() };
    let chunked = answer.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    answer.body = if chunked {
        chunks(read, rest).await?
    } else {
        let length = answer.header("content-length").unwrap_or("0");
        let length = length.parse().with_context(|| format!("Content-Length is {length:?}"))?;
        exactly(read, rest, length).await?
    };
    Ok(answer)
}

async fn chunks(read: &mut OwnedReadHalf, rest: &mut Vec<u8>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = find(rest, b"\r\n") {
                break end;
            }
            more(read, rest).await?;
        };
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest.drain(..end + 2);
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size.trim(), 16).with_context(|| format!("chunk of size {size:?}"))?;
        body.extend(exactly(read, rest, size).await?);
        ensure!(exactly(read, rest, 2).await? == b"\r\n", "a chunk without an end");
        if size == 0 {
            return Ok(body);
        }
    }
}

async fn exactly(read: &mut OwnedReadHalf, rest: &mut Vec<u8>, length: usize) -> Result<Vec<u8>> {
    ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
    while rest.len() < length {
        more(read, rest).await?;
    }
    let tail = rest.split_off(length);
    Ok(std::mem::replace(rest, tail))
}

async fn more(read: &mut OwnedReadHalf, rest: &mut Vec<u8>) -> Result<()> {
    ensure!(rest.len() <= ANSWER_BYTES_MAX, "an answer without an end");
    match read.read_buf(rest).await.context("the connection broke")? {
        0 => bail!("the connection was closed before the answer was complete"),
        _ => Ok(()),
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Gives every connection these bytes, whatever it asks, and reports how many connections there were.
    async fn answering(bytes: &'static [u8], times: usize) -> (SocketAddr, tokio::task::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let serve = async move {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            let mut answered = 0;
            let mut seen = Vec::new();
            while answered < times && stream.read_buf(&mut seen).await.expect("readable") > 0 {
                while let Some(end) = find(&seen, b"\r\n\r\n") {
                    seen.drain(..end + 4);
                    stream.write_all(bytes).await.expect("written");
                    answered += 1;
                }
            }
            answered
        };
        (address, tokio::spawn(serve))
    }

    #[tokio::test]
    async fn one_connection_carries_several_requests() {
        let (address, server) = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi", 3).await;
        let client = Client::new(address);
        for _ in 0..3 {
            let answer = client.send(&Request::get("/")).await.expect("an answer");
            assert_eq!((answer.status, answer.text().as_str(), answer.header("x-a")), (200, "hi", Some("b")));
        }
        assert_eq!(server.await.expect("served"), 3);
    }

    #[tokio::test]
    async fn chunks_are_put_together() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        let (address, _server) = answering(bytes, 1).await;
        let answer = Client::new(address).send(&Request::get("/")).await.expect("an answer");
        assert_eq!(answer.text(), "abcde");
    }

    #[tokio::test]
    async fn an_answer_that_comes_before_the_request_is_complete_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let serve = async move {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            let refusal = b"HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(refusal).await.expect("written");
            stream
        };
        let server = tokio::spawn(serve);
        let body = Bytes::from(vec![b'x'; 8 * 1024 * 1024]);
        let request = Request { method: "POST", path: "/".to_owned(), headers: Vec::new(), body };
        assert_eq!(Client::new(address).send(&request).await.expect("an answer").status, 413);
        drop(server.await);
    }

    #[tokio::test]
    async fn a_connection_that_ends_early_is_an_error_and_no_answer() {
        let (address, _server) = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", 1).await;
        assert!(Client::new(address).send(&Request::get("/")).await.is_err());
    }
}
