use std::net::Ipv4Addr;
use std::time::Instant;

use super::*;
use crate::config::LogFormat;

fn config() -> ProcessConfig {
    ProcessConfig {
        admin_port: 0,
        bind_address: Ipv4Addr::LOCALHOST.into(),
        log_format: LogFormat::Json,
        log_level: "info".to_owned(),
        trace_ratio: 1.0,
        shutdown_grace_seconds: Duration::from_secs(1),
    }
}

fn worker(background: Background) -> Worker {
    Worker {
        name: "test",
        readiness: Readiness::default(),
        metrics: Metrics::new("test", "pool-1"),
        background,
    }
}

#[tokio::test]
async fn shutdown_waits_for_the_background_work_and_succeeds() {
    let shutdown = CancellationToken::new();
    let finished = CancellationToken::new();
    let background: Background = Box::new({
        let finished = finished.clone();
        move |stop| {
            Box::pin(async move {
                stop.cancelled().await;
                tokio::task::yield_now().await;
                finished.cancel();
            })
        }
    });
    let worker = worker(background);
    let readiness = worker.readiness.clone();
    shutdown.cancel();
    worker
        .serve(&config(), shutdown)
        .await
        .expect("a clean drain");
    assert!(finished.is_cancelled() && !readiness.is_ready());
}

#[tokio::test]
async fn work_that_does_not_end_is_aborted_after_the_grace_period() {
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let started = Instant::now();
    let outcome = worker(Box::new(|_| Box::pin(std::future::pending())))
        .serve(&config(), shutdown)
        .await;
    assert!(
        matches!(outcome, Err(RunError::Undrained(_))),
        "{outcome:?}"
    );
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn background_work_that_ends_early_ends_the_process() {
    for background in [
        Box::new(|_| {
            Box::pin(async { assert!(std::hint::black_box(false), "a defect") })
                as BoxFuture<'static, ()>
        }) as Background,
        Box::new(|_| Box::pin(async {}) as BoxFuture<'static, ()>),
    ] {
        let outcome = worker(background)
            .serve(&config(), CancellationToken::new())
            .await;
        assert!(
            matches!(outcome, Err(RunError::Background(_))),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn the_error_for_a_port_in_use_names_the_variable() {
    let taken = listen("PORT", Ipv4Addr::LOCALHOST.into(), 0).expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let error = listen("PORT", Ipv4Addr::LOCALHOST.into(), port)
        .expect_err("taken")
        .to_string();
    assert!(
        error.starts_with("PORT: cannot listen on 127.0.0.1:") && error.contains("choose another"),
        "{error}"
    );
}
