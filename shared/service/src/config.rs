//! Settings of every tenant service.

use std::num::NonZeroU32;
use std::time::Duration;

use tenantry_process::config::{ProcessConfig, number, seconds};
use tenantry_tenancy::environment::Environment;

use crate::auth::Auth;
use crate::source::Proxies;

/// Settings of every tenant service.
#[derive(Debug, Clone, clap::Args)]
pub struct ServiceConfig {
    /// The environment this copy serves: a pool (pool-1), or the tenant whose silo it is (tenant-1)
    #[arg(long, env, value_name = "ENVIRONMENT")]
    pub environment: Environment,

    /// Port of the service
    #[arg(long, env, value_name = "PORT", default_value_t = 8080)]
    pub port: u16,

    /// Settings of every process.
    #[command(flatten)]
    pub process: ProcessConfig,

    /// Connections served at once; further ones wait to be accepted
    #[arg(long, env, value_name = "MAX_CONNECTIONS", default_value_t = 2048, value_parser = number(1, 1_000_000))]
    pub max_connections: usize,

    /// Requests per second that each tenant may make; no limit if unset
    #[arg(long, env, value_name = "TENANT_RATE_PER_SECOND")]
    pub tenant_rate_per_second: Option<NonZeroU32>,

    /// Age in seconds at which a tenant's registration is read again before it answers
    #[arg(long, env, value_name = "REGISTRY_REFRESH_SECONDS", default_value = "10", value_parser = seconds(1, 86_400))]
    pub registry_refresh_seconds: Duration,

    /// Seconds for which a name that is not registered is remembered as such
    #[arg(long, env, value_name = "REGISTRY_UNKNOWN_SECONDS", default_value = "10", value_parser = seconds(1, 3600))]
    pub registry_unknown_seconds: Duration,

    /// Authentication of requests.
    #[command(flatten)]
    pub auth: Auth,

    /// Trusted proxies, from which the client's address is read.
    #[command(flatten)]
    pub proxies: Proxies,
}

#[cfg(test)]
mod tests {
    use tenantry_process::config::{ConfigError, parse_from};

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Config {
        #[command(flatten)]
        service: ServiceConfig,
    }

    fn parse(arguments: &[&str]) -> Result<Config, ConfigError> {
        parse_from(std::iter::once("service").chain(arguments.iter().copied()))
    }

    #[test]
    fn the_environment_alone_is_enough() {
        let config = parse(&["--environment=pool-1"]).expect("complete").service;
        assert_eq!((config.port, config.process.admin_port), (8080, 9090));
        assert_eq!(config.tenant_rate_per_second, None);
    }

    #[test]
    fn a_missing_or_wrong_value_is_one_line_that_names_the_variable() {
        for (arguments, variable) in [
            (&[][..], "ENVIRONMENT"),
            (&["--environment=Pool_1"], "ENVIRONMENT"),
            (&["--environment="], "ENVIRONMENT"),
            (&["--environment=pool-1", "--port=http"], "PORT"),
            (&["--environment=pool-1", "--port=70000"], "PORT"),
            (
                &["--environment=pool-1", "--tenant-rate-per-second=0"],
                "TENANT_RATE_PER_SECOND",
            ),
        ] {
            let error = parse(arguments).expect_err(variable);
            let ConfigError::Wrong(line) = &error else {
                panic!("{error:?}")
            };
            assert!(
                line.contains(variable) && !line.contains('\n') && !line.contains("--port"),
                "{line:?}"
            );
        }
    }
}
