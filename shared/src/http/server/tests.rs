//! Over real sockets: what a client that keeps its connection sees.

use std::net::SocketAddr;
use std::time::Duration;

use axum::routing::post;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::*;
use crate::http::shedder::{Shedder, TakenOn};

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that answers everything with 200, but `tenant-2` with 503 as long as what comes with it is kept.
struct Guarded {
    address: SocketAddr,
    shutdown: CancellationToken,
    server: tokio::task::JoinHandle<()>,
    _taken: Vec<TakenOn>,
}

impl Guarded {
    async fn start(max_connections: usize) -> Self {
        let (shedder, taken) = Shedder::full();
        let router = Router::new().route("/producer", post(async || "posted"));
        let answers = Answers {
            router,
            door: Some(Door::new(shedder, "producer")),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, answers, max_connections, shutdown.clone()));
        Self {
            address,
            shutdown,
            server,
            _taken: taken,
        }
    }

    async fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        Client {
            stream,
            unread: Vec::new(),
        }
    }
}

struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    async fn send(&mut self, tenants: &[&str]) {
        let request = |tenant: &&str| {
            format!(
                "POST /producer HTTP/1.1\r\nhost: test\r\ntenantID: {tenant}\r\ncontent-length: 2\r\n\r\n{{}}"
            )
        };
        let requests: String = tenants.iter().map(request).collect();
        self.stream
            .write_all(requests.as_bytes())
            .await
            .expect("sent");
    }

    /// Status and head of the next answer; none where the connection ends before it.
    async fn answer(&mut self) -> Option<(u16, String)> {
        timeout(PATIENCE, self.next_answer())
            .await
            .expect("an answer in time")
    }

    async fn next_answer(&mut self) -> Option<(u16, String)> {
        loop {
            let text = String::from_utf8_lossy(&self.unread);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
                if body.len() >= length {
                    let answer = (head[9..12].parse().expect("a status"), head.to_owned());
                    let end = head.len() + 4 + length;
                    self.unread.drain(..end);
                    return Some(answer);
                }
            }
            if self
                .stream
                .read_buf(&mut self.unread)
                .await
                .ok()
                .is_none_or(|read| read == 0)
            {
                return None;
            }
        }
    }
}

#[tokio::test]
async fn answers_and_refusals_come_in_the_order_of_the_requests() {
    let guarded = Guarded::start(10).await;
    let mut client = guarded.client().await;
    let statuses = [
        ("tenant-2", 503),
        ("tenant-3", 200),
        ("tenant-2", 503),
        ("tenant-2", 503),
        ("tenant-3", 200),
    ];
    for (tenant, status) in statuses {
        client.send(&[tenant]).await;
        assert_eq!(
            client.answer().await.map(|(status, _)| status),
            Some(status),
            "{tenant}"
        );
    }
    // Without waiting for the answers, and one at a time again.
    client.send(&statuses.map(|(tenant, _)| tenant)).await;
    for (tenant, status) in statuses {
        assert_eq!(
            client.answer().await.map(|(status, _)| status),
            Some(status),
            "{tenant}"
        );
    }
    client.send(&["tenant-2"]).await;
    assert_eq!(client.answer().await.map(|(status, _)| status), Some(503));
}

#[tokio::test]
async fn where_all_places_are_busy_a_new_client_gets_that_of_one_that_was_answered() {
    let guarded = Guarded::start(1).await;
    let (mut busy, mut new) = (guarded.client().await, guarded.client().await);
    busy.send(&["tenant-3"]).await;
    busy.answer().await.expect("the place was free");
    new.send(&["tenant-3"]).await;
    let busy = async {
        // Never quiet for long.
        loop {
            busy.send(&["tenant-3"]).await;
            let (_, head) = busy
                .answer()
                .await
                .expect("a connection ends with an answer that says so");
            if head.contains("connection: close") {
                return;
            }
        }
    };
    let (answer, ()) = tokio::join!(new.answer(), busy);
    assert_eq!(answer.map(|(status, _)| status), Some(200));
}

#[tokio::test]
async fn a_drain_ends_while_load_is_shed() {
    let guarded = Guarded::start(10).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = guarded.client().await;
        client.send(&["tenant-2"]).await;
        assert_eq!(client.answer().await.map(|(status, _)| status), Some(503));
        clients.push(client);
    }
    guarded.shutdown.cancel();
    timeout(PATIENCE, guarded.server)
        .await
        .expect("it ends")
        .expect("no panic");
}
