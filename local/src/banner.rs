//! Start message on standard output: one screen.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use tenantry_tenancy::environment::Environment;

use crate::topology::{App, Topology};

pub(crate) struct Addresses {
    /// Console and API of the control plane; `None` without `git`.
    pub(crate) console: Option<SocketAddr>,
    pub(crate) gateway: SocketAddr,
    pub(crate) endpoint: String,
    pub(crate) admin: Option<SocketAddr>,
    /// Data folder; `None` for data in memory.
    pub(crate) data: Option<PathBuf>,
    /// GitOps repository; `None` without `git`, or without a folder for it.
    pub(crate) repository: Option<PathBuf>,
}

/// Number of tenants in the table; there may be hundreds.
const MAX_LISTED: usize = 5;

#[expect(
    clippy::print_stdout,
    reason = "the start message is the output of the program"
)]
pub(crate) fn print(topology: &Topology, addresses: &Addresses) {
    print!("{}", text(topology, addresses));
}

fn text(topology: &Topology, addresses: &Addresses) -> String {
    let Addresses {
        console,
        gateway,
        endpoint,
        admin,
        data,
        repository,
    } = addresses;
    let mut text = match console {
        Some(console) => format!("console  http://{console}\n"),
        None => String::from("console  not available, see the warning above\n"),
    };
    text.push_str("\nTenantry is ready. Environment of each tenant's apps:\n\n");
    let mut row = |cells: [&str; 5]| {
        let line = cells.map(|cell| format!("{cell:<12}")).concat();
        writeln!(text, "  {}", line.trim_end()).expect("writing to a string succeeds");
    };
    row([
        "tenant",
        "tier",
        App::ALL[0].as_str(),
        App::ALL[1].as_str(),
        App::ALL[2].as_str(),
    ]);
    for (tenant, tier) in topology.onboarded().take(MAX_LISTED) {
        let [producer, consumer, payments] =
            App::ALL.map(|app| tenant.environment_of(app).map_or("-", Environment::as_str));
        row([
            tenant.id.as_str(),
            tier.as_str(),
            producer,
            consumer,
            payments,
        ]);
    }
    let unlisted = topology.onboarded().count().saturating_sub(MAX_LISTED);
    if unlisted > 0 {
        writeln!(text, "  and {unlisted} more").expect("writing to a string succeeds");
    }
    let repository = match repository {
        Some(repository) => repository.display().to_string(),
        None => "not available, see the warning above".to_owned(),
    };
    let data = match data {
        Some(folder) => folder.display().to_string(),
        None => "in memory".to_owned(),
    };
    let admin = match admin {
        Some(admin) => format!("\n  admin          http://{admin}/pool-1/producer/metrics"),
        None => String::new(),
    };
    write!(
        text,
        "
  load balancer  http://{gateway}
  AWS endpoint   {endpoint}  (region us-east-1, any credentials)
  GitOps         {repository}
  data           {data}{admin}

Try it:

  curl -H 'tenantID: tenant-1' http://{gateway}/producer
  curl -X POST -H 'tenantID: tenant-3' -H 'tier: advanced' http://{gateway}/producer
  curl -H 'tenantID: tenant-3' http://{gateway}/consumer/messages

Ctrl-C stops it.
"
    )
    .expect("writing to a string succeeds");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_message_fits_one_screen_and_names_the_addresses() {
        let addresses = Addresses {
            console: "127.0.0.1:8090".parse().ok(),
            gateway: "127.0.0.1:8080".parse().unwrap(),
            endpoint: "http://127.0.0.1:4566".to_owned(),
            admin: "127.0.0.1:9090".parse().ok(),
            data: None,
            repository: Some("/home/me/saas/.local/gitops.git".into()),
        };
        let text = text(&crate::topology::tests::seeded(), &addresses);
        assert!(
            text.lines().count() <= 25
                && text.contains("http://127.0.0.1:9090/")
                && text.lines().all(|line| line.len() <= 100),
            "{text}"
        );
        assert!(
            text.starts_with("console  http://127.0.0.1:8090\n"),
            "{text}"
        );
        assert!(text.contains("http://127.0.0.1:8080\n") && text.contains("http://127.0.0.1:4566"));
        assert!(
            text.contains("tenant-3    advanced    pool-1      tenant-3    pool-1\n"),
            "{text}"
        );
        assert_eq!(text.matches("curl").count(), 3);
    }
}
