//! `ReceiveMessage`: receives once, then waits for a notification and tries again.
//!
//! Messages become in flight only with the response. A client that disconnects while it waits drops the future of its
//! call: nothing is in flight then.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{in_range, required};
use crate::{
    protocol::{self, Reply},
    sqs::{
        api::{Message, Messages, ReceiveMessage},
        attributes::Selection,
        error::{SqsError, SqsResult},
        limits::{RECEIVE_MESSAGES, VISIBILITY_S, WAIT_S},
        md5::Digest,
        names::QueueId,
        queue::ReceivedMessage,
        receipt_handle::ReceiptHandle,
        service::{CallContext, Sqs, State},
        wait::Waiter,
    },
};

/// System attributes that a receive may request.
const SYSTEM_ATTRIBUTES: [&str; 10] = [
    "All",
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
    "MessageDeduplicationId",
    "SequenceNumber",
];

/// A checked `ReceiveMessage`.
struct CheckedReceive {
    url: String,
    max: usize,
    visibility_s: Option<u32>,
    wait_s: Option<u32>,
    system: Selection,
    user: Selection,
}

enum Attempt {
    Answer(Vec<ReceivedMessage>),
    /// No message; the receive is registered as waiting, until this instant.
    Wait(Waiter, Instant),
}

impl Sqs {
    pub(super) async fn receive_message(
        &self,
        request: ReceiveMessage,
        context: &CallContext,
    ) -> SqsResult<Reply> {
        let checked = CheckedReceive::parse(request)?;
        let started = Instant::now();
        let (mut may_wait, mut known) = (true, None);
        loop {
            may_wait &= !self.long_polls_off().is_cancelled();
            let attempt = self.transact(|state, now_ms| {
                let id = match known {
                    Some(id) => id,
                    None => state.queue_of_url(&checked.url)?,
                };
                known = Some(id);
                let deadline = may_wait.then_some(started);
                attempt(state, id, &checked, context, deadline, now_ms).map(|done| (id, done))
            });
            match attempt.await? {
                (id, Attempt::Answer(messages)) => return Ok(render(id, &messages, &checked)),
                (_, Attempt::Wait(mut waiter, until)) => {
                    // Cancel-safe: dropping the waiter hands its notification to the next one.
                    may_wait = tokio::select! {
                        biased;
                        () = &mut waiter => true,
                        () = self.long_polls_off().cancelled() => false,
                        () = tokio::time::sleep_until(until) => false,
                    };
                }
            }
        }
    }
}

/// Receives once. Without a message, registers a wait if `started`, the start of the call, is given.
fn attempt(
    state: &mut State,
    id: QueueId,
    checked: &CheckedReceive,
    context: &CallContext,
    started: Option<Instant>,
    now_ms: u64,
) -> SqsResult<Attempt> {
    let core = &mut state.core;
    let messages = core.receive(id, checked.max, checked.visibility_s, now_ms)?;
    for message in &messages {
        if context.entry_faults.draw_stale() {
            // This fails only if the message is visible already: received with a visibility timeout of 0.
            let _ = core.change_visibility(id, message.seq, message.receives.count, 0, now_ms);
        }
    }
    let queue = core.queue(id).ok_or(SqsError::QueueDoesNotExist)?;
    let wait_s = checked.wait_s.unwrap_or(queue.settings.wait_s);
    if messages.is_empty() && wait_s == 0 && queue.is_at_in_flight_limit() {
        return Err(SqsError::OverLimit);
    }
    match started {
        Some(started) if messages.is_empty() && wait_s > 0 => {
            let until = started + Duration::from_secs(wait_s.into());
            Ok(Attempt::Wait(state.waits.register(&state.core, id), until))
        }
        _ => Ok(Attempt::Answer(messages)),
    }
}

impl CheckedReceive {
    fn parse(request: ReceiveMessage) -> SqsResult<Self> {
        let url = required(request.queue_url, "QueueUrl")?;
        let max = in_range(
            request.max_number_of_messages,
            "MaxNumberOfMessages",
            &RECEIVE_MESSAGES,
            "Must be between 1 and 10, if provided.",
        )?;
        Ok(Self {
            url,
            max: max.unwrap_or(1) as usize,
            visibility_s: in_range(
                request.visibility_timeout,
                "VisibilityTimeout",
                &VISIBILITY_S,
                "Must be >= 0 and <= 43200, if provided.",
            )?,
            wait_s: in_range(
                request.wait_time_seconds,
                "WaitTimeSeconds",
                &WAIT_S,
                "Must be >= 0 and <= 20, if provided.",
            )?,
            system: system_selection(
                request.attribute_names,
                request.message_system_attribute_names,
            )?,
            user: Selection::new(request.message_attribute_names.unwrap_or_default()),
        })
    }
}

/// The API has an old and a new parameter name for the system attributes.
fn system_selection(old: Option<Vec<String>>, new: Option<Vec<String>>) -> SqsResult<Selection> {
    let mut selected = old.unwrap_or_default();
    selected.extend(new.unwrap_or_default());
    if let Some(unknown) = selected
        .iter()
        .find(|name| !SYSTEM_ATTRIBUTES.contains(&name.as_str()))
    {
        return Err(SqsError::InvalidAttributeName(unknown.clone()));
    }
    Ok(Selection::new(selected))
}

fn render(queue: QueueId, messages: &[ReceivedMessage], checked: &CheckedReceive) -> Reply {
    let messages = messages
        .iter()
        .map(|message| render_message(queue, message, &checked.system, &checked.user))
        .collect();
    protocol::json(protocol::SQS, &Messages { messages })
}

fn render_message<'a>(
    queue: QueueId,
    message: &'a ReceivedMessage,
    system: &Selection,
    user: &Selection,
) -> Message<'a> {
    let payload = &message.payload;
    let chosen: BTreeMap<_, _> = payload
        .attributes
        .iter()
        .filter(|(name, _)| user.contains(name))
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    // The digest covers the returned attributes: SDKs recompute it from them.
    let attributes_md5 = if chosen.len() == payload.attributes.len() {
        payload.attributes_md5
    } else {
        Digest::of_attributes(chosen.iter().map(|(name, value)| (*name, *value)))
    };
    Message {
        message_id: payload.id.to_string(),
        receipt_handle: ReceiptHandle {
            queue,
            seq: message.seq,
            receive: message.receives.count,
        }
        .encode(),
        body_md5: payload.body_md5.hex(),
        body: &payload.body,
        attributes: system_attributes(message, system),
        attributes_md5: attributes_md5.map(Digest::hex),
        message_attributes: chosen,
    }
}

fn system_attributes(
    message: &ReceivedMessage,
    selected: &Selection,
) -> BTreeMap<&'static str, String> {
    let payload = &message.payload;
    let mut map = BTreeMap::new();
    let mut add = |name: &'static str, value: &dyn Fn() -> Option<String>| {
        if selected.contains(name)
            && let Some(value) = value()
        {
            map.insert(name, value);
        }
    };
    add("SenderId", &|| Some(payload.sender_id.to_string()));
    add("SentTimestamp", &|| Some(payload.sent_ms.to_string()));
    add("ApproximateReceiveCount", &|| {
        Some(message.receives.count.to_string())
    });
    add("ApproximateFirstReceiveTimestamp", &|| {
        Some(message.receives.first_ms.to_string())
    });
    add("MessageGroupId", &|| {
        payload.group.as_deref().map(ToOwned::to_owned)
    });
    add("AWSTraceHeader", &|| payload.trace_header.clone());
    add("DeadLetterQueueSourceArn", &|| {
        message.redriven_from.as_deref().map(ToOwned::to_owned)
    });
    map
}
