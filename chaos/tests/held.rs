//! Held connections never exclude other clients.

use kit::http::Request;
use kit::wait::{PATIENCE, until};
use kit::world::World;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Most connections of the producer.
const SLOTS: usize = 20;
const BOUND: (&str, &str) = ("MAX_CONNECTIONS", "20");

#[tokio::test]
async fn idle_connections_are_closed_for_a_connection_with_a_request() {
    let world = World::new().await;
    let producer = world.service("producer", "pool-1", &[BOUND]).await;
    let starts: [&[u8]; 3] = [
        b"",
        b"POST /producer HTTP/1.1\r\nx-slow: ",
        b"GET /producer HTTP/1.1\r\nhost: x\r\n\r\n",
    ];
    let mut held = Vec::new();
    for start in starts.iter().cycle().take(3 * SLOTS) {
        let mut stream = TcpStream::connect(producer.address)
            .await
            .expect("it listens");
        stream.write_all(start).await.expect("it reads");
        held.push(stream);
    }
    for event in 0..5 {
        producer.post("tenant-2", &event.to_string()).await;
    }
    // Of all connections, the first has been idle longest.
    let mut sink = [0; 1024];
    let closed = async { while held[0].read(&mut sink).await.is_ok_and(|read| read > 0) {} };
    tokio::time::timeout(PATIENCE, closed)
        .await
        .expect("the connection that was idle longest is closed");
}

#[tokio::test]
async fn a_request_in_progress_is_never_closed_for_other_connections() {
    let world = World::new().await;
    let producer = world.service("producer", "pool-1", &[BOUND]).await;
    producer.post("tenant-2", "").await;
    let slow = serde_json::json!([{"action": "SQS.SendMessageBatch", "delay_ms": 1500}]);
    world.endpoint.inject(slow).await;
    world.endpoint.forget_calls().await;
    let request = Request::event().tenant("tenant-2");
    let in_progress =
        futures_util::future::join_all((0..SLOTS).map(|_| request.ask(producer.address)));
    let beside = async {
        let sending = async || world.endpoint.calls().await.of("SQS.SendMessageBatch") > 0;
        until("events are being sent", PATIENCE, sending).await;
        let mut held = Vec::new();
        for _ in 0..SLOTS {
            held.push(
                TcpStream::connect(producer.address)
                    .await
                    .expect("it listens"),
            );
        }
        held
    };
    let (answers, _held) = tokio::join!(in_progress, beside);
    assert!(
        answers.iter().all(|answer| answer.status == 200),
        "each is answered"
    );
}
