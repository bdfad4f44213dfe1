//! A connection's bytes on their way to hyper. While load is shed, requests that are to be refused get no further.
//!
//! hyper makes of a request what a handler needs. Where most are refused, that is most of the work, so their refusals are
//! written here instead. It is done only where that cannot be mistaken for anything else: between two messages, that is
//! where nothing was handed over or all of it has been answered and written; for bytes that are one whole request of a
//! plain kind, neither less nor more. Everything else goes to hyper, whose requests meet the same door.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Uri};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use httparse::Status;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::MAX_HEADERS;
use super::places::Place;
use crate::http::door::Door;
use crate::http::observe::REQUEST_ID;
use crate::tenant::TENANT_HEADER;

/// Headers of requests that are left to hyper.
const CHANGE_HOW_IT_GOES_ON: [HeaderName; 4] = [TRANSFER_ENCODING, EXPECT, UPGRADE, CONNECTION];
/// Headers that a refusal depends on.
const OF_INTEREST: [HeaderName; 2] = [HeaderName::from_static(TENANT_HEADER), REQUEST_ID];

/// The socket, as hyper sees it.
pub(super) struct Wire {
    stream: TcpStream,
    door: Option<Door>,
    place: Arc<Place>,
    standing: Standing,
}

/// What is known of where messages begin.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Standing {
    /// The next byte begins a message, and everything before has been answered.
    Between,
    /// One whole request is with hyper.
    Handed,
    /// Nothing, for as long as the connection lasts.
    Unknown,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, door: Option<Door>, place: Arc<Place>) -> Self {
        Self {
            stream,
            door,
            place,
            standing: Standing::Between,
        }
    }

    /// Whether the bytes were a request that is refused with this; else hyper is to have them.
    fn refused(&mut self, came: &[u8]) -> io::Result<bool> {
        if self.standing != Standing::Between {
            self.standing = Standing::Unknown;
            return Ok(false);
        }
        let Some(door) = &self.door else {
            return Ok(false);
        };
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let Some(request) = whole(came, &mut fields) else {
            self.standing = Standing::Unknown;
            return Ok(false);
        };
        if door.is_guarded() && !self.place.is_room_wanted() {
            let waited = self.place.visitor().waited();
            let refusal = head(&request)
                .and_then(|(method, uri, headers)| door.refusal(&method, &uri, &headers, waited));
            if let Some(answer) = refusal.and_then(text) {
                match self.stream.try_write(&answer) {
                    Ok(written) if written == answer.len() => return Ok(true),
                    // It has read none of so many answers that this one does not fit any more.
                    Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.standing = Standing::Handed;
        Ok(false)
    }
}

/// The request that these bytes are, where they are one whole request with nothing about it that changes how a connection
/// goes on.
fn whole<'fields, 'bytes>(
    bytes: &'bytes [u8],
    fields: &'fields mut [httparse::Header<'bytes>],
) -> Option<httparse::Request<'fields, 'bytes>> {
    let mut request = httparse::Request::new(fields);
    let Ok(Status::Complete(head)) = request.parse(bytes) else {
        return None;
    };
    if !matches!(request.method?, "GET" | "POST") || request.version != Some(1) {
        return None;
    }
    let mut length = None;
    for field in &*request.headers {
        if CHANGE_HOW_IT_GOES_ON.iter().any(|name| is(field, name)) {
            return None;
        }
        if is(field, &CONTENT_LENGTH) && length.replace(number(field.value)?).is_some() {
            return None;
        }
    }
    (head.checked_add(length.unwrap_or(0))? == bytes.len()).then_some(request)
}

/// What a refusal depends on; none where hyper is to say what is wrong with it.
fn head(request: &httparse::Request<'_, '_>) -> Option<(Method, Uri, HeaderMap)> {
    let mut headers = HeaderMap::with_capacity(OF_INTEREST.len());
    for field in &*request.headers {
        if let Some(name) = OF_INTEREST.iter().find(|name| is(field, name)) {
            headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
        }
    }
    Some((
        request.method?.parse().ok()?,
        request.path?.parse().ok()?,
        headers,
    ))
}

fn is(field: &httparse::Header<'_>, name: &HeaderName) -> bool {
    field.name.eq_ignore_ascii_case(name.as_str())
}

/// Digits, and nothing but digits.
fn number(text: &[u8]) -> Option<usize> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}

/// The answer as it is written; none where its body is not there yet.
fn text(answer: Response<Body>) -> Option<Vec<u8>> {
    let (head, body) = answer.into_parts();
    let body = body.collect().now_or_never()?.ok()?.to_bytes();
    let reason = head.status.canonical_reason().unwrap_or_default();
    let mut text = Vec::with_capacity(512 + body.len());
    text.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", head.status.as_str()).as_bytes());
    for (name, value) in &head.headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    text.extend_from_slice(&body);
    Some(text)
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let before = into.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
            let came = &into.filled()[before..];
            if came.is_empty() || !self.refused(came)? {
                return Poll::Ready(Ok(()));
            }
            self.place.end();
            into.set_filled(before);
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper asks for this once it has written everything that it had.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.standing == Standing::Handed && self.place.is_quiet() {
            self.standing = Standing::Between;
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod fuzz_targets;
#[cfg(test)]
mod tests;
