//! Group commit over a channel: arrivals leave in batches by the rule of [`Batcher`].

use std::future::Future;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{BatchLimits, Batcher, InFlight, Measured};

/// Sends arrivals in batches, several at once, until every sender of the channel is dropped.
///
/// `send` makes one call and notifies the callers of its entries; it returns the number of entries of its batch and must
/// not panic. Dropping this future, or the last sender of the channel, cancels the calls in flight.
pub async fn group_commit<E, A, F>(
    limits: BatchLimits,
    mut arrivals: mpsc::Receiver<A>,
    send: impl Fn(Vec<E>) -> F,
) where
    E: Measured,
    A: IntoIterator<Item = E>,
    F: Future<Output = usize> + Send + 'static,
{
    let mut batcher = Batcher::new(limits);
    let mut in_flight = InFlight::default();
    // Dropped with this future, and the calls with it: no caller waits for them then.
    let mut calls = JoinSet::new();
    loop {
        while let Some(batch) = batcher.next_batch(in_flight) {
            in_flight.add(batch.len());
            calls.spawn(send(batch));
        }
        // Both branches are cancel-safe. The fixed order makes a simulation repeatable.
        tokio::select! {
            biased;
            Some(sent) = calls.join_next(), if !calls.is_empty() => {
                in_flight.remove(sent.expect("sending a batch does not panic"));
            }
            arrival = arrivals.recv() => match arrival {
                Some(entries) => entries.into_iter().for_each(|entry| batcher.push(entry)),
                None => return,
            }
        }
    }
}
