//! Group commit over a channel: what arrives leaves in batches by the rule of [`Gather`].

use std::future::Future;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{BatchLimits, Gather, Measured, Wire};

/// Sends what arrives, several batches at once, until every sender of the channel is gone. `send` tells whoever waits, and
/// gives the number of its batch's entries; it must not panic.
pub async fn group_commit<E, A, F>(
    limits: BatchLimits,
    mut arrivals: mpsc::Receiver<A>,
    send: impl Fn(Vec<E>) -> F,
) where
    E: Measured,
    A: IntoIterator<Item = E>,
    F: Future<Output = usize> + Send + 'static,
{
    let mut gather = Gather::new(limits);
    let mut wire = Wire::default();
    // Dropped with this future, and the calls with it: nobody waits for them then.
    let mut calls = JoinSet::new();
    loop {
        while let Some(batch) = gather.next_batch(wire) {
            wire.left(batch.len());
            calls.spawn(send(batch));
        }
        // Both are cancel-safe. In order, so that a simulated service plays the same each time.
        tokio::select! {
            biased;
            Some(answered) = calls.join_next(), if !calls.is_empty() => {
                wire.answered(answered.expect("sending a batch does not panic"));
            }
            came = arrivals.recv() => match came {
                Some(entries) => entries.into_iter().for_each(|entry| gather.push(entry)),
                None => return,
            }
        }
    }
}
