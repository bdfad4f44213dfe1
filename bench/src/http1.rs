//! The little HTTP/1.1 both ends of a measurement speak: heads, bodies of known length, nothing else.
//!
//! Load generator and stub share two cores with what they measure, so they must cost next to nothing: one buffer a
//! connection, no allocation a message, no header map. Answers in chunks are refused.

use std::io;

use tokio::net::TcpStream;

/// First size of a connection's buffer.
const BUFFER_BYTES: usize = 16 * 1024;
/// Largest message taken: a full SendMessageBatch, escaped.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// One connection with what was read and not yet used.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    used: usize,
    filled: usize,
}

/// A message's head, as far as anyone here needs it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    bytes: usize,
    body_bytes: usize,
    /// Whether the sender closes after it.
    pub(crate) closes: bool,
}

/// A message: borrowed from its connection's buffer.
pub(crate) struct Message<'a> {
    /// The first line.
    pub(crate) first_line: &'a [u8],
    /// All header lines.
    pub(crate) headers: &'a [u8],
    /// The body.
    pub(crate) body: &'a [u8],
}

impl Connection {
    /// Over an open stream.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER_BYTES],
            used: 0,
            filled: 0,
        })
    }

    /// Reads the next message's head and all of its body; `None` where the other end closed before it.
    pub(crate) async fn read(&mut self) -> io::Result<Option<Head>> {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        loop {
            if let Some(head) = parse_head(&self.buffer[..self.filled])? {
                let whole = head.bytes + head.body_bytes;
                while self.filled < whole {
                    if !self.fill(whole).await? {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                self.used = whole;
                return Ok(Some(head));
            }
            if !self.fill(self.filled + 1).await? {
                return if self.filled == 0 {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// The message that [`Self::read`] returned the head of.
    pub(crate) fn message(&self, head: &Head) -> Message<'_> {
        let (head_bytes, body) = self.buffer[..self.used].split_at(head.bytes);
        let line_end = head_bytes
            .iter()
            .position(|byte| *byte == b'\r')
            .unwrap_or(head_bytes.len());
        let (first_line, headers) = head_bytes.split_at(line_end);
        Message {
            first_line,
            headers,
            body,
        }
    }

    /// Writes all of it.
    pub(crate) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is there, with room for `wanted` bytes in all; false at the end of the stream.
    async fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if wanted > MAX_MESSAGE_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "message too large",
            ));
        }
        if wanted > self.buffer.len() {
            self.buffer.resize(wanted.next_power_of_two(), 0);
        }
        loop {
            match self.stream.try_read(&mut self.buffer[self.filled..]) {
                Ok(count) => {
                    self.filled += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.readable().await?
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The value of a header; names in any case.
pub(crate) fn header<'a>(lines: &'a [u8], name: &str) -> Option<&'a [u8]> {
    lines.split(|byte| *byte == b'\n').find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        found
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| value.trim_ascii())
    })
}

fn parse_head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let lines = &bytes[..end];
    let body_bytes = match header(lines, "content-length") {
        Some(text) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok()),
        None if header(lines, "transfer-encoding").is_some() => None,
        None => Some(0),
    };
    let body_bytes = body_bytes.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "a body of unknown length is not understood",
        )
    })?;
    let closes = lines.starts_with(b"HTTP/1.0")
        || header(lines, "connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    Ok(Some(Head {
        bytes: end + 4,
        body_bytes,
        closes,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(parse_head(&text[..30]).expect("no error"), None);
        let head = parse_head(text).expect("valid").expect("whole");
        assert_eq!(
            (head.bytes, head.body_bytes, head.closes),
            (text.len() - 5, 5, false)
        );
    }

    #[test]
    fn a_sender_that_closes_is_known() {
        for text in [
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n",
        ] {
            assert!(
                parse_head(text.as_bytes())
                    .expect("valid")
                    .expect("whole")
                    .closes,
                "{text}"
            );
        }
    }

    #[test]
    fn a_body_of_unknown_length_is_an_error() {
        assert!(parse_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(parse_head(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
    }

    #[test]
    fn header_names_have_no_case() {
        assert_eq!(
            header(b"POST /\r\nX-Amz-Target: AmazonSQS.A\r\n", "x-amz-target"),
            Some(&b"AmazonSQS.A"[..])
        );
        assert_eq!(header(b"POST /\r\n", "x-amz-target"), None);
    }
}
