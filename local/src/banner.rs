//! What is printed once everything is ready: one screen.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use crate::topology::{App, TenantSpec};

/// Prints the banner to standard output.
#[expect(clippy::print_stdout, reason = "this is what standard output is for")]
pub(crate) fn print(tenants: &[TenantSpec], gateway: SocketAddr, endpoint: &str, folder: Option<&Path>) {
    print!("{}", text(tenants, gateway, endpoint, folder));
}

fn text(tenants: &[TenantSpec], gateway: SocketAddr, endpoint: &str, folder: Option<&Path>) -> String {
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
    let kept =
        folder.map_or_else(|| "in memory only".to_owned(), |folder| format!("in {}", folder.display()));
    write!(
        text,
        "
  load balancer  http://{gateway}
  AWS endpoint   {endpoint}  (region us-east-1, any credentials)
  data           {kept}

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
        let gateway = "127.0.0.1:8080".parse().unwrap();
        let text = text(&crate::topology::sample_tenants(), gateway, "http://127.0.0.1:4566", None);
        assert!(text.lines().count() <= 24 && text.lines().all(|line| line.len() <= 100), "{text}");
        assert!(text.contains("http://127.0.0.1:8080\n") && text.contains("http://127.0.0.1:4566"));
        assert!(text.contains("tenant-3    advanced    pool-1      tenant-3    pool-1\n"), "{text}");
        assert_eq!(text.matches("curl").count(), 3);
    }
}
