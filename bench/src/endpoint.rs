//! The embedded AWS endpoint as a process of its own, in memory, for scenarios that need queues as AWS has them.

use std::net::{Ipv4Addr, SocketAddr};

use localaws::{Config, Storage};

#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Options {
    /// Port on the loopback address
    #[arg(long)]
    port: u16,
}

/// Serves until the process ends.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let _endpoint = localaws::start(Config {
        listen,
        ..Config::new(Storage::Memory)
    })
    .await?;
    std::future::pending().await
}
