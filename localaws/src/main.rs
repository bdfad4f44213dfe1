//! The endpoint as a program.

use std::{io::IsTerminal as _, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use localaws::{Config, Storage};
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
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&*error);
            ExitCode::from(2)
        }
    }
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
