//! The endpoint as a program of its own.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

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
    /// Folder the data are kept in.
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

/// A write beyond the limit on a file's size (`ulimit -f`): 25 on Linux and the BSDs.
const SIGXFSZ: i32 = 25;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,dynoxide=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&*error);
            ExitCode::from(2)
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    // Caught, the write fails like any other on a full disk; left alone, the signal would end the program.
    let _full = signal(SignalKind::from_raw(SIGXFSZ))?;
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
    announce(&endpoint.url());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    endpoint.shutdown().await;
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "whoever starts the program reads the address from its first line"
)]
fn announce(url: &str) {
    println!("localaws listens on {url}");
}

#[expect(
    clippy::print_stderr,
    reason = "the one line that says why the program did not start"
)]
fn complain(error: &dyn std::error::Error) {
    eprintln!("localaws: {error}");
}
