//! The outbox: events in the table that must still be sent to the tenant's queue.
//!
//! One transaction writes an [`OutboxEntry`] together with its charge or refund. The request then sends the event and
//! deletes the entry. If that fails, the sweeper of any replica does it later. So every event is sent at least once.
//! Its id is derived from its content, so it is stored once.
//!
//! - [`publish`] sends the event, and deletes the entry once the queue has confirmed the event.
//! - `clear` deletes entries, many per call.
//! - [`sweep`] finds the entries that are left, by the sparse index.

pub(crate) mod clear;
pub(crate) mod publish;
pub(crate) mod sweep;

use chrono::{DateTime, Utc};
use tenantry_tenancy::generation::Owner;
use uuid::Uuid;

use crate::charge::timestamp;
use crate::event::PaymentEvent;
use crate::ledger::items::{self, Attributes, as_text, named, text};
use crate::table::{OUTBOX_AT, OUTBOX_SHARD};

/// Shards of the index. Each shard accepts 1,000 writes per second (DynamoDB's limit for one hash key). Each entry takes
/// two writes.
pub(crate) const SHARDS: u8 = 8;
const PREFIX: &str = "outbox#";

/// An event that may not be sent yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutboxEntry {
    pub(crate) owner: Owner,
    /// Id of the event.
    pub(crate) id: Uuid,
    /// Time at which the entry was written.
    pub(crate) at: String,
    /// The event as JSON text.
    pub(crate) json: String,
}

impl OutboxEntry {
    pub(crate) fn new(owner: Owner, event: &PaymentEvent, now: DateTime<Utc>) -> Self {
        Self {
            owner,
            id: event.id(),
            at: timestamp(now),
            json: event.to_json(),
        }
    }

    pub(crate) fn into_item(self) -> Attributes {
        let mut item = self.key();
        item.extend(named([
            (OUTBOX_SHARD, text(&shard_of(self.id).to_string())),
            (OUTBOX_AT, text(&self.at)),
            ("event", text(&self.json)),
        ]));
        item
    }

    /// Parses an entry. Returns `None` for an item of another format.
    fn from_item(item: &Attributes) -> Option<Self> {
        let (owner, sk) = items::parse_key(item)?;
        Some(Self {
            owner,
            id: sk.strip_prefix(PREFIX)?.parse().ok()?,
            at: as_text(item, OUTBOX_AT)?.to_owned(),
            json: as_text(item, "event")?.to_owned(),
        })
    }

    fn key(&self) -> Attributes {
        items::key(&self.owner, &format!("{PREFIX}{}", self.id))
    }
}

/// Returns the entry's shard of the index. Ids are digests, so every byte is uniformly distributed.
fn shard_of(id: Uuid) -> u8 {
    id.as_bytes()[0] % SHARDS
}

#[cfg(test)]
mod tests {
    use tenantry_tenancy::generation::Generation;

    use super::*;
    use crate::charge::tests::{charge, noon};

    #[test]
    fn golden_an_entry_and_back() {
        let charge = charge(1250);
        let entry = OutboxEntry::new(charge.owner.clone(), &charge.event(), noon());
        let item = entry.clone().into_item();
        let expected = [
            ("tenant_id", "tenant-2".to_owned()),
            ("sk", format!("outbox#{}", charge.event().id())),
            ("outbox_shard", shard_of(entry.id).to_string()),
            ("outbox_at", "2026-12-01T12:00:00.000Z".to_owned()),
            ("event", charge.event().to_json()),
        ];
        assert_eq!(item.len(), expected.len());
        for (name, value) in expected {
            assert_eq!(as_text(&item, name), Some(value.as_str()), "{name}");
        }
        assert_eq!(OutboxEntry::from_item(&item), Some(entry));
        assert_eq!(OutboxEntry::from_item(&items::from_charge(&charge)), None);
    }

    #[test]
    fn an_entry_of_a_later_owner_keeps_its_generation() {
        let mut charge = charge(1250);
        charge.owner.generation = Generation::at_millis(7);
        let entry = OutboxEntry::new(charge.owner.clone(), &charge.event(), noon());
        let item = entry.clone().into_item();
        let sk = format!("g7#outbox#{}", charge.event().id());
        assert_eq!(as_text(&item, "sk"), Some(sk.as_str()));
        assert_eq!(OutboxEntry::from_item(&item), Some(entry));
    }

    #[test]
    fn entries_are_distributed_over_all_shards() {
        let mut count = [0; SHARDS as usize];
        for n in 0..800 {
            count[usize::from(shard_of(Uuid::new_v5(
                &Uuid::nil(),
                &[(n % 256) as u8, (n / 256) as u8],
            )))] += 1;
        }
        assert!(
            count.iter().all(|count| (50..=150).contains(count)),
            "{count:?}"
        );
    }
}
