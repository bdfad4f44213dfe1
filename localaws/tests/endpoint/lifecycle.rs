//! Start and shutdown of an endpoint.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use kit::http::Request;
use localaws::{Config, StartError, Storage};

use crate::support::{ephemeral, queue, receive};

fn in_dir(dir: &std::path::Path) -> Config {
    Config {
        storage: Storage::Dir(dir.to_owned()),
        ..Config::ephemeral()
    }
}

#[tokio::test]
async fn endpoints_in_one_process_share_no_state() {
    let (one, two) = (ephemeral().await, ephemeral().await);
    let (sqs_one, url_one) = queue(&one.url(), "jobs").await;
    let (sqs_two, url_two) = queue(&two.url(), "jobs").await;
    sqs_one
        .send_message()
        .queue_url(&url_one)
        .message_body("x")
        .send()
        .await
        .unwrap();
    assert!(receive(&sqs_two, &url_two).await.is_empty());
    assert_eq!(receive(&sqs_one, &url_one).await.len(), 1);
    one.shutdown().await;
    two.shutdown().await;
}

#[tokio::test]
async fn a_port_in_use_is_reported_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config {
        listen: taken.local_addr().unwrap(),
        ..Config::ephemeral()
    };
    let error = localaws::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::PortInUse(_)));
    assert!(!error.to_string().contains('\n'));
}

#[tokio::test]
async fn an_unusable_folder_is_reported_in_one_line() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = localaws::start(in_dir(&file.join("below")))
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::DataDir { .. }), "{error}");

    let first = localaws::start(in_dir(scratch.path())).await.unwrap();
    let error = localaws::start(in_dir(scratch.path())).await.unwrap_err();
    assert!(matches!(error, StartError::DataInUse { .. }), "{error}");
    first.shutdown().await;
    localaws::start(in_dir(scratch.path()))
        .await
        .unwrap()
        .shutdown()
        .await;
}

#[tokio::test]
async fn data_of_another_version_or_program_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    localaws::start(in_dir(scratch.path()))
        .await
        .unwrap()
        .shutdown()
        .await;
    let file = scratch.path().join("aws.db");
    rusqlite::Connection::open(&file)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let error = localaws::start(in_dir(scratch.path())).await.unwrap_err();
    assert!(
        matches!(error, StartError::OtherVersion { found: 99, .. }),
        "{error}"
    );
    std::fs::write(
        &file,
        "not a database, but long enough for a page of one".repeat(100),
    )
    .unwrap();
    let error = localaws::start(in_dir(scratch.path())).await.unwrap_err();
    assert!(matches!(error, StartError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn shutdown_ends_waiting_receives_and_frees_the_port() {
    let endpoint = ephemeral().await;
    let (sqs, url) = queue(&endpoint.url(), "jobs").await;
    let waiting = tokio::spawn(
        sqs.receive_message()
            .queue_url(&url)
            .wait_time_seconds(20)
            .send(),
    );
    let addr = endpoint.addr();
    let health = Request::get("/_localaws/health").ask(addr).await;
    assert_eq!(
        (health.status, health.text()),
        (200, "{\"status\":\"ok\"}\n")
    );
    let started = Instant::now();
    endpoint.shutdown().await;
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    let _ = waiting.await.unwrap();
    TcpListener::bind(addr).unwrap();
}
