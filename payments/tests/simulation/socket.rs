//! The socket of one replica: an HTTP client for the SDK that reaches only the simulated services.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kit::socket::Rendered;
use serde_json::Value;
use tenantry_process::aws::AwsSettings;
use tokio::sync::oneshot;

use crate::simulated_aws::{Fault, SimulatedAws};

/// A replica's connection to the services, closed for good when the replica is killed.
#[derive(Clone)]
pub(crate) struct Socket {
    aws: Arc<SimulatedAws>,
    is_alive: Arc<AtomicBool>,
}

impl Socket {
    pub(crate) fn to(aws: &Arc<SimulatedAws>) -> Self {
        Self {
            aws: Arc::clone(aws),
            is_alive: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Settings of AWS clients that use this socket.
    pub(crate) fn settings(&self) -> AwsSettings {
        let socket = self.clone();
        let socket =
            kit::socket::Socket::new(move |target, body| call(socket.clone(), target, body));
        AwsSettings::for_endpoint("http://aws.simulated", "us-east-1").with_http_client(socket)
    }

    /// Ends sending and receiving. Calls in flight may still take effect.
    pub(crate) fn kill(&self) {
        self.is_alive.store(false, Ordering::Relaxed);
    }

    /// Returns only while the replica is alive: a killed replica gets no response, not even an error.
    async fn alive(&self) {
        if !self.is_alive.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

async fn call(socket: Socket, target: String, body: Vec<u8>) -> Rendered {
    let body = serde_json::from_slice(&body).expect("the SDK sends JSON");
    socket.alive().await;
    let (reply, response) = oneshot::channel();
    // Spawned, so that the call takes effect even if the replica is killed.
    tokio::spawn(serve(Arc::clone(&socket.aws), target, body, reply));
    let response = response.await;
    socket.alive().await;
    let (status, body) = response.ok()??;
    Some((status, body.to_string()))
}

/// Serves a call on the services' side. A response of `None` is a broken connection.
async fn serve(
    aws: Arc<SimulatedAws>,
    target: String,
    body: Value,
    reply: oneshot::Sender<Option<(u16, Value)>>,
) {
    let plan = aws.plan_call();
    tokio::time::sleep(plan.before).await;
    let response = match plan.fault {
        Fault::None => Some(aws.apply(&target, &body)),
        Fault::ResponseLost => {
            aws.apply(&target, &body);
            None
        }
        Fault::FailedBeforeEffect => Some((
            500,
            serde_json::json!({"__type": "InternalServerError", "message": "a fault"}),
        )),
        Fault::FailedAfterEffect => {
            aws.apply(&target, &body);
            Some((
                500,
                serde_json::json!({"__type": "InternalServerError", "message": "a fault"}),
            ))
        }
        Fault::Throttled => Some((
            400,
            serde_json::json!({"__type": "ThrottlingException", "message": "slower"}),
        )),
        Fault::Reset => None,
        Fault::Hung => std::future::pending().await,
    };
    tokio::time::sleep(plan.after).await;
    // The receiver is dropped if the replica was killed or its call timed out.
    let _ = reply.send(response);
}
