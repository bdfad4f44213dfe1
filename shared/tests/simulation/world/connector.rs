//! The socket: an HTTP client for the SDK that reaches the simulated service and nothing else.

use kit::socket::{Rendered, Socket};
use shared::aws::{AwsClients, settings_of};
use tokio::sync::oneshot;

use super::World;
use super::faults::{Course, Fate};
use super::wire::{Answer, ENDPOINT, Request, render_failure};
use crate::trace::{CallId, Event, Failure};

/// What virtual time zero is on the calendar, in milliseconds.
const EPOCH_MS: u64 = 1_767_225_600_000;

impl World {
    /// The clients of production, with this service at the other end.
    pub(crate) fn clients(&self) -> AwsClients {
        let world = self.clone();
        let socket = Socket::new(move |target, body| call(world.clone(), target, body));
        let settings = settings_of(ENDPOINT, "us-east-1");
        AwsClients::new(&settings.into_builder().http_client(socket).build())
    }
}

/// The caller's side of a call; dropped early, it was abandoned.
struct Open {
    world: World,
    call: CallId,
    is_over: bool,
}

impl Open {
    fn ends_with(&mut self, event: Event) {
        self.is_over = true;
        self.world.note(event);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.is_over {
            self.world.note(Event::Abandoned { call: self.call });
        }
    }
}

async fn call(world: World, target: String, body: Vec<u8>) -> Rendered {
    let request = Request::parse(&target, &body);
    let (call, fate) = world.begin(&request);
    let mut open = Open {
        world: world.clone(),
        call,
        is_over: false,
    };
    let (reply, answer) = oneshot::channel();
    tokio::spawn(serve(world, call, request, fate, reply));
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
    fate: Fate,
    reply: oneshot::Sender<Result<Answer, Failure>>,
) {
    world.sleep(fate.before).await;
    let outcome = match fate.course {
        Course::Hung => std::future::pending().await,
        Course::Without(failure) => Err(failure),
        Course::Answered => Ok(world.carry_out(call, request, || !reply.is_closed()).await),
        Course::After(failure) => {
            world.carry_out(call, request, || !reply.is_closed()).await;
            Err(failure)
        }
    };
    world.sleep(fate.after).await;
    // A caller that gave up hears nothing.
    let _ = reply.send(outcome);
}
