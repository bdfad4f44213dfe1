//! HTTP server: accepts connections, routes each request to its service, counts it and applies faults.
//!
//! It knows the services only by their `call`.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HOST},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tenantry_process::server::{Checked, Refused};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin,
    app::App,
    faults::{Abort, FaultSteps},
    form::Form,
    hosts::ForeignRequest,
    protocol::{self, AwsError, Protocol, Reply},
    sqs::CallContext,
    sts,
};

/// Largest request body in bytes: the limit of DynamoDB, the highest of the services.
const BODY_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Open connections (ours); further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 8_192;
/// Idle time, or time for the head of a request, after which a connection is closed (ours); SDKs close theirs sooner.
const HEADER_TIMEOUT: Duration = Duration::from_secs(300);
/// Pause after a failed accept, e.g. when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Request header that names service and operation.
const TARGET: &str = "x-amz-target";

/// Closes the connection without a response: an injected fault.
#[derive(Debug, thiserror::Error)]
#[error("connection dropped by an injected fault")]
pub(crate) struct Dropped;

#[derive(Clone, Debug)]
pub(crate) struct Stops {
    /// Finishes the requests in progress; accepts no connection.
    pub(crate) graceful: CancellationToken,
    /// Closes all connections.
    pub(crate) now: CancellationToken,
}

/// Accepts connections until it is stopped; each is a task on `tracker`.
pub(crate) async fn accept(
    listener: TcpListener,
    app: Arc<App>,
    stops: Stops,
    tracker: TaskTracker,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stops.graceful.cancelled() => return,
            accepted = next_connection(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                tracker.spawn(serve(stream, permit, Arc::clone(&app), stops.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed, will retry");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn next_connection(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(slots)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    // Responses are small: Nagle's algorithm would only delay them.
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

async fn serve(stream: TcpStream, _permit: OwnedSemaphorePermit, app: Arc<App>, stops: Stops) {
    let (reading, writing) = stream.into_split();
    let malformed = Arc::new(OnceLock::new());
    let stream = tokio::io::join(Checked::new(reading, Arc::clone(&malformed)), writing);
    let service = service_fn(move |request| {
        let (app, malformed) = (Arc::clone(&app), malformed.get().copied());
        async move {
            match malformed {
                Some(refused) => Ok(unframed(refused)),
                None => app.handle(request).await,
            }
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return log_end(result),
        () = stops.graceful.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        result = connection => log_end(result),
        () = stops.now.cancelled() => tracing::debug!("connection closed during a request: shutdown"),
    }
}

fn log_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Service and operation of a request.
struct Target {
    service: Service,
    /// E.g. `SQS.SendMessage`.
    action: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Sqs,
    Ssm,
    Sts,
    DynamoDb,
}

impl Service {
    fn protocol(self) -> Protocol {
        match self {
            Self::Sqs => protocol::SQS,
            Self::Ssm => protocol::SSM,
            Self::Sts => protocol::STS,
            Self::DynamoDb => protocol::DYNAMODB,
        }
    }
}

impl Target {
    fn parse(header: &str) -> Option<Self> {
        let (service, name) = header.split_once('.')?;
        let (service, short) = match service {
            "AmazonSQS" => (Service::Sqs, "SQS"),
            "AmazonSSM" => (Service::Ssm, "SSM"),
            "DynamoDB_20120810" => (Service::DynamoDb, "DynamoDB"),
            "DynamoDBStreams_20120810" => (Service::DynamoDb, "DynamoDBStreams"),
            _ => return None,
        };
        Some(Self {
            service,
            action: format!("{short}.{name}"),
        })
    }

    fn name(&self) -> &str {
        self.action.split_once('.').map_or("", |(_, name)| name)
    }
}

impl App {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Result<Reply, Dropped> {
        if let Err(foreign) = self.allowed_hosts.check(request.uri(), request.headers()) {
            return Ok(refused(&foreign));
        }
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return Ok(unreadable(&*error)),
        };
        if let Some(path) = head.uri.path().strip_prefix("/_localaws/") {
            return Ok(admin::handle(
                &self,
                &head.method,
                path,
                &head.headers,
                &body,
            ));
        }
        if let Some(header) = head.headers.get(TARGET) {
            let target = header.to_str().ok().and_then(Target::parse);
            return match target {
                Some(target) => {
                    self.run(&target, &head.headers, body, &Form::default())
                        .await
                }
                None => Ok(AwsError::bad_request(
                    "UnknownOperationException",
                    "This endpoint serves SQS, SSM, STS and DynamoDB.",
                )
                .reply(protocol::SSM)),
            };
        }
        let query = head.uri.query().unwrap_or_default();
        match query_form(&head.method, query, &head.headers, &body) {
            Some(form) => self.run_query(&head.headers, &form).await,
            None if head.method == Method::GET && head.uri.path() == "/" => Ok(protocol::raw(
                StatusCode::OK,
                "text/plain",
                "localaws: SQS, SSM, STS and DynamoDB\n",
            )),
            None => Ok(AwsError::new(
                StatusCode::NOT_FOUND,
                "UnknownOperationException",
                "Not an AWS request: send an X-Amz-Target header, or a form with an Action.",
            )
            .reply(protocol::SSM)),
        }
    }

    async fn run_query(&self, headers: &HeaderMap, form: &Form) -> Result<Reply, Dropped> {
        let action = form.get("Action").unwrap_or_default();
        if form.get("Version") != Some("2011-06-15") {
            let message = format!(
                "The action {action} is not valid for this endpoint: of the services with the Query protocol it serves \
                 STS (version 2011-06-15); SQS clients must use the JSON protocol."
            );
            return Ok(AwsError::bad_request("InvalidAction", message).reply(protocol::STS));
        }
        let target = Target {
            service: Service::Sts,
            action: format!("STS.{action}"),
        };
        self.run(&target, headers, Bytes::new(), form).await
    }

    /// Runs one operation, and the faults injected before and after it.
    async fn run(
        &self,
        target: &Target,
        headers: &HeaderMap,
        body: Bytes,
        form: &Form,
    ) -> Result<Reply, Dropped> {
        self.calls.record(&target.action);
        self.principals.record(
            sts::session(headers).ok().flatten().as_ref(),
            &target.action,
        );
        let faults = self.faults.for_call(&target.action);
        if let Some(reply) = apply_faults(faults.before, target.service).await? {
            return Ok(reply);
        }
        let result = match target.service {
            Service::Sqs => {
                let context = self.call_context(headers, &target.action);
                self.sqs.call(target.name(), &body, &context).await
            }
            Service::Ssm => {
                let user = sts::identity(headers, &self.account_id).arn;
                self.ssm.call(target.name(), &body, &user).await
            }
            Service::Sts => sts::call(form, headers, &self.account_id),
            Service::DynamoDb => {
                let entry_faults = self.faults.for_entries(&target.action);
                match self.leading_keys.check(headers, target.name(), &body) {
                    Ok(()) => {
                        self.dynamodb
                            .call(target.name(), headers, body, &entry_faults)
                            .await
                    }
                    Err(denied) => Err(denied),
                }
            }
        };
        let reply = result.unwrap_or_else(|error| error.reply(target.service.protocol()));
        Ok(apply_faults(faults.after, target.service)
            .await?
            .unwrap_or(reply))
    }

    fn call_context(&self, headers: &HeaderMap, action: &str) -> CallContext {
        let host = headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .filter(|host| !host.is_empty());
        let sender_id = match sts::session(headers) {
            Ok(None) => Arc::clone(&self.root_id),
            _ => sts::identity(headers, &self.account_id).user_id.into(),
        };
        CallContext {
            host: host.map_or_else(|| self.addr.to_string(), ToOwned::to_owned),
            sender_id,
            entry_faults: self.faults.for_entries(action),
        }
    }
}

/// Applies injected faults; returns the response that ends the call, if any.
async fn apply_faults(faults: FaultSteps, service: Service) -> Result<Option<Reply>, Dropped> {
    if !faults.delay.is_zero() {
        tokio::time::sleep(faults.delay).await;
    }
    match faults.abort {
        None => Ok(None),
        Some(Abort::Drop) => Err(Dropped),
        Some(Abort::Error(error)) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
            let injected =
                AwsError::new(status, &*error.code, "injected fault").with_query_code(&*error.code);
            Ok(Some(injected.reply(service.protocol())))
        }
    }
}

/// Returns the parameters of a Query request, from a form in the body or in the URL.
fn query_form(method: &Method, query: &str, headers: &HeaderMap, body: &Bytes) -> Option<Form> {
    let is_form = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
    let form = match *method {
        Method::POST if is_form => Form::parse(std::str::from_utf8(body).ok()?),
        Method::GET | Method::POST => Form::parse(query),
        _ => return None,
    };
    form.get("Action").is_some().then_some(form)
}

fn refused(foreign: &ForeignRequest) -> Reply {
    AwsError::new(
        foreign.status(),
        "AccessDeniedException",
        foreign.to_string(),
    )
    .reply(protocol::SSM)
}

/// The head breaks RFC 9112.
fn unframed(refused: Refused) -> Reply {
    AwsError::new(
        refused.status(),
        "MalformedHttpRequestException",
        refused.msg(),
    )
    .reply(protocol::SSM)
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> Reply {
    if error.is::<http_body_util::LengthLimitError>() {
        let message = format!("The request is larger than {BODY_BYTES_MAX} bytes.");
        return AwsError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            message,
        )
        .reply(protocol::SQS);
    }
    AwsError::bad_request(
        "SerializationException",
        format!("Cannot read the request: {error}"),
    )
    .reply(protocol::SQS)
}
