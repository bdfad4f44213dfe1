//! The operations of the SQS API, a file per group, and the checks that several of them share.

mod move_tasks;
mod queues;
mod receipts;
mod receive;
mod send;

use std::ops::RangeInclusive;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    api::{BatchResult, FailedEntry},
    error::{SqsError, SqsResult},
    limits::{BATCH_ENTRIES_MAX, BATCH_ENTRY_ID_CHARS_MAX},
    service::{CallContext, Sqs},
};
use crate::protocol::{self, AwsError, Reply};

impl Sqs {
    /// Runs one operation.
    ///
    /// # Errors
    /// The error AWS returns; a failed write of the store.
    pub(crate) async fn call(
        &self,
        action: &str,
        body: &Bytes,
        context: &CallContext,
    ) -> Result<Reply, AwsError> {
        let result = match action {
            "SendMessage" => self.send_message(parse(body)?, context).await.map(reply),
            "SendMessageBatch" => self
                .send_message_batch(parse(body)?, context)
                .await
                .map(reply),
            "ReceiveMessage" => self.receive_message(parse(body)?, context).await,
            "DeleteMessage" => self.delete_message(parse(body)?).await.map(reply),
            "DeleteMessageBatch" => self
                .delete_message_batch(parse(body)?, context)
                .await
                .map(reply),
            "ChangeMessageVisibility" => self.change_visibility(parse(body)?).await.map(reply),
            "ChangeMessageVisibilityBatch" => self
                .change_visibility_batch(parse(body)?, context)
                .await
                .map(reply),
            "CreateQueue" => self.create_queue(parse(body)?, context).await.map(reply),
            "GetQueueUrl" => self.get_queue_url(parse(body)?, context).map(reply),
            "ListQueues" => self.list_queues(&parse(body)?, context).map(reply),
            "DeleteQueue" => self.delete_queue(parse(body)?).await.map(reply),
            "PurgeQueue" => self.purge_queue(parse(body)?).await.map(reply),
            "GetQueueAttributes" => self.get_queue_attributes(parse(body)?).await.map(reply),
            "SetQueueAttributes" => self.set_queue_attributes(parse(body)?).await.map(reply),
            "TagQueue" => self.tag_queue(parse(body)?).await.map(reply),
            "UntagQueue" => self.untag_queue(parse(body)?).await.map(reply),
            "ListQueueTags" => self.list_queue_tags(parse(body)?).map(reply),
            "ListDeadLetterSourceQueues" => self.list_sources(parse(body)?, context).map(reply),
            "StartMessageMoveTask" => self.start_move_task(parse(body)?).map(reply),
            "ListMessageMoveTasks" => self.list_move_tasks(parse(body)?).map(reply),
            "CancelMessageMoveTask" => self.cancel_move_task(parse(body)?).map(reply),
            "AddPermission" | "RemovePermission" => Err(SqsError::UnsupportedOperation(format!(
                "This endpoint does not enforce policies; set the Policy attribute instead of calling {action}."
            ))),
            _ => Err(SqsError::InvalidAction(action.to_owned())),
        };
        result.map_err(AwsError::from)
    }
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> SqsResult<T> {
    serde_json::from_slice(body)
        .map_err(|error| SqsError::Serialization(format!("Cannot read the request: {error}")))
}

fn reply<T: Serialize>(body: T) -> Reply {
    protocol::json(protocol::SQS, &body)
}

fn required<T>(value: Option<T>, name: &'static str) -> SqsResult<T> {
    value.ok_or(SqsError::MissingParameter(name))
}

/// Checks a numeric parameter, if it is set.
fn in_range(
    value: Option<i64>,
    name: &str,
    range: &RangeInclusive<i64>,
    reason: &str,
) -> SqsResult<Option<u32>> {
    let check = |value: i64| {
        let fits = u32::try_from(value).ok().filter(|_| range.contains(&value));
        fits.ok_or_else(|| SqsError::parameter(value, name, reason))
    };
    value.map(check).transpose()
}

/// Checks the entry ids of a batch and returns them.
fn batch_ids<'a>(
    ids: impl ExactSizeIterator<Item = Option<&'a str>>,
    entry_type: &'static str,
) -> SqsResult<Vec<String>> {
    match ids.len() {
        0 => return Err(SqsError::EmptyBatchRequest(entry_type)),
        n if n > BATCH_ENTRIES_MAX => return Err(SqsError::TooManyEntriesInBatchRequest(n)),
        _ => {}
    }
    let mut seen: Vec<String> = Vec::with_capacity(ids.len());
    for id in ids {
        let id = required(id, "Id")?;
        let fits = (1..=BATCH_ENTRY_ID_CHARS_MAX).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !fits {
            return Err(SqsError::InvalidBatchEntryId);
        }
        if seen.iter().any(|other| other == id) {
            return Err(SqsError::BatchEntryIdsNotDistinct(id.to_owned()));
        }
        seen.push(id.to_owned());
    }
    Ok(seen)
}

impl<T> BatchResult<T> {
    fn with_capacity(entries: usize) -> Self {
        Self {
            successful: Vec::with_capacity(entries),
            failed: Vec::new(),
        }
    }

    /// Processes one entry and records its result. An injected fault may replace the processing, or its result.
    fn record(
        &mut self,
        id: String,
        context: &CallContext,
        process: impl FnOnce() -> SqsResult<T>,
    ) {
        let result = match context.entry_faults.draw() {
            Some(fault) if fault.after => {
                process().and_then(|_| Err(SqsError::Injected(fault.code)))
            }
            Some(fault) => Err(SqsError::Injected(fault.code)),
            None => process(),
        };
        match result {
            Ok(entry) => self.successful.push(entry),
            Err(error) => self.failed.push(FailedEntry {
                id,
                sender_fault: error.sender_fault(),
                code: error.query_code(),
                message: error.to_string(),
            }),
        }
    }
}
