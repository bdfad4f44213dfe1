//! The stub of `bench` as a process: an endpoint that costs next to nothing and keeps no message.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};

use kit::process::{binary, clean, fixed_port};

/// A running stub; it ends with this value.
pub struct Stub {
    child: Child,
    address: SocketAddr,
}

impl Stub {
    /// Starts one whose calls take this long; whoever calls it may have to try again until it listens.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn start(latency_ms: u64) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fixed_port()));
        let mut command = clean(binary("bench"));
        let (port, latency) = (address.port().to_string(), latency_ms.to_string());
        command.args(["stub", "--port", &port, "--latency-ms", &latency]);
        // It ends when its standard input does: with this process, however that ends.
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self {
            child: child.expect("the stub can be started"),
            address,
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        // Either fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
