//! `SendMessage` and `SendMessageBatch`.

use std::sync::Arc;

use uuid::Uuid;

use super::{batch_ids, in_range, required};
use crate::sqs::{
    api::{BatchResult, SendEntry, SendMessage, SendMessageBatch, SentMessage},
    attributes::{self, AttributeData, MessageAttributes, is_valid_text},
    core::NewMessage,
    error::{SqsError, SqsResult},
    limits::{DELAY_S, GROUP_ID_CHARS_MAX, PAYLOAD_BYTES_MAX},
    md5::Digest,
    message::Payload,
    names::QueueId,
    service::{CallContext, Sqs, State},
};

/// The only system attribute that a sender may set.
const TRACE_HEADER: &str = "AWSTraceHeader";

/// A checked entry, before it gets an id and a time.
struct CheckedEntry {
    body: String,
    body_md5: Digest,
    attributes: MessageAttributes,
    attributes_md5: Option<Digest>,
    system_attributes_md5: Option<Digest>,
    trace_header: Option<String>,
    group: Option<Arc<str>>,
    delay_s: Option<u32>,
    size_bytes: usize,
}

impl Sqs {
    pub(super) async fn send_message(
        &self,
        request: SendMessage,
        context: &CallContext,
    ) -> SqsResult<SentMessage> {
        let url = required(request.queue_url, "QueueUrl")?;
        let checked = check(request.entry)?;
        self.transact(|state, now_ms| {
            let (id, limit_bytes) = queue_and_limit(state, &url)?;
            check_size(checked.size_bytes, limit_bytes)?;
            let (sent, new) = accept(None, checked, state, context, now_ms);
            state.core.send(id, copies(new, context), now_ms);
            Ok(sent)
        })
        .await
    }

    pub(super) async fn send_message_batch(
        &self,
        request: SendMessageBatch,
        context: &CallContext,
    ) -> SqsResult<BatchResult<SentMessage>> {
        let url = required(request.queue_url, "QueueUrl")?;
        let entries = request.entries.unwrap_or_default();
        let ids = batch_ids(
            entries.iter().map(|e| e.id.as_deref()),
            "SendMessageBatchRequestEntry",
        )?;
        let checked: Vec<_> = entries.into_iter().map(check).collect();
        let total: usize = checked.iter().flatten().map(|entry| entry.size_bytes).sum();
        if total > PAYLOAD_BYTES_MAX {
            return Err(SqsError::BatchRequestTooLong(total));
        }
        self.transact(|state, now_ms| {
            let (id, limit_bytes) = queue_and_limit(state, &url)?;
            let mut result = BatchResult::with_capacity(ids.len());
            let mut new_messages = Vec::with_capacity(ids.len());
            for (entry_id, checked) in ids.into_iter().zip(checked) {
                result.record(entry_id.clone(), context, || {
                    let checked = checked?;
                    check_size(checked.size_bytes, limit_bytes)?;
                    let (sent, new) = accept(Some(entry_id), checked, state, context, now_ms);
                    new_messages.extend(copies(new, context));
                    Ok(sent)
                });
            }
            if !new_messages.is_empty() {
                state.core.send(id, new_messages, now_ms);
            }
            Ok(result)
        })
        .await
    }
}

/// Returns the queue that a URL names, and its `MaximumMessageSize`.
fn queue_and_limit(state: &State, url: &str) -> SqsResult<(QueueId, u32)> {
    let id = state.queue_of_url(url)?;
    let queue = state.core.queue(id).ok_or(SqsError::QueueDoesNotExist)?;
    Ok((id, queue.settings.message_size_bytes))
}

/// Returns the message as the queue stores it: injected faults may delay or duplicate it.
fn copies(mut new: NewMessage, context: &CallContext) -> Vec<NewMessage> {
    if let Some(late_s) = context.entry_faults.draw_late_s() {
        new.delay_s = Some(late_s);
    }
    let count = if context.entry_faults.draw_duplicate() {
        2
    } else {
        1
    };
    vec![new; count]
}

fn check_size(size_bytes: usize, limit_bytes: u32) -> SqsResult<()> {
    if size_bytes as u64 > u64::from(limit_bytes) {
        return Err(SqsError::InvalidParameterValue(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {limit_bytes} bytes."
        )));
    }
    Ok(())
}

fn check(entry: SendEntry) -> SqsResult<CheckedEntry> {
    let body = entry.message_body.filter(|body| !body.is_empty());
    let body = required(body, "MessageBody")?;
    if !is_valid_text(&body) {
        return Err(SqsError::InvalidMessageContents);
    }
    if let Some(id) = entry.message_deduplication_id {
        return Err(SqsError::parameter(
            id,
            "MessageDeduplicationId",
            "The request includes a parameter that is not valid for this queue type.",
        ));
    }
    let attributes = attributes::parse(entry.message_attributes.unwrap_or_default())?;
    let system = attributes::parse(entry.message_system_attributes.unwrap_or_default())?;
    Ok(CheckedEntry {
        size_bytes: body.len() + attributes::size_bytes(&attributes),
        body_md5: Digest::of_body(&body),
        body,
        attributes_md5: Digest::of_attributes(attributes.iter().map(|(n, v)| (n.as_str(), v))),
        attributes,
        system_attributes_md5: Digest::of_attributes(system.iter().map(|(n, v)| (n.as_str(), v))),
        trace_header: trace_header(system)?,
        group: entry
            .message_group_id
            .map(|id| check_group(&id))
            .transpose()?,
        delay_s: in_range(
            entry.delay_seconds,
            "DelaySeconds",
            &DELAY_S,
            "DelaySeconds must be >= 0 and <= 900.",
        )?,
    })
}

fn trace_header(system: MessageAttributes) -> SqsResult<Option<String>> {
    let mut header = None;
    for (name, attribute) in system {
        match (name.as_str(), attribute.value) {
            (TRACE_HEADER, AttributeData::Text(text)) if attribute.data_type == "String" => {
                header = Some(text);
            }
            _ => {
                return Err(SqsError::InvalidParameterValue(format!(
                    "Message system attribute name '{name}' is invalid, or its type is not String."
                )));
            }
        }
    }
    Ok(header)
}

/// Checks a message group id: 1 to 128 ASCII letters, digits and punctuation.
fn check_group(id: &str) -> SqsResult<Arc<str>> {
    let fits =
        (1..=GROUP_ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    if !fits {
        return Err(SqsError::parameter(
            id,
            "MessageGroupId",
            "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length.",
        ));
    }
    Ok(id.into())
}

fn accept(
    entry_id: Option<String>,
    checked: CheckedEntry,
    state: &mut State,
    context: &CallContext,
    now_ms: u64,
) -> (SentMessage, NewMessage) {
    let id: Uuid =
        uuid::Builder::from_random_bytes(state.random.u128(..).to_le_bytes()).into_uuid();
    let sent = SentMessage {
        id: entry_id,
        message_id: id.to_string(),
        body_md5: checked.body_md5.hex(),
        attributes_md5: checked.attributes_md5.map(Digest::hex),
        system_attributes_md5: checked.system_attributes_md5.map(Digest::hex),
    };
    let payload = Payload {
        id,
        body: checked.body,
        body_md5: checked.body_md5,
        attributes: checked.attributes,
        attributes_md5: checked.attributes_md5,
        group: checked.group,
        trace_header: checked.trace_header,
        sender_id: Arc::clone(&context.sender_id),
        sent_ms: now_ms,
    };
    (
        sent,
        NewMessage {
            payload: Arc::new(payload),
            delay_s: checked.delay_s,
        },
    )
}
