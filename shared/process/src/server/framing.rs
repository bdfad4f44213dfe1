//! Framing of requests by RFC 9112, checked before hyper reads a byte of a head.
//!
//! hyper accepts heads with bare LF, without `Host`, and with both lengths, and answers the others without a body. So
//! [`Checked`] releases a head only once it is complete and keeps every rule. In place of any other head, hyper reads
//! a head of ours that ends the connection, and the service answers that request with the reason, [`Refused`].
//! The check knows where a body ends; it never reads what a body contains.

use std::io;
use std::mem::MaybeUninit;
use std::net::Ipv6Addr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use http::uri::Authority;
use http::{StatusCode, Uri};
use tokio::io::{AsyncRead, ReadBuf};

/// Headers one request may have.
const MAX_HEADERS: usize = 64;
/// Largest head of a request, largest trailer section, and longest line of a chunk, in bytes.
pub(super) const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Bytes after a refused head that are read at most. A close with unread bytes resets the connection, and the client may
/// lose the response.
const MAX_DISCARDED_BYTES: usize = 256 * 1024;
/// The head that hyper reads in place of a refused one.
const REFUSED_HEAD: &[u8] = b"REFUSED * HTTP/1.1\r\nconnection: close\r\n\r\n";

/// The reason to refuse a request before its head is read: an extension of the request that stands in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Malformed,
    Target,
    Host,
    /// The length of the body.
    Length,
    TargetTooLong,
    TooLarge,
}

impl Refused {
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::Target | Self::Host | Self::Length => StatusCode::BAD_REQUEST,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }

    /// The stable code of the error, for machines.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "head_malformed",
            Self::Target => "target_invalid",
            Self::Host => "host_invalid",
            Self::Length => "length_invalid",
            Self::TargetTooLong => "target_too_long",
            Self::TooLarge => "head_too_large",
        }
    }

    /// The sentence for people.
    pub fn msg(self) -> &'static str {
        match self {
            Self::Malformed => {
                "BadRequest: the request's head is malformed; send HTTP/1.1 as RFC 9112 says, each line ended by CRLF"
            }
            Self::Target => {
                "BadRequest: the request target is invalid; send a path, or a URI of the host in the Host header"
            }
            Self::Host => {
                "BadRequest: the request needs one Host header with a valid host; send it once"
            }
            Self::Length => {
                "BadRequest: the length of the body is ambiguous; send one Content-Length of digits, or one \
                 Transfer-Encoding: chunked"
            }
            Self::TargetTooLong => {
                "URITooLong: the request target is larger than 32 KiB; send a shorter one"
            }
            Self::TooLarge => {
                "RequestHeaderFieldsTooLarge: the head has more than 64 headers or 32 KiB; send fewer"
            }
        }
    }
}

/// The reading half of a connection, for servers that accept connections themselves, too.
pub struct Checked<R> {
    io: R,
    framing: Framing,
    /// Bytes that were read and not yet released: the start of a head.
    held: Vec<u8>,
    /// How many bytes at the start of `held` are checked.
    checked: usize,
    refused: Arc<OnceLock<Refused>>,
}

impl<R: AsyncRead + Unpin> Checked<R> {
    /// `refused` is set when hyper gets the last head, which stands for a refused one.
    pub fn new(io: R, refused: Arc<OnceLock<Refused>>) -> Self {
        Self {
            io,
            framing: Framing::default(),
            held: Vec::new(),
            checked: 0,
            refused,
        }
    }

    /// Discards what has arrived, and lets hyper read [`REFUSED_HEAD`].
    fn refuse(&mut self, refused: Refused, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) {
        self.held = Vec::new();
        let start = buffer.filled().len();
        let mut discarded = 0;
        while discarded < MAX_DISCARDED_BYTES
            && let Poll::Ready(Ok(())) = Pin::new(&mut self.io).poll_read(context, buffer)
            && buffer.filled().len() > start
        {
            discarded += buffer.filled().len() - start;
            buffer.set_filled(start);
        }
        buffer.put_slice(REFUSED_HEAD);
        self.refused.get_or_init(|| refused);
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Checked<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (this, start) = (&mut *self, buffer.filled().len());
        // After the last head there is nothing to read.
        while this.refused.get().is_none() {
            if this.checked == 0 && !this.held.is_empty() {
                match this.framing.check(&this.held) {
                    Ok(checked) => this.checked = checked,
                    Err(Malformed::Head(refused)) => {
                        this.refuse(refused, context, buffer);
                        return Poll::Ready(Ok(()));
                    }
                    Err(Malformed::Body) => {
                        return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                    }
                }
            }
            if this.checked > 0 {
                let released = this.checked.min(buffer.remaining());
                buffer.put_slice(&this.held[..released]);
                this.held.drain(..released);
                this.checked -= released;
                return Poll::Ready(Ok(()));
            }
            ready!(Pin::new(&mut this.io).poll_read(context, buffer))?;
            let read = &buffer.filled()[start..];
            // Nearly always a read is whole heads and bodies, and nothing is copied.
            let released = if this.held.is_empty() {
                this.framing.check(read).unwrap_or_default()
            } else {
                0
            };
            this.held.extend_from_slice(&read[released..]);
            let is_end = read.is_empty();
            buffer.set_filled(start + released);
            if released > 0 || is_end {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Malformed {
    Head(Refused),
    /// The framing of a chunked body: the service finds out when it reads the body.
    Body,
}

/// Kind of the next bytes of a connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Next {
    #[default]
    Head,
    /// Content of this many bytes, and whether it is a chunk.
    Data(u64, bool),
    ChunkSize,
    /// From the CRLF of the last chunk's line.
    Trailers,
}

/// Length of the next part, and what follows it; `None` while it is incomplete.
type Part = Option<(usize, Next)>;

/// Follows the requests of a connection: pure.
#[derive(Debug, Default)]
struct Framing {
    next: Next,
    /// Bytes of an incomplete part that were checked before.
    seen: usize,
}

impl Framing {
    /// Returns how many of these bytes are whole heads or belong to bodies. The next call begins with the first other byte.
    fn check(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut checked = 0;
        while checked < bytes.len() {
            match self.part(&bytes[checked..]) {
                Ok(Some((length, next))) => {
                    checked += length;
                    (self.next, self.seen) = (next, 0);
                }
                Ok(None) => {
                    self.seen = bytes.len() - checked;
                    break;
                }
                // The same error follows once everything before it is released.
                Err(_) if checked > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(checked)
    }

    fn part(&self, bytes: &[u8]) -> Result<Part, Malformed> {
        let limited = &bytes[..bytes.len().min(MAX_HEAD_BYTES)];
        // A client that sends byte by byte costs one parse for each line.
        let is_new = self.seen == 0 || bytes[self.seen..].contains(&b'\n');
        let part = match self.next {
            Next::Data(left, is_chunk) => {
                let length = left.min(bytes.len() as u64);
                let next = match left - length {
                    0 if is_chunk => Next::ChunkSize,
                    0 => Next::Head,
                    left => Next::Data(left, is_chunk),
                };
                return Ok(Some((length as usize, next)));
            }
            _ if !is_new => None,
            Next::ChunkSize => chunk(limited)?,
            Next::Trailers => trailers(limited)?,
            Next::Head => head(limited).map_err(Malformed::Head)?,
        };
        if part.is_some() || limited.len() < MAX_HEAD_BYTES {
            return Ok(part);
        }
        let has_line = limited.trim_ascii_start().contains(&b'\n');
        Err(match self.next {
            Next::Head if has_line => Malformed::Head(Refused::TooLarge),
            Next::Head => Malformed::Head(Refused::TargetTooLong),
            _ => Malformed::Body,
        })
    }
}

fn head(bytes: &[u8]) -> Result<Part, Refused> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, &mut headers) {
        // httparse accepts a bare LF as the end of a line.
        Ok(httparse::Status::Complete(length)) if is_crlf(&bytes[..length]) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refused::TooLarge),
        _ => return Err(Refused::Malformed),
    };
    let field = |name: &str| {
        let found = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
        let mut found = request.headers.iter().filter(found);
        (found.next().map(|header| header.value), found.count())
    };
    let is_http_11 = request.version == Some(1);
    let host = match field("host") {
        (Some(host), 0) if is_host(host) => Some(host),
        (None, _) if !is_http_11 => None,
        _ => return Err(Refused::Host),
    };
    let method = request.method.unwrap_or_default();
    if !is_target(method, request.path.unwrap_or_default(), host) {
        return Err(Refused::Target);
    }
    let next = match (field("transfer-encoding"), field("content-length")) {
        ((None, _), (None, _)) => Next::Head,
        ((None, _), (Some(length), 0)) => match digits(length).ok_or(Refused::Length)? {
            0 => Next::Head,
            length => Next::Data(length, false),
        },
        ((Some(coding), 0), (None, _)) if is_http_11 && coding.eq_ignore_ascii_case(b"chunked") => {
            Next::ChunkSize
        }
        _ => return Err(Refused::Length),
    };
    Ok(Some((length, next)))
}

fn chunk(bytes: &[u8]) -> Result<Part, Malformed> {
    match httparse::parse_chunk_size(bytes) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete((length, 0))) => Ok(Some((length - 2, Next::Trailers))),
        // With the CRLF after the content, which hyper checks.
        Ok(httparse::Status::Complete((length, size))) if size < u64::MAX - 1 => {
            Ok(Some((length, Next::Data(size + 2, true))))
        }
        _ => Err(Malformed::Body),
    }
}

fn trailers(bytes: &[u8]) -> Result<Part, Malformed> {
    match memchr::memmem::find(bytes, b"\r\n\r\n") {
        Some(end) if is_crlf(&bytes[..end]) => Ok(Some((end + 4, Next::Head))),
        None if is_crlf(bytes) => Ok(None),
        _ => Err(Malformed::Body),
    }
}

/// Whether every line ends in CRLF.
fn is_crlf(lines: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', lines).all(|at| lines[..at].ends_with(b"\r"))
}

/// A length in bytes: digits alone, no sign and no list. hyper keeps the largest numbers for bodies without a length.
fn digits(text: &[u8]) -> Option<u64> {
    let is_digits = text.iter().all(u8::is_ascii_digit);
    let length: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (is_digits && i64::try_from(length).is_ok()).then_some(length)
}

/// Whether the target has one of RFC 9112's four forms, and names the host that the `Host` header names.
fn is_target(method: &str, target: &str, host: Option<&[u8]>) -> bool {
    let Ok(uri) = Uri::try_from(target) else {
        return false;
    };
    let is_named = |authority: &Authority| {
        let named = authority.as_str().as_bytes();
        is_host(named) && host.is_none_or(|host| host.eq_ignore_ascii_case(named))
    };
    let is_form = match (uri.scheme_str(), uri.authority()) {
        (None, None) => target.starts_with('/') || (target == "*" && method == "OPTIONS"),
        (None, Some(_)) => method == "CONNECT",
        (Some(scheme), Some(named)) => matches!(scheme, "http" | "https") && is_named(named),
        _ => false,
    };
    is_form && !target.contains('#')
}

/// Whether the value is one host, with or without a port. RFC 3986 allows a comma in a name, but in `Host` it means that
/// a proxy merged two headers.
fn is_host(value: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(value) else {
        return false;
    };
    let (host, all) = (authority.host(), authority.as_str());
    let is_ipv6 = |text: &str| text.trim_end_matches(']').parse::<Ipv6Addr>().is_ok();
    // If the host is not a prefix, a user's name precedes it, and the whole value fails the check of the port.
    let rest = all.strip_prefix(host).unwrap_or(all);
    let port = rest.strip_prefix(':').or(rest.is_empty().then_some(""));
    !host.is_empty()
        && !host.contains(',')
        && host.strip_prefix('[').is_none_or(is_ipv6)
        && port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The refusal of one request, or the lengths of its head and of what is read of the body.
    fn refusal(head: &str) -> Option<Refused> {
        match Framing::default().check(head.as_bytes()) {
            Ok(_) => None,
            Err(Malformed::Head(refused)) => Some(refused),
            Err(Malformed::Body) => panic!("a body: {head:?}"),
        }
    }

    /// A head with these lines after a valid request line and `Host`.
    fn with(lines: &str) -> String {
        format!("POST /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    }

    #[test]
    fn a_head_that_breaks_a_rule_is_refused() {
        let many = "a: b\r\n".repeat(MAX_HEADERS);
        let large = format!("a: {}\r\n", "b".repeat(MAX_HEAD_BYTES));
        for (head, expected) in [
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), Refused::Host),
            (with("Host: a\r\n"), Refused::Host),
            (with("").replace("a\r\n", "\r\n"), Refused::Host),
            (with("").replace("a\r\n", "a, b\r\n"), Refused::Host),
            (with("").replace("a\r\n", "a,b\r\n"), Refused::Host),
            (with("").replace("a\r\n", "u@a\r\n"), Refused::Host),
            (with("").replace("a\r\n", "a:b\r\n"), Refused::Host),
            (with("").replace("a\r\n", "a:1:2\r\n"), Refused::Host),
            (with("").replace("a\r\n", "a/b\r\n"), Refused::Host),
            (with("").replace("a\r\n", "[a]\r\n"), Refused::Host),
            (with("").replace("a\r\n", "[::1]a\r\n"), Refused::Host),
            (with("").replace("a\r\n", "http://a\r\n"), Refused::Host),
            (with("").replace("\r\n", "\n"), Refused::Malformed),
            (with("a: b\n"), Refused::Malformed),
            (with("a: b\rc: d\r\n"), Refused::Malformed),
            (with("a: b\r\r\n"), Refused::Malformed),
            (format!("\n{}", with("")), Refused::Malformed),
            (with("a : b\r\n"), Refused::Malformed),
            (with("a: b\r\n c\r\n"), Refused::Malformed),
            (
                with("Transfer-Encoding:\r\n chunked\r\n"),
                Refused::Malformed,
            ),
            (with("a\r\n"), Refused::Malformed),
            (with(": b\r\n"), Refused::Malformed),
            (with("a: \0\r\n"), Refused::Malformed),
            (with("").replace("/x", ""), Refused::Malformed),
            (with("").replace("/x ", "/x  "), Refused::Malformed),
            (with("").replace("HTTP/1.1", "HTTP/x"), Refused::Malformed),
            ("GET /\r\n".to_owned(), Refused::Malformed),
            ("\x16\x03\x01".to_owned(), Refused::Malformed),
            (with("").replace("/x", "x"), Refused::Target),
            (with("").replace("/x", "*"), Refused::Target),
            (with("").replace("/x", "/x#y"), Refused::Target),
            (with("").replace("/x", "http://b/x"), Refused::Target),
            (with("").replace("/x", "http://u@a/x"), Refused::Target),
            (with("").replace("/x", "http://a:8080/x"), Refused::Target),
            (with("").replace("/x", "ftp://a/x"), Refused::Target),
            (with("").replace("1.1", "2.0"), Refused::Malformed),
            (with("").replace("1.1", "1.2"), Refused::Malformed),
            (
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
                Refused::Malformed,
            ),
            (with(&many), Refused::TooLarge),
            (with(&large), Refused::TooLarge),
            (
                with("").replace("/x", &"/x".repeat(MAX_HEAD_BYTES)),
                Refused::TargetTooLong,
            ),
        ] {
            let shown: String = head.chars().take(120).collect();
            assert_eq!(refusal(&head), Some(expected), "{shown:?}");
        }
    }

    #[test]
    fn a_length_that_two_readers_could_read_differently_is_refused() {
        let chunked = "Transfer-Encoding: chunked\r\n";
        for lines in [
            &*format!("{chunked}Content-Length: 1\r\n"),
            &*format!("Content-Length: 1\r\n{chunked}"),
            &*format!("Content-Length: 0\r\n{chunked}"),
            &*format!("{chunked}{chunked}"),
            &*format!("Transfer-Encoding: identity\r\n{chunked}"),
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked,\r\n",
            "Transfer-Encoding:\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: 1 1\r\n",
            "Content-Length: 1.0\r\n",
            "Content-Length:\r\n",
            "Content-Length: 9223372036854775808\r\n",
            "Content-Length: 99999999999999999999999\r\n",
        ] {
            assert_eq!(refusal(&with(lines)), Some(Refused::Length), "{lines:?}");
        }
        let old = with(chunked).replace("1.1", "1.0");
        assert_eq!(refusal(&old), Some(Refused::Length));
    }

    #[test]
    fn what_rfc_9112_allows_is_accepted() {
        for head in [
            with(""),
            format!("\r\n{}", with("")),
            with("Transfer-Encoding: Chunked \r\n"),
            with("Content-Length:\t007 \r\n"),
            with("x:\r\n"),
            with("x: \u{e4}\r\n"),
            with("").replace("a\r\n", "a.b-c_d:8080\r\n"),
            with("").replace("a\r\n", "127.0.0.1:80\r\n"),
            with("").replace("a\r\n", "[::1]:80\r\n"),
            with("").replace("a\r\n", "a:\r\n"),
            with("").replace("/x", "http://A/x?y"),
            with("").replace("/x", "//x"),
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_owned(),
            "GET / HTTP/1.0\r\n\r\n".to_owned(),
        ] {
            assert_eq!(refusal(&head), None, "{head:?}");
        }
    }

    #[test]
    fn framing_of_a_chunked_body_that_is_not_clear_ends_the_body() {
        let head = with("Transfer-Encoding: chunked\r\n");
        for body in ["x\r\n", "-1\r\n", "0\r\na: b\n\n", "0\r\na: b\r\nc\n\r\n"] {
            let mut framing = Framing::default();
            assert_eq!(framing.check(head.as_bytes()), Ok(head.len()));
            let checked = framing.check(body.as_bytes()).unwrap_or_default();
            let rest = framing.check(&body.as_bytes()[checked..]);
            assert_eq!(rest, Err(Malformed::Body), "{body:?}");
        }
    }

    /// Requests, and where the head of each ends.
    fn requests() -> impl Strategy<Value = Vec<String>> {
        let body = prop_oneof![
            Just(String::new()),
            (0_usize..3000)
                .prop_map(|bytes| format!("Content-Length: {bytes}\r\n\r\n{}", "\n".repeat(bytes))),
            proptest::collection::vec(1_usize..300, 0..5).prop_map(|chunks| {
                let chunk = |bytes: &usize| format!("{bytes:x};a=b\r\n{}\r\n", "\r".repeat(*bytes));
                let chunks: String = chunks.iter().map(chunk).collect();
                format!("Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\nt: v\r\n\r\n")
            }),
        ];
        let request = body.prop_map(|body| {
            let end = if body.is_empty() { "\r\n" } else { "" };
            format!("POST /x HTTP/1.1\r\nHost: a\r\n{body}{end}")
        });
        proptest::collection::vec(request, 1..6)
    }

    proptest! {
        #[test]
        fn requests_in_any_pieces_are_released_whole_and_a_head_never_in_part(
            requests in requests(),
            pieces in proptest::collection::vec(1_usize..400, 1..200),
        ) {
            let text = requests.concat();
            let bad = "GET / HTTP/1.1\n\n";
            let bytes = [text.as_bytes(), bad.as_bytes()].concat();
            let (mut framing, mut released, mut arrived) = (Framing::default(), 0, 0);
            for piece in pieces.into_iter().cycle() {
                arrived = (arrived + piece).min(bytes.len());
                match framing.check(&bytes[released..arrived]) {
                    Ok(checked) => released += checked,
                    Err(error) => {
                        prop_assert_eq!(error, Malformed::Head(Refused::Malformed));
                        break;
                    }
                }
                let mut end = 0;
                for request in &requests {
                    let head = end + request.find("\r\n\r\n").expect("a head") + 4;
                    prop_assert!(released <= end || released >= head, "{released} of {head}");
                    end += request.len();
                }
            }
            prop_assert_eq!(released, text.len());
        }
    }
}
