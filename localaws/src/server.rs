//! The one port: accepts connections, finds out which service a request is for, counts it, lets faults
//! act, and answers. Knows the services only by their `call`.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HOST},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin,
    app::App,
    faults::{End, Steps},
    form::Form,
    protocol::{self, AwsError, Protocol, Reply},
    sqs::Caller,
    sts,
};

/// Largest request body in bytes: DynamoDB's limit, the largest of the services.
const BODY_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Connections at a time (ours); further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 8_192;
/// An idle or dawdling connection is closed after this (ours); SDKs drop theirs sooner.
const HEADER_TIMEOUT: Duration = Duration::from_secs(300);
/// Pause after a failed accept, e.g. when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Header that names service and operation.
const TARGET: &str = "x-amz-target";

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection was dropped on request")]
pub(crate) struct Dropped;

/// How long the server goes on.
#[derive(Clone, Debug)]
pub(crate) struct Stops {
    /// Finish requests under way, accept none.
    pub(crate) graceful: CancellationToken,
    /// Close connections, whatever they do.
    pub(crate) now: CancellationToken,
}

/// Accepts connections until told to stop; each is a task on `tracker`.
pub(crate) async fn accept(
    listener: TcpListener,
    app: Arc<App>,
    stops: Stops,
    tracker: TaskTracker,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stops.graceful.cancelled() => return,
            accepted = next_connection(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                tracker.spawn(serve(stream, permit, Arc::clone(&app), stops.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn next_connection(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    // Answers are small and awaited: do not hold them back.
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

async fn serve(stream: TcpStream, _permit: OwnedSemaphorePermit, app: Arc<App>, stops: Stops) {
    let service = service_fn(move |request| {
        let app = Arc::clone(&app);
        async move { app.answer(request).await }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        outcome = connection.as_mut() => return log_end(outcome),
        () = stops.graceful.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        outcome = connection => log_end(outcome),
        () = stops.now.cancelled() => tracing::debug!("closed a connection in mid-request at shutdown"),
    }
}

fn log_end(outcome: hyper::Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Which service a request is for, and which of its operations.
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
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Reply, Dropped> {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return Ok(unreadable(&*error)),
        };
        if let Some(path) = head.uri.path().strip_prefix("/_localaws/") {
            return Ok(admin::answer(
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
                "Expected an AWS request: an X-Amz-Target header, or a form with an Action.",
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

    /// Runs one operation between the faults that are to befall it.
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
        let plan = self.faults.plan(&target.action);
        if let Some(reply) = suffer(plan.before, target.service).await? {
            return Ok(reply);
        }
        let outcome = match target.service {
            Service::Sqs => {
                let caller = self.caller(headers, &target.action);
                self.sqs.call(target.name(), &body, &caller).await
            }
            Service::Ssm => {
                let user = sts::identity(headers, &self.account_id).arn;
                self.ssm.call(target.name(), &body, &user).await
            }
            Service::Sts => sts::call(form, headers, &self.account_id),
            Service::DynamoDb => {
                let faults = self.faults.entries(&target.action);
                match self.leading_keys.check(headers, target.name(), &body) {
                    Ok(()) => {
                        self.dynamodb
                            .call(target.name(), headers, body, &faults)
                            .await
                    }
                    Err(denied) => Err(denied),
                }
            }
        };
        let reply = outcome.unwrap_or_else(|error| error.reply(target.service.protocol()));
        Ok(suffer(plan.after, target.service).await?.unwrap_or(reply))
    }

    fn caller(&self, headers: &HeaderMap, action: &str) -> Caller {
        let host = headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .filter(|host| !host.is_empty());
        let sender_id = match sts::session(headers) {
            Ok(None) => Arc::clone(&self.root_id),
            _ => sts::identity(headers, &self.account_id).user_id.into(),
        };
        Caller {
            host: host.map_or_else(|| self.addr.to_string(), ToOwned::to_owned),
            sender_id,
            entry_faults: self.faults.entries(action),
        }
    }
}

/// Lets the planned faults act: the reply to end with, if any.
async fn suffer(steps: Steps, service: Service) -> Result<Option<Reply>, Dropped> {
    if !steps.delay.is_zero() {
        tokio::time::sleep(steps.delay).await;
    }
    match steps.end {
        None => Ok(None),
        Some(End::Drop) => Err(Dropped),
        Some(End::Error(error)) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
            let injected =
                AwsError::new(status, &*error.code, "injected fault").with_query_code(&*error.code);
            Ok(Some(injected.reply(service.protocol())))
        }
    }
}

/// The parameters of a Query request: a form in the body, or in the URL.
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
