//! Callbacks: a receiver on this machine gets an operation's states, signed, again after an error, and never where it must not be.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use kit::http::Answer;
use kit::wait::{PATIENCE, eventually, until};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{ControlPlane, END, SECRET, acme, with_json};

/// Longest time of all tries of one delivery, and some more.
const GIVES_UP: Duration = Duration::from_secs(60);

/// A client's receiver. It answers 500 to this many calls, and 200 to the others.
struct Receiver {
    url: String,
    calls: Arc<Mutex<Calls>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Calls {
    refuse: usize,
    refused: usize,
    accepted: Vec<(String, Value)>,
}

impl Receiver {
    async fn refusing(refuse: usize) -> Self {
        let calls = Arc::new(Mutex::new(Calls {
            refuse,
            ..Calls::default()
        }));
        let routes = Router::new()
            .route("/hook", post(receive))
            .with_state(Arc::clone(&calls));
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let url = format!("http://{}/hook", listener.local_addr().expect("it listens"));
        let server = tokio::spawn(async move {
            axum::serve(listener, routes)
                .await
                .expect("it serves until dropped");
        });
        Self { url, calls, server }
    }

    fn refused(&self) -> usize {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .refused
    }

    /// The states that the receiver has accepted.
    fn states(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let state =
            |(_, body): &(String, Value)| body["state"].as_str().unwrap_or_default().to_owned();
        calls.accepted.iter().map(state).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(calls): State<Arc<Mutex<Calls>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
    let signature = headers
        .get("tenantry-signature")
        .and_then(|text| text.to_str().ok());
    if !is_signed(signature.unwrap_or_default(), &body) {
        return StatusCode::FORBIDDEN;
    }
    if calls.refused < calls.refuse {
        calls.refused += 1;
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    let operation: Value = serde_json::from_slice(&body).expect("an operation as JSON");
    calls
        .accepted
        .push((signature.unwrap_or_default().to_owned(), operation));
    StatusCode::NO_CONTENT
}

/// Verifies a signature as a client does, from the documentation alone.
fn is_signed(signature: &str, body: &[u8]) -> bool {
    let Some((time, tag)) = signature
        .strip_prefix("t=")
        .and_then(|rest| rest.split_once(",v1="))
    else {
        return false;
    };
    let is_now = time
        .parse::<u64>()
        .is_ok_and(|time| time.abs_diff(crate::issuer::now()) < 300);
    let bytes = (0..tag.len() / 2)
        .map(|at| u8::from_str_radix(&tag[at * 2..at * 2 + 2], 16).unwrap_or_default());
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signed = [time.as_bytes(), b".", body].concat();
    is_now && aws_lc_rs::hmac::verify(&key, &signed, &bytes.collect::<Vec<u8>>()).is_ok()
}

async fn onboard(plane: &ControlPlane, callback: &str) -> Answer {
    let request = with_json("POST", "/tenants", &acme()).header("callback-url", callback);
    plane.ask(&request).await
}

#[tokio::test]
async fn a_receiver_gets_each_later_state_signed_and_once_more_after_an_error() {
    let receiver = Receiver::refusing(2).await;
    let plane =
        ControlPlane::new(&[("CALLBACK_SECRET", SECRET), ("CALLBACK_PRIVATE", "true")]).await;
    let accepted = onboard(&plane, &receiver.url).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let is_told = async || receiver.states().iter().any(|state| state == "serving");
    until("the receiver knows the end", END, is_told).await;
    until("the receiver knows each state", END, async || {
        receiver.states().iter().any(|state| state == "applied")
    })
    .await;
    assert_eq!(receiver.refused(), 2);
    assert!(
        plane
            .cluster
            .message()
            .contains(&format!("\nCallback: {}\n", receiver.url))
    );
}

#[tokio::test]
async fn a_receiver_that_only_fails_is_given_up_with_the_reason_in_the_log() {
    let receiver = Receiver::refusing(usize::MAX).await;
    let plane =
        ControlPlane::new(&[("CALLBACK_SECRET", SECRET), ("CALLBACK_PRIVATE", "true")]).await;
    let accepted = onboard(&plane, &receiver.url).await;
    let operation = accepted.field("id");
    let dropped = eventually("the delivery is given up", GIVES_UP, async || {
        let lines = plane.service.process.stdout();
        let parsed = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut found = parsed.filter(|line| line["message"] == "event dropped: every try failed");
        found.next()
    })
    .await;
    assert_eq!(dropped["operation"], json!(operation));
    assert_eq!(dropped["tries"], json!(5));
    assert!(
        dropped["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("500")),
        "{dropped}"
    );
    // The operation itself ends as it would without a receiver.
    let path = format!("/operations/{operation}");
    until("the operation ends", PATIENCE, async || {
        plane.ask(&kit::http::Request::get(&path)).await.json()["state"] == "serving"
    })
    .await;
}

#[tokio::test]
async fn no_address_of_a_private_network_is_called_and_the_refusal_commits_nothing() {
    let receiver = Receiver::refusing(0).await;
    let plane = ControlPlane::new(&[("CALLBACK_SECRET", SECRET)]).await;
    let before = plane.cluster.commits();
    for url in [
        receiver.url.as_str(),
        "https://127.0.0.1/hook",
        "https://localhost/hook",
        "https://[::1]/hook",
        "https://[::ffff:127.0.0.1]/hook",
        "https://10.0.0.1/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://192.168.0.1/hook",
        "https://0x7f000001/hook",
        "https://2130706433/hook",
        "https://127.1/hook",
        "http://example.com/hook",
    ] {
        let refused = onboard(&plane, url).await;
        assert_eq!(
            (refused.status, &*refused.field("code")),
            (400, "invalid_callback"),
            "{url}"
        );
        assert!(refused.field("msg").len() > 30, "{}", refused.text());
    }
    assert_eq!(plane.cluster.commits(), before);
    assert!(receiver.states().is_empty());
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_not_called() {
    let plane = ControlPlane::new(&[("CALLBACK_SECRET", SECRET)]).await;
    // A name can be checked only when it is called: it may lead elsewhere by then. This one is this machine's.
    let accepted = onboard(&plane, "https://localhost.localdomain/hook").await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let line = eventually("the call is refused", END, async || {
        let lines = plane.service.process.stdout();
        lines
            .into_iter()
            .find(|line| line.contains("event not delivered: will retry"))
    })
    .await;
    assert!(
        line.contains("an address that is not public") || line.contains("the host is not found"),
        "{line}"
    );
}

#[tokio::test]
async fn without_a_secret_no_callback_is_accepted() {
    let plane = ControlPlane::new(&[]).await;
    let refused = onboard(&plane, "https://example.com/hook").await;
    assert_eq!(
        (refused.status, &*refused.field("code")),
        (400, "invalid_callback")
    );
    assert!(refused.field("msg").contains("CALLBACK_SECRET_FILE"));
}
