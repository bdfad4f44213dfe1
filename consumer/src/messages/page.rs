//! Pages: merges two sources, each newest first, into one list, newest first. Pure.
//!
//! Most ids contain their time, so the table itself is in order of time. Items with other ids (idempotency keys, older
//! producers) are read from an index. A page ends where the fetched items of one source end and that source has more:
//! its next item could be newer than the other source's.

use std::collections::VecDeque;

use tenantry_service::cursor;
use tenantry_service::error::ApiError;
use tenantry_tenancy::event::{LISTED_AT, time_of_id};
use tenantry_tenancy::generation::Owner;

use super::{Attributes, text};

/// Longest position in a source (DynamoDB: sort keys have up to 1,024 bytes).
const MAX_POSITION_BYTES: usize = 1024;

/// The position in each source after the last item. Empty at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Id of the last item from the table.
    pub(super) by_id: String,
    /// [`LISTED_AT`] of the last item from the index.
    pub(super) by_time: String,
}

/// Items that a query returned, newest first.
#[derive(Debug, Default)]
pub(super) struct PageSource {
    pub(super) items: VecDeque<Attributes>,
    /// Position at which the next query starts, if there may be more items.
    pub(super) more: Option<String>,
}

/// A page and where the next one starts.
pub(super) struct Page {
    pub(super) items: Vec<Attributes>,
    pub(super) next: Option<Cursor>,
}

impl Cursor {
    pub(super) fn to_text(&self, owner: &Owner) -> String {
        cursor::to_text(owner, &format!("{}\n{}", self.by_id, self.by_time))
    }

    /// # Errors
    /// 400 for every text that is not a cursor of the owner.
    pub(super) fn parse(owner: &Owner, text: &str) -> Result<Self, ApiError> {
        cursor::parse(owner, text, |positions| {
            let (by_id, by_time) = positions.split_once('\n')?;
            let fits = by_id.len().max(by_time.len()) <= MAX_POSITION_BYTES;
            fits.then(|| Self {
                by_id: by_id.to_owned(),
                by_time: by_time.to_owned(),
            })
        })
    }
}

/// Returns at most `limit` items, newest first, and the cursor after them. Both sources started at `after`.
pub(super) fn merge(
    mut by_id: PageSource,
    mut by_time: PageSource,
    limit: usize,
    after: Cursor,
) -> Page {
    let (mut items, mut next) = (Vec::new(), after);
    while items.len() < limit && !by_id.needs_query() && !by_time.needs_query() {
        let from_index = match (by_id.items.front(), by_time.items.front()) {
            (None, None) => break,
            (one, other) => other.map(time) > one.map(time),
        };
        let item = if from_index {
            by_time.items.pop_front()
        } else {
            by_id.items.pop_front()
        };
        let Some(item) = item else { break };
        if from_index {
            next.by_time = text(&item, LISTED_AT).unwrap_or_default();
        } else {
            next.by_id = text(&item, "message_id").unwrap_or_default();
        }
        items.push(item);
    }
    let is_end = [&by_id, &by_time]
        .iter()
        .all(|source| source.items.is_empty() && source.more.is_none());
    // A filter may drop the last items that a query read, so the next query starts after those.
    if let (true, Some(position)) = (by_id.items.is_empty(), by_id.more) {
        next.by_id = position;
    }
    if let (true, Some(position)) = (by_time.items.is_empty(), by_time.more) {
        next.by_time = position;
    }
    Page {
        items,
        next: (!is_end).then_some(next),
    }
}

impl PageSource {
    /// Whether the next item is not fetched yet.
    fn needs_query(&self) -> bool {
        self.items.is_empty() && self.more.is_some()
    }
}

/// Time at which an item was accepted, in milliseconds since 1970.
fn time(item: &Attributes) -> u64 {
    let listed = text(item, LISTED_AT).and_then(|listed| listed.split('#').next()?.parse().ok());
    listed
        .or_else(|| time_of_id(&text(item, "message_id")?))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;
    use proptest::prelude::*;
    use tenantry_tenancy::tenant::TenantId;

    use super::*;

    fn tenant(id: &str) -> Owner {
        id.parse::<TenantId>().expect("valid").into()
    }

    /// An item accepted at this millisecond, ordered by the table or by the index.
    fn item(ms: u64, is_indexed: bool) -> Attributes {
        let id = if is_indexed {
            format!("key-{ms}")
        } else {
            format!("{ms:012x}").to_owned()
        };
        let id = if is_indexed {
            id
        } else {
            format!("{}-{}-7000-8000-000000000000", &id[..8], &id[8..])
        };
        let mut item = Attributes::from([("message_id".to_owned(), AttributeValue::S(id.clone()))]);
        if is_indexed {
            item.insert(
                LISTED_AT.to_owned(),
                AttributeValue::S(format!("{ms:013}#{id}")),
            );
        }
        item
    }

    /// Simulates a query: at most `most` of all items, newest first, after a position.
    fn query(all: &[Attributes], key: &str, after: &str, most: usize) -> PageSource {
        let rest = all.iter().filter(|item| {
            after.is_empty() || text(item, key).is_some_and(|at| at.as_str() < after)
        });
        let items: VecDeque<_> = rest.clone().take(most).cloned().collect();
        let more =
            (rest.count() > most).then(|| text(&items[items.len() - 1], key).expect("its key"));
        PageSource { items, more }
    }

    #[test]
    fn a_cursor_is_valid_for_its_own_tenant_only() {
        let cursor = Cursor {
            by_id: "some-id".to_owned(),
            by_time: String::new(),
        };
        let text = cursor.to_text(&tenant("tenant-1"));
        assert_eq!(Cursor::parse(&tenant("tenant-1"), &text), Ok(cursor));
        assert_eq!(
            Cursor::parse(&tenant("tenant-2"), &text)
                .expect_err("foreign")
                .code(),
            "invalid_cursor"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_position_or_an_invalid_cursor(text in ".{0,80}") {
            if let Err(error) = Cursor::parse(&tenant("tenant-1"), &text) {
                prop_assert_eq!(error.code(), "invalid_cursor");
            }
        }

        #[test]
        fn paging_shows_every_item_once_newest_first(
            times in proptest::collection::btree_map(1_u64..5000, any::<bool>(), 0..40), limit in 1_usize..8, most in 1_usize..8
        ) {
            let source = |is_indexed| -> Vec<_> {
                let own = times.iter().rev().filter(|(_, indexed)| **indexed == is_indexed);
                own.map(|(ms, _)| item(*ms, is_indexed)).collect()
            };
            let (by_id, by_time) = (source(false), source(true));
            let (mut shown, mut cursor) = (Vec::new(), Some(Cursor::default()));
            while let Some(after) = cursor {
                let sources = (query(&by_id, "message_id", &after.by_id, most), query(&by_time, LISTED_AT, &after.by_time, most));
                let page = merge(sources.0, sources.1, limit, after.clone());
                prop_assert!(page.items.len() <= limit && page.next.as_ref() != Some(&after), "progress");
                shown.extend(page.items.iter().map(time));
                cursor = page.next;
            }
            let expected: Vec<_> = times.keys().rev().copied().collect();
            prop_assert_eq!(shown, expected);
        }
    }
}
