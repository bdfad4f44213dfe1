//! The SDK's socket, replaced: calls reach a simulated service in this process, and nothing is ever connected.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use http_body_util::BodyExt as _;

/// Status and body of an answer; none is a connection that was reset.
pub type Rendered = Option<(u16, String)>;

type Serve =
    dyn Fn(String, Vec<u8>) -> Pin<Box<dyn Future<Output = Rendered> + Send>> + Send + Sync;

/// An HTTP client for the SDK whose every call is answered by a function.
#[derive(Clone)]
pub struct Socket(Arc<Serve>);

impl Socket {
    /// A socket whose calls go to `serve`, with their action (`x-amz-target`) and body. The future is dropped when the SDK
    /// gives up.
    pub fn new<F>(serve: impl Fn(String, Vec<u8>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Rendered> + Send + 'static,
    {
        Self(Arc::new(move |target, body| Box::pin(serve(target, body))))
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Socket")
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
        let serve = Arc::clone(&self.0);
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            let target = target.to_owned();
            let body = request.into_body().collect().await;
            let body = body.map_err(ConnectorError::user)?.to_bytes();
            let (status, body) = serve(target, body.to_vec())
                .await
                .ok_or_else(|| ConnectorError::io("connection reset".into()))?;
            let status = status
                .try_into()
                .map_err(|error| ConnectorError::other(Box::new(error), None))?;
            Ok(HttpResponse::new(status, body.into()))
        })
    }
}
