//! The checker compares the answers to clients with the items in the tables. Pure.
//!
//! For every 200 there is exactly one item, in the tenant's own table, with the sent payload and the answered id. For
//! every other event, refused or unanswered, there is one item or none. Payloads are unique, so that each item belongs to
//! one event. A tenant's own table is the one that is registered at the end.

use std::collections::HashMap;

/// An event and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub tenant: String,
    /// Index of the tenant's table at the end.
    pub table: usize,
    /// The sent body, unique among all events.
    pub payload: String,
    /// The id of a 200; none without a 200.
    pub accepted: Option<String>,
}

/// An item of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Index of the table.
    pub table: usize,
    /// Hash key.
    pub tenant: String,
    /// Range key.
    pub message_id: String,
    pub payload: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Events with a 200.
    pub accepted: usize,
    /// Events without a 200.
    pub open: usize,
    pub stored: usize,
    /// Accepted events without an item of their tenant.
    pub lost: usize,
    /// Those of them whose item is in a table that the tenant has left: no listing shows it.
    pub stranded: usize,
    /// Items beyond the first of their event.
    pub duplicated: usize,
    /// Items in another tenant's table or under another tenant's key.
    pub misrouted: usize,
    /// Items of accepted events under another id than the answered one.
    pub renamed: usize,
    /// Items with a payload that no client sent.
    pub altered: usize,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.misrouted + self.renamed + self.altered == 0
    }
}

/// Compares the sent events with the items of all tables.
pub fn check(sent: &[Sent], found: &[Found]) -> Verdict {
    let event_by_payload: HashMap<&str, usize> = sent
        .iter()
        .enumerate()
        .map(|(index, sent)| (sent.payload.as_str(), index))
        .collect();
    let accepted = sent.iter().filter(|sent| sent.accepted.is_some()).count();
    let mut verdict = Verdict {
        accepted,
        open: sent.len() - accepted,
        stored: found.len(),
        ..Verdict::default()
    };
    let mut item_counts = vec![0_usize; sent.len()];
    let mut elsewhere = vec![false; sent.len()];
    for item in found {
        let Some(&index) = event_by_payload.get(item.payload.as_str()) else {
            verdict.altered += 1;
            continue;
        };
        let event = &sent[index];
        if item.table != event.table || item.tenant != event.tenant {
            verdict.misrouted += 1;
            elsewhere[index] |= item.tenant == event.tenant;
            continue;
        }
        item_counts[index] += 1;
        let is_renamed = event
            .accepted
            .as_ref()
            .is_some_and(|id| *id != item.message_id);
        verdict.renamed += usize::from(is_renamed);
    }
    for ((event, count), is_elsewhere) in sent.iter().zip(item_counts).zip(elsewhere) {
        let is_lost = event.accepted.is_some() && count == 0;
        verdict.lost += usize::from(is_lost);
        verdict.stranded += usize::from(is_lost && is_elsewhere);
        verdict.duplicated += count.saturating_sub(1);
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three events: two accepted, of two tenants, and one refused.
    fn sent() -> Vec<Sent> {
        let event = |tenant: &str, table, payload: &str, id: Option<&str>| Sent {
            tenant: tenant.to_owned(),
            table,
            payload: payload.to_owned(),
            accepted: id.map(ToOwned::to_owned),
        };
        vec![
            event("a", 0, "1", Some("id-1")),
            event("b", 1, "2", Some("id-2")),
            event("a", 0, "3", None),
        ]
    }

    /// The items of these events.
    fn found() -> Vec<Found> {
        let items = sent().into_iter().filter_map(|event| {
            let message_id = event.accepted?;
            Some(Found {
                table: event.table,
                tenant: event.tenant,
                message_id,
                payload: event.payload,
            })
        });
        items.collect()
    }

    const CLEAN: Verdict = Verdict {
        accepted: 2,
        open: 1,
        stored: 2,
        lost: 0,
        stranded: 0,
        duplicated: 0,
        misrouted: 0,
        renamed: 0,
        altered: 0,
    };

    #[test]
    fn one_item_per_accepted_event_is_clean_and_a_refused_event_may_be_stored_once() {
        assert_eq!(check(&sent(), &found()), CLEAN);
        let mut more = found();
        more.push(Found {
            table: 0,
            tenant: "a".into(),
            message_id: "x".into(),
            payload: "3".into(),
        });
        let verdict = check(&sent(), &more);
        assert_eq!(verdict, Verdict { stored: 3, ..CLEAN });
        assert!(verdict.is_clean());
    }

    #[test]
    fn a_lost_item_is_counted() {
        let verdict = check(&sent(), &found()[1..]);
        assert_eq!(
            verdict,
            Verdict {
                stored: 1,
                lost: 1,
                ..CLEAN
            }
        );
        assert!(!verdict.is_clean());
    }

    #[test]
    fn a_duplicate_of_an_accepted_or_a_refused_event_is_counted() {
        let mut doubled = found();
        doubled.push(Found {
            message_id: "another".into(),
            ..doubled[0].clone()
        });
        let verdict = check(&sent(), &doubled);
        assert_eq!(
            verdict,
            Verdict {
                stored: 3,
                duplicated: 1,
                renamed: 1,
                ..CLEAN
            }
        );
        let refused = Found {
            table: 0,
            tenant: "a".into(),
            message_id: "x".into(),
            payload: "3".into(),
        };
        let mut twice = found();
        twice.extend([
            refused.clone(),
            Found {
                message_id: "y".into(),
                ..refused
            },
        ]);
        assert_eq!(
            check(&sent(), &twice),
            Verdict {
                stored: 4,
                duplicated: 1,
                ..CLEAN
            }
        );
    }

    #[test]
    fn a_misrouted_item_is_counted_by_table_and_by_key() {
        for (table, tenant) in [(1, "a"), (0, "b")] {
            let mut astray = found();
            astray[0] = Found {
                table,
                tenant: tenant.into(),
                ..astray[0].clone()
            };
            let verdict = check(&sent(), &astray);
            assert_eq!(
                verdict,
                Verdict {
                    lost: 1,
                    stranded: usize::from(tenant == "a"),
                    misrouted: 1,
                    ..CLEAN
                },
                "its own table lacks it, too"
            );
            let mut copied = found();
            copied.push(astray[0].clone());
            assert_eq!(
                check(&sent(), &copied),
                Verdict {
                    stored: 3,
                    misrouted: 1,
                    ..CLEAN
                }
            );
        }
    }

    #[test]
    fn another_id_and_another_payload_are_counted() {
        let mut items = found();
        items[0].message_id = "another".into();
        assert_eq!(
            check(&sent(), &items),
            Verdict {
                renamed: 1,
                ..CLEAN
            }
        );
        items[1].payload = "2 and more".into();
        assert_eq!(
            check(&sent(), &items),
            Verdict {
                renamed: 1,
                altered: 1,
                lost: 1,
                ..CLEAN
            }
        );
        assert!(
            !Verdict {
                renamed: 1,
                ..CLEAN
            }
            .is_clean()
                && !Verdict {
                    altered: 1,
                    ..CLEAN
                }
                .is_clean()
        );
    }
}
