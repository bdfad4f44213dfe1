//! `ReceiveMessage`: look, wait, look again.
//!
//! Messages are leased only at the moment of answering. A client that goes away while it waits drops the
//! future of its call, and with it its place among the waiters; nothing was leased to it.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use tokio::time::Instant;

use super::{
    Caller, Sqs,
    api::{Message, Messages, ReceiveMessage},
    attributes::Selection,
    core::QueueId,
    error::{SqsError, SqsResult},
    handle::Handle,
    limits::{RECEIVE_MESSAGES, VISIBILITY_S, WAIT_S},
    md5::Digest,
    queue::Lease,
    required,
    wait::Waiting,
};
use crate::protocol::{self, Reply};

/// System attributes a receive may ask for.
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

/// What a look found.
enum Look {
    Found(Vec<Lease>),
    /// Nothing; the place among the waiters is taken already.
    Wait(Waiting, Instant),
    /// Nothing, and it is time to say so.
    Empty,
}

impl Sqs {
    pub(super) async fn receive_message(
        &self,
        request: ReceiveMessage,
        caller: &Caller,
    ) -> SqsResult<Reply> {
        let url = required(request.queue_url, "QueueUrl")?;
        let max = in_range(
            request.max_number_of_messages,
            "MaxNumberOfMessages",
            RECEIVE_MESSAGES,
            "Must be between 1 and 10, if provided.",
        )?
        .unwrap_or(1);
        let visibility_s = in_range(
            request.visibility_timeout,
            "VisibilityTimeout",
            VISIBILITY_S,
            "Must be >= 0 and <= 43200, if provided.",
        )?;
        let wait_s = in_range(
            request.wait_time_seconds,
            "WaitTimeSeconds",
            WAIT_S,
            "Must be >= 0 and <= 20, if provided.",
        )?;
        let system = system_selection(
            request.attribute_names,
            request.message_system_attribute_names,
        )?;
        let user = Selection::new(request.message_attribute_names.unwrap_or_default());

        let started = Instant::now();
        let mut last_look = false;
        let mut known = None;
        loop {
            let released = self.shared.no_waiting.is_cancelled();
            let look = self.transact(|state, now_ms| {
                let id = match known {
                    Some(id) => id,
                    None => state.core.find(&state.core.realm.queue_of_url(&url)?)?,
                };
                known = Some(id);
                let leases = state.core.receive(id, max as usize, visibility_s, now_ms)?;
                if !leases.is_empty() {
                    for lease in leases.iter().filter(|_| caller.entry_faults.draw_stale()) {
                        let receive = lease.receipt.receives;
                        // Left leased it would be no fault, and nothing else can be wrong with a lease just given.
                        let _ = state
                            .core
                            .change_visibility(id, lease.seq, receive, 0, now_ms);
                    }
                    return Ok((id, Look::Found(leases)));
                }
                let queue = state.core.queue(id).ok_or(SqsError::QueueDoesNotExist)?;
                let wait_s = wait_s.unwrap_or(queue.settings.wait_s);
                if wait_s == 0 && queue.is_at_in_flight_limit() {
                    return Err(SqsError::OverLimit);
                }
                if wait_s == 0 || last_look || released {
                    return Ok((id, Look::Empty));
                }
                let until = started + Duration::from_secs(u64::from(wait_s));
                Ok((id, Look::Wait(self.shared.wait_on(state, id), until)))
            });
            match look.await? {
                (id, Look::Found(leases)) => return Ok(render(id, &leases, &system, &user)),
                (_, Look::Empty) => {
                    return Ok(protocol::json(
                        protocol::SQS,
                        &Messages {
                            messages: Vec::new(),
                        },
                    ));
                }
                (_, Look::Wait(mut waiting, until)) => {
                    last_look = self.wait(&mut waiting, until).await;
                }
            }
        }
    }

    /// Waits for this waiter's turn. Returns whether waiting is over for good.
    async fn wait(&self, waiting: &mut Waiting, until: Instant) -> bool {
        // Cancel-safe: dropping the turn hands it to the next waiter.
        tokio::select! {
            biased;
            () = &mut waiting.turn => false,
            () = self.shared.no_waiting.cancelled() => true,
            () = tokio::time::sleep_until(until) => true,
        }
    }
}

fn in_range(
    value: Option<i64>,
    name: &str,
    range: RangeInclusive<i64>,
    reason: &str,
) -> SqsResult<Option<u32>> {
    let check = |value: i64| {
        let fits = u32::try_from(value).ok().filter(|_| range.contains(&value));
        fits.ok_or_else(|| SqsError::parameter(value, name, reason))
    };
    value.map(check).transpose()
}

/// System attributes may be asked for under an old and a new parameter name.
fn system_selection(old: Option<Vec<String>>, new: Option<Vec<String>>) -> SqsResult<Selection> {
    let mut wanted = old.unwrap_or_default();
    wanted.extend(new.unwrap_or_default());
    if let Some(unknown) = wanted
        .iter()
        .find(|name| !SYSTEM_ATTRIBUTES.contains(&name.as_str()))
    {
        return Err(SqsError::InvalidAttributeName(unknown.clone()));
    }
    Ok(Selection::new(wanted))
}

fn render(queue: QueueId, leases: &[Lease], system: &Selection, user: &Selection) -> Reply {
    let messages = leases
        .iter()
        .map(|lease| message(queue, lease, system, user))
        .collect();
    protocol::json(protocol::SQS, &Messages { messages })
}

fn message<'a>(
    queue: QueueId,
    lease: &'a Lease,
    system: &Selection,
    user: &Selection,
) -> Message<'a> {
    let payload = &lease.payload;
    let chosen: BTreeMap<_, _> = payload
        .attributes
        .iter()
        .filter(|(name, _)| user.wants(name))
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    // The digest covers what is returned: SDKs recompute it from just that.
    let attributes_md5 = if chosen.len() == payload.attributes.len() {
        payload.attributes_md5
    } else {
        Digest::of_attributes(chosen.iter().map(|(name, value)| (*name, *value)))
    };
    Message {
        message_id: payload.id.to_string(),
        receipt_handle: Handle {
            queue,
            seq: lease.seq,
            receive: lease.receipt.receives,
        }
        .encode(),
        body_md5: payload.body_md5.hex(),
        body: &payload.body,
        attributes: system_attributes(lease, system),
        attributes_md5: attributes_md5.map(Digest::hex),
        message_attributes: chosen,
    }
}

fn system_attributes(lease: &Lease, wanted: &Selection) -> BTreeMap<&'static str, String> {
    let payload = &lease.payload;
    let mut map = BTreeMap::new();
    let mut add = |name: &'static str, value: &dyn Fn() -> Option<String>| {
        if wanted.wants(name)
            && let Some(value) = value()
        {
            map.insert(name, value);
        }
    };
    add("SenderId", &|| Some(payload.sender_id.to_string()));
    add("SentTimestamp", &|| Some(payload.sent_ms.to_string()));
    add("ApproximateReceiveCount", &|| {
        Some(lease.receipt.receives.to_string())
    });
    add("ApproximateFirstReceiveTimestamp", &|| {
        Some(lease.receipt.first_ms.to_string())
    });
    add("MessageGroupId", &|| {
        payload.group.as_deref().map(ToOwned::to_owned)
    });
    add("AWSTraceHeader", &|| payload.trace_header.clone());
    add("DeadLetterQueueSourceArn", &|| {
        lease.redriven_from.as_deref().map(ToOwned::to_owned)
    });
    map
}
