//! Connections that a client keeps open, over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::*;

/// Deadline of every wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that echoes the path of each request.
struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(max_connections: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let service = service_fn(async |request: Request<RequestBody>| {
            let path = request.uri().path().to_owned();
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(path))))
        });
        let server = tokio::spawn(serve(listener, service, max_connections, shutdown.clone()));
        Self {
            address,
            shutdown,
            server,
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
    async fn send(&mut self, paths: &[&str]) {
        let request = |path: &&str| {
            format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{{}}")
        };
        let requests: String = paths.iter().map(request).collect();
        self.stream
            .write_all(requests.as_bytes())
            .await
            .expect("sent");
    }

    /// Returns head and body of the next response; `None` if the connection ends first.
    async fn response(&mut self) -> Option<(String, String)> {
        timeout(PATIENCE, self.next_response())
            .await
            .expect("a response in time")
    }

    async fn next_response(&mut self) -> Option<(String, String)> {
        loop {
            let text = String::from_utf8_lossy(&self.unread);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
                if body.len() >= length {
                    let response = (head.to_owned(), body[..length].to_owned());
                    let end = head.len() + 4 + length;
                    self.unread.drain(..end);
                    return Some(response);
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
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(10).await;
    let mut client = server.client().await;
    let paths = ["/1", "/2", "/3", "/4", "/5"];
    client.send(&paths).await;
    for path in paths {
        assert_eq!(
            client.response().await.map(|(_, body)| body).as_deref(),
            Some(path)
        );
    }
    client.send(&["/6"]).await;
    assert_eq!(
        client.response().await.map(|(_, body)| body).as_deref(),
        Some("/6")
    );
}

#[tokio::test]
async fn a_new_client_gets_the_slot_of_a_busy_connection_that_was_answered() {
    let server = Server::start(1).await;
    let (mut busy, mut new) = (server.client().await, server.client().await);
    busy.send(&["/"]).await;
    busy.response().await.expect("the slot was free");
    new.send(&["/new"]).await;
    let busy = async {
        // Never idle for long.
        loop {
            busy.send(&["/"]).await;
            let (head, _) = busy
                .response()
                .await
                .expect("the response announces the close");
            if head.contains("connection: close") {
                return;
            }
        }
    };
    let (response, ()) = tokio::join!(new.response(), busy);
    assert_eq!(response.map(|(_, body)| body).as_deref(), Some("/new"));
}

/// Serves one request, whose body the service reads, and returns the error of the body.
async fn error_of_body(sent: &[&[u8]]) -> Option<Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (found, mut errors) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<RequestBody>| {
        let found = found.clone();
        async move {
            let body = http_body_util::BodyExt::collect(request.into_body()).await;
            found.send(body.err()).expect("it is awaited");
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        }
    });
    let server = tokio::spawn(serve(listener, service, 10, CancellationToken::new()));
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10000\r\n\r\n";
    stream.write_all(head).await.expect("sent");
    for part in sent {
        stream.write_all(part).await.expect("sent");
    }
    let error = timeout(PATIENCE, errors.recv())
        .await
        .expect("a body that does not arrive ends");
    server.abort();
    error.expect("one request")
}

#[tokio::test]
async fn a_body_that_does_not_arrive_ends_with_an_error() {
    let error = error_of_body(&[b"some"]).await;
    assert!(error.is_some_and(|error| error.is::<TooSlow>()));
    assert!(error_of_body(&[&[b'1'; 10_000]]).await.is_none());
}

#[tokio::test]
async fn a_drain_ends_with_idle_connections_open() {
    let server = Server::start(10).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = server.client().await;
        client.send(&["/"]).await;
        client.response().await.expect("answered");
        clients.push(client);
    }
    server.shutdown.cancel();
    timeout(PATIENCE, server.server)
        .await
        .expect("the drain ends")
        .expect("no panic");
}
