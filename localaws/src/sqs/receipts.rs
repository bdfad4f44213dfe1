//! Calls that act on a receipt handle: deleting messages and changing their visibility, alone and in batches.

use super::{
    Caller, Sqs, State,
    api::{BatchResult, Done, Nothing, OfReceipt, OfReceipts, ReceiptEntry},
    batch_ids,
    core::QueueId,
    error::{SqsError, SqsResult},
    failed,
    handle::Handle,
    limits::VISIBILITY_S,
    required,
};

/// One of the two things to do with a receipt handle.
type Act = fn(&mut State, QueueId, &ReceiptEntry, u64) -> SqsResult<()>;

impl Sqs {
    pub(super) async fn delete_message(&self, request: OfReceipt) -> SqsResult<Nothing> {
        self.act(request, delete).await
    }

    pub(super) async fn change_visibility(&self, request: OfReceipt) -> SqsResult<Nothing> {
        self.act(request, change_visibility).await
    }

    pub(super) async fn delete_message_batch(
        &self,
        request: OfReceipts,
        caller: &Caller,
    ) -> SqsResult<BatchResult<Done>> {
        self.act_on_each(request, caller, "DeleteMessageBatchRequestEntry", delete)
            .await
    }

    pub(super) async fn change_visibility_batch(
        &self,
        request: OfReceipts,
        caller: &Caller,
    ) -> SqsResult<BatchResult<Done>> {
        self.act_on_each(
            request,
            caller,
            "ChangeMessageVisibilityBatchRequestEntry",
            change_visibility,
        )
        .await
    }

    async fn act(&self, request: OfReceipt, act: Act) -> SqsResult<Nothing> {
        let url = required(request.queue_url, "QueueUrl")?;
        self.transact(|state, now_ms| {
            let id = state.core.find(&state.core.realm.queue_of_url(&url)?)?;
            act(state, id, &request.entry, now_ms)
        })
        .await?;
        Ok(Nothing {})
    }

    async fn act_on_each(
        &self,
        request: OfReceipts,
        caller: &Caller,
        entry_type: &'static str,
        act: Act,
    ) -> SqsResult<BatchResult<Done>> {
        let url = required(request.queue_url, "QueueUrl")?;
        let entries = request.entries.unwrap_or_default();
        let ids = batch_ids(entries.iter().map(|e| e.id.as_deref()), entry_type)?;
        self.transact(|state, now_ms| {
            let queue = state.core.find(&state.core.realm.queue_of_url(&url)?)?;
            let mut result = BatchResult {
                successful: Vec::with_capacity(ids.len()),
                failed: Vec::new(),
            };
            for (id, entry) in ids.into_iter().zip(&entries) {
                let fault = caller.entry_faults.draw();
                let outcome = match &fault {
                    Some(fault) if !fault.after => Ok(()),
                    _ => act(state, queue, entry, now_ms),
                };
                match (outcome, fault) {
                    (Err(error), _) => result.failed.push(failed(id, &error)),
                    (Ok(()), Some(fault)) => result
                        .failed
                        .push(failed(id, &SqsError::Injected(fault.code))),
                    (Ok(()), None) => result.successful.push(Done { id }),
                }
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
    let asked_s = required(entry.visibility_timeout, "VisibilityTimeout")?;
    let timeout_s = u32::try_from(asked_s)
        .ok()
        .filter(|_| VISIBILITY_S.contains(&asked_s))
        .ok_or_else(|| {
            SqsError::parameter(
                asked_s,
                "VisibilityTimeout",
                "VisibilityTimeout must be >= 0 and <= 43200.",
            )
        })?;
    state
        .core
        .change_visibility(queue, handle.seq, handle.receive, timeout_s, now_ms)
}

fn parse_handle(entry: &ReceiptEntry, queue: QueueId) -> SqsResult<Handle> {
    let text = required(entry.receipt_handle.as_deref(), "ReceiptHandle")?;
    Handle::decode(text)
        .filter(|handle| handle.queue == queue)
        .ok_or(SqsError::ReceiptHandleIsInvalid)
}
