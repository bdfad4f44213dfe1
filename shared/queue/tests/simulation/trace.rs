//! The events of a run in order; the checkers read nothing else.

use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::world::protocol::{Answer, Request};
use crate::world::queue::{Entry, Lease};

/// Number of last events that a failing seed prints.
const SHOWN: usize = 120;
/// Characters printed per event.
const LINE: usize = 220;

/// Names one call of the engine under test.
pub(crate) type CallId = u64;

/// An event on either side of the socket.
#[derive(Debug, Clone, Hash)]
pub(crate) enum Event {
    /// A call left the SDK.
    Called { call: CallId, request: Request },
    /// Its answer reached the SDK.
    Answered { call: CallId, answer: Answer },
    /// The call failed without a usable answer.
    Failed { call: CallId, how: Failure },
    /// The SDK stopped waiting for the call.
    Abandoned { call: CallId },

    /// A queue accepted a message.
    Put { queue: String, entry: Entry },
    /// A queue delivered a message.
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
    /// No faults occur after this event.
    FaultsEnded,

    /// A caller of the sender offers a message.
    Offered {
        send: usize,
        queue: String,
        body: String,
        within: Duration,
        must_arrive: bool,
    },
    /// `send` returned.
    Returned { send: usize, outcome: Outcome },
    /// The caller dropped its future.
    Left { send: usize },
    /// `drain` was called.
    Draining,
    /// `drain` returned.
    Drained,

    /// The handler got deliveries, by receipt handle.
    Handling { handles: Vec<String> },
    /// The handler made a message's effect durable.
    Stored { body: String },
    /// The handler returned verdicts.
    Decided { verdicts: Vec<(String, Decision)> },
    /// The handler panicked with these deliveries.
    Panicked { handles: Vec<String> },
    /// A receiver begins.
    Started,
    /// The receiver's token was canceled.
    Stopping,
    /// `run` returned.
    Stopped,
    /// The queue is empty and all messages are settled: what follows is the cost of idling.
    Idle,
    /// The idle period has ended.
    Busy,
    /// A scenario did not reach its end.
    Stuck { why: String },
}

/// Failure of a call without a usable answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Failure {
    /// An error of the service.
    Refused { status: u16, code: &'static str },
    /// The connection broke.
    Reset,
    /// An unreadable answer.
    Garbled,
}

impl Failure {
    /// Returns true if the same call may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Refused { status, code } => *status >= 500 || *code == "ThrottlingException",
            Self::Reset | Self::Garbled => true,
        }
    }
}

/// Result of a `send`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Ok,
    Full,
    TimedOut,
    Unavailable,
    Rejected,
}

/// Verdict of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Decision {
    Done,
    Retry,
    DeadLetter,
}

/// The events of one run, each with the virtual time since its start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(pub(crate) Vec<(Duration, Event)>);

impl Trace {
    /// Hash of all events and their times.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    /// Returns the last events, one per line.
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
