//! How many messages of one group are in hand: pure.
//!
//! A group that cannot be worked off (its table partition is throttled, say) would come to hold every permit, and the
//! other groups' messages would not even be received. So a group may hold its share; what comes beyond is left to later
//! deliveries. At most twice a message, though: deliveries lead to the dead-letter queue, and waiting is no defect.

use std::collections::HashMap;

use crate::message::Received;

/// Deliveries of one message that may be passed over.
const MAX_PASSED_OVER: u32 = 2;

/// The messages in hand, by group.
pub(super) struct Shares {
    max: usize,
    in_hand: HashMap<String, usize>,
}

impl Shares {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            in_hand: HashMap::new(),
        }
    }

    /// Splits what was received into what is taken in hand, and what is passed over.
    pub(super) fn take(&mut self, batch: Vec<Received>) -> (Vec<Received>, Vec<Received>) {
        batch.into_iter().partition(|message| {
            let held = self
                .in_hand
                .entry(group_of(message).to_owned())
                .or_default();
            let is_taken = *held < self.max || message.receive_count > MAX_PASSED_OVER;
            *held += usize::from(is_taken);
            is_taken
        })
    }

    /// Lets go of what was taken.
    pub(super) fn release(&mut self, batch: &[Received]) {
        for message in batch {
            let group = group_of(message);
            if let Some(held) = self.in_hand.get_mut(group) {
                *held -= 1;
                if *held == 0 {
                    self.in_hand.remove(group);
                }
            }
        }
    }
}

/// Messages without a group are one.
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
    fn what_exceeds_a_groups_share_is_passed_over_twice_and_other_groups_are_taken() {
        let mut shares = Shares::new(2);
        let (taken, passed) = shares.take(vec![
            message("a", 1),
            message("a", 1),
            message("a", 1),
            message("b", 1),
        ]);
        assert_eq!((taken.len(), passed.len()), (3, 1));
        assert_eq!(shares.take(vec![message("a", 2)]).1.len(), 1);
        assert_eq!(
            shares.take(vec![message("a", 3)]).0.len(),
            1,
            "no further delivery is spent on waiting"
        );
        shares.release(&taken);
        assert_eq!(
            shares.take(vec![message("a", 1), message("a", 1)]).0.len(),
            1,
            "one of a is in hand"
        );
    }

    proptest! {
        #[test]
        fn what_is_released_leaves_nothing_behind(
            batches in proptest::collection::vec(proptest::collection::vec((0_u8..4, 1_u32..5), 0..10), 0..40)
        ) {
            let mut shares = Shares::new(7);
            let mut hands = Vec::new();
            for batch in batches {
                let messages: Vec<_> =
                    batch.iter().map(|(group, count)| message(&group.to_string(), *count)).collect();
                let all = messages.len();
                let (taken, passed) = shares.take(messages);
                prop_assert_eq!(taken.len() + passed.len(), all);
                prop_assert!(passed.iter().all(|message| message.receive_count <= MAX_PASSED_OVER));
                hands.push(taken);
                if hands.len() > 3 {
                    shares.release(&hands.remove(0));
                }
            }
            hands.iter().for_each(|hand| shares.release(hand));
            prop_assert!(shares.in_hand.values().all(|held| *held == 0));
        }
    }
}
