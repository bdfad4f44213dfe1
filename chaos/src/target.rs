//! The producer of the pool under load, over the stub of `bench`.
//!
//! The producer runs with the defaults that ship: only its endpoint, its ports and its log level are set.

use std::net::SocketAddr;
use std::process::Command;

use kit::http::Request;
use kit::load::Prepared;
use kit::process::Process;
use kit::service::{QUIET_LOG, Service, command};

use crate::quota::Quota;
use crate::stub::Stub;

/// A producer and its endpoint; both end with this value.
pub(crate) struct Target {
    pub(crate) producer: Service,
    _stub: Stub,
}

/// Every tenant that sends; the stub registers each as basic.
pub(crate) const TENANTS: [&str; 2] = ["tenant-2", "tenant-4"];

impl Target {
    /// Starts both; each call of the endpoint takes `delay_ms`.
    pub(crate) async fn start(delay_ms: u64, quota: Option<&Quota>) -> Self {
        let stub = Stub::start(delay_ms);
        let mut plain: Command = command("producer", "pool-1", &stub.url());
        plain.envs([QUIET_LOG]);
        let command = match quota {
            Some(quota) => quota.around(&plain),
            None => plain,
        };
        let process = Process::start("producer", command);
        let producer = Service::of("producer", process).await.ready().await;
        for tenant in TENANTS {
            producer.post(tenant, "").await;
        }
        Self {
            producer,
            _stub: stub,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.producer.address
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.producer.process.id()
    }
}

/// The POST of every measurement.
pub(crate) fn post(tenant: &str) -> Prepared {
    let body = r#"{"order":7,"items":[{"sku":"A-100","quantity":2}]}"#;
    Prepared::from(&Request::event().tenant(tenant).body(body))
}
