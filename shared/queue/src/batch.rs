//! Group commit: which entries leave in the next batch. Pure, no clock, no I/O; [`group_commit`] drives it.
//!
//! Batches of a call that takes many (SendMessageBatch, BatchWriteItem) share this rule: a full batch leaves while there
//! is room on the wire, a partial one while less than a full batch is there. So a few callers wait for nothing, and under
//! load batches are full.

mod commit;

use std::collections::VecDeque;

pub use self::commit::group_commit;

/// Something with a size in bytes, as the service it goes to counts it.
pub trait Measured {
    /// Its size.
    fn bytes(&self) -> usize;
}

/// Bounds of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Entries of one batch.
    pub entries: usize,
    /// Bytes of one batch.
    pub bytes: usize,
    /// A call is billed once per this many bytes, started ones included; `usize::MAX` where size costs nothing.
    pub billed_bytes: usize,
    /// Batches on the wire at once.
    pub in_flight: usize,
}

/// What has left and is not answered yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wire {
    /// Batches.
    pub batches: usize,
    /// Entries of all of them.
    pub entries: usize,
}

impl Wire {
    /// A batch of that many has left.
    pub fn left(&mut self, entries: usize) {
        self.batches += 1;
        self.entries += entries;
    }

    /// A batch of that many was answered.
    pub fn answered(&mut self, entries: usize) {
        self.batches -= 1;
        self.entries -= entries;
    }
}

/// Entries in the order they arrived, cut into batches.
pub struct Gather<T> {
    waiting: VecDeque<T>,
    limits: BatchLimits,
}

impl<T: Measured> Gather<T> {
    /// Nothing waits.
    pub const fn new(limits: BatchLimits) -> Self {
        Self {
            waiting: VecDeque::new(),
            limits,
        }
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: T) {
        self.waiting.push_back(entry);
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The batch that may leave beside what is on the wire: a full one while there is room; any while less than a full
    /// batch's entries are there.
    pub fn next_batch(&mut self, wire: Wire) -> Option<Vec<T>> {
        if wire.batches >= self.limits.in_flight {
            return None;
        }
        let (count, is_full) = self.front();
        let is_quiet = wire.entries < self.limits.entries;
        (count > 0 && (is_full || is_quiet)).then(|| self.waiting.drain(..count).collect())
    }

    /// How many entries from the front make one batch, and whether it is full: nothing more would fit, or could join
    /// without making the entries dearer.
    fn front(&self) -> (usize, bool) {
        let (mut bytes, mut best) = (0, (0, 1));
        for (at, entry) in self.waiting.iter().enumerate() {
            bytes += entry.bytes();
            // A single entry always goes: larger ones are refused before they get here.
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

    fn gather(sizes: &[usize]) -> Gather<usize> {
        let mut gather = Gather::new(LIMITS);
        sizes.iter().for_each(|size| gather.push(*size));
        gather
    }

    /// That many batches, all full.
    const fn full(batches: usize) -> Wire {
        Wire {
            batches,
            entries: batches * LIMITS.entries,
        }
    }

    #[test]
    fn a_message_leaves_at_once_beside_a_few_and_waits_beside_many() {
        assert_eq!(gather(&[1]).next_batch(Wire::default()), Some(vec![1]));
        assert_eq!(
            gather(&[1]).next_batch(Wire {
                batches: 3,
                entries: 9
            }),
            Some(vec![1])
        );
        assert_eq!(gather(&[1]).next_batch(full(1)), None);
    }

    #[test]
    fn a_full_batch_leaves_beside_others_up_to_the_bound() {
        assert_eq!(
            gather(&[1; 10])
                .next_batch(full(3))
                .map(|batch| batch.len()),
            Some(10)
        );
        assert_eq!(gather(&[1; 10]).next_batch(full(4)), None);
        assert_eq!(
            gather(&[1]).next_batch(Wire {
                batches: 4,
                entries: 4
            }),
            None,
            "few entries, but no room"
        );
        assert_eq!(
            gather(&[60, 60]).next_batch(full(1)),
            Some(vec![60]),
            "full by bytes"
        );
    }

    /// Batches of entries of this size, as many as arrive, with room for 1 MiB.
    fn batch_of(size: usize) -> Option<usize> {
        let mut gather = Gather::new(BatchLimits {
            bytes: 1024 * KIB,
            ..LIMITS
        });
        (0..40).for_each(|_| gather.push(size));
        gather.next_batch(full(1)).map(|batch| batch.len())
    }

    #[test]
    fn a_batch_stops_where_a_billed_step_would_make_its_messages_dearer() {
        assert_eq!(batch_of(KIB), Some(10));
        assert_eq!(batch_of(10 * KIB), Some(6), "6 in one unit, not 10 in two");
        assert_eq!(
            batch_of(40 * KIB),
            Some(8),
            "8 in five units, not 10 in seven"
        );
        assert_eq!(batch_of(64 * KIB), Some(10), "a unit each, however many");
    }

    proptest! {
        #[test]
        fn batches_keep_the_bounds_the_order_and_every_entry(sizes in proptest::collection::vec(1_usize..=100, 0..60)) {
            let (mut gather, mut out) = (gather(&sizes), Vec::new());
            while let Some(batch) = gather.next_batch(Wire::default()) {
                prop_assert!(!batch.is_empty() && batch.len() <= LIMITS.entries);
                prop_assert!(batch.iter().sum::<usize>() <= 100);
                out.extend(batch);
            }
            prop_assert_eq!(out, sizes);
        }
    }
}
