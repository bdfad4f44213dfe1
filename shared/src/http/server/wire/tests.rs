//! What is refused on the wire, and above all what is not.

use futures_util::poll;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::http::server::places::Places;
use crate::http::shedder::{Shedder, TakenOn};

const REQUEST: &str =
    "POST /producer HTTP/1.1\r\nHost: test\r\ntenantID: tenant-2\r\nContent-Length: 2\r\n\r\n{}";

/// A wire whose other end is a client's, at a door where `tenant-2` has as much as it may.
struct Ends {
    wire: Wire,
    client: TcpStream,
    place: Arc<Place>,
    taken: Vec<TakenOn>,
}

impl Ends {
    async fn new() -> Self {
        let (shedder, taken) = Shedder::full();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound"))
            .await
            .expect("it listens");
        let (stream, _) = listener.accept().await.expect("a client");
        let place = Places::default().take();
        let wire = Wire::new(
            stream,
            Some(Door::new(shedder, "producer")),
            Arc::clone(&place),
        );
        Self {
            wire,
            client,
            place,
            taken,
        }
    }

    async fn send(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.expect("sent");
    }

    /// Sends this, of which hyper gets every byte.
    async fn passes(&mut self, text: &str) {
        self.send(text).await;
        let mut bytes = vec![0; 4096];
        let read = self.wire.read(&mut bytes).await.expect("no error");
        assert_eq!(String::from_utf8_lossy(&bytes[..read]), text);
    }

    /// What the client gets to read while hyper gets nothing.
    async fn refusal(&mut self) -> String {
        let (mut of_hyper, mut bytes) = ([0; 4096], vec![0; 4096]);
        tokio::select! {
            read = self.wire.read(&mut of_hyper) => panic!("hyper has read {read:?}"),
            read = self.client.read(&mut bytes) => bytes.truncate(read.expect("no error")),
        }
        String::from_utf8(bytes).expect("text")
    }

    /// As hyper does once a request has been answered and written.
    async fn answered(&mut self) {
        self.place.begin();
        self.wire.flush().await.expect("no error");
        assert_eq!(self.wire.standing, Standing::Handed, "it is in progress");
        self.place.end();
        self.wire.flush().await.expect("no error");
    }
}

#[tokio::test]
async fn a_request_that_is_refused_gets_no_further_and_the_connection_goes_on() {
    let mut ends = Ends::new().await;
    for _ in 0..3 {
        ends.send(REQUEST).await;
        let answer = ends.refusal().await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
            "{head}"
        );
        for header in [
            "retry-after: 1",
            "x-request-id: ",
            "content-type: application/json",
        ] {
            assert!(head.contains(header), "{header} in {head}");
        }
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{head}"
        );
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["code"], "too_busy");
    }
    // With room again it is hyper's, byte for byte.
    ends.taken.clear();
    ends.passes(REQUEST).await;
}

#[tokio::test]
async fn whoever_is_not_refused_or_refused_for_something_else_is_left_to_hyper() {
    for request in [
        REQUEST.replace("tenant-2", "tenant-3"),
        REQUEST.replace("tenant-2", "No Tenant"),
        REQUEST.replace("Host: test", "tenantID: tenant-3"),
        REQUEST.replace("tenantID: tenant-2\r\n", ""),
        "GET /producer/readiness-probe HTTP/1.1\r\ntenantID: tenant-2\r\n\r\n".to_owned(),
    ] {
        let mut ends = Ends::new().await;
        ends.passes(&request).await;
    }
}

#[tokio::test]
async fn after_an_answer_it_looks_again() {
    let mut ends = Ends::new().await;
    let other = REQUEST.replace("tenant-2", "tenant-3");
    ends.passes(&other).await;
    ends.answered().await;
    ends.send(REQUEST).await;
    assert!(ends.refusal().await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn what_is_part_of_another_message_is_never_taken_for_a_request() {
    let other = REQUEST.replace("tenant-2", "tenant-3");
    let more = "GET /producer HTTP/1.1\r\nX: ".to_owned();
    let body = format!(
        "POST /producer HTTP/1.1\r\ncontent-length: {}\r\n\r\n",
        REQUEST.len()
    );
    for first in [
        more,
        body,
        format!("{other}{other}"),
        format!("{other}POST / HT"),
    ] {
        let mut ends = Ends::new().await;
        ends.passes(&first).await;
        // Whole, refused anywhere else; here it belongs to what came before, as far as anybody can tell.
        for _ in 0..2 {
            ends.passes(REQUEST).await;
        }
    }
}

#[tokio::test]
async fn what_comes_before_the_answer_is_never_answered_before_it() {
    let mut ends = Ends::new().await;
    let other = REQUEST.replace("tenant-2", "tenant-3");
    ends.passes(&other).await;
    // hyper has it, and has not written its answer.
    ends.place.begin();
    ends.passes(REQUEST).await;
    let mut nothing = [0; 1];
    assert!(poll!(std::pin::pin!(ends.client.read(&mut nothing))).is_pending());
}

/// Whether the bytes are one whole request.
fn is_whole(bytes: &[u8]) -> bool {
    whole(bytes, &mut [httparse::EMPTY_HEADER; MAX_HEADERS]).is_some()
}

#[test]
fn only_plain_requests_are_whole() {
    assert!(is_whole(REQUEST.as_bytes()));
    let with = |header: &str| REQUEST.replace("Host: test", header);
    for left in [
        with("Transfer-Encoding: chunked"),
        with("Expect: 100-continue"),
        with("Connection: close"),
        with("Upgrade: websocket"),
        with("Content-Length: 2"),
        with("Bad Header: x"),
        REQUEST.replace("Length: 2", "Length: +2"),
        REQUEST.replace("Length: 2", "Length: 2, 2"),
        REQUEST.replace("Length: 2", "Length: 99999999999999999999"),
        REQUEST.replace("HTTP/1.1", "HTTP/1.0"),
        REQUEST.replace("POST", "HEAD"),
        REQUEST.replace("POST", "CONNECT"),
    ] {
        assert!(!is_whole(left.as_bytes()), "{left}");
    }
}

proptest! {
    #[test]
    fn a_request_is_whole_only_with_all_its_bytes_and_no_more(
        id in "[a-z]([a-z0-9-]{0,20}[a-z0-9])?",
        body in proptest::collection::vec(any::<u8>(), 0..40),
        cut in any::<prop::sample::Index>(),
        more in proptest::collection::vec(any::<u8>(), 1..10),
    ) {
        let head = format!("POST /producer HTTP/1.1\r\nTENANTID: {id}\r\ncontent-length: {}\r\n\r\n", body.len());
        let bytes = [head.as_bytes(), &body].concat();
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let request = whole(&bytes, &mut fields).expect("whole");
        let (_, _, headers) = super::head(&request).expect("nothing is wrong with it");
        prop_assert_eq!(headers.get(TENANT_HEADER).map(HeaderValue::as_bytes), Some(id.as_bytes()));
        prop_assert!(!is_whole(&bytes[..cut.index(bytes.len())]));
        prop_assert!(!is_whole(&[bytes.as_slice(), &more].concat()));
    }
}
