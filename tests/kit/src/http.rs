//! An HTTP/1.1 client that sends exactly the given bytes.
//!
//! Libraries refuse to send malformed requests; this client leaves the decision to the server. [`Request`] builds
//! the bytes and sends them over a connection of their own. [`Connection`] is kept alive; load generators and stubs use it,
//! because it copies nothing: one buffer per connection, no allocation per message, heads parsed by `httparse`. A
//! [`Connection`] never decodes a chunked body.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Time limit of an answer: three times the contract's limit.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// First size of a connection's buffer.
const BUFFER_BYTES: usize = 4 * 1024;
/// Largest message: a full SendMessageBatch, escaped.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most headers of a message.
const HEADERS_MAX: usize = 64;

/// Bytes of a request.
#[derive(Clone)]
pub struct Request {
    head: Vec<u8>,
    body: Vec<u8>,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Headers in the order of the answer; names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        Self::for_host(method, path, "localhost")
    }

    /// A request with this `Host`.
    pub fn for_host(method: &str, path: &str, host: &str) -> Self {
        Self {
            head: format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n").into(),
            body: vec![],
        }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// `POST /producer`.
    pub fn event() -> Self {
        Self::new("POST", "/producer")
    }

    /// `POST /payments/charges` of so many cents.
    pub fn charge(tenant: &str, key: &str, amount: u64) -> Self {
        let body = json!({"amount": amount, "currency": "EUR", "reference": key, "metadata": {}});
        let request = Self::new("POST", "/payments/charges").tenant(tenant);
        request.key(key).body(body.to_string())
    }

    /// `POST …/refunds` of so many cents of a charge.
    pub fn refund(tenant: &str, key: &str, charge: &str, amount: u64) -> Self {
        let path = format!("/payments/charges/{charge}/refunds");
        let body = json!({ "amount": amount });
        let request = Self::new("POST", &path).tenant(tenant);
        request.key(key).body(body.to_string())
    }

    /// Adds a header, whatever its bytes.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [name.as_bytes(), b": ", value.as_ref(), b"\r\n"] {
            self.head.extend_from_slice(part);
        }
        self
    }

    /// Adds the tenant's header, spelled as clients spell it.
    #[must_use]
    pub fn tenant(self, id: impl AsRef<[u8]>) -> Self {
        self.header("tenantID", id)
    }

    /// Adds an `Idempotency-Key`.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("Idempotency-Key", key)
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The request as it is sent over a kept connection.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        if !self.body.is_empty() || !self.head.starts_with(b"GET ") {
            bytes.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends the request over a connection of its own and reads the answer until the server closes.
    ///
    /// # Errors
    /// The connection fails, or the answer is cut off, late or no HTTP.
    pub async fn send(&self, to: SocketAddr) -> io::Result<Answer> {
        in_time(self.exchange(to)).await
    }

    /// Sends the request to a server that is known to run.
    ///
    /// # Panics
    /// No complete answer comes.
    pub async fn ask(&self, of: SocketAddr) -> Answer {
        self.send(of)
            .await
            .unwrap_or_else(|error| panic!("{self:?} to {of} failed: {error}"))
    }

    async fn exchange(&self, to: SocketAddr) -> io::Result<Answer> {
        let (mut receiving, mut sending) = TcpStream::connect(to).await?.into_split();
        let bytes = self.clone().header("connection", "close").bytes();
        let mut answer = Vec::new();
        // A server may answer and close before it has read everything: the answer counts.
        let (written, read) = tokio::join!(
            sending.write_all(&bytes),
            receiving.read_to_end(&mut answer)
        );
        match Answer::parse(&answer) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => {
                read?;
                written?;
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self.head[..self.head.len().min(300)];
        write!(
            f,
            "{:?} with a body of {} bytes",
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
    /// The body is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// The body is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error} in the body of {}: {:?}", self.status, self.text())
        })
    }

    /// A string of the JSON body, empty where the field is missing.
    pub fn field(&self, name: &str) -> String {
        self.json()
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    /// The answer in these bytes once it is complete. Without `content-length` the body is everything after the head.
    ///
    /// # Errors
    /// The bytes are no HTTP.
    pub fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let Some((head, head_bytes)) = response_head(bytes, &mut headers)? else {
            return Ok(None);
        };
        let rest = &bytes[head_bytes..];
        let length = match header(head.headers, "content-length") {
            Some(text) => number(text)?,
            None => rest.len(),
        };
        let text = |value| String::from_utf8_lossy(value).into_owned();
        let headers = head
            .headers
            .iter()
            .map(|header| (header.name.to_ascii_lowercase(), text(header.value)));
        Ok(rest.get(..length).map(|body| Self {
            status: head.code.unwrap_or_default(),
            headers: headers.collect(),
            body: body.to_vec(),
        }))
    }
}

/// A connection that is kept from one message to the next; each end of a measurement has one.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// End of the current message.
    used: usize,
    /// End of the bytes read so far.
    filled: usize,
    body: usize,
}

/// The head of an answer, as far as a measurement needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub has_retry_after: bool,
    /// The server closes the connection after this answer.
    pub closes: bool,
}

/// The parts of a request that a stub needs; borrowed from its connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Incoming<'a> {
    pub path: &'a str,
    /// The action of an AWS call.
    pub target: Option<&'a str>,
    pub body: &'a [u8],
    /// The client closes the connection after this request.
    pub closes: bool,
}

/// A message's parts: bytes of its head, bytes of its body, and the parsed head.
type Parsed<T> = (usize, usize, T);

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// No server listens.
    pub async fn open(to: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(to).await?)
    }

    /// A connection over an open stream.
    ///
    /// # Errors
    /// The stream has been closed.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER_BYTES],
            used: 0,
            filled: 0,
            body: 0,
        })
    }

    /// Sends these bytes, which are one request, and reads the head of the answer; [`Self::body`] is its body.
    ///
    /// # Errors
    /// The answer is cut off or no HTTP, or the length of its body is unknown.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<Head> {
        self.write(request).await?;
        self.read(parse_response)
            .await?
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Sends these bytes, which are one request, and reads the answer; the server decides whether it keeps the connection.
    ///
    /// # Errors
    /// As [`Self::ask`]; also an answer that is late or followed by another.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        in_time(self.ask(request)).await?;
        if self.filled > self.used {
            return Err(io::Error::other("one request has two answers"));
        }
        let answer = Answer::parse(&self.buffer[..self.used])?;
        answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Reads the next request; none where the client closed the connection.
    ///
    /// # Errors
    /// The request is cut off or no HTTP, or the length of its body is unknown.
    pub async fn request(&mut self) -> io::Result<Option<Incoming<'_>>> {
        let whole =
            self.read(|bytes| Ok(parse_request(bytes)?.map(|(head, body, _)| (head, body, ()))));
        if whole.await?.is_none() {
            return Ok(None);
        }
        let parsed = parse_request(&self.buffer[..self.used])?;
        Ok(parsed.map(|(head, _, incoming)| Incoming {
            body: &self.buffer[head..self.used],
            ..incoming
        }))
    }

    /// The body of the message that was read last.
    pub fn body(&self) -> &[u8] {
        &self.buffer[self.body..self.used]
    }

    /// Writes all of these bytes.
    ///
    /// # Errors
    /// The other end has closed the connection.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads the next message, head and body.
    async fn read<T>(
        &mut self,
        parse: impl Fn(&[u8]) -> io::Result<Option<Parsed<T>>>,
    ) -> io::Result<Option<T>> {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        loop {
            if let Some((head, body, parsed)) = parse(&self.buffer[..self.filled])? {
                let whole = head + body;
                while self.filled < whole {
                    if self.fill(whole).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                (self.body, self.used) = (head, whole);
                return Ok(Some(parsed));
            }
            if self.fill(self.filled + 1).await? == 0 {
                return match self.filled {
                    0 => Ok(None),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    /// Reads the available bytes, with room for `wanted` bytes in all; returns 0 at the end of the stream.
    async fn fill(&mut self, wanted: usize) -> io::Result<usize> {
        if wanted > MESSAGE_BYTES_MAX {
            return Err(invalid("message too large"));
        }
        if wanted > self.buffer.len() {
            self.buffer.resize(wanted.next_power_of_two(), 0);
        }
        // `read` of tokio knows from a short read that the socket is empty; `try_read` would ask the kernel once more.
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        self.filled += read;
        Ok(read)
    }
}

type Headers<'a> = [MaybeUninit<httparse::Header<'a>>; HEADERS_MAX];

fn response_head<'h, 'b>(
    bytes: &'b [u8],
    headers: &'h mut Headers<'b>,
) -> io::Result<Option<(httparse::Response<'h, 'b>, usize)>> {
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        headers,
    );
    Ok(match parsed.map_err(invalid)? {
        httparse::Status::Complete(head) => Some((response, head)),
        httparse::Status::Partial => None,
    })
}

fn parse_response(bytes: &[u8]) -> io::Result<Option<Parsed<Head>>> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let Some((response, head)) = response_head(bytes, &mut headers)? else {
        return Ok(None);
    };
    let answer = Head {
        status: response.code.unwrap_or_default(),
        has_retry_after: header(response.headers, "retry-after").is_some(),
        closes: closes(response.version, response.headers),
    };
    Ok(Some((head, body_bytes(response.headers)?, answer)))
}

fn parse_request(bytes: &[u8]) -> io::Result<Option<Parsed<Incoming<'_>>>> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, &mut headers);
    let httparse::Status::Complete(head) = parsed.map_err(invalid)? else {
        return Ok(None);
    };
    let text = |value| std::str::from_utf8(value).unwrap_or_default();
    let incoming = Incoming {
        path: request.path.unwrap_or_default(),
        target: header(request.headers, "x-amz-target").map(text),
        body: &[],
        closes: closes(request.version, request.headers),
    };
    Ok(Some((head, body_bytes(request.headers)?, incoming)))
}

fn closes(version: Option<u8>, headers: &[httparse::Header<'_>]) -> bool {
    let says_so = |value: &[u8]| value.eq_ignore_ascii_case(b"close");
    version == Some(0) || header(headers, "connection").is_some_and(says_so)
}

fn body_bytes(headers: &[httparse::Header<'_>]) -> io::Result<usize> {
    match header(headers, "content-length") {
        Some(text) => number(text),
        None if header(headers, "transfer-encoding").is_some() => {
            Err(invalid("the length of the body is unknown"))
        }
        None => Ok(0),
    }
}

fn header<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    let found = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case(name));
    found.map(|header| header.value)
}

fn number(text: &[u8]) -> io::Result<usize> {
    let text = std::str::from_utf8(text).map_err(invalid)?;
    text.parse().map_err(invalid)
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

async fn in_time<T>(exchange: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(ANSWER_TIMEOUT, exchange)
        .await
        .map_err(|_| io::ErrorKind::TimedOut)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_it_is_complete() {
        let text =
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}";
        assert!(
            Answer::parse(&text[..text.len() - 1])
                .expect("no error")
                .is_none()
        );
        let answer = Answer::parse(text).expect("valid").expect("complete");
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("1"))
        );
        assert_eq!(parse_response(&text[..30]).expect("no error"), None);
        let head = Head {
            status: 503,
            has_retry_after: true,
            closes: false,
        };
        assert_eq!(
            parse_response(text).expect("valid"),
            Some((text.len() - 2, 2, head))
        );
        assert!(parse_response(b"nonsense\r\n\r\n").is_err());
    }

    #[test]
    fn a_sender_that_closes_is_known() {
        for text in [
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n",
        ] {
            let (_, _, head) = parse_response(text.as_bytes())
                .expect("valid")
                .expect("complete");
            assert!(head.closes, "{text}");
        }
    }

    #[test]
    fn a_body_of_unknown_length_is_an_error() {
        assert!(parse_response(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(parse_response(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
    }

    #[test]
    fn the_action_of_an_aws_call_is_found_in_any_case() {
        let text = b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.A\r\n\r\n";
        let (_, _, incoming) = parse_request(text).expect("valid").expect("complete");
        assert_eq!((incoming.path, incoming.target), ("/", Some("AmazonSQS.A")));
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let bytes = Request::event().tenant("tenant-2").body("{}").bytes();
        let text = String::from_utf8(bytes).expect("text");
        assert!(
            text.ends_with("tenantID: tenant-2\r\ncontent-length: 2\r\n\r\n{}"),
            "{text}"
        );
    }
}
