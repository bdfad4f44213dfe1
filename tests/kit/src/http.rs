//! An HTTP/1.1 client that sends exactly the bytes it is given; [`Request`] on a connection of its own, [`Connection`] one
//! after the other.
//!
//! Libraries refuse to send what a hostile client sends; this one leaves the judgement to the server.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for an answer: thrice what the contract allows.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// A request to be sent.
#[derive(Clone)]
pub struct Request {
    head: Vec<u8>,
    body: Vec<u8>,
}

/// An answer, complete.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers in the order they came; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request with this method and path.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            head: format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n").into(),
            body: vec![],
        }
    }

    /// GET.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// `POST /producer`.
    pub fn event() -> Self {
        Self::new("POST", "/producer")
    }

    /// Adds a header, whatever its bytes.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [name.as_bytes(), b": ", value.as_ref(), b"\r\n"] {
            self.head.extend_from_slice(part);
        }
        self
    }

    /// Names the tenant, spelled as clients spell it.
    #[must_use]
    pub fn tenant(self, id: impl AsRef<[u8]>) -> Self {
        self.header("tenantID", id)
    }

    /// Sets an `Idempotency-Key`.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("Idempotency-Key", key)
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    /// Where nobody listens, or the answer is cut off, late or no HTTP.
    pub async fn send(&self, to: SocketAddr) -> io::Result<Answer> {
        tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(to))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Sends it to a server that is known to be there.
    ///
    /// # Panics
    /// Where no whole answer comes.
    pub async fn ask(&self, of: SocketAddr) -> Answer {
        self.send(of)
            .await
            .unwrap_or_else(|error| panic!("{} of {of}: {error}", self.first_line()))
    }

    fn first_line(&self) -> String {
        String::from_utf8_lossy(&self.head)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    async fn exchange(&self, to: SocketAddr) -> io::Result<Answer> {
        let (mut receiving, mut sending) = TcpStream::connect(to).await?.into_split();
        let mut bytes = self.head.clone();
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", self.body.len()).as_bytes());
        bytes.extend_from_slice(&self.body);
        let mut answer = Vec::new();
        // A server may answer, and close, before it has read everything: the answer counts.
        let (written, read) = tokio::join!(
            sending.write_all(&bytes),
            receiving.read_to_end(&mut answer)
        );
        Answer::parse(&answer).or_else(|error| {
            read?;
            written?;
            Err(error)
        })
    }
}

/// A connection that is kept from one request to the next.
pub struct Connection(TcpStream);

impl Connection {
    /// A new one.
    ///
    /// # Errors
    /// Where nobody listens.
    pub async fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Sends these bytes, which are one request, and reads its answer; whether the connection is kept is the server's.
    ///
    /// # Errors
    /// Where the answer is cut off, late or no HTTP, or is followed by another.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        let exchange = async {
            self.0.write_all(request).await?;
            let mut bytes = Vec::with_capacity(1024);
            loop {
                if self.0.read_buf(&mut bytes).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let Ok(answer) = Answer::parse(&bytes) else {
                    continue;
                };
                let head = bytes
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n")
                    .unwrap_or_default()
                    + 4;
                return if bytes.len() == head + answer.body.len() {
                    Ok(answer)
                } else {
                    Err(io::Error::other("one request has two answers"))
                };
            }
        };
        tokio::time::timeout(ANSWER_TIMEOUT, exchange)
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self.head[..self.head.len().min(300)];
        write!(
            f,
            "{:?} with {} bytes of body",
            String::from_utf8_lossy(head),
            self.body.len()
        )
    }
}

impl Answer {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    ///
    /// # Panics
    /// Where it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error} in the body of {}: {:?}", self.status, self.text())
        })
    }

    /// A string of the JSON body, empty where it has none.
    pub fn field(&self, name: &str) -> String {
        self.json()
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    /// The answer in these bytes.
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let wrong = |reason: &str| io::Error::new(io::ErrorKind::UnexpectedEof, reason.to_owned());
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .ok_or_else(|| wrong("no complete answer"))?;
        let head = String::from_utf8_lossy(&bytes[..end]);
        let (first, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
        let status = first
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let headers = rest
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Self {
            status: status.ok_or_else(|| wrong("no status"))?,
            headers,
            body: bytes[end + 4..].to_vec(),
        };
        if let Some(length) = answer
            .header("content-length")
            .and_then(|length| length.parse::<usize>().ok())
        {
            if answer.body.len() < length {
                return Err(wrong("the body was cut off"));
            }
            answer.body.truncate(length);
        }
        Ok(answer)
    }
}
