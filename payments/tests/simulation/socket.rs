//! The socket of one replica: an HTTP client for the SDK that reaches only the simulated services.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use http_body_util::BodyExt;
use serde_json::Value;
use tenantry_process::aws::AwsSettings;
use tokio::sync::oneshot;

use crate::world::{Fault, World};

/// A replica's connection to the services, closed for good when the replica is killed.
#[derive(Clone)]
pub(crate) struct Socket {
    world: Arc<World>,
    is_alive: Arc<AtomicBool>,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Socket")
    }
}

impl Socket {
    pub(crate) fn to(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            is_alive: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Settings of AWS clients that use this socket.
    pub(crate) fn settings(&self) -> AwsSettings {
        AwsSettings::for_endpoint("http://aws.simulated", "us-east-1")
            .with_http_client(self.clone())
    }

    /// Ends sending and receiving. Calls in flight may still take effect.
    pub(crate) fn kill(&self) {
        self.is_alive.store(false, Ordering::Relaxed);
    }

    fn is_alive(&self) -> bool {
        self.is_alive.load(Ordering::Relaxed)
    }
}

impl HttpClient for Socket {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Socket {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(call(self.clone(), request))
    }
}

async fn call(socket: Socket, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let target = request
        .headers()
        .get("x-amz-target")
        .unwrap_or_default()
        .to_owned();
    let body = request
        .into_body()
        .collect()
        .await
        .map_err(ConnectorError::user)?
        .to_bytes();
    let body: Value =
        serde_json::from_slice(&body).map_err(|error| ConnectorError::user(error.into()))?;
    if !socket.is_alive() {
        return std::future::pending().await;
    }
    let (reply, answer) = oneshot::channel();
    // Spawned, so that the call takes effect even if the replica is killed.
    tokio::spawn(serve(Arc::clone(&socket.world), target, body, reply));
    let answered = answer.await;
    if !socket.is_alive() {
        return std::future::pending().await;
    }
    let reset = || ConnectorError::io("connection reset".into());
    let (status, body) = answered.map_err(|_| reset())?.ok_or_else(reset)?;
    let status = status
        .try_into()
        .map_err(|error| ConnectorError::other(Box::new(error), None))?;
    Ok(HttpResponse::new(status, body.to_string().into()))
}

/// The services' side of a call. `None` is a broken connection.
async fn serve(
    world: Arc<World>,
    target: String,
    body: Value,
    reply: oneshot::Sender<Option<(u16, Value)>>,
) {
    let plan = world.plan_call();
    tokio::time::sleep(plan.before).await;
    let answer = match plan.fault {
        Fault::None => Some(world.apply(&target, &body)),
        Fault::Lost => {
            world.apply(&target, &body);
            None
        }
        Fault::Failed => Some((
            500,
            serde_json::json!({"__type": "InternalServerError", "message": "a fault"}),
        )),
        Fault::FailedAfter => {
            world.apply(&target, &body);
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
    let _ = reply.send(answer);
}
