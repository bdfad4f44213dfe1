//! Configuration by environment variables, complete and validated before the first socket opens.
//!
//! Every variable is also a flag, so `--help` documents them all. A missing or invalid value gives one line that names
//! the variable, and exit code 2. The SDK reads the AWS variables (`AWS_REGION`, `AWS_ENDPOINT_URL`, credentials);
//! OpenTelemetry reads `OTEL_EXPORTER_OTLP_ENDPOINT`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Settings of every process.
#[derive(Debug, Clone, clap::Args)]
pub struct ProcessConfig {
    /// Port of /livez, /readyz and /metrics; never route it from outside
    #[arg(long, env, value_name = "ADMIN_PORT", default_value_t = 9090)]
    pub admin_port: u16,

    /// Address that the ports listen on; `::` on IPv6 clusters
    #[arg(long, env, value_name = "BIND_ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub bind_address: IpAddr,

    /// Format of log lines
    #[arg(long, env, value_name = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// Log level, or directives such as info,tenantry_queue=debug
    #[arg(long, env, value_name = "LOG_LEVEL", default_value = "info", value_parser = log_filter)]
    pub log_level: String,

    /// Part of all requests that are traced, from 0 to 1; a caller's trace context does not decide it
    #[arg(long, env, value_name = "TRACE_RATIO", default_value_t = 1.0, value_parser = ratio)]
    pub trace_ratio: f64,

    /// Seconds from SIGTERM until the process ends even with work in progress; below the pod's grace period
    #[arg(long, env, value_name = "SHUTDOWN_GRACE_SECONDS", default_value = "25", value_parser = seconds(1, 3600))]
    pub shutdown_grace_seconds: Duration,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line, for machines.
    Json,
    /// Colored text, for people.
    Pretty,
}

/// The process cannot start with these arguments; an invalid value's message is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Help or version was requested: print it to standard output and exit with 0.
    #[error("{0}")]
    Asked(String),
    /// A value is missing or invalid.
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

/// As [`parse`], from these arguments.
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
                "{} is not valid UTF-8: set it to plain text",
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

/// Parser of a whole number from `min` to `max`.
pub fn number(min: usize, max: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let wrong = || format!("a whole number from {min} to {max} is needed");
        text.parse()
            .ok()
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(wrong)
    }
}

/// Parser of whole seconds from `min` to `max`.
pub fn seconds(min: usize, max: usize) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| number(min, max)(text).map(|value| Duration::from_secs(value as u64))
}

fn ratio(text: &str) -> Result<f64, String> {
    let wrong = || "a number from 0 to 1 is needed".to_owned();
    let number = text.parse().ok();
    number
        .filter(|number| (0.0..=1.0).contains(number))
        .ok_or_else(wrong)
}

fn log_filter(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

/// Converts clap's error to one line that names the variable, or the flag if there is no variable.
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
        process: ProcessConfig,
    }

    fn parse(arguments: &[&str]) -> Result<Config, ConfigError> {
        parse_from(std::iter::once("worker").chain(arguments.iter().copied()))
    }

    #[test]
    fn the_defaults_fit_a_pod() {
        let config = parse(&[]).expect("complete").process;
        assert_eq!(config.admin_port, 9090);
        assert_eq!(config.shutdown_grace_seconds, Duration::from_secs(25));
    }

    #[test]
    fn an_invalid_value_gives_one_line_that_names_the_variable() {
        for (argument, variable) in [
            ("--log-format=xml", "LOG_FORMAT"),
            ("--log-level=a=b=c", "LOG_LEVEL"),
            ("--trace-ratio=1.1", "TRACE_RATIO"),
            ("--trace-ratio=NaN", "TRACE_RATIO"),
            ("--shutdown-grace-seconds=0", "SHUTDOWN_GRACE_SECONDS"),
        ] {
            let error = parse(&[argument]).expect_err(variable);
            let ConfigError::Wrong(line) = &error else {
                panic!("{error:?}")
            };
            assert!(line.contains(variable) && !line.contains('\n'), "{line:?}");
        }
    }
}
