//! An HTTP client for the SDK that reaches the simulated service and nothing else.

use kit::socket::{Rendered, Socket};
use tenantry_process::aws::AwsSettings;
use tokio::sync::oneshot;

use super::World;
use super::faults::{CallFault, FaultKind};
use super::protocol::{Answer, ENDPOINT, Request, render_failure};
use crate::trace::{CallId, Event, Failure};

/// Unix time at virtual time zero, in milliseconds.
const EPOCH_MS: u64 = 1_767_225_600_000;

impl World {
    /// Creates the client that production uses, connected to this service.
    pub(crate) fn client(&self) -> aws_sdk_sqs::Client {
        let world = self.clone();
        let socket = Socket::new(move |target, body| call(world.clone(), target, body));
        let settings = AwsSettings::for_endpoint(ENDPOINT, "us-east-1");
        aws_sdk_sqs::Client::new(&settings.with_http_client(socket).without_retries())
    }
}

/// The caller's side of a call; a drop before the end abandons the call.
struct OpenCall {
    world: World,
    call: CallId,
    is_over: bool,
}

impl OpenCall {
    fn ends_with(&mut self, event: Event) {
        self.is_over = true;
        self.world.note(event);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if !self.is_over {
            self.world.note(Event::Abandoned { call: self.call });
        }
    }
}

async fn call(world: World, target: String, body: Vec<u8>) -> Rendered {
    let request = Request::parse(&target, &body);
    let (call, fault) = world.begin(&request);
    let mut open = OpenCall {
        world: world.clone(),
        call,
        is_over: false,
    };
    let (reply, answer) = oneshot::channel();
    tokio::spawn(serve(world, call, request, fault, reply));
    match answer.await.expect("the service outlives its calls") {
        Ok(answer) => {
            let rendered = answer.render(EPOCH_MS);
            open.ends_with(Event::Answered { call, answer });
            Some(rendered)
        }
        Err(how) => {
            let rendered = render_failure(&how);
            open.ends_with(Event::Failed { call, how });
            rendered
        }
    }
}

/// The service's side of a call.
async fn serve(
    world: World,
    call: CallId,
    request: Request,
    fault: CallFault,
    reply: oneshot::Sender<Result<Answer, Failure>>,
) {
    world.sleep(fault.before).await;
    let outcome = match fault.kind {
        FaultKind::Hung => std::future::pending().await,
        FaultKind::Without(failure) => Err(failure),
        FaultKind::Answered => Ok(world.apply(call, request, || !reply.is_closed()).await),
        FaultKind::After(failure) => {
            world.apply(call, request, || !reply.is_closed()).await;
            Err(failure)
        }
    };
    world.sleep(fault.after).await;
    // A caller that has given up gets no answer.
    let _ = reply.send(outcome);
}
