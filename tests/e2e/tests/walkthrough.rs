//! The walk-through of the contract on `local`; its data across restarts and kills; errors at its start.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kit::aws::REGION;
use kit::endpoint::Endpoint;
use kit::http::Request;
use kit::local::{ANYWHERE, Local, command};
use kit::process::{Exit, Process, command_with_clean_env, cpu_time, repository};
use kit::service::Service;
use kit::wait::{PATIENCE, eventually, until};
use serde_json::Value;

const MIB: u64 = 1024 * 1024;
/// Peak memory of the idle SaaS. Most memory of a debug build is its unoptimized code, mapped from the file; the promises are for
/// release builds.
const LOCAL_BYTES: u64 = if cfg!(debug_assertions) {
    96 * MIB
} else {
    64 * MIB
};
/// Peak memory of an idle service.
const SERVICE_BYTES: u64 = if cfg!(debug_assertions) {
    40 * MIB
} else {
    20 * MIB
};

/// Set to run without the AWS CLI; `make test` installs it.
const WITHOUT_CLI: &str = "TENANTRY_TEST_WITHOUT_AWS_CLI";

/// The AWS CLI that `make test` installs, or the one on the path; none if the environment says so.
fn aws_cli() -> Option<PathBuf> {
    let installed = repository().join(".tools/venv/bin/aws");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("aws"));
    let found = std::iter::once(installed)
        .chain(on_path)
        .find(|path| path.is_file());
    assert!(
        found.is_some() || std::env::var_os(WITHOUT_CLI).is_some(),
        "there is no AWS CLI: run `make tools`, or set {WITHOUT_CLI}=1 to do without"
    );
    found
}

/// The output of the AWS CLI, as JSON.
async fn cli(aws: &Path, endpoint: &str, arguments: &[&str]) -> Value {
    let mut command = command_with_clean_env(aws);
    command
        .args(["--endpoint-url", endpoint, "--output", "json"])
        .args(arguments)
        .envs([
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ]);
    let mut process = Process::start("aws", command);
    let exit = process.exit(PATIENCE).await;
    assert_eq!(
        exit,
        Exit::Code(0),
        "aws {arguments:?}: {}",
        process.stderr().join("\n")
    );
    serde_json::from_str(&process.stdout().join("\n")).expect("the CLI prints JSON")
}

#[tokio::test]
async fn the_walk_through_works_by_http_and_aws_cli() {
    let local = Local::start(None).await;
    for (tenant, service, environment) in [
        ("tenant-1", "producer", "tenant-1"),
        ("tenant-1", "consumer", "tenant-1"),
        ("tenant-2", "producer", "pool-1"),
        ("tenant-2", "consumer", "pool-1"),
        ("tenant-3", "producer", "pool-1"),
        ("tenant-3", "consumer", "tenant-3"),
    ] {
        let answer = local
            .ask(&Request::get(&format!("/{service}")).tenant(tenant))
            .await;
        assert_eq!(
            (answer.status, &*answer.field("environment")),
            (200, environment),
            "{tenant} {service}"
        );
    }
    let posted = local
        .ask(
            &Request::event()
                .tenant("tenant-3")
                .header("tier", "advanced"),
        )
        .await;
    assert_eq!(posted.status, 200, "{}", posted.text());

    let Some(aws) = aws_cli() else { return };
    let endpoint = local.endpoint_url();
    let tables = cli(&aws, &endpoint, &["dynamodb", "list-tables"]).await;
    let names: Vec<_> = tables["TableNames"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let [table] = names
        .iter()
        .filter(|name| name.contains("tenant-3"))
        .collect::<Vec<_>>()[..]
    else {
        panic!("one table whose name contains tenant-3: {names:?}")
    };
    let scan = ["dynamodb", "scan", "--table-name", table];
    let item = eventually("the item is in the table", PATIENCE, async || {
        let found = cli(&aws, &endpoint, &scan).await;
        assert!(found["Count"].as_u64() <= Some(1), "{found}");
        found["Items"].as_array()?.first().cloned()
    })
    .await;
    let text = |name: &str| item[name]["S"].as_str().unwrap_or_default().to_owned();
    assert_eq!(text("message_id"), posted.field("message_id"));
    assert_eq!(text("tenant_id"), "tenant-3");
    assert_eq!(
        (
            &*text("producer_environment"),
            &*text("consumer_environment")
        ),
        ("pool-1", "tenant-3")
    );
    assert_eq!(
        text("timestamp").len(),
        "2024-07-12T16:31:39+0000".len(),
        "{item}"
    );
}

/// The acceptance script, if there is one beside the repository.
#[tokio::test]
async fn the_acceptance_script_beside_the_repository_passes() {
    let script = repository()
        .with_file_name("shared")
        .join("accept/walkthrough.sh");
    let Some(aws) = aws_cli().filter(|_| script.is_file()) else {
        return;
    };
    let local = Local::start(None).await;
    let mut command = Command::new("bash");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = aws
        .parent()
        .map(Path::to_owned)
        .into_iter()
        .chain(std::env::split_paths(&path));
    let path: OsString = std::env::join_paths(folders).expect("they came from a path");
    command
        .arg(script)
        .arg(format!("http://{}", local.gateway))
        .arg(local.endpoint_url())
        .env("PATH", path);
    let mut process = Process::start("walkthrough.sh", command);
    assert_eq!(
        process.exit(Duration::from_secs(60)).await,
        Exit::Code(0),
        "{}",
        process.stdout().join("\n")
    );
}

#[tokio::test]
async fn the_banner_lists_tenants_addresses_and_commands_on_one_screen() {
    let local = Local::start(None).await;
    let lines = local.process.stdout();
    assert!(
        lines.len() <= 24 && lines.iter().all(|line| line.chars().count() <= 100),
        "one screen: {lines:#?}"
    );
    let words: Vec<Vec<_>> = lines
        .iter()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for row in [
        ["tenant-1", "premium", "tenant-1", "tenant-1", "tenant-1"],
        ["tenant-2", "basic", "pool-1", "pool-1", "pool-1"],
        ["tenant-3", "advanced", "pool-1", "tenant-3", "pool-1"],
    ] {
        assert!(words.contains(&row.to_vec()), "{row:?}: {lines:#?}");
    }
    let curls: Vec<_> = lines
        .iter()
        .filter(|line| line.trim_start().starts_with("curl "))
        .collect();
    assert_eq!(curls.len(), 3, "{curls:?}");
    assert!(
        curls
            .iter()
            .all(|line| line.contains(&local.gateway.to_string())),
        "{curls:?}"
    );
    assert_eq!(local.process.stderr(), [""; 0]);
}

#[tokio::test]
async fn messages_survive_an_end_and_a_kill() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let mut posted: Vec<(&str, String)> = Vec::new();
    for round in ["first", "ended", "killed"] {
        let mut local = Local::start(Some(folder.path())).await;
        assert_listed(&local, &posted).await;
        for tenant in ["tenant-1", "tenant-2", "tenant-3"] {
            let answer = local
                .ask(&Request::event().tenant(tenant).body(format!("\"{round}\"")))
                .await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            posted.push((tenant, answer.field("message_id")));
        }
        assert_listed(&local, &posted).await;
        if round == "ended" {
            local.process.kill();
        } else {
            local.process.signal("TERM");
            assert_eq!(local.process.exit(PATIENCE).await, Exit::Code(0));
        }
    }
}

/// Asserts that each tenant has exactly its posted messages, newest first.
async fn assert_listed(local: &Local, posted: &[(&str, String)]) {
    for tenant in ["tenant-1", "tenant-2", "tenant-3"] {
        let expected: Vec<_> = posted
            .iter()
            .rev()
            .filter(|(of, _)| *of == tenant)
            .map(|(_, id)| Value::from(id.as_str()))
            .collect();
        until(
            &format!("{tenant} has its {} messages", expected.len()),
            PATIENCE,
            async || {
                let answer = local
                    .ask(&Request::get("/consumer/messages").tenant(tenant))
                    .await
                    .json();
                let listed = answer["messages"].as_array().cloned().unwrap_or_default();
                listed
                    .iter()
                    .map(|message| message["message_id"].clone())
                    .collect::<Vec<_>>()
                    == expected
            },
        )
        .await;
    }
}

#[tokio::test]
async fn local_exits_with_0_on_either_signal() {
    for signal in ["TERM", "INT"] {
        let mut local = Local::start(None).await;
        local.process.signal(signal);
        assert_eq!(
            local.process.exit(PATIENCE).await,
            Exit::Code(0),
            "SIG{signal}"
        );
        assert_eq!(local.process.stderr(), [""; 0], "SIG{signal}");
    }
}

#[tokio::test]
async fn an_error_at_the_start_is_one_line() {
    let taken = std::net::TcpListener::bind(ANYWHERE).expect("a port is free");
    let taken = taken.local_addr().expect("it listens").to_string();
    let running = tempfile::tempdir().expect("a scratch folder");
    let local = Local::start(Some(running.path())).await;
    let other_format = tempfile::tempdir().expect("a scratch folder");
    std::fs::write(other_format.path().join("format"), "0\n").expect("it is ours");
    let file = tempfile::NamedTempFile::new().expect("a scratch file");
    // The kernel permits no write there, not even by root.
    let unwritable = Path::new("/proc/tenantry");
    let with_data = |folder| command(ANYWHERE, ANYWHERE, Some(folder));
    let mut admin_taken = command(ANYWHERE, ANYWHERE, None);
    admin_taken.args(["--admin-listen", &taken]);
    for (flag, says, command) in [
        ("--listen", taken.as_str(), command(&taken, ANYWHERE, None)),
        (
            "--aws-listen",
            taken.as_str(),
            command(ANYWHERE, &taken, None),
        ),
        ("--admin-listen", taken.as_str(), admin_taken),
        ("--data-dir", "in use", with_data(running.path())),
        ("--data-dir", "format 0", with_data(other_format.path())),
        ("--data-dir", "cannot write", with_data(unwritable)),
        ("--data-dir", "cannot write", with_data(file.path())),
    ] {
        assert_refused(flag, says, command).await;
    }
    // The first process continues.
    assert_eq!(
        local
            .ask(&Request::get("/producer").tenant("tenant-1"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn an_invalid_flag_is_one_line_that_names_it() {
    assert_refused("--listen", "nowhere", command("nowhere", ANYWHERE, None)).await;
    assert_refused(
        "--aws-listen",
        "nowhere",
        command(ANYWHERE, "nowhere", None),
    )
    .await;
    let mut unknown = command(ANYWHERE, ANYWHERE, None);
    unknown.arg("--nonsense");
    assert_refused("--nonsense", "unexpected", unknown).await;
}

/// Asserts that the command does not start, with one line that names the flag.
async fn assert_refused(flag: &str, says: &str, command: Command) {
    let mut process = Process::start("local", command);
    let exit = process.exit(PATIENCE).await;
    assert!(
        matches!(exit, Exit::Code(code) if code != 0),
        "{flag} {says}: {exit:?}"
    );
    let stderr = process.stderr();
    let [line] = &stderr[..] else {
        panic!("{flag} {says}: one line, not {stderr:#?}")
    };
    assert!(
        line.contains(flag) && line.contains(says),
        "{flag} {says}: {line}"
    );
    assert_eq!(
        process.stdout(),
        [""; 0],
        "{flag} {says}: nothing was ready"
    );
}

#[tokio::test]
async fn local_ignores_the_users_aws_variables() {
    let mut command = command(ANYWHERE, ANYWHERE, None);
    command.envs([
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:1"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_PROFILE", "production"),
        ("ENVIRONMENT", "tenant-9"),
        ("PORT", "1"),
        ("ADMIN_PORT", "1"),
    ]);
    let local = Local::of(Process::start("local", command)).await;
    let posted = local.ask(&Request::event().tenant("tenant-1")).await;
    assert_eq!(
        (posted.status, &*posted.field("environment")),
        (200, "tenant-1"),
        "{}",
        posted.text()
    );
    assert_listed(&local, &[("tenant-1", posted.field("message_id"))]).await;
}

#[tokio::test]
async fn local_needs_little_cpu_until_it_answers() {
    let local = Local::start(None).await;
    let asked = Request::get("/consumer").tenant("tenant-3");
    assert_eq!(local.ask(&asked).await.status, 200);
    // Not the time: another program may have the cores.
    let used = cpu_time(local.process.id()).expect("it runs");
    println!("local: first answer after {used:?} of CPU");
    assert!(used < Duration::from_secs(2), "{used:?}");
}

#[tokio::test]
async fn idle_memory_stays_within_the_promise() {
    let local = Local::start(None).await;
    let used = local.process.peak_resident_bytes();
    println!("local, idle: {:.1} MiB at its peak", in_mib(used));
    assert!(used < LOCAL_BYTES, "local uses {:.1} MiB", in_mib(used));
    drop(local);
    let endpoint = Endpoint::ephemeral().await;
    let aws = endpoint.aws();
    let pool = aws.create("pool-1").await;
    aws.point("pool-1", &pool).await;
    for name in ["producer", "consumer", "payments"] {
        let service = Service::start(name, "pool-1", &endpoint.url(), &[])
            .await
            .ready()
            .await;
        let used = service.process.peak_resident_bytes();
        println!("{name}, idle: {:.1} MiB at its peak", in_mib(used));
        assert!(used < SERVICE_BYTES, "{name} uses {:.1} MiB", in_mib(used));
    }
}

fn in_mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}
