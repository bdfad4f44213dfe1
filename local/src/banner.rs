//! What is printed once everything is ready: one screen.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::topology::{App, TenantSpec};

/// Where everything is.
pub(crate) struct Places {
    pub(crate) gateway: SocketAddr,
    pub(crate) endpoint: String,
    pub(crate) admin: Option<SocketAddr>,
    /// The data folder; none where data is in memory only.
    pub(crate) folder: Option<PathBuf>,
}

/// Prints the banner to standard output.
#[expect(clippy::print_stdout, reason = "this is what standard output is for")]
pub(crate) fn print(tenants: &[TenantSpec], places: &Places) {
    print!("{}", text(tenants, places));
}

fn text(tenants: &[TenantSpec], places: &Places) -> String {
    let Places { gateway, endpoint, admin, folder } = places;
    let mut text = String::from("\nTenantry is ready. Which environment runs which app:\n\n");
    let mut row = |cells: [&str; 5]| {
        let line = cells.map(|cell| format!("{cell:<12}")).concat();
        writeln!(text, "  {}", line.trim_end()).expect("writing to a string succeeds");
    };
    row(["tenant", "tier", App::ALL[0].as_str(), App::ALL[1].as_str(), App::ALL[2].as_str()]);
    for tenant in tenants {
        let [producer, consumer, payments] = App::ALL.map(|app| tenant.environment_of(app).to_string());
        row([tenant.id.as_str(), tenant.tier.as_str(), &producer, &consumer, &payments]);
    }
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
        };
        let text = text(&crate::topology::sample_tenants(), &places);
        assert!(
            text.lines().count() <= 25
                && text.contains("http://127.0.0.1:9090/")
                && text.lines().all(|line| line.len() <= 100),
            "{text}"
        );
        assert!(text.contains("http://127.0.0.1:8080\n") && text.contains("http://127.0.0.1:4566"));
        assert!(text.contains("tenant-3    advanced    pool-1      tenant-3    pool-1\n"), "{text}");
        assert_eq!(text.matches("curl").count(), 3);
    }
}
