//! The socket of one replica: an HTTP client for the SDK that reaches the simulated services and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kit::socket::Rendered;
use serde_json::Value;
use shared::aws::{AwsClients, settings_of};
use tokio::sync::oneshot;

use crate::world::{Course, World};

/// A replica's connection to the world; closed for good once the replica is killed.
#[derive(Clone)]
pub(crate) struct Socket {
    world: Arc<World>,
    is_alive: Arc<AtomicBool>,
}

impl Socket {
    pub(crate) fn to(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            is_alive: Arc::new(AtomicBool::new(true)),
        }
    }

    /// The clients of production, with the world at the other end.
    pub(crate) fn clients(&self) -> AwsClients {
        let socket = self.clone();
        let socket =
            kit::socket::Socket::new(move |target, body| call(socket.clone(), target, body));
        let settings = settings_of("http://aws.simulated", "us-east-1");
        AwsClients::new(&settings.into_builder().http_client(socket).build())
    }

    /// From now on nothing is sent or received. A call in flight may still reach the world.
    pub(crate) fn kill(&self) {
        self.is_alive.store(false, Ordering::Relaxed);
    }

    /// Ends only while the replica lives: a dead one gets no answer, not even an error.
    async fn alive(&self) {
        if !self.is_alive.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }
}

async fn call(socket: Socket, target: String, body: Vec<u8>) -> Rendered {
    let body = serde_json::from_slice(&body).expect("the SDK sends JSON");
    socket.alive().await;
    let (reply, answer) = oneshot::channel();
    // The world does the work whether or not its caller lives to receive the answer.
    tokio::spawn(serve(Arc::clone(&socket.world), target, body, reply));
    let answered = answer.await;
    socket.alive().await;
    let (status, body) = answered.ok()??;
    Some((status, body.to_string()))
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
