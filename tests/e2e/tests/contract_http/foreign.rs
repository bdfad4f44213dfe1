//! Web pages of other sites: none reaches a server on a developer's machine, whatever its name resolves to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use kit::endpoint::Endpoint;
use kit::http::{Answer, Request};
use kit::local::{ANYWHERE, Local, command};
use kit::process::{Process, binary, command_with_clean_env};

/// A request with these values in `Host` and `Origin`.
fn request(method: &str, path: &str, host: &str, origin: Option<&str>) -> Request {
    let request = Request::for_host(method, path, host);
    match origin {
        Some(origin) => request.header("Origin", origin),
        None => request,
    }
}

/// The `Host` and `Origin` that a page can send, and whether both are this machine's.
const SITES: [(&str, Option<&str>, bool); 12] = [
    ("localhost", None, true),
    ("127.0.0.1:8080", None, true),
    ("[::1]:8080", Some("http://localhost:3000"), true),
    ("app.localhost", Some("http://127.0.0.1"), true),
    ("10.0.0.7", None, true),
    ("evil.example", None, false),
    ("evil.example:8080", Some("http://evil.example:8080"), false),
    ("localhost.evil.example", None, false),
    ("127.0.0.1.evil.example", None, false),
    ("localhost", Some("http://evil.example"), false),
    ("127.0.0.1", Some("null"), false),
    ("127.0.0.1", Some("http://203.0.113.5"), false),
];

async fn assert_own_sites_only(of: SocketAddr, method: &str, path: &str) {
    for (host, origin, own) in SITES {
        let answer = request(method, path, host, origin)
            .tenant("tenant-2")
            .ask(of)
            .await;
        let is_refused = [403, 421].contains(&answer.status);
        let what = format!("{host} {origin:?}: {} {}", answer.status, answer.text());
        assert_eq!(is_refused, !own, "{what}");
        assert_eq!(is_refused, answer.text().contains("--allow-host"), "{what}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{what}");
    }
}

/// The addresses on which a process listens.
#[cfg(target_os = "linux")]
fn listening(pid: u32) -> Vec<SocketAddr> {
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("the process runs")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .trim_end_matches(']')
                    .to_owned(),
            )
        })
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("a table");
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == "0A" && sockets.iter().any(|inode| inode == fields[9]))
        .map(|fields| {
            let (address, port) = fields[1].split_once(':').expect("a port");
            let address = u32::from_str_radix(address, 16)
                .expect("hexadecimal")
                .to_le_bytes();
            let port = u16::from_str_radix(port, 16).expect("hexadecimal");
            SocketAddr::new(IpAddr::V4(Ipv4Addr::from(address)), port)
        })
        .collect()
}

#[tokio::test]
async fn every_port_of_local_answers_this_machines_pages_alone() {
    let mut command = command(ANYWHERE, ANYWHERE, None);
    command.args(["--admin-listen", ANYWHERE]);
    let local = Local::of(Process::start("local", command)).await;
    assert_own_sites_only(local.gateway, "GET", "/producer").await;
    assert_own_sites_only(local.endpoint, "GET", "/_localaws/calls").await;
    assert_own_sites_only(local.endpoint, "PUT", "/_localaws/faults").await;
    assert_own_sites_only(local.endpoint, "POST", "/").await;
    assert_own_sites_only(local.endpoint, "OPTIONS", "/").await;
    assert_own_sites_only(local.admin(), "GET", "/pool-1/producer/metrics").await;
    assert_own_sites_only(local.console(), "GET", "/tenants").await;
    #[cfg(target_os = "linux")]
    for port in listening(local.process.id()) {
        let known = [
            local.gateway,
            local.endpoint,
            local.admin(),
            local.console(),
        ];
        let is_known = known.contains(&port);
        let is_found = port.ip() == Ipv4Addr::LOCALHOST || port.ip().is_unspecified();
        assert!(is_known || !is_found, "a page finds {port}");
    }
}

#[tokio::test]
async fn every_port_of_localaws_answers_this_machines_pages_alone() {
    let aws = Endpoint::ephemeral().await;
    assert_own_sites_only(aws.address, "GET", "/_localaws/calls").await;
    assert_own_sites_only(aws.address, "POST", "/").await;
    #[cfg(target_os = "linux")]
    for port in listening(aws.process.id()) {
        let is_found = port.ip() == Ipv4Addr::LOCALHOST || port.ip().is_unspecified();
        assert!(port == aws.address || !is_found, "a page finds {port}");
    }
}

#[tokio::test]
async fn a_name_of_a_service_is_allowed_by_the_flag_at_every_port() {
    let names = ["--allow-host", "aws.svc,Other.Name", "--allow-host=third"];
    let mut command = command(ANYWHERE, ANYWHERE, None);
    command.args(names).args(["--admin-listen", ANYWHERE]);
    let local = Local::of(Process::start("local", command)).await;
    for (of, path) in [
        (local.gateway, "/producer"),
        (local.endpoint, "/_localaws/health"),
        (local.admin(), "/pool-1/producer/livez"),
    ] {
        let ask = async |host: &str| -> Answer {
            request("GET", path, host, None)
                .tenant("tenant-2")
                .ask(of)
                .await
        };
        for host in [
            "aws.svc",
            "AWS.svc:4566",
            "other.name.",
            "third",
            "localhost",
        ] {
            assert_eq!(ask(host).await.status, 200, "{host} {path}");
        }
        for host in ["fourth", "x.aws.svc", "svc"] {
            assert_eq!(ask(host).await.status, 421, "{host} {path}");
        }
    }
    let json = request("GET", "/producer", "fourth", None)
        .ask(local.gateway)
        .await;
    assert_eq!(json.field("code"), "foreign_request");
    assert_eq!(
        json.field("request_id"),
        json.header("x-request-id").unwrap()
    );
    for program in ["local", "localaws"] {
        let mut wrong: Command = command_with_clean_env(binary(program));
        let output = wrong
            .args(["--ephemeral", "--allow-host", "http://aws"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{program}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("without scheme"),
            "{output:?}"
        );
    }
}
