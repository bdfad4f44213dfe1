//! What is printed once everything is ready: one screen.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use tenantry_tenancy::environment::Environment;

use crate::topology::{App, Topology};

/// Where everything is.
pub(crate) struct Places {
    pub(crate) gateway: SocketAddr,
    pub(crate) endpoint: String,
    pub(crate) admin: Option<SocketAddr>,
    /// The data folder; none where data is in memory only.
    pub(crate) folder: Option<PathBuf>,
    /// The GitOps repository; none without `git`, or a folder for it.
    pub(crate) repository: Option<PathBuf>,
}

/// Tenants listed; there may be hundreds.
const MAX_LISTED: usize = 5;

/// Prints the banner to standard output.
#[expect(clippy::print_stdout, reason = "this is what standard output is for")]
pub(crate) fn print(topology: &Topology, places: &Places) {
    print!("{}", text(topology, places));
}

fn text(topology: &Topology, places: &Places) -> String {
    let Places {
        gateway,
        endpoint,
        admin,
        folder,
        repository,
    } = places;
    let mut text = String::from("\nTenantry is ready. Which environment runs which app:\n\n");
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
    for (tenant, tier) in topology.onboard().take(MAX_LISTED) {
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
    let unlisted = topology.onboard().count().saturating_sub(MAX_LISTED);
    if unlisted > 0 {
        writeln!(text, "  and {unlisted} more").expect("writing to a string succeeds");
    }
    let repository = match repository {
        Some(repository) => repository.display().to_string(),
        None => "none: see the warning above".to_owned(),
    };
    let kept = match folder {
        Some(folder) => format!("in {}", folder.display()),
        None => "in memory only".to_owned(),
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
  data           {kept}{admin}

Try it:

  curl -H 'tenantID: tenant-1' http://{gateway}/producer
  curl -X POST -H 'tenantID: tenant-3' -H 'tier: advanced' http://{gateway}/producer
  curl -H 'tenantID: tenant-3' http://{gateway}/consumer/messages

Ctrl-C ends it.
"
    )
    .expect("writing to a string succeeds");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_one_screen_and_names_both_addresses() {
        let places = Places {
            gateway: "127.0.0.1:8080".parse().unwrap(),
            endpoint: "http://127.0.0.1:4566".to_owned(),
            admin: "127.0.0.1:9090".parse().ok(),
            folder: None,
            repository: Some("/home/me/saas/.local/gitops.git".into()),
        };
        let text = text(&crate::topology::tests::seeded(), &places);
        assert!(
            text.lines().count() <= 25
                && text.contains("http://127.0.0.1:9090/")
                && text.lines().all(|line| line.len() <= 100),
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
