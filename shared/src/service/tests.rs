use std::time::Instant;

use super::*;

#[derive(clap::Parser)]
struct Config {
    #[command(flatten)]
    service: ServiceConfig,
}

fn config() -> ServiceConfig {
    let arguments = [
        "service",
        "--environment=pool-1",
        "--port=0",
        "--admin-port=0",
        "--bind-address=127.0.0.1",
    ];
    let grace = ["--shutdown-grace-seconds=1"];
    config::parse_from::<Config, _>(arguments.into_iter().chain(grace))
        .expect("complete")
        .service
}

fn service(background: Background) -> Service {
    Service {
        name: "test",
        answers: Router::new().into(),
        readiness: Readiness::default(),
        metrics: Metrics::new("test", "pool-1"),
        background,
    }
}

#[tokio::test]
async fn a_stop_ends_well_once_the_background_has_finished() {
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
    let service = service(background);
    let readiness = service.readiness.clone();
    shutdown.cancel();
    service.serve(&config(), shutdown).await.expect("ends well");
    assert!(finished.is_cancelled() && !readiness.is_ready());
}

#[tokio::test]
async fn work_that_does_not_end_is_given_up_after_the_grace_period() {
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let started = Instant::now();
    let outcome = service(Box::new(|_| Box::pin(std::future::pending())))
        .serve(&config(), shutdown)
        .await;
    assert!(
        matches!(outcome, Err(RunError::Undrained(_))),
        "{outcome:?}"
    );
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_background_that_dies_ends_the_service() {
    for background in [
        Box::new(|_| {
            Box::pin(async { assert!(std::hint::black_box(false), "a defect") })
                as BoxFuture<'static, ()>
        }) as Background,
        Box::new(|_| Box::pin(async {}) as BoxFuture<'static, ()>),
    ] {
        let outcome = service(background)
            .serve(&config(), CancellationToken::new())
            .await;
        assert!(
            matches!(outcome, Err(RunError::Background(_))),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_port_in_use_names_its_variable() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let config = ServiceConfig {
        port: taken.local_addr().expect("bound").port(),
        ..config()
    };
    let idle: Background = Box::new(|stop| Box::pin(async move { stop.cancelled().await }));
    let error = service(idle)
        .serve(&config, CancellationToken::new())
        .await
        .expect_err("taken")
        .to_string();
    assert!(
        error.starts_with("PORT: cannot listen on 127.0.0.1:") && error.contains("choose another"),
        "{error}"
    );
}
