//! The socket of one replica: an HTTP client for the SDK that reaches the simulated services and nothing else.

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

use crate::world::{Course, World};

/// A replica's way to the world; closed for good when it is killed.
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

    /// Settings of clients with the world at the other end.
    pub(crate) fn settings(&self) -> AwsSettings {
        AwsSettings::for_endpoint("http://aws.simulated", "us-east-1")
            .with_http_client(self.clone())
    }

    /// Nothing is sent or heard any more. What is on its way may still arrive.
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
    // Carried out whether or not its caller lives to hear of it.
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

/// The services' side of a call; nothing is a connection that broke.
async fn serve(
    world: Arc<World>,
    target: String,
    body: Value,
    reply: oneshot::Sender<Option<(u16, Value)>>,
) {
    let fate = world.fate();
    tokio::time::sleep(fate.before).await;
    let answer = match fate.course {
        Course::Answered => Some(world.carry_out(&target, &body)),
        Course::Lost => {
            world.carry_out(&target, &body);
            None
        }
        Course::Failed => Some((
            500,
            serde_json::json!({"__type": "InternalServerError", "message": "a fault"}),
        )),
        Course::FailedAfter => {
            world.carry_out(&target, &body);
            Some((
                500,
                serde_json::json!({"__type": "InternalServerError", "message": "a fault"}),
            ))
        }
        Course::Throttled => Some((
            400,
            serde_json::json!({"__type": "ThrottlingException", "message": "slower"}),
        )),
        Course::Reset => None,
        Course::Hung => std::future::pending().await,
    };
    tokio::time::sleep(fate.after).await;
    // A caller that gave up hears nothing.
    let _ = reply.send(answer);
}
