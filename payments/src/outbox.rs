//! The outbox: events on their way from the table to the tenant's queue.
//!
//! An [`Entry`] is written with what it tells of, in one transaction. Right after, it is sent and taken out; whatever
//! keeps that from happening, the sweeper of any replica does it later. So an event is sent once or more, never not at
//! all; its id is derived from what it tells, so that it is stored once.
//!
//! - [`publish`]: from entry to queue, and out of the outbox once the queue has confirmed it;
//! - `clear`: taking entries out, many to a call;
//! - [`sweep`]: finding what was left, by the sparse index.

pub(crate) mod clear;
pub(crate) mod publish;
pub(crate) mod sweep;

use crate::event::PaymentEvent;
use chrono::{DateTime, Utc};
use tenantry_tenancy::tenant::TenantId;
use uuid::Uuid;

use crate::charge::timestamp;
use crate::ledger::items::{self, Attributes, as_text, named, text};
use crate::table::{HASH, OUTBOX_AT, OUTBOX_SHARD, RANGE};

/// Parts of the index. Each takes 1,000 writes a second (DynamoDB's limit for one hash key), and an entry is two.
pub(crate) const SHARDS: u8 = 8;
const PREFIX: &str = "outbox#";

/// An event that may not have been sent yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) tenant: TenantId,
    /// What the event is stored under.
    pub(crate) id: Uuid,
    /// When it was written.
    pub(crate) at: String,
    /// The event as JSON text.
    pub(crate) json: String,
}

impl Entry {
    pub(crate) fn new(tenant: TenantId, event: &PaymentEvent, now: DateTime<Utc>) -> Self {
        Self {
            tenant,
            id: event.id(),
            at: timestamp(now),
            json: event.to_json(),
        }
    }

    /// The entry as an item.
    pub(crate) fn into_item(self) -> Attributes {
        let mut item = self.key();
        item.extend(named([
            (OUTBOX_SHARD, text(&shard_of(self.id).to_string())),
            (OUTBOX_AT, text(&self.at)),
            ("event", text(&self.json)),
        ]));
        item
    }

    /// The entry in an item; `None` where it is none of ours.
    fn from_item(item: &Attributes) -> Option<Self> {
        Some(Self {
            tenant: as_text(item, HASH)?.parse().ok()?,
            id: as_text(item, RANGE)?.strip_prefix(PREFIX)?.parse().ok()?,
            at: as_text(item, OUTBOX_AT)?.to_owned(),
            json: as_text(item, "event")?.to_owned(),
        })
    }

    /// The item's key.
    fn key(&self) -> Attributes {
        items::key(&self.tenant, format!("{PREFIX}{}", self.id))
    }
}

/// The part of the index an entry is in. Ids are digests, so any byte will do.
fn shard_of(id: Uuid) -> u8 {
    id.as_bytes()[0] % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charge::tests::{charge, noon};

    #[test]
    fn golden_an_entry_and_back() {
        let charge = charge(1250);
        let entry = Entry::new(charge.tenant.clone(), &charge.event(), noon());
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
        assert_eq!(Entry::from_item(&item), Some(entry));
        assert_eq!(Entry::from_item(&items::from_charge(&charge)), None);
    }

    #[test]
    fn entries_are_spread_over_all_shards() {
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
