//! The stub of `bench` as a process: an endpoint that costs next to nothing and keeps no message.

use std::net::{Ipv4Addr, SocketAddr};

use kit::process::{Helper, binary, command_with_clean_env, fixed_port};

/// A running stub.
pub struct Stub {
    address: SocketAddr,
    _process: Helper,
}

impl Stub {
    /// Starts a stub whose calls take this long; it may not listen yet.
    ///
    /// # Panics
    /// The stub cannot be started.
    pub fn start(latency_ms: u64) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fixed_port()));
        let mut command = command_with_clean_env(binary("bench"));
        let (port, latency) = (address.port().to_string(), latency_ms.to_string());
        command.args(["stub", "--port", &port, "--latency-ms", &latency]);
        Self {
            address,
            _process: Helper::start(&mut command).expect("the stub can be started"),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
