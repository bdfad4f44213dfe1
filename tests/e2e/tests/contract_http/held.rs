//! Clients that hold what others need: bodies that do not arrive, heads on the admin port.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kit::http::{ANSWER_TIMEOUT, Answer, Request};
use kit::wait::within;
use kit::world::World;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The producer's limit of a body by default, in bytes.
const BODY_BYTES: usize = 256 * 1024;

/// A connection on which these bytes were sent, and no more.
async fn begun(to: SocketAddr, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.expect("it listens");
    stream.write_all(bytes.as_bytes()).await.expect("sent");
    stream
}

/// A POST of this tenant that announces a body and sends one byte of it.
fn unfinished(tenant: &str, bytes: usize) -> String {
    format!(
        "POST /producer HTTP/1.1\r\nHost: test\r\ntenantID: {tenant}\r\ncontent-length: {bytes}\r\n\r\n\""
    )
}

/// The median.
fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Asks on a new connection each, one after the other, and returns how long the answers took.
async fn times(of: SocketAddr, request: &Request, count: usize) -> Vec<Duration> {
    let mut times = vec![];
    for _ in 0..count {
        let asked = Instant::now();
        let answer = request.ask(of).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        times.push(asked.elapsed());
    }
    times
}

#[tokio::test]
async fn slow_bodies_of_one_tenant_leave_room_for_the_bodies_of_the_others() {
    let world = World::new().await;
    let producer = world.producer().await;
    let slow = unfinished("tenant-2", BODY_BYTES);
    let mut held = join_all((0..64).map(|_| begun(producer.address, &slow))).await;
    // The tenant's own share is used up once the first of its bodies is refused.
    let mut answer = [0; 12];
    let refused = async {
        loop {
            for stream in &held {
                if stream.try_read(&mut answer).is_ok_and(|read| read > 0) {
                    return answer;
                }
            }
            tokio::task::yield_now().await;
        }
    };
    let refused = tokio::time::timeout(ANSWER_TIMEOUT, refused).await;
    assert_eq!(&refused.expect("in time"), b"HTTP/1.1 503");
    let post = Request::event()
        .tenant("tenant-4")
        .body(format!("\"{}\"", "x".repeat(20_000)));
    for _ in 0..10 {
        let answers = join_all((0..10).map(|_| post.ask(producer.address))).await;
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200; 10]);
    }
    let open = held
        .iter()
        .filter(|stream| {
            let read = stream.try_read(&mut [0; 1]);
            read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        })
        .count();
    println!("{open} slow bodies were held beside 100 posts, none of which was refused");
    held.clear();
}

#[tokio::test]
async fn a_body_that_stalls_is_a_408_in_json_and_its_connection_closes() {
    let world = World::new().await;
    let producer = world.producer().await;
    let mut stream = begun(producer.address, &unfinished("tenant-2", 1000)).await;
    let mut text = Vec::new();
    tokio::time::timeout(ANSWER_TIMEOUT, stream.read_to_end(&mut text))
        .await
        .expect("the connection closes")
        .expect("readable");
    let answer = Answer::parse(&text).expect("HTTP").expect("whole");
    assert_eq!(
        (answer.status, &*answer.field("code")),
        (408, "body_too_slow")
    );
    assert_eq!(answer.header("connection"), Some("close"));
    let id = answer.field("request_id");
    assert_eq!(answer.header("x-request-id"), Some(&*id));
    let line = producer.log_line("request_id", &id).await;
    assert_eq!(
        (&line["code"], &line["source"]),
        (&"body_too_slow".into(), &"127.0.0.1".into())
    );
}

#[tokio::test]
async fn a_connection_whose_body_stalls_closes_for_a_new_client() {
    let world = World::new().await;
    let slots = [("MAX_CONNECTIONS", "20")];
    let producer = world.service("producer", "pool-1", &slots).await;
    let stalled = unfinished("tenant-2", 1000);
    let held = join_all((0..30).map(|_| begun(producer.address, &stalled))).await;
    let request = Request::get("/producer").tenant("tenant-2");
    times(producer.address, &request, 20).await;
    let mut start = [0; 12];
    for stream in &held {
        let has_answer = stream.try_read(&mut start).is_ok_and(|read| read > 0);
        assert!(
            !has_answer,
            "no slot was free before a body was refused as too slow: {:?}",
            String::from_utf8_lossy(&start)
        );
    }
}

#[tokio::test]
async fn as_many_stalled_bodies_as_there_are_slots_keep_no_new_client_waiting() {
    let world = World::new().await;
    let producer = world.producer().await;
    let stalled = unfinished("tenant-2", 1000);
    let mut held = Vec::new();
    for _ in 0..2100 {
        held.push(begun(producer.address, &stalled).await);
    }
    // The tenant's own clients, too: with each 408 that ends a stalled body, another follows.
    for tenant in ["tenant-2", "tenant-4"] {
        for request in [Request::get("/producer"), Request::event()] {
            let request = request.tenant(tenant);
            let times = times(producer.address, &request, 50).await;
            println!(
                "beside 2,100 stalled bodies of tenant-2, 50 new clients of {tenant}: p50 {:?}, slowest {:?}",
                middle(times.clone()),
                times.iter().max().expect("some")
            );
        }
    }
}

#[tokio::test]
async fn probes_are_answered_beside_a_thousand_slow_heads_on_the_admin_port() {
    let world = World::new().await;
    let producer = world.producer().await;
    let slow = "GET /livez HTTP/1.1\r\nHost: te";
    let mut held = Vec::new();
    for _ in 0..1000 {
        held.push(begun(producer.admin, slow).await);
    }
    let attack = async {
        loop {
            for stream in &mut held {
                if stream.write_all(b"x").await.is_err() {
                    // Closed for another: the attacker comes again.
                    *stream = begun(producer.admin, slow).await;
                }
            }
            within(Duration::from_millis(50), async || None::<()>).await;
        }
    };
    let probes = async {
        for path in ["/livez", "/readyz"] {
            let times = times(producer.admin, &Request::get(path), 30).await;
            let fastest = times.iter().min().expect("some");
            // Whatever else runs on the machine: one of thirty is not delayed by it.
            assert!(*fastest < Duration::from_millis(100), "{path}: {fastest:?}");
            println!(
                "beside 1,000 slow heads, {path}: p50 {:?}, slowest {:?}",
                middle(times.clone()),
                times.iter().max().expect("some")
            );
        }
    };
    tokio::select! {
        () = probes => {}
        () = attack => unreachable!("it has no end"),
    }
}
