//! Operations on a receipt handle: deletion and visibility timeout, single and in batches.

use super::{batch_ids, in_range, required};
use crate::sqs::{
    api::{BatchResult, Empty, ReceiptBatchRequest, ReceiptEntry, ReceiptRequest, SucceededEntry},
    error::{SqsError, SqsResult},
    limits::VISIBILITY_S,
    names::QueueId,
    receipt_handle::ReceiptHandle,
    service::{CallContext, Sqs, State},
};

/// Operation on one receipt handle.
type ReceiptOperation = fn(&mut State, QueueId, &ReceiptEntry, u64) -> SqsResult<()>;

impl Sqs {
    pub(super) async fn delete_message(&self, request: ReceiptRequest) -> SqsResult<Empty> {
        self.run(request, delete).await
    }

    pub(super) async fn change_visibility(&self, request: ReceiptRequest) -> SqsResult<Empty> {
        self.run(request, change_visibility).await
    }

    pub(super) async fn delete_message_batch(
        &self,
        request: ReceiptBatchRequest,
        context: &CallContext,
    ) -> SqsResult<BatchResult<SucceededEntry>> {
        self.run_batch(request, context, "DeleteMessageBatchRequestEntry", delete)
            .await
    }

    pub(super) async fn change_visibility_batch(
        &self,
        request: ReceiptBatchRequest,
        context: &CallContext,
    ) -> SqsResult<BatchResult<SucceededEntry>> {
        self.run_batch(
            request,
            context,
            "ChangeMessageVisibilityBatchRequestEntry",
            change_visibility,
        )
        .await
    }

    async fn run(&self, request: ReceiptRequest, operation: ReceiptOperation) -> SqsResult<Empty> {
        let url = required(request.queue_url, "QueueUrl")?;
        self.transact(|state, now_ms| {
            let id = state.queue_of_url(&url)?;
            operation(state, id, &request.entry, now_ms)
        })
        .await?;
        Ok(Empty {})
    }

    async fn run_batch(
        &self,
        request: ReceiptBatchRequest,
        context: &CallContext,
        entry_type: &'static str,
        operation: ReceiptOperation,
    ) -> SqsResult<BatchResult<SucceededEntry>> {
        let url = required(request.queue_url, "QueueUrl")?;
        let entries = request.entries.unwrap_or_default();
        let ids = batch_ids(entries.iter().map(|e| e.id.as_deref()), entry_type)?;
        self.transact(|state, now_ms| {
            let queue = state.queue_of_url(&url)?;
            let mut result = BatchResult::with_capacity(ids.len());
            for (id, entry) in ids.into_iter().zip(&entries) {
                result.record(id.clone(), context, || {
                    operation(state, queue, entry, now_ms).map(|()| SucceededEntry { id })
                });
            }
            Ok(result)
        })
        .await
    }
}

fn delete(state: &mut State, queue: QueueId, entry: &ReceiptEntry, now_ms: u64) -> SqsResult<()> {
    let handle = parse_handle(entry, queue)?;
    state
        .core
        .acknowledge(queue, handle.seq, handle.receive, now_ms);
    Ok(())
}

fn change_visibility(
    state: &mut State,
    queue: QueueId,
    entry: &ReceiptEntry,
    now_ms: u64,
) -> SqsResult<()> {
    let handle = parse_handle(entry, queue)?;
    let timeout_s = in_range(
        entry.visibility_timeout,
        "VisibilityTimeout",
        &VISIBILITY_S,
        "VisibilityTimeout must be >= 0 and <= 43200.",
    )?;
    let timeout_s = required(timeout_s, "VisibilityTimeout")?;
    state
        .core
        .change_visibility(queue, handle.seq, handle.receive, timeout_s, now_ms)
}

fn parse_handle(entry: &ReceiptEntry, queue: QueueId) -> SqsResult<ReceiptHandle> {
    let text = required(entry.receipt_handle.as_deref(), "ReceiptHandle")?;
    ReceiptHandle::decode(text)
        .filter(|handle| handle.queue == queue)
        .ok_or(SqsError::ReceiptHandleIsInvalid)
}
