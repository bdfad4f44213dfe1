//! The ledger's items in the table. Pure. Golden tests pin both directions of the conversion.
//!
//! | `sk` | item |
//! | --- | --- |
//! | `charge#<id>` | a charge; only the attribute `refunded` ever changes |
//! | `refund#<charge>#<id>` | a refund |
//! | `key#<Idempotency-Key>` | an applied request and its response; expires after [`KEY_LIFETIME`] |
//! | `outbox#<event>` | an event that may not be sent yet (see [`crate::outbox`]) |
//!
//! Items of a later owner of the tenant id have a `sk` that begins with `g<generation>#`. So an owner's keys never meet
//! those of another owner.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use tenantry_service::idempotency::IdempotencyKey;
use tenantry_tenancy::generation::{Generation, Owner};
use uuid::Uuid;

use crate::charge::{Charge, NewCharge, Refund};
use crate::money::{Amount, Currency};
use crate::table::{EXPIRES_AT, HASH, RANGE};

/// Prefix of a charge's range key. Ids begin with their time, so key order is time order.
pub(crate) const CHARGE_PREFIX: &str = "charge#";
/// Lifetime of a key's response. The API promises 30 days; DynamoDB deletes within days after expiry.
pub(crate) const KEY_LIFETIME: TimeDelta = TimeDelta::days(35);

/// The attributes of an item, or of its key.
pub(crate) type Attributes = HashMap<String, AttributeValue>;

/// The record of an applied request, under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRecord {
    /// Digest of the request ([`charge_fingerprint`], [`refund_fingerprint`]).
    pub(crate) fingerprint: String,
    /// Id of the charge or refund that the request created.
    pub(crate) created: Uuid,
    /// The charge, or the refund's charge.
    pub(crate) charge: Uuid,
    /// Body of the response.
    pub(crate) response: String,
}

/// Returns the digest of a request for a charge. Equal requests have equal digests, in any JSON format.
pub(crate) fn charge_fingerprint(new: &NewCharge) -> String {
    let NewCharge {
        amount,
        currency,
        reference,
        metadata,
    } = new;
    let text = serde_json::to_string(&(amount.minor_units(), currency.code(), reference, metadata));
    digest(&format!(
        "charge {}",
        text.expect("strings and numbers serialize")
    ))
}

/// Returns the digest of a request for a refund.
pub(crate) fn refund_fingerprint(charge: Uuid, amount: Amount) -> String {
    digest(&format!("refund {charge} {amount}"))
}

fn digest(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Key of the owner's item; `sk` is its range key without the owner's prefix.
pub(crate) fn key(owner: &Owner, sk: &str) -> Attributes {
    Attributes::from([
        (HASH.to_owned(), text(owner.tenant.as_str())),
        (RANGE.to_owned(), text(&range(owner, sk))),
    ])
}

/// The range key, or the start of range keys, with the owner's prefix.
pub(crate) fn range(owner: &Owner, sk: &str) -> String {
    match owner.generation.number() {
        Some(number) => format!("g{number}#{sk}"),
        None => sk.to_owned(),
    }
}

/// Parses an item's key: the owner, and the range key without the owner's prefix.
pub(crate) fn parse_key(item: &Attributes) -> Option<(Owner, &str)> {
    let (tenant, sk) = (as_text(item, HASH)?.parse().ok()?, as_text(item, RANGE)?);
    let later = sk
        .strip_prefix('g')
        .and_then(|rest| rest.split_once('#'))
        .and_then(|(number, sk)| Some((number.parse().ok()?, sk)));
    let (generation, sk) = later.unwrap_or((Generation::FIRST, sk));
    Some((Owner { tenant, generation }, sk))
}

pub(crate) fn charge_sk(id: Uuid) -> String {
    format!("{CHARGE_PREFIX}{id}")
}

/// Returns the range key of the record under an idempotency key.
pub(crate) fn key_sk(key: &IdempotencyKey) -> String {
    format!("key#{}", key.as_str())
}

pub(crate) fn from_charge(charge: &Charge) -> Attributes {
    let mut item = key(&charge.owner, &charge_sk(charge.id));
    let metadata = charge
        .metadata
        .iter()
        .map(|(name, value)| (name.clone(), text(value)));
    item.extend(named([
        ("amount", number(charge.amount.minor_units())),
        ("refunded", number(charge.refunded)),
        ("currency", text(charge.currency.code())),
        ("reference", text(&charge.reference)),
        ("metadata", AttributeValue::M(metadata.collect())),
        ("created_at", text(&charge.created_at)),
    ]));
    item
}

pub(crate) fn from_refund(refund: &Refund) -> Attributes {
    let charge = &refund.charge;
    let mut item = key(
        &charge.owner,
        &format!("refund#{}#{}", charge.id, refund.id),
    );
    item.extend(named([
        ("amount", number(refund.amount.minor_units())),
        ("refunded", number(charge.refunded)),
        ("currency", text(charge.currency.code())),
        ("created_at", text(&refund.created_at)),
    ]));
    item
}

pub(crate) fn from_key(
    owner: &Owner,
    idempotency_key: &IdempotencyKey,
    record: &KeyRecord,
    now: DateTime<Utc>,
) -> Attributes {
    let mut item = key(owner, &key_sk(idempotency_key));
    let expires_at = (now + KEY_LIFETIME).timestamp();
    item.extend(named([
        ("fingerprint", text(&record.fingerprint)),
        ("made", text(&record.created.to_string())),
        ("charge", text(&record.charge.to_string())),
        ("answer", text(&record.response)),
        (EXPIRES_AT, AttributeValue::N(expires_at.to_string())),
    ]));
    item
}

/// Parses a charge. Returns `None` for an item of another format.
pub(crate) fn to_charge(item: &Attributes) -> Option<Charge> {
    let metadata = item.get("metadata")?.as_m().ok()?;
    let (owner, sk) = parse_key(item)?;
    let pair = |(name, value): (&String, &AttributeValue)| {
        Some((name.clone(), value.as_s().ok()?.clone()))
    };
    Some(Charge {
        id: sk.strip_prefix(CHARGE_PREFIX)?.parse().ok()?,
        owner,
        amount: Amount::new(as_number(item, "amount")?)?,
        currency: Currency::stored(as_text(item, "currency")?)?,
        reference: as_text(item, "reference")?.to_owned(),
        metadata: metadata
            .iter()
            .map(pair)
            .collect::<Option<BTreeMap<_, _>>>()?,
        refunded: as_number(item, "refunded")?,
        created_at: as_text(item, "created_at")?.to_owned(),
    })
}

/// Parses a key's record. Returns `None` for an item of another format.
pub(crate) fn to_key_record(item: &Attributes) -> Option<KeyRecord> {
    Some(KeyRecord {
        fingerprint: as_text(item, "fingerprint")?.to_owned(),
        created: as_text(item, "made")?.parse().ok()?,
        charge: as_text(item, "charge")?.parse().ok()?,
        response: as_text(item, "answer")?.to_owned(),
    })
}

/// Returns the value of a text attribute.
pub(crate) fn as_text<'a>(item: &'a Attributes, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn as_number(item: &Attributes, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

pub(crate) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(crate) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn named<const N: usize>(
    attributes: [(&'static str, AttributeValue); N],
) -> impl Iterator<Item = (String, AttributeValue)> {
    attributes
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charge::tests::{charge, noon};

    /// An item as `name type:value` lines, in order.
    fn lines(item: &Attributes) -> Vec<String> {
        let line = |(name, value): (&String, &AttributeValue)| match value {
            AttributeValue::S(text) => format!("{name} S:{text}"),
            AttributeValue::N(number) => format!("{name} N:{number}"),
            other => format!("{name} {other:?}"),
        };
        let mut lines: Vec<_> = item.iter().map(line).collect();
        lines.sort();
        lines
    }

    #[test]
    fn golden_a_charge_and_back() {
        let charge = charge(1250);
        let item = from_charge(&charge);
        assert_eq!(
            lines(&item),
            [
                "amount N:1250",
                "created_at S:2026-12-01T12:00:00.000Z",
                "currency S:EUR",
                r#"metadata M({"shop": S("north")})"#,
                "reference S:order-7",
                "refunded N:0",
                "sk S:charge#00000000-0000-0000-0000-000000000007",
                "tenant_id S:tenant-2",
            ]
        );
        assert_eq!(to_charge(&item), Some(charge));
    }

    #[test]
    fn golden_a_charge_of_a_later_owner_and_back() {
        let mut charge = charge(1250);
        charge.owner.generation = Generation::at_millis(1_770_000_000_000);
        let item = from_charge(&charge);
        let lines = lines(&item);
        assert!(lines.contains(&"tenant_id S:tenant-2".to_owned()));
        let sk = "sk S:g1770000000000#charge#00000000-0000-0000-0000-000000000007";
        assert!(lines.contains(&sk.to_owned()), "{lines:?}");
        assert_eq!(to_charge(&item), Some(charge));
    }

    #[test]
    fn no_two_owners_have_a_key_in_common() {
        let generations = [Generation::FIRST, Generation::at_millis(7)];
        let [first, later] = generations.map(|generation| Owner {
            tenant: "tenant-2".parse().expect("valid"),
            generation,
        });
        for sk in ["charge#1", "key#g7#key#a", "key#a", "outbox#1"] {
            assert_ne!(range(&first, sk), range(&later, sk));
            for owner in [&first, &later] {
                let key = key(owner, sk);
                assert_eq!(parse_key(&key), Some((owner.clone(), sk)));
            }
        }
        assert!(!range(&first, "key#g7#charge#").starts_with(&range(&later, "")));
    }

    #[test]
    fn golden_a_refund() {
        let amount = Amount::new(500).expect("an amount");
        let refund = charge(1250)
            .refund(amount, Uuid::from_u128(8), noon())
            .expect("enough is left");
        assert_eq!(
            lines(&from_refund(&refund)),
            [
                "amount N:500",
                "created_at S:2026-12-01T12:00:00.000Z",
                "currency S:EUR",
                "refunded N:500",
                "sk S:refund#00000000-0000-0000-0000-000000000007#00000000-0000-0000-0000-000000000008",
                "tenant_id S:tenant-2",
            ]
        );
    }

    #[test]
    fn an_item_of_another_format_is_none() {
        let item = from_charge(&charge(1250));
        for name in item.keys().filter(|name| *name != HASH) {
            let mut invalid = item.clone();
            invalid.insert(name.clone(), AttributeValue::Bool(true));
            assert_eq!(to_charge(&invalid), None, "{name}");
        }
        assert_eq!(to_key_record(&item), None);
    }

    #[test]
    fn equal_requests_have_equal_fingerprints_and_others_differ() {
        let new = |reference: &str, metadata: &[(&str, &str)]| NewCharge {
            amount: Amount::new(1250).expect("an amount"),
            currency: Currency::of("EUR").expect("a currency"),
            reference: reference.to_owned(),
            metadata: metadata
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let one = charge_fingerprint(&new("a", &[("x", "1"), ("y", "2")]));
        assert_eq!(
            one,
            charge_fingerprint(&new("a", &[("y", "2"), ("x", "1")]))
        );
        assert_ne!(
            one,
            charge_fingerprint(&new("b", &[("x", "1"), ("y", "2")]))
        );
        assert_ne!(
            charge_fingerprint(&new("a\",{\"x", &[])),
            charge_fingerprint(&new("a", &[("x", "")]))
        );
        let (amount, charge) = (Amount::new(5).expect("an amount"), Uuid::from_u128(1));
        assert_ne!(
            refund_fingerprint(charge, amount),
            refund_fingerprint(Uuid::from_u128(2), amount)
        );
        assert_eq!(one.len(), 64);
    }
}
