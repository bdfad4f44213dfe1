//! The references in Rust, with the same SDK and the same settings: one call per message, and a bare handler. Neither has
//! any of our services' features.

mod bare;
mod consumer;
mod producer;

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use serde::Serialize;
use tokio::net::TcpListener;

/// A reference as a process of its own; the SDK reads its AWS variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub(crate) enum Reference {
    /// One SendMessage per POST
    Producer {
        /// Port on the loopback address
        #[arg(long)]
        port: u16,
    },
    /// Receives 10, then puts and deletes one by one
    Consumer,
    /// The identity answer alone
    Bare {
        /// Port on the loopback address
        #[arg(long)]
        port: u16,
    },
}

/// The identity answer; keys in sorted order.
#[derive(Serialize)]
struct Identity<'a> {
    environment: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    microservice: &'static str,
    tenant_id: Option<&'a str>,
    version: &'static str,
}

impl<'a> Identity<'a> {
    const fn new(tenant_id: Option<&'a str>, message_id: Option<String>) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self {
            environment: crate::stub::ENVIRONMENT,
            message_id,
            microservice: "producer",
            tenant_id,
            version,
        }
    }
}

/// Runs until the process ends.
pub(crate) async fn run(reference: Reference) -> anyhow::Result<()> {
    match reference {
        Reference::Producer { port } => serve(producer::router().await?, port).await,
        Reference::Consumer => consumer::run().await,
        Reference::Bare { port } => serve(bare::router(), port).await,
    }
}

async fn serve(router: Router, port: u16) -> anyhow::Result<()> {
    use axum::serve::ListenerExt as _;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let listener = listener.tap_io(|stream| {
        // Our own server sets TCP_NODELAY, too. If the call fails, answers are slower and still correct.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}

fn tenant_in(headers: &axum::http::HeaderMap) -> Option<&str> {
    headers
        .get("tenantid")
        .and_then(|value| value.to_str().ok())
}
