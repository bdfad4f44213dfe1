//! Configuration by environment: an error is one line that names the variable, and exit code 2.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use kit::endpoint::Endpoint;
use kit::process::{Exit, Process, command_with_clean_env, send_signal};
use kit::service::{Service, command};
use kit::wait::{PATIENCE, eventually, until};
use kit::world::World;

const SERVICES: [&str; 3] = ["producer", "consumer", "payments"];
/// No server listens there: an error must be found before the first call.
const NOWHERE: &str = "http://127.0.0.1:1";

struct Ended {
    exit: Exit,
    stdout: Vec<String>,
    stderr: Vec<String>,
}

async fn run_to_its_end(name: &str, command: Command) -> Ended {
    let mut process = Process::start(name, command);
    let exit = process.exit(PATIENCE).await;
    Ended {
        exit,
        stdout: process.stdout(),
        stderr: process.stderr(),
    }
}

/// Asserts the one line and the exit code.
async fn assert_refused(name: &str, variable: &str, command: Command) {
    let ended = run_to_its_end(name, command).await;
    assert_eq!(
        ended.exit,
        Exit::Code(2),
        "{name}, {variable}: {:#?}",
        ended.stderr
    );
    let [line] = &ended.stderr[..] else {
        panic!("{name}, {variable}: one line, not {:#?}", ended.stderr)
    };
    assert!(line.contains(variable), "{name}, {variable}: {line}");
    assert_eq!(ended.stdout, [""; 0], "{name}, {variable}");
}

#[tokio::test]
async fn a_missing_variable_is_one_line_that_names_it() {
    for name in SERVICES {
        for variable in ["ENVIRONMENT", "AWS_REGION"] {
            let mut command = command(name, "pool-1", NOWHERE);
            command.env_remove(variable);
            assert_refused(name, variable, command).await;
        }
    }
}

#[tokio::test]
async fn an_invalid_value_is_one_line_that_names_the_variable() {
    let of_all = [
        ("ENVIRONMENT", ""),
        ("ENVIRONMENT", "Pool_1"),
        ("ENVIRONMENT", "kube-system"),
        ("PORT", ""),
        ("PORT", "http"),
        ("PORT", "70000"),
        ("ADMIN_PORT", "-1"),
        ("BIND_ADDRESS", "nowhere"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "a=b=c"),
        ("SHUTDOWN_GRACE_SECONDS", "0"),
        ("MAX_CONNECTIONS", "0"),
        ("TENANT_RATE_PER_SECOND", "0"),
        ("TENANT_RATE_PER_SECOND", "1.5"),
        ("REGISTRY_REFRESH_SECONDS", "soon"),
        ("AWS_REGION", ""),
    ];
    let of_one = [
        ("producer", "MAX_BODY_BYTES", "0"),
        ("producer", "MAX_BODY_BYTES", "10000000"),
        ("producer", "MAX_BATCH_BYTES", "1"),
        ("consumer", "RECEIVE_WAIT_SECONDS", "21"),
        ("consumer", "VISIBILITY_SECONDS", "1"),
        ("consumer", "MAX_POLLS", "0"),
        ("consumer", "MAX_IN_HAND", "many"),
    ];
    let of_all = SERVICES
        .into_iter()
        .flat_map(|name| of_all.map(|(variable, value)| (name, variable, value)));
    for (name, variable, value) in of_all.chain(of_one) {
        let mut command = command(name, "pool-1", NOWHERE);
        command.env(variable, value);
        assert_refused(name, variable, command).await;
    }
}

#[tokio::test]
async fn a_value_that_is_no_text_is_one_line_that_names_the_variable() {
    let mut command = command("payments", "pool-1", NOWHERE);
    command.env("ENVIRONMENT", OsStr::from_bytes(b"pool-\xff"));
    assert_refused("payments", "ENVIRONMENT", command).await;
}

#[tokio::test]
async fn aws_settings_that_cannot_work_are_one_line_that_names_the_variable() {
    for (variable, value) in [
        ("AWS_ENDPOINT_URL", "nonsense"),
        ("AWS_ENDPOINT_URL", "localhost:4566"),
        ("AWS_REGION", "us east"),
    ] {
        let mut command = command("producer", "pool-1", NOWHERE);
        command.env(variable, value);
        assert_refused("producer", variable, command).await;
    }
}

#[tokio::test]
async fn an_exporter_that_is_not_built_in_is_one_line_that_names_the_variable() {
    for name in SERVICES {
        for (variable, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense"),
        ] {
            let mut command = command(name, "pool-1", NOWHERE);
            command
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", NOWHERE)
                .env(variable, value);
            assert_refused(name, variable, command).await;
        }
    }
}

#[tokio::test]
async fn help_documents_every_variable_and_ends_well() {
    let common = [
        "ENVIRONMENT",
        "PORT",
        "ADMIN_PORT",
        "LOG_LEVEL",
        "SHUTDOWN_GRACE_SECONDS",
        "TENANT_RATE_PER_SECOND",
    ];
    for (name, own) in [
        ("producer", "MAX_BODY_BYTES"),
        ("consumer", "RECEIVE_WAIT_SECONDS"),
        ("payments", "PORT"),
    ] {
        let mut command = command_with_clean_env(kit::process::binary(name));
        command.arg("--help");
        let ended = run_to_its_end(name, command).await;
        assert_eq!(
            (ended.exit, ended.stderr.len()),
            (Exit::Code(0), 0),
            "{name}: {:#?}",
            ended.stderr
        );
        let text = ended.stdout.join("\n");
        for variable in common.into_iter().chain([own]) {
            assert!(
                text.contains(&format!("[env: {variable}=")),
                "{name} {variable}: {text}"
            );
        }
        let mut command = command_with_clean_env(kit::process::binary(name));
        command.arg("--version");
        let ended = run_to_its_end(name, command).await;
        assert_eq!(
            (ended.exit, ended.stdout),
            (Exit::Code(0), vec![format!("{name} {}", kit::VERSION)])
        );
    }
}

#[tokio::test]
async fn a_port_in_use_is_one_line_that_names_its_variable() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it listens").port().to_string();
    for name in SERVICES {
        for variable in ["PORT", "ADMIN_PORT"] {
            let mut command = command(name, "pool-1", NOWHERE);
            command.env(variable, &port);
            let ended = run_to_its_end(name, command).await;
            assert!(
                matches!(ended.exit, Exit::Code(code) if code != 0),
                "{name}: {:?}",
                ended.exit
            );
            let [line] = &ended.stderr[..] else {
                panic!("{name}: one line, not {:#?}", ended.stderr)
            };
            assert!(
                line.contains(&format!("{variable}:")) && line.contains(&port),
                "{name}: {line}"
            );
        }
    }
}

#[tokio::test]
async fn an_address_that_is_not_this_machines_names_its_variable() {
    let mut command = command("payments", "pool-1", NOWHERE);
    // TEST-NET-1: no machine has this address.
    command.env("BIND_ADDRESS", "192.0.2.1");
    let ended = run_to_its_end("payments", command).await;
    assert!(
        matches!(ended.exit, Exit::Code(code) if code != 0),
        "{:?}",
        ended.exit
    );
    let [line] = &ended.stderr[..] else {
        panic!("one line, not {:#?}", ended.stderr)
    };
    assert!(line.contains("BIND_ADDRESS"), "{line}");
}

#[tokio::test]
async fn a_service_without_aws_starts_and_ends_when_asked() {
    for name in SERVICES {
        let service = Service::start(name, "pool-1", NOWHERE, &[]).await;
        assert!(!service.is_ready().await);
        let ended = service.stop().await;
        assert_eq!(ended.stderr(), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn a_ready_service_exits_with_0_on_either_signal() {
    let world = World::new().await;
    for name in SERVICES {
        for signal in ["TERM", "INT"] {
            let mut service = world.service(name, "pool-1", &[]).await;
            service.process.signal(signal);
            assert_eq!(
                service.process.exit(PATIENCE).await,
                Exit::Code(0),
                "{name} on SIG{signal}"
            );
        }
    }
}

/// The command that runs a program as process 1; none if the kernel does not permit it.
async fn as_process_1() -> Option<Vec<&'static str>> {
    for way in [
        &["unshare", "--pid", "--fork", "--kill-child"][..],
        &[
            "unshare",
            "--user",
            "--map-root-user",
            "--pid",
            "--fork",
            "--kill-child",
        ],
    ] {
        let mut command = command_with_clean_env(way[0]);
        command.args(&way[1..]).arg("true");
        if run_to_its_end("unshare", command).await.exit == Exit::Code(0) {
            return Some(way.to_vec());
        }
    }
    None
}

#[tokio::test]
async fn a_consumer_drains_as_process_1() {
    let Some(way) = as_process_1().await else {
        println!("NOT CHECKED: this kernel does not permit a process 1 (unshare --pid)");
        return;
    };
    let world = World::new().await;
    world
        .endpoint
        .inject(serde_json::json!([{"action": "DynamoDB.BatchWriteItem", "delay_ms": 1000}]))
        .await;
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &["held".to_owned()])
        .await;
    let inner = command("consumer", "pool-1", &world.endpoint.url());
    let mut outer = command_with_clean_env(way[0]);
    outer
        .args(&way[1..])
        .arg(inner.get_program())
        .envs(inner.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let mut consumer = Service::of("consumer", Process::start("unshare", outer)).await;
    let id = child_of(consumer.process.id()).await;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let ids = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .expect("Linux reports it");
    assert_eq!(
        ids.split_whitespace().last(),
        Some("1"),
        "it is process 1 of its own"
    );
    until("the message is being stored", PATIENCE, async || {
        world.endpoint.calls().await.of("DynamoDB.BatchWriteItem") > 0
    })
    .await;
    send_signal("TERM", id);
    assert_eq!(consumer.process.exit(PATIENCE).await, Exit::Code(0));
    world.drained(&world.pool).await;
    assert_eq!(
        world.aws.items(&world.pool).await.len(),
        1,
        "the work in progress is finished"
    );
}

/// The only child of this process.
async fn child_of(parent: u32) -> u32 {
    eventually("the child is there", PATIENCE, async || {
        let processes = std::fs::read_dir("/proc")
            .expect("Linux has it")
            .filter_map(Result::ok);
        let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        ids.find(|id| {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let of = status.lines().find_map(|line| line.strip_prefix("PPid:"));
            of.is_some_and(|of| of.trim() == parent.to_string())
        })
    })
    .await
}

#[tokio::test]
async fn a_grace_period_that_is_too_short_is_logged_and_the_message_is_not_lost() {
    let world = World::new().await;
    world
        .endpoint
        .inject(serde_json::json!([{"action": "DynamoDB.*", "delay_ms": 60_000}]))
        .await;
    world
        .aws
        .send_events(&world.pool.queue, "tenant-2", &["held".to_owned()])
        .await;
    let variables = [("SHUTDOWN_GRACE_SECONDS", "1"), ("VISIBILITY_SECONDS", "2")];
    let mut consumer = world.service("consumer", "pool-1", &variables).await;
    until("the message is being stored", PATIENCE, async || {
        world.endpoint.calls().await.of("DynamoDB.BatchWriteItem") > 0
    })
    .await;
    consumer.process.signal("TERM");
    assert_eq!(consumer.process.exit(PATIENCE).await, Exit::Code(1));
    let stderr = consumer.process.stderr();
    assert!(
        stderr.len() == 1 && stderr[0].contains("SHUTDOWN_GRACE_SECONDS"),
        "{stderr:#?}"
    );
    world.endpoint.inject(serde_json::json!([])).await;
    let _next = world.service("consumer", "pool-1", &variables).await;
    world.stored(1, &world.pool).await;
}

#[tokio::test]
async fn the_endpoint_says_in_one_line_why_it_does_not_start() {
    let first = Endpoint::ephemeral().await;
    let mut command = command_with_clean_env(kit::process::binary("localaws"));
    command
        .arg("--ephemeral")
        .arg(format!("--listen={}", first.address));
    let ended = run_to_its_end("localaws", command).await;
    assert!(
        matches!(ended.exit, Exit::Code(code) if code != 0),
        "{:?}",
        ended.exit
    );
    assert_eq!(ended.stderr.len(), 1, "{:#?}", ended.stderr);
    assert!(
        ended.stderr[0].contains(&first.address.to_string()),
        "{:#?}",
        ended.stderr
    );
}
