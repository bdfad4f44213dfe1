//! The ledger's invariants, checked on the tables once no work is left.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::text;

/// Stored events: tenant, table and payload of each.
pub(crate) type Events = Vec<(String, String, Value)>;

/// The items of a payments table by kind.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// By id.
    pub(crate) charges: BTreeMap<String, Value>,
    /// By id, each with its charge's id.
    pub(crate) refunds: BTreeMap<String, (String, Value)>,
    /// By tenant and key.
    pub(crate) keys: BTreeMap<(String, String), Value>,
}

impl Ledger {
    pub(crate) fn read(items: &[Value]) -> Self {
        let (mut charges, mut refunds, mut keys) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for item in items {
            let parts: Vec<_> = text(item, "sk").splitn(3, '#').collect();
            match parts[..] {
                ["charge", id] => drop(charges.insert(id.to_owned(), item.clone())),
                ["refund", charge, id] => {
                    refunds.insert(id.to_owned(), (charge.to_owned(), item.clone()));
                }
                ["key", key] => {
                    keys.insert(
                        (text(item, "tenant_id").to_owned(), key.to_owned()),
                        item.clone(),
                    );
                }
                _ => panic!("nothing else is left in the table: {item}"),
            }
        }
        Self {
            charges,
            refunds,
            keys,
        }
    }

    /// Checks sums, one charge or refund per key, one stored event each, and no item of another tenant.
    pub(crate) fn check(&self, stored: &Events) {
        for (id, charge) in &self.charges {
            let of_charge = self.refunds.values().filter(|(of, _)| of == id);
            let mut sums: Vec<_> = of_charge
                .map(|(_, refund)| {
                    assert_eq!(
                        refund["tenant_id"], charge["tenant_id"],
                        "a refund is its charge's tenant's"
                    );
                    (number(refund, "refunded"), number(refund, "amount"))
                })
                .collect();
            sums.sort_unstable();
            let sum = sums.iter().fold(0, |before, (after, amount)| {
                assert_eq!(
                    before + amount,
                    *after,
                    "each refund goes on from the one before: {sums:?}"
                );
                *after
            });
            assert_eq!(
                number(charge, "refunded"),
                sum,
                "the refunded sum is the sum of the refunds"
            );
            assert!(
                sum <= number(charge, "amount"),
                "more refunded than charged: {charge}"
            );
        }
        let made: Vec<_> = self
            .keys
            .values()
            .map(|key| text(key, "made").to_owned())
            .collect();
        let recorded: BTreeSet<_> = self
            .charges
            .keys()
            .chain(self.refunds.keys())
            .cloned()
            .collect();
        assert_eq!(
            made.len(),
            recorded.len(),
            "a charge or refund for each key"
        );
        assert_eq!(
            made.into_iter().collect::<BTreeSet<_>>(),
            recorded,
            "and a key for each of those"
        );
        self.check_events(stored);
    }

    fn check_events(&self, stored: &Events) {
        let mut expected = BTreeMap::new();
        for (id, charge) in &self.charges {
            expected.insert(
                ("payment.recorded".to_owned(), id.clone()),
                (charge, id, charge),
            );
        }
        for (id, (of, refund)) in &self.refunds {
            let charge = &self.charges[of];
            expected.insert(
                ("payment.refunded".to_owned(), id.clone()),
                (charge, of, refund),
            );
        }
        assert_eq!(
            stored.len(),
            expected.len(),
            "one stored event for each charge and refund"
        );
        for (tenant, table, event) in stored {
            let name = text(event, "event");
            let about = if name == "payment.recorded" {
                "charge_id"
            } else {
                "refund_id"
            };
            let found = expected.remove(&(name.to_owned(), text(event, about).to_owned()));
            let (charge, charge_id, item) =
                found.unwrap_or_else(|| panic!("a second, or of nothing: {event}"));
            assert_eq!(
                charge["tenant_id"],
                json!(tenant),
                "stored for its own tenant"
            );
            assert_eq!(
                (&event["tenant_id"], &event["version"]),
                (&json!(tenant), &json!(1))
            );
            let home = if tenant == "tenant-3" {
                "consumer-tenant-3"
            } else {
                "consumer-pool-1"
            };
            assert!(table.starts_with(home), "{tenant}'s event is in {table}");
            assert_eq!(text(event, "charge_id"), charge_id);
            for field in ["currency", "reference"] {
                assert_eq!(event[field], charge[field], "{field}");
            }
            assert_eq!(
                (&event["amount"], &event["occurred_at"]),
                (&item["amount"], &item["created_at"])
            );
            if name == "payment.refunded" {
                assert_eq!(
                    (&event["refunded"], &event["charged"]),
                    (&item["refunded"], &charge["amount"])
                );
            } else {
                assert_eq!(event["metadata"], charge["metadata"]);
            }
        }
    }
}

fn number(item: &Value, name: &str) -> u64 {
    item[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} is a whole number: {item}"))
}

/// Each check finds an injected error.
mod self_tests {
    use super::*;

    fn items() -> Vec<Value> {
        vec![
            json!({"tenant_id": "tenant-2", "sk": "charge#c", "amount": 10, "refunded": 4, "currency": "EUR",
                   "reference": "r", "metadata": {}, "created_at": "t"}),
            json!({"tenant_id": "tenant-2", "sk": "refund#c#f", "amount": 4, "refunded": 4, "created_at": "u"}),
            json!({"tenant_id": "tenant-2", "sk": "key#one", "made": "c"}),
            json!({"tenant_id": "tenant-2", "sk": "key#two", "made": "f"}),
        ]
    }

    fn events() -> Events {
        let recorded = json!({"event": "payment.recorded", "version": 1, "tenant_id": "tenant-2", "charge_id": "c",
            "occurred_at": "t", "amount": 10, "currency": "EUR", "reference": "r", "metadata": {}});
        let refunded = json!({"event": "payment.refunded", "version": 1, "tenant_id": "tenant-2", "charge_id": "c",
            "refund_id": "f", "occurred_at": "u", "amount": 4, "currency": "EUR", "reference": "r", "refunded": 4,
            "charged": 10});
        let table = "consumer-pool-1-x7k".to_owned();
        [recorded, refunded]
            .into_iter()
            .map(|event| ("tenant-2".to_owned(), table.clone(), event))
            .collect()
    }

    #[test]
    fn a_sound_ledger_passes() {
        Ledger::read(&items()).check(&events());
    }

    #[test]
    fn whatever_is_lost_doubled_or_foreign_is_noticed() {
        type Damage = fn(&mut Vec<Value>, &mut Events);
        let damages: [Damage; 9] = [
            |items, _| items[0]["refunded"] = json!(5),
            |items, _| items[1]["refunded"] = json!(5),
            |items, _| items.truncate(3),
            |items, _| items.push(json!({"tenant_id": "tenant-2", "sk": "key#three", "made": "c"})),
            |items, _| items[1]["tenant_id"] = json!("tenant-3"),
            |_, events| drop(events.pop()),
            |_, events| events.push(events[0].clone()),
            |_, events| events[1].0 = "tenant-3".to_owned(),
            |_, events| events[0].2["amount"] = json!(11),
        ];
        for (number, damage) in damages.into_iter().enumerate() {
            let (mut items, mut events) = (items(), events());
            damage(&mut items, &mut events);
            let checked = std::panic::catch_unwind(|| Ledger::read(&items).check(&events));
            assert!(checked.is_err(), "damage {number}");
        }
    }
}
