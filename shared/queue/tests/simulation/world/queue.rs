//! A standard queue of SQS, as documented. Pure: time is an argument.
//!
//! A receive leases messages for their visibility time-out, each under a new receipt handle. After the lease the message is
//! delivered again; only the latest handle is valid. Random numbers decide what SQS leaves open (order, stale handles).

use std::collections::BTreeMap;
use std::time::Duration;

/// A message as sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Entry {
    /// The id within its batch.
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) group: Option<String>,
    /// String attributes by name.
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Entry {
    /// Size as SQS counts it: body, and name, type and value of each attribute.
    pub(crate) fn bytes(&self) -> usize {
        let attribute =
            |(name, value): (&String, &String)| name.len() + "String".len() + value.len();
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }
}

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) message: u64,
    pub(crate) handle: String,
    pub(crate) until: Duration,
    pub(crate) receive_count: u32,
    pub(crate) sent_at: Duration,
    pub(crate) entry: Entry,
}

/// Why an entry of a batch had no effect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EntryError {
    pub(crate) code: &'static str,
    pub(crate) sender_fault: bool,
}

const INVALID_HANDLE: EntryError = EntryError {
    code: "ReceiptHandleIsInvalid",
    sender_fault: true,
};
const NOT_IN_FLIGHT: EntryError = EntryError {
    code: "MessageNotInflight",
    sender_fault: true,
};

#[derive(Debug)]
struct Message {
    entry: Entry,
    sent_at: Duration,
    visible_at: Duration,
    receive_count: u32,
}

/// One queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: BTreeMap<u64, Message>,
    next: u64,
    /// ARN of the dead-letter queue in its redrive policy.
    pub(super) dead_letter_arn: Option<String>,
    /// True if the queue refuses message groups, as some emulators do.
    pub(super) refuses_groups: bool,
}

impl Queue {
    /// Creates a queue with this dead-letter queue.
    pub(crate) fn with_dead_letters(arn: &str) -> Self {
        Self {
            dead_letter_arn: Some(arn.to_owned()),
            ..Self::default()
        }
    }

    /// Creates a queue that refuses message groups.
    pub(crate) fn without_groups() -> Self {
        Self {
            refuses_groups: true,
            ..Self::default()
        }
    }

    pub(crate) fn put(&mut self, now: Duration, entry: Entry) -> u64 {
        self.next += 1;
        let message = Message {
            entry,
            sent_at: now,
            visible_at: now,
            receive_count: 0,
        };
        self.messages.insert(self.next, message);
        self.next
    }

    /// Leases up to `max` visible messages in any order; with `twice`, one of them may already be leased.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        max: usize,
        visibility: Duration,
        twice: bool,
        rng: &mut fastrand::Rng,
    ) -> Vec<Lease> {
        let mut found: Vec<u64> = self
            .messages
            .iter()
            .filter(|(_, m)| m.visible_at <= now)
            .map(|(number, _)| *number)
            .collect();
        if twice
            && let Some(held) = rng.choice(self.messages.keys())
            && !found.contains(held)
        {
            found.push(*held);
        }
        rng.shuffle(&mut found);
        found.truncate(max);
        found
            .into_iter()
            .map(|number| self.lease(now, number, visibility))
            .collect()
    }

    fn lease(&mut self, now: Duration, number: u64, visibility: Duration) -> Lease {
        let message = self.messages.get_mut(&number).expect("it was just found");
        message.receive_count += 1;
        message.visible_at = now + visibility;
        Lease {
            message: number,
            handle: format!("{number}#{}", message.receive_count),
            until: message.visible_at,
            receive_count: message.receive_count,
            sent_at: message.sent_at,
            entry: message.entry.clone(),
        }
    }

    /// Deletes by handle; returns the message's number if this call deleted it. An unknown message counts as deleted. With
    /// `forgiving`, so does a message under an old handle, though it stays in the queue.
    pub(crate) fn delete(
        &mut self,
        handle: &str,
        forgiving: bool,
    ) -> Result<Option<u64>, EntryError> {
        let (number, lease) = parse_handle(handle).ok_or(INVALID_HANDLE)?;
        let Some(message) = self.messages.get(&number) else {
            return Ok(None);
        };
        match message.receive_count == lease {
            true => {
                self.messages.remove(&number);
                Ok(Some(number))
            }
            false if forgiving => Ok(None),
            false => Err(INVALID_HANDLE),
        }
    }

    /// Makes a leased message visible `after` from now; returns the message's number.
    pub(crate) fn change_visibility(
        &mut self,
        now: Duration,
        handle: &str,
        after: Duration,
    ) -> Result<u64, EntryError> {
        let (number, lease) = parse_handle(handle).ok_or(INVALID_HANDLE)?;
        let message = self.messages.get_mut(&number).ok_or(INVALID_HANDLE)?;
        if message.receive_count != lease || message.visible_at <= now {
            return Err(NOT_IN_FLIGHT);
        }
        message.visible_at = now + after;
        Ok(number)
    }

    /// Returns when the next invisible message becomes visible.
    pub(crate) fn next_visible(&self, now: Duration) -> Option<Duration> {
        self.messages
            .values()
            .map(|message| message.visible_at)
            .filter(|at| *at > now)
            .min()
    }

    /// Bodies of all messages, visible or leased.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = &str> {
        self.messages
            .values()
            .map(|message| message.entry.body.as_str())
    }
}

fn parse_handle(handle: &str) -> Option<(u64, u32)> {
    let (number, lease) = handle.split_once('#')?;
    Some((number.parse().ok()?, lease.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_hides_a_message_until_it_ends_and_an_old_handle_is_invalid() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut queue = Queue::default();
        queue.put(
            seconds(0),
            Entry {
                body: "x".to_owned(),
                ..Entry::default()
            },
        );
        let mut receive = |queue: &mut Queue, at| {
            queue
                .receive(seconds(at), 10, seconds(5), false, &mut rng)
                .pop()
        };
        let first = receive(&mut queue, 1).expect("it is there");
        assert_eq!(receive(&mut queue, 2), None, "leased");
        assert_eq!(queue.next_visible(seconds(2)), Some(seconds(6)));
        assert_eq!(
            queue.change_visibility(seconds(3), &first.handle, seconds(5)),
            Ok(1)
        );
        assert_eq!(receive(&mut queue, 7), None, "extended");
        assert_eq!(
            queue.change_visibility(seconds(8), &first.handle, seconds(5)),
            Err(NOT_IN_FLIGHT)
        );
        let second = receive(&mut queue, 8).expect("delivered again");
        assert_eq!(second.receive_count, 2);
        assert_eq!(queue.delete(&first.handle, false), Err(INVALID_HANDLE));
        assert_eq!(queue.delete(&first.handle, true), Ok(None));
        assert_eq!(queue.delete(&second.handle, false), Ok(Some(1)));
        assert_eq!(
            queue.delete(&second.handle, false),
            Ok(None),
            "as good as deleted"
        );
        assert_eq!(queue.bodies().count(), 0);
    }
}
