//! Requests that break RFC 9112: two servers on the way of such a request could disagree where it ends.

use kit::http::{ANSWER_TIMEOUT, Answer, Connection, Request};
use kit::local::{ANYWHERE, Local, command};
use kit::process::Process;
use kit::service::Service;
use kit::world::World;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends these bytes, and returns the text of all answers once the server has closed the connection.
async fn text(to: std::net::SocketAddr, bytes: &[u8]) -> String {
    let stream = TcpStream::connect(to).await.expect("it listens");
    let (mut receiving, mut sending) = stream.into_split();
    let mut text = Vec::new();
    // The server may answer and close before it has read everything: the answer counts.
    let exchange =
        async { tokio::join!(sending.write_all(bytes), receiving.read_to_end(&mut text)) };
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let _ = tokio::time::timeout(ANSWER_TIMEOUT, exchange)
        .await
        .unwrap_or_else(|_| panic!("the connection stays open after {shown:?}"));
    String::from_utf8(text).expect("the answers are text")
}

/// As [`text`], parsed; each body is one JSON object without others in it.
async fn answers(to: std::net::SocketAddr, bytes: &[u8]) -> Vec<Answer> {
    text(to, bytes)
        .await
        .split_inclusive('}')
        .filter(|part| part.starts_with("HTTP/1."))
        .map(|part| {
            Answer::parse(part.as_bytes())
                .expect("HTTP")
                .expect("whole")
        })
        .collect()
}

/// A POST of tenant-2 with these lines in its head and this body.
fn post(lines: &str, body: &str) -> String {
    format!("POST /producer HTTP/1.1\r\nHost: test\r\ntenantID: tenant-2\r\n{lines}\r\n{body}")
}

/// Requests with the status and the code of their answers.
fn malformed() -> Vec<(String, u16, &'static str)> {
    let chunks = "2\r\n{}\r\n0\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let get = |lines: &str| format!("GET /producer HTTP/1.1\r\n{lines}\r\n");
    let mut requests = vec![];
    let mut all = |status, code, texts: Vec<String>| {
        requests.extend(texts.into_iter().map(|text| (text, status, code)));
    };
    all(
        400,
        "host_invalid",
        vec![
            get(""),
            get("Host: a\r\nHost: a\r\n"),
            get("Host: a\r\nhost: b\r\n"),
            get("Host:\r\n"),
            get("Host: a, b\r\n"),
            get("Host: a b\r\n"),
            get("Host: user@a\r\n"),
            get("Host: a:port\r\n"),
            get("Host: a/producer\r\n"),
            get("Host: a\r\nHost: a\r\n").replace("1.1", "1.0"),
        ],
    );
    all(
        400,
        "head_malformed",
        vec![
            "GET /producer HTTP/1.1\nHost: a\n\n".to_owned(),
            "GET /producer HTTP/1.1\r\nHost: a\n\r\n".to_owned(),
            "GET /producer HTTP/1.1\r\nHost: a\r\n\n".to_owned(),
            "\nGET /producer HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            get("Host: a\r\nx: b\rc: d\r\n"),
            get("Host: a\r\nx: b\r\r\n"),
            get("Host : a\r\n"),
            get("Host: a\r\nx\t: b\r\n"),
            get("Host: a\r\n x: b\r\n"),
            get("Host: a\r\nx: b\r\n c\r\n"),
            get("Host: a\r\nx\r\n"),
            get("Host: a\r\nx: \0\r\n"),
            post("Transfer-Encoding:\r\n chunked\r\n", chunks),
            post("Content-Length : 2\r\n", "{}"),
            "GET  /producer HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /producer\r\nHost: a\r\n\r\n".to_owned(),
            "\x16\x03\x01\x02\x00\x01".to_owned(),
            get("Host: a\r\n").replace("HTTP/1.1", "HTTP/2.0"),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        ],
    );
    all(
        400,
        "length_invalid",
        vec![
            post(&format!("Content-Length: 2\r\n{chunked}"), chunks),
            post(&format!("{chunked}Content-Length: 2\r\n"), chunks),
            post(&format!("{chunked}{chunked}"), chunks),
            post("Transfer-Encoding: gzip, chunked\r\n", chunks),
            post("Transfer-Encoding: chunked, chunked\r\n", chunks),
            post("Transfer-Encoding: chunked, identity\r\n", chunks),
            post("Transfer-Encoding: identity\r\n", chunks),
            post(&format!("Transfer-Encoding: x\r\n{chunked}"), chunks),
            post("Transfer-Encoding: xchunked\r\n", chunks),
            post("Transfer-Encoding: chunked;a=b\r\n", chunks),
            post(chunked, chunks).replace("HTTP/1.1", "HTTP/1.0"),
            post("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"),
            post("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"),
            post("Content-Length: 2, 2\r\n", "{}"),
            post("Content-Length: +2\r\n", "{}"),
            post("Content-Length: -2\r\n", "{}"),
            post("Content-Length: 0x2\r\n", "{}"),
            post("Content-Length:\r\n", "{}"),
            post("Content-Length: 18446744073709551618\r\n", "{}"),
        ],
    );
    all(
        400,
        "target_invalid",
        vec![
            get("Host: a\r\n").replace("/producer", "http://b/producer"),
            get("Host: a\r\n").replace("/producer", "http://a:81/producer"),
            get("Host: a\r\n").replace("/producer", "http://u@a/producer"),
            get("Host: a\r\n").replace("/producer", "producer"),
            get("Host: a\r\n").replace("/producer", "*"),
            get("Host: a\r\n").replace("/producer", "/producer#x"),
        ],
    );
    all(
        431,
        "head_too_large",
        vec![
            get(&format!("Host: a\r\n{}", "x: y\r\n".repeat(64))),
            get(&format!("Host: a\r\nx: {}\r\n", "y".repeat(40_000))),
            get(&format!("Host: a\r\nx: {}\r\n", "y".repeat(200_000))),
        ],
    );
    all(
        414,
        "target_too_long",
        vec![get("Host: a\r\n").replace("/producer", &"/producer".repeat(8_000))],
    );
    requests
}

/// Asserts that the error is whole, in the log with the client's address, and says that the connection closes.
async fn assert_refused(service: &Service, answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(
        (answer.status, &*answer.field("code")),
        (status, code),
        "{what}: {}",
        answer.text()
    );
    assert!(!answer.field("msg").is_empty(), "{what}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("connection"), Some("close"), "{what}");
    let id = answer.field("request_id");
    assert_eq!(answer.header("x-request-id"), Some(&*id), "{what}");
    let line = service.log_line("request_id", &id).await;
    assert_eq!(
        (&line["status"], &line["code"], &line["source"]),
        (&status.into(), &code.into(), &"127.0.0.1".into()),
        "{line}"
    );
}

#[tokio::test]
async fn a_request_that_breaks_rfc_9112_is_refused_in_json_logged_and_counted_and_its_connection_closes()
 {
    let world = World::new().await;
    for name in ["producer", "consumer", "payments"] {
        let service = world.service(name, "pool-1", &[]).await;
        let requests = malformed();
        for (request, status, code) in &requests {
            let request = request.replace("/producer", &format!("/{name}"));
            let shown: String = request.chars().take(200).collect();
            // Nothing after it on its connection is read as a request.
            let smuggled = format!("{request}{}", post("Content-Length: 2\r\n", "{}"));
            for bytes in [request, smuggled] {
                let found = answers(service.address, bytes.as_bytes()).await;
                let [answer] = &found[..] else {
                    panic!("{shown:?} has {} answers: {found:?}", found.len())
                };
                assert_refused(&service, answer, *status, code, &shown).await;
            }
        }
        let labels = [("route", "none"), ("method", "other")];
        let counted = service.metrics().await.sum("http_requests_total", &labels);
        assert!(counted >= 2.0 * requests.len() as f64, "{counted} counted");
    }
    let depth = world.aws.depth(&world.pool.queue).await;
    assert_eq!(depth.visible, 0, "no event was smuggled in");
}

#[tokio::test]
async fn requests_before_a_malformed_one_are_answered_first() {
    let world = World::new().await;
    let producer = world.producer().await;
    let event = post("Content-Length: 2\r\n", "{}");
    let bytes = format!("{event}{event}GET /producer HTTP/1.1\n\n{event}");
    let found = answers(producer.address, bytes.as_bytes()).await;
    let statuses: Vec<_> = found.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 400]);
    assert_eq!(world.aws.depth(&world.pool.queue).await.visible, 2);
}

#[tokio::test]
async fn a_malformed_head_is_refused_however_it_arrives() {
    let world = World::new().await;
    let producer = world.producer().await;
    for request in [
        "GET /producer HTTP/1.1\r\n\r\n",
        "GET /producer HTTP/1.1\nHost: a\n\n",
        "POST /producer HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(producer.address)
            .await
            .expect("it listens");
        stream.set_nodelay(true).expect("open");
        for byte in request.bytes() {
            // The rest may be refused before it is sent.
            let _ = stream.write_all(&[byte]).await;
            tokio::task::yield_now().await;
        }
        let mut text = String::new();
        tokio::time::timeout(ANSWER_TIMEOUT, stream.read_to_string(&mut text))
            .await
            .expect("in time")
            .expect("text");
        assert!(text.starts_with("HTTP/1.1 400 "), "{request:?}: {text}");
    }
}

#[tokio::test]
async fn what_rfc_9112_allows_is_answered_and_the_connection_is_kept() {
    let world = World::new().await;
    let producer = world.producer().await;
    let chunked = post(
        "Transfer-Encoding: Chunked\r\n",
        "1;a=b\r\n{\r\n1\r\n}\r\n0\r\nx-trailer: y\r\n\r\n",
    );
    let many = "x: y\r\n".repeat(60);
    let large = format!("x: {}\r\n", "y".repeat(31_000));
    for request in [
        post("Content-Length: 002\r\n", "{}"),
        format!("\r\n{}", post("Content-Length: 2\r\n", "{}")),
        chunked,
        post(&format!("{many}Content-Length: 2\r\n"), "{}"),
        post(&format!("{large}Content-Length: 2\r\n"), "{}"),
        post("Content-Length: 2\r\n", "{}").replace("test", "[::1]:8080"),
        post("Content-Length: 2\r\n", "{}").replace(" /", " http://TEST/"),
    ] {
        let stream = TcpStream::connect(producer.address)
            .await
            .expect("it listens");
        let mut connection = Connection::over(stream).expect("open");
        for _ in 0..3 {
            let answer = connection.exchange(request.as_bytes()).await;
            let shown: String = request.chars().take(200).collect();
            assert_eq!(
                answer.map(|answer| answer.status).ok(),
                Some(200),
                "{shown:?}"
            );
        }
    }
    let old = answers(producer.address, b"GET /producer HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.len(), 1);
    assert_eq!(old[0].status, 200);
}

#[tokio::test]
async fn a_chunk_that_is_malformed_is_a_400_and_nothing_after_it_is_a_request() {
    let world = World::new().await;
    let producer = world.producer().await;
    let event = post("Content-Length: 2\r\n", "{}");
    for body in [
        "x\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "2\n{}\n0\n\n",
        "2;a\n=b\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{}\r\n0\r\nx: y\n\n",
        "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    ] {
        let request = post("Transfer-Encoding: chunked\r\n", body);
        let found = answers(producer.address, format!("{request}{event}").as_bytes()).await;
        let [answer] = &found[..] else {
            panic!("{body:?} has {} answers: {found:?}", found.len())
        };
        assert_eq!(
            (answer.status, &*answer.field("code")),
            (400, "body_incomplete"),
            "{body:?}"
        );
    }
    assert_eq!(world.aws.depth(&world.pool.queue).await.visible, 0);
}

#[tokio::test]
async fn every_other_port_refuses_malformed_requests_too() {
    let world = World::new().await;
    let producer = world.producer().await;
    let mut command = command(ANYWHERE, ANYWHERE, None);
    command.arg(format!("--admin-listen={ANYWHERE}"));
    let local = Local::of(Process::start("local", command)).await;
    for (request, status, code) in malformed() {
        let shown: String = request.chars().take(200).collect();
        let probe = request.replace("/producer", "/livez");
        let app = request.replace("/producer", "/pool-1/producer/livez");
        for (port, request) in [
            (local.gateway, &request),
            (producer.admin, &probe),
            (local.admin(), &app),
            (local.endpoint, &request),
        ] {
            let found = answers(port, request.as_bytes()).await;
            assert_eq!(found.len(), 1, "{shown:?}");
            let answer = &found[0];
            assert_eq!(answer.status, status, "{shown:?}: {}", answer.text());
            assert_eq!(answer.header("connection"), Some("close"), "{shown:?}");
            if port == local.endpoint {
                let error = answer.field("__type");
                assert!(error.ends_with("MalformedHttpRequestException"), "{error}");
            } else {
                assert_eq!(answer.field("code"), code, "{shown:?}");
            }
        }
    }
    let probe = Request::get("/livez").ask(producer.admin).await;
    assert_eq!(probe.status, 200);
}

#[tokio::test]
async fn the_errors_of_the_admin_ports_are_json() {
    let world = World::new().await;
    let producer = world.producer().await;
    let mut command = command(ANYWHERE, ANYWHERE, None);
    command.arg(format!("--admin-listen={ANYWHERE}"));
    let local = Local::of(Process::start("local", command)).await;
    for (port, request, status, code) in [
        (producer.admin, Request::get("/"), 404, "no_route"),
        (
            producer.admin,
            Request::new("POST", "/livez"),
            405,
            "method_not_allowed",
        ),
        (local.admin(), Request::get("/"), 404, "no_route"),
        (
            local.admin(),
            Request::get("/pool-1/producer/"),
            404,
            "no_route",
        ),
        (
            local.admin(),
            Request::get("/pool-9/producer/livez"),
            404,
            "no_route",
        ),
    ] {
        let answer = request.header("x-request-id", "mine").ask(port).await;
        let fields = ["code", "request_id"].map(|field| answer.field(field));
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(fields, [code, "mine"], "{}", answer.text());
        assert!(!answer.field("msg").is_empty(), "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-request-id"), Some("mine"));
    }
}
