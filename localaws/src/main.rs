//! The endpoint as a program.

use std::{io::IsTerminal as _, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use localaws::{Config, Storage, hosts::HostName};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// An AWS endpoint in one process: SQS, SSM, STS and DynamoDB.
#[derive(Debug, Parser)]
struct Args {
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:4566")]
    listen: SocketAddr,
    /// Data folder.
    #[arg(long, default_value = ".local/aws", conflicts_with = "ephemeral")]
    data_dir: PathBuf,
    /// Keep the data in memory only.
    #[arg(long)]
    ephemeral: bool,
    /// Twelve-digit account in ARNs and queue URLs.
    #[arg(long, default_value = "000000000000")]
    account_id: String,
    /// Region in ARNs.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Name under which clients reach the endpoint, beside IP addresses and localhost; repeat it, or separate by commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    allow_host: Vec<HostName>,
}

/// Signal for a write beyond the file size limit (`ulimit -f`): 25 on Linux and the BSDs.
const SIGXFSZ: i32 = 25;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,dynoxide=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_colored())
        .init();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&*error);
            ExitCode::from(2)
        }
    }
}

/// Whether a person reads the log lines, and has not asked for plain ones (no-color.org).
fn is_colored() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    // With a handler, the write fails as on a full disk. Without one, the signal ends the program.
    let _file_too_large = signal(SignalKind::from_raw(SIGXFSZ))?;
    let storage = if args.ephemeral {
        Storage::Memory
    } else {
        Storage::Dir(args.data_dir)
    };
    let config = Config {
        listen: args.listen,
        account_id: args.account_id,
        region: args.region,
        allowed_hosts: args.allow_host.into_iter().collect(),
        ..Config::new(storage)
    };
    let endpoint = localaws::start(config).await?;
    print_url(&endpoint.url());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    endpoint.shutdown().await;
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "the first line of output is the address, for scripts that start the program"
)]
fn print_url(url: &str) {
    println!("localaws listens on {url}");
}

#[expect(
    clippy::print_stderr,
    reason = "the start error is one line on standard error"
)]
fn print_error(error: &dyn std::error::Error) {
    eprintln!("localaws: {error}");
}
