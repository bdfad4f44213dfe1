//! Configuration by environment variables, complete and validated before the first socket opens.
//!
//! Every variable is also a flag, so that `--help` documents them all. A missing or wrong value is one line that names
//! the variable, and exit code 2. AWS settings (`AWS_REGION`, `AWS_ENDPOINT_URL`, credentials) are the SDK's own
//! variables and are not repeated here; `OTEL_EXPORTER_OTLP_ENDPOINT` is OpenTelemetry's.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::auth::Auth;
use crate::environment::Environment;

/// What every service is configured by.
#[derive(Debug, Clone, clap::Args)]
pub struct ServiceConfig {
    /// The environment this copy serves: a pool (pool-1), or the tenant whose silo it is (tenant-1)
    #[arg(long, env, value_name = "ENVIRONMENT")]
    pub environment: Environment,

    /// Port of the service
    #[arg(long, env, value_name = "PORT", default_value_t = 8080)]
    pub port: u16,

    /// What every process is configured by.
    #[command(flatten)]
    pub process: ProcessConfig,

    /// Connections served at once; further ones wait to be accepted
    #[arg(long, env, value_name = "MAX_CONNECTIONS", default_value_t = 2048, value_parser = number(1, 1_000_000))]
    pub max_connections: usize,

    /// Requests a second each tenant may make; no bound where unset
    #[arg(long, env, value_name = "TENANT_RATE_PER_SECOND")]
    pub tenant_rate_per_second: Option<NonZeroU32>,

    /// Milliseconds a task may wait for its turn before requests are refused with 503; 0 refuses none
    #[arg(long, env, value_name = "SHED_LATE_MILLIS", default_value = "2", value_parser = milliseconds(0, 60_000))]
    pub shed_late_millis: Duration,

    /// Seconds after which a tenant in use is read again from Parameter Store
    #[arg(long, env, value_name = "REGISTRY_REFRESH_SECONDS", default_value = "60", value_parser = seconds(1, 86_400))]
    pub registry_refresh_seconds: Duration,

    /// Seconds for which a name that is not registered is remembered as such
    #[arg(long, env, value_name = "REGISTRY_UNKNOWN_SECONDS", default_value = "10", value_parser = seconds(1, 3600))]
    pub registry_unknown_seconds: Duration,

    /// How requests prove whose they are.
    #[command(flatten)]
    pub auth: Auth,
}

/// What every process is configured by, one that answers requests or not.
#[derive(Debug, Clone, clap::Args)]
pub struct ProcessConfig {
    /// Port of /livez, /readyz and /metrics; never routed from outside
    #[arg(long, env, value_name = "ADMIN_PORT", default_value_t = 9090)]
    pub admin_port: u16,

    /// Address its ports listen on; `::` on IPv6 clusters
    #[arg(long, env, value_name = "BIND_ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub bind_address: IpAddr,

    /// How log lines look
    #[arg(long, env, value_name = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// What is logged: a level, or directives such as info,shared=debug
    #[arg(long, env, value_name = "LOG_LEVEL", default_value = "info", value_parser = log_filter)]
    pub log_level: String,

    /// Seconds from SIGTERM until the process ends, whatever is still open; below the pod's grace period
    #[arg(long, env, value_name = "SHUTDOWN_GRACE_SECONDS", default_value = "25", value_parser = seconds(1, 3600))]
    pub shutdown_grace_seconds: Duration,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// Coloured text, for people.
    Pretty,
}

/// A configuration that cannot be used, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Help or version was asked for: print it to standard output and end well.
    #[error("{0}")]
    Asked(String),
    /// A value is missing or wrong.
    #[error("{0}")]
    Wrong(String),
}

/// Reads a configuration from the process's arguments and environment.
///
/// # Errors
/// [`ConfigError`], one line that names the variable and what to set it to.
pub fn parse<C: clap::Parser>() -> Result<C, ConfigError> {
    parse_from(std::env::args_os())
}

/// Reads a configuration from these arguments and the process's environment.
///
/// # Errors
/// As [`parse`].
pub fn parse_from<C, I>(arguments: I) -> Result<C, ConfigError>
where
    C: clap::Parser,
    I: IntoIterator<Item: Into<std::ffi::OsString> + Clone>,
{
    let command = C::command();
    let variables = command.get_arguments().filter_map(clap::Arg::get_env);
    for variable in variables {
        if std::env::var_os(variable).is_some_and(|value| value.to_str().is_none()) {
            return Err(ConfigError::Wrong(format!(
                "{} is not text: it holds bytes that are no UTF-8",
                variable.display()
            )));
        }
    }
    C::try_parse_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            ConfigError::Asked(error.render().to_string())
        }
        _ => ConfigError::Wrong(one_line(&error, &command)),
    })
}

/// A whole number between two bounds.
pub fn number(min: usize, max: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let wrong = || format!("a whole number from {min} to {max} is needed");
        text.parse()
            .ok()
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(wrong)
    }
}

/// A duration in whole seconds between two bounds.
pub fn seconds(min: usize, max: usize) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| number(min, max)(text).map(|value| Duration::from_secs(value as u64))
}

/// A duration in whole milliseconds between two bounds.
fn milliseconds(min: usize, max: usize) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| number(min, max)(text).map(|value| Duration::from_millis(value as u64))
}

fn log_filter(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

/// The library's error as one line that names the variable, or the flag of what has none.
fn one_line(error: &clap::Error, command: &clap::Command) -> String {
    let text = error.render().to_string();
    let first = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned();
    let usage = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(usage)) => usage.clone(),
        Some(ContextValue::Strings(usages)) => usages.first().cloned().unwrap_or_default(),
        _ => return first,
    };
    let flag = usage.split(' ').next().unwrap_or_default();
    let argument = command
        .get_arguments()
        .find(|known| known.get_long().map(|long| format!("--{long}")).as_deref() == Some(flag));
    let variable = argument
        .and_then(clap::Arg::get_env)
        .and_then(std::ffi::OsStr::to_str);
    let name = variable.unwrap_or(flag);
    if error.kind() == ErrorKind::MissingRequiredArgument {
        return format!("{name} is not set; --help says what it takes");
    }
    first.replace(&format!("'{usage}'"), name)
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            config.process.shutdown_grace_seconds,
            Duration::from_secs(25)
        );
        assert_eq!(config.tenant_rate_per_second, None);
    }

    #[test]
    fn what_is_missing_or_wrong_is_one_line_naming_the_variable() {
        for (arguments, variable) in [
            (&[][..], "ENVIRONMENT"),
            (&["--environment=Pool_1"], "ENVIRONMENT"),
            (&["--environment="], "ENVIRONMENT"),
            (&["--environment=pool-1", "--port=http"], "PORT"),
            (&["--environment=pool-1", "--port=70000"], "PORT"),
            (&["--environment=pool-1", "--log-format=xml"], "LOG_FORMAT"),
            (&["--environment=pool-1", "--log-level=a=b=c"], "LOG_LEVEL"),
            (
                &["--environment=pool-1", "--shutdown-grace-seconds=0"],
                "SHUTDOWN_GRACE_SECONDS",
            ),
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
