//! What happened, in order: the one thing the judges read.

use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::world::queue::{Entry, Lease};
use crate::world::wire::{Answer, Request};

/// Events a failing seed shows, the last ones.
const SHOWN: usize = 120;
/// Characters each of them shows.
const LINE: usize = 220;

/// Names one call of the engine under test.
pub(crate) type CallId = u64;

/// Everything worth knowing, on either side of the socket.
#[derive(Debug, Clone, Hash)]
pub(crate) enum Event {
    /// A call left the SDK.
    Called { call: CallId, request: Request },
    /// Its answer reached the SDK.
    Answered { call: CallId, answer: Answer },
    /// It came back without an answer worth the name.
    Failed { call: CallId, how: Failure },
    /// The SDK stopped waiting for it.
    Abandoned { call: CallId },

    /// A queue took a message in.
    Put { queue: String, entry: Entry },
    /// A queue handed a message over.
    Leased {
        call: CallId,
        queue: String,
        lease: Lease,
    },
    /// A leased message's visibility time-out was changed.
    Visible {
        queue: String,
        message: u64,
        at: Duration,
    },
    /// A message is gone for good.
    Deleted { queue: String, message: u64 },
    /// From here on the service is quick and does what it is asked.
    Cleared,

    /// A caller of the sender offers a message.
    Offered {
        send: usize,
        queue: String,
        body: String,
        within: Duration,
        must_arrive: bool,
    },
    /// The sender's answer.
    Told { send: usize, outcome: Outcome },
    /// The caller dropped its future.
    Left { send: usize },
    /// `drain` was called.
    Draining,
    /// `drain` returned.
    Drained,

    /// The handler was given deliveries, by receipt handle.
    Handling { handles: Vec<String> },
    /// The handler made a message's effect durable.
    Stored { body: String },
    /// The handler said what became of each.
    Decided { verdicts: Vec<(String, Decision)> },
    /// The handler panicked over these.
    Panicked { handles: Vec<String> },
    /// A receiver begins.
    Started,
    /// The receiver was told to stop.
    Stopping,
    /// `run` returned.
    Stopped,
    /// The queue is empty and everything settled: what follows is the cost of waiting.
    Idle,
    /// Something is going on again.
    Busy,
    /// A scenario could not be played to its end.
    Stuck { why: String },
}

/// How a call came back without its answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Failure {
    /// An error of the service.
    Refused { status: u16, code: &'static str },
    /// The connection broke.
    Reset,
    /// An answer nobody can read.
    Garbled,
}

impl Failure {
    /// Whether the same call may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Refused { status, code } => *status >= 500 || *code == "ThrottlingException",
            Self::Reset | Self::Garbled => true,
        }
    }
}

/// What a caller of the sender was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Ok,
    Full,
    TimedOut,
    Unavailable,
    Rejected,
}

/// What a handler decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Decision {
    Done,
    Retry,
    SetAside,
}

/// The events of one run, each with the virtual time since its start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(pub(crate) Vec<(Duration, Event)>);

impl Trace {
    /// Equal for runs in which the same happened at the same time.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    /// The last events, one a line.
    pub(crate) fn tail(&self) -> String {
        let skipped = self.0.len().saturating_sub(SHOWN);
        let mut text = format!("trace, {skipped} events before:\n");
        for (at, event) in &self.0[skipped..] {
            let line: String = format!("{event:?}").chars().take(LINE).collect();
            writeln!(text, "{:>9} ms  {line}", at.as_millis()).expect("a string takes everything");
        }
        text
    }
}

/// FNV-1a: the same in every process, unlike the standard library's hasher.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
