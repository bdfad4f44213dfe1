//! Limits the unsettled messages of one group. Pure.
//!
//! A slow group (for example, its table partition is throttled) would soon hold every permit, and no message of another
//! group would be received. So each group holds at most its share, and messages beyond the share are postponed. A message
//! is postponed at most twice, because deliveries count toward the dead-letter queue.

use std::collections::HashMap;

use crate::message::Received;

/// Most deliveries of one message that are postponed for its group's share.
const MAX_POSTPONED: u32 = 2;

/// Number of unsettled messages by group.
pub(super) struct Shares {
    max: usize,
    unsettled: HashMap<String, usize>,
}

impl Shares {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            unsettled: HashMap::new(),
        }
    }

    /// Splits a batch into the messages within their group's share, which are taken, and the others.
    pub(super) fn take(&mut self, batch: Vec<Received>) -> (Vec<Received>, Vec<Received>) {
        batch.into_iter().partition(|message| {
            let held = self
                .unsettled
                .entry(group_of(message).to_owned())
                .or_default();
            let is_taken = *held < self.max || message.receive_count > MAX_POSTPONED;
            *held += usize::from(is_taken);
            is_taken
        })
    }

    /// Releases the shares of messages that were taken.
    pub(super) fn release(&mut self, batch: &[Received]) {
        for message in batch {
            let group = group_of(message);
            if let Some(held) = self.unsettled.get_mut(group) {
                *held -= 1;
                if *held == 0 {
                    self.unsettled.remove(group);
                }
            }
        }
    }
}

/// Messages without a group count as one group.
fn group_of(message: &Received) -> &str {
    message.group.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    fn message(group: &str, receive_count: u32) -> Received {
        Received {
            message_id: String::new(),
            receipt_handle: String::new(),
            body: String::new(),
            attributes: HashMap::new(),
            untouched: Vec::new(),
            group: Some(group.to_owned()),
            sent_at: DateTime::UNIX_EPOCH,
            receive_count,
        }
    }

    #[test]
    fn a_message_beyond_its_groups_share_is_postponed_twice_and_other_groups_are_taken() {
        let mut shares = Shares::new(2);
        let (taken, postponed) = shares.take(vec![
            message("a", 1),
            message("a", 1),
            message("a", 1),
            message("b", 1),
        ]);
        assert_eq!((taken.len(), postponed.len()), (3, 1));
        assert_eq!(shares.take(vec![message("a", 2)]).1.len(), 1);
        assert_eq!(
            shares.take(vec![message("a", 3)]).0.len(),
            1,
            "a third delivery is not postponed"
        );
        shares.release(&taken);
        assert_eq!(
            shares.take(vec![message("a", 1), message("a", 1)]).0.len(),
            1,
            "one message of a is unsettled"
        );
    }

    proptest! {
        #[test]
        fn a_release_frees_the_whole_share(
            batches in proptest::collection::vec(proptest::collection::vec((0_u8..4, 1_u32..5), 0..10), 0..40)
        ) {
            let mut shares = Shares::new(7);
            let mut batches_taken = Vec::new();
            for batch in batches {
                let messages: Vec<_> =
                    batch.iter().map(|(group, count)| message(&group.to_string(), *count)).collect();
                let all = messages.len();
                let (taken, postponed) = shares.take(messages);
                prop_assert_eq!(taken.len() + postponed.len(), all);
                prop_assert!(postponed.iter().all(|message| message.receive_count <= MAX_POSTPONED));
                batches_taken.push(taken);
                if batches_taken.len() > 3 {
                    shares.release(&batches_taken.remove(0));
                }
            }
            batches_taken.iter().for_each(|batch| shares.release(batch));
            prop_assert!(shares.unsettled.values().all(|held| *held == 0));
        }
    }
}
