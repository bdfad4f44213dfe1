//! The batching rule: which entries the next call carries. [`Batcher`] is pure.
//! The sender's worker drives it for SQS, [`group_commit`] for any other call.
//!
//! A full batch leaves while fewer than [`BatchLimits::in_flight`] batches are in flight. A partial batch leaves only while
//! fewer entries than a full batch are in flight. So a few callers wait for nothing, and under load batches are full. The
//! rule fits every call that takes many entries, for example SendMessageBatch and BatchWriteItem.

mod commit;

use std::collections::VecDeque;

pub use self::commit::group_commit;

/// An entry with a size.
pub trait Measured {
    /// Size in bytes, as the called service counts it.
    fn bytes(&self) -> usize;
}

/// Limits of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most entries of one batch.
    pub entries: usize,
    /// Most bytes of one batch.
    pub bytes: usize,
    /// Bytes of one billed unit; a started unit is billed whole. `usize::MAX` if size costs nothing.
    pub billed_bytes: usize,
    /// Most batches in flight at once.
    pub in_flight: usize,
}

/// Batches that were sent and are not yet answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Number of batches.
    pub batches: usize,
    /// Number of entries in all batches.
    pub entries: usize,
}

impl InFlight {
    /// Adds a batch with this many entries.
    pub fn add(&mut self, entries: usize) {
        self.batches += 1;
        self.entries += entries;
    }

    /// Removes a batch with this many entries; the batch must have been added.
    pub fn remove(&mut self, entries: usize) {
        self.batches -= 1;
        self.entries -= entries;
    }
}

/// Cuts entries into batches in their order of arrival.
pub struct Batcher<T> {
    waiting: VecDeque<T>,
    limits: BatchLimits,
}

impl<T: Measured> Batcher<T> {
    /// Creates a batcher without entries.
    pub const fn new(limits: BatchLimits) -> Self {
        Self {
            waiting: VecDeque::new(),
            limits,
        }
    }

    /// Appends an entry. An entry above [`BatchLimits::bytes`] makes a batch of its own.
    pub fn push(&mut self, entry: T) {
        self.waiting.push_back(entry);
    }

    /// Returns true if no entry waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the next batch if one may leave beside the batches in flight: a full one, or a partial one while fewer entries
    /// than a full batch are in flight.
    pub fn next_batch(&mut self, in_flight: InFlight) -> Option<Vec<T>> {
        if in_flight.batches >= self.limits.in_flight {
            return None;
        }
        let (count, is_full) = self.front();
        let is_quiet = in_flight.entries < self.limits.entries;
        (count > 0 && (is_full || is_quiet)).then(|| self.waiting.drain(..count).collect())
    }

    /// Returns how many entries from the front make one batch, and whether that batch is full. A batch is full if no more
    /// fit, or if one more would raise the cost per entry.
    fn front(&self) -> (usize, bool) {
        let (mut bytes, mut best) = (0, (0, 1));
        for (at, entry) in self.waiting.iter().enumerate() {
            bytes += entry.bytes();
            // A single entry always fits: callers refuse larger ones.
            if at == self.limits.entries || (at > 0 && bytes > self.limits.bytes) {
                return (best.0, true);
            }
            let (count, units) = (at + 1, bytes.div_ceil(self.limits.billed_bytes).max(1));
            // More entries per billed unit, or as many in fewer calls.
            if count * best.1 >= best.0 * units {
                best = (count, units);
            }
        }
        (
            best.0,
            best.0 == self.limits.entries || best.0 < self.waiting.len(),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Measured for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    const KIB: usize = 1024;
    const LIMITS: BatchLimits = BatchLimits {
        entries: 10,
        bytes: 100,
        billed_bytes: 64 * KIB,
        in_flight: 4,
    };

    fn batcher(sizes: &[usize]) -> Batcher<usize> {
        let mut batcher = Batcher::new(LIMITS);
        sizes.iter().for_each(|size| batcher.push(*size));
        batcher
    }

    /// Full batches in flight.
    const fn full(batches: usize) -> InFlight {
        InFlight {
            batches,
            entries: batches * LIMITS.entries,
        }
    }

    #[test]
    fn an_entry_leaves_at_once_beside_few_entries_in_flight_and_waits_beside_many() {
        assert_eq!(batcher(&[1]).next_batch(InFlight::default()), Some(vec![1]));
        assert_eq!(
            batcher(&[1]).next_batch(InFlight {
                batches: 3,
                entries: 9
            }),
            Some(vec![1])
        );
        assert_eq!(batcher(&[1]).next_batch(full(1)), None);
    }

    #[test]
    fn a_full_batch_leaves_beside_others_up_to_the_limit() {
        assert_eq!(
            batcher(&[1; 10])
                .next_batch(full(3))
                .map(|batch| batch.len()),
            Some(10)
        );
        assert_eq!(batcher(&[1; 10]).next_batch(full(4)), None);
        assert_eq!(
            batcher(&[1]).next_batch(InFlight {
                batches: 4,
                entries: 4
            }),
            None,
            "few entries, but as many batches as allowed"
        );
        assert_eq!(
            batcher(&[60, 60]).next_batch(full(1)),
            Some(vec![60]),
            "full by bytes"
        );
    }

    /// Entries of the first batch of many entries of this size, within 1 MiB.
    fn batch_of(size: usize) -> Option<usize> {
        let mut batcher = Batcher::new(BatchLimits {
            bytes: 1024 * KIB,
            ..LIMITS
        });
        (0..40).for_each(|_| batcher.push(size));
        batcher.next_batch(full(1)).map(|batch| batch.len())
    }

    #[test]
    fn a_batch_ends_where_the_next_billed_unit_would_raise_the_cost_per_entry() {
        assert_eq!(batch_of(KIB), Some(10));
        assert_eq!(batch_of(10 * KIB), Some(6), "6 in one unit, not 10 in two");
        assert_eq!(
            batch_of(40 * KIB),
            Some(8),
            "8 in five units, not 10 in seven"
        );
        assert_eq!(batch_of(64 * KIB), Some(10), "one unit each, in any batch");
    }

    proptest! {
        #[test]
        fn batches_keep_limits_order_and_every_entry(sizes in proptest::collection::vec(1_usize..=100, 0..60)) {
            let (mut batcher, mut out) = (batcher(&sizes), Vec::new());
            while let Some(batch) = batcher.next_batch(InFlight::default()) {
                prop_assert!(!batch.is_empty() && batch.len() <= LIMITS.entries);
                prop_assert!(batch.iter().sum::<usize>() <= 100);
                out.extend(batch);
            }
            prop_assert_eq!(out, sizes);
        }
    }
}
