//! Which entries leave in the next batch: pure, no clock, no I/O.

use std::collections::VecDeque;

use super::MAX_BATCH_ENTRIES;

/// SQS bills a call once per 64 KiB of payload, started ones included.
const BILLED_BYTES: usize = 64 * 1024;

/// Something with a size in bytes, as SQS counts it.
pub(super) trait Measured {
    fn bytes(&self) -> usize;
}

/// Entries in the order they arrived, cut into batches.
pub(super) struct Gather<T> {
    waiting: VecDeque<T>,
    max_bytes: usize,
    max_in_flight: usize,
}

impl<T: Measured> Gather<T> {
    pub(super) const fn new(max_bytes: usize, max_in_flight: usize) -> Self {
        Self { waiting: VecDeque::new(), max_bytes, max_in_flight }
    }

    pub(super) fn push(&mut self, entry: T) {
        self.waiting.push_back(entry);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The batch that may leave while this many are on the wire: a full one while there is room, any when there is none
    /// on the wire, so that a lone message never waits.
    pub(super) fn next_batch(&mut self, in_flight: usize) -> Option<Vec<T>> {
        if in_flight >= self.max_in_flight {
            return None;
        }
        let (count, is_full) = self.front();
        (count > 0 && (is_full || in_flight == 0)).then(|| self.waiting.drain(..count).collect())
    }

    /// How many entries from the front make one batch, and whether it is full: nothing more would fit, or could join
    /// without making the messages dearer.
    fn front(&self) -> (usize, bool) {
        let (mut bytes, mut best) = (0, (0, 1));
        for (at, entry) in self.waiting.iter().enumerate() {
            bytes += entry.bytes();
            // A single entry always goes: the sender refuses larger ones before they get here.
            if at == MAX_BATCH_ENTRIES || (at > 0 && bytes > self.max_bytes) {
                return (best.0, true);
            }
            let (count, units) = (at + 1, bytes.div_ceil(BILLED_BYTES).max(1));
            // More messages per billed unit, or as many in fewer calls.
            if count * best.1 >= best.0 * units {
                best = (count, units);
            }
        }
        (best.0, best.0 == MAX_BATCH_ENTRIES || best.0 < self.waiting.len())
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

    fn gather(sizes: &[usize]) -> Gather<usize> {
        let mut gather = Gather::new(100, 4);
        sizes.iter().for_each(|size| gather.push(*size));
        gather
    }

    #[test]
    fn a_lone_message_leaves_at_once_and_waits_while_the_wire_is_taken() {
        assert_eq!(gather(&[1]).next_batch(0), Some(vec![1]));
        assert_eq!(gather(&[1]).next_batch(1), None);
    }

    #[test]
    fn a_full_batch_leaves_beside_others_up_to_the_bound() {
        assert_eq!(gather(&[1; 10]).next_batch(3).map(|batch| batch.len()), Some(10));
        assert_eq!(gather(&[1; 10]).next_batch(4), None);
        assert_eq!(gather(&[60, 60]).next_batch(1), Some(vec![60]), "full by bytes");
    }

    /// Batches of entries of this size, as many as arrive, with room for 1 MiB.
    fn batch_of(size: usize) -> Option<usize> {
        let mut gather = Gather::new(1024 * 1024, 4);
        (0..40).for_each(|_| gather.push(size));
        gather.next_batch(1).map(|batch| batch.len())
    }

    #[test]
    fn a_batch_stops_where_a_billed_step_would_make_its_messages_dearer() {
        const KIB: usize = 1024;
        assert_eq!(batch_of(KIB), Some(10));
        assert_eq!(batch_of(10 * KIB), Some(6), "6 in one unit, not 10 in two");
        assert_eq!(batch_of(40 * KIB), Some(8), "8 in five units, not 10 in seven");
        assert_eq!(batch_of(64 * KIB), Some(10), "a unit each, however many");
    }

    proptest! {
        #[test]
        fn batches_keep_the_bounds_the_order_and_every_entry(sizes in proptest::collection::vec(1_usize..=100, 0..60)) {
            let (mut gather, mut out) = (gather(&sizes), Vec::new());
            while let Some(batch) = gather.next_batch(0) {
                prop_assert!(!batch.is_empty() && batch.len() <= MAX_BATCH_ENTRIES);
                prop_assert!(batch.iter().sum::<usize>() <= 100);
                out.extend(batch);
            }
            prop_assert_eq!(out, sizes);
        }
    }
}
