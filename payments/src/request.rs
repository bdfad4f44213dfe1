//! Request bodies: JSON in, checked values out; what is wrong is a 400 that names the field.
//!
//! Money is read from its JSON text: a fraction, an exponent, a sign or quotes are refused, never rounded. A field that
//! is not known, or is there twice, is refused, too: it can only be a mistake.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use tenantry_service::error::ApiError;

use crate::charge::NewCharge;
use crate::money::{Amount, Currency, MAX_AMOUNT};

/// Longest reference in characters.
pub(crate) const MAX_REFERENCE_CHARS: usize = 140;
/// Pairs of metadata.
pub(crate) const MAX_METADATA: usize = 20;
/// Longest name of metadata in characters; an empty one is none.
pub(crate) const MAX_METADATA_NAME_CHARS: usize = 40;
/// Longest value of metadata in characters.
pub(crate) const MAX_METADATA_VALUE_CHARS: usize = 500;
/// Largest body in bytes: room for the longest of everything, every character escaped.
pub(crate) const MAX_BODY_BYTES: usize = 160 * 1024;
/// Characters of a name of the caller's that an error repeats.
const SHOWN_NAME_CHARS: usize = 40;
/// Characters of the reason why a body is no JSON object, which may repeat the body.
const SHOWN_REASON_CHARS: usize = 200;

/// The body of a charge.
///
/// # Errors
/// 400 with the name of the first field that is wrong.
pub(crate) fn new_charge(body: &[u8]) -> Result<NewCharge, ApiError> {
    let fields = Fields::parse(body, &["amount", "currency", "reference", "metadata"])?;
    Ok(NewCharge {
        amount: amount(&fields)?,
        currency: currency(&fields)?,
        reference: reference(&fields)?,
        metadata: metadata(&fields)?,
    })
}

/// The body of a refund.
///
/// # Errors
/// As [`new_charge`].
pub(crate) fn new_refund(body: &[u8]) -> Result<Amount, ApiError> {
    amount(&Fields::parse(body, &["amount"])?)
}

fn amount(fields: &Fields) -> Result<Amount, ApiError> {
    let wrong = || {
        let msg = format!(
            "BadRequest: amount is a whole number of minor units from 1 to {MAX_AMOUNT}, without quotes"
        );
        ApiError::bad_request("invalid_amount", msg)
    };
    // The library reads 1250.0, 1e3 and what is larger than a u64 as floats, and floats are not taken here.
    fields
        .read::<u64>("amount")
        .flatten()
        .and_then(Amount::new)
        .ok_or_else(wrong)
}

fn currency(fields: &Fields) -> Result<Currency, ApiError> {
    let wrong = || {
        let msg = "BadRequest: currency is a code of ISO 4217 with minor units, in capitals, for example EUR";
        ApiError::bad_request("invalid_currency", msg)
    };
    let code = fields
        .read::<String>("currency")
        .flatten()
        .ok_or_else(wrong)?;
    Currency::of(&code).ok_or_else(wrong)
}

fn reference(fields: &Fields) -> Result<String, ApiError> {
    let text = fields.read::<String>("reference").flatten();
    text.filter(|text| is_at_most(text, MAX_REFERENCE_CHARS))
        .ok_or_else(|| {
            let msg = format!(
                "BadRequest: reference is a text of at most {MAX_REFERENCE_CHARS} characters"
            );
            ApiError::bad_request("invalid_reference", msg)
        })
}

fn metadata(fields: &Fields) -> Result<BTreeMap<String, String>, ApiError> {
    let Some(read) = fields.read::<Object<String>>("metadata") else {
        return Ok(BTreeMap::new());
    };
    let fits = |(name, value): (&String, &String)| {
        !name.is_empty()
            && is_at_most(name, MAX_METADATA_NAME_CHARS)
            && is_at_most(value, MAX_METADATA_VALUE_CHARS)
    };
    let pairs = read.map(|Object(pairs)| pairs);
    pairs.filter(|pairs| pairs.len() <= MAX_METADATA && pairs.iter().all(fits)).ok_or_else(|| {
        let msg = format!(
            "BadRequest: metadata is an object of at most {MAX_METADATA} texts, each under another name of 1 to \
             {MAX_METADATA_NAME_CHARS} characters and itself at most {MAX_METADATA_VALUE_CHARS} characters"
        );
        ApiError::bad_request("invalid_metadata", msg)
    })
}

fn is_at_most(text: &str, chars: usize) -> bool {
    text.chars().nth(chars).is_none()
}

/// A JSON object's members, each name once.
struct Object<T>(BTreeMap<String, T>);

/// The fields of a body as JSON texts.
struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    fn parse(body: &[u8], known: &[&str]) -> Result<Self, ApiError> {
        let Object(fields) =
            serde_json::from_slice::<Object<Box<RawValue>>>(body).map_err(|error| {
                ApiError::bad_request(
                    "malformed_json",
                    format!(
                        "BadRequest: the body is not a JSON object: {}",
                        shown(&error.to_string(), SHOWN_REASON_CHARS)
                    ),
                )
            })?;
        let unknown = fields.keys().find(|name| !known.contains(&name.as_str()));
        if let Some(name) = unknown {
            let known = known.join(", ");
            let msg = format!(
                "BadRequest: {:?} is not a field of this request; it takes {known}",
                shown(name, SHOWN_NAME_CHARS)
            );
            return Err(ApiError::bad_request("unknown_field", msg));
        }
        Ok(Self(fields))
    }

    /// A field's value: `None` where it is not there, `Some(None)` where it is something else.
    fn read<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<Option<T>> {
        self.0
            .get(name)
            .map(|text| serde_json::from_str(text.get()).ok())
    }
}

fn shown(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Object<T>, A::Error> {
                let mut object = BTreeMap::new();
                while let Some((name, value)) = members.next_entry::<String, T>()? {
                    if object.contains_key(&name) {
                        return Err(A::Error::custom(format_args!(
                            "{:?} is there twice",
                            shown(&name, SHOWN_NAME_CHARS)
                        )));
                    }
                    object.insert(name, value);
                }
                Ok(Object(object))
            }
        }

        deserializer.deserialize_map(Members(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn code(body: &str) -> &'static str {
        new_charge(body.as_bytes()).expect_err(body).code()
    }

    fn body(field: &str, value: &str) -> String {
        let mut fields = BTreeMap::from([
            ("amount", "1250"),
            ("currency", "\"EUR\""),
            ("reference", "\"order-7\""),
        ]);
        fields.insert(field, value);
        let members: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        format!("{{{}}}", members.join(","))
    }

    #[test]
    fn a_whole_body_is_read_and_metadata_may_be_left_out() {
        let whole = br#"{"amount":1250,"currency":"EUR","reference":"order-7","metadata":{"shop":"north"}}"#;
        let charge = new_charge(whole).expect("right");
        assert_eq!(
            (charge.amount.minor_units(), charge.currency.code()),
            (1250, "EUR")
        );
        assert_eq!(
            (charge.reference.as_str(), charge.metadata["shop"].as_str()),
            ("order-7", "north")
        );
        assert_eq!(
            new_charge(body("amount", "1250").as_bytes())
                .expect("right")
                .metadata,
            BTreeMap::new()
        );
    }

    #[test]
    fn money_is_a_whole_number_or_nothing() {
        for amount in [
            "1250.0",
            "1250.5",
            "1e3",
            "1E3",
            "-1",
            "-0",
            "0",
            "\"1250\"",
            "1000000000001",
            "18446744073709551616",
            "null",
            "true",
            "[1]",
            "{}",
        ] {
            assert_eq!(code(&body("amount", amount)), "invalid_amount", "{amount}");
            let refund = format!("{{\"amount\":{amount}}}");
            assert_eq!(
                new_refund(refund.as_bytes()).expect_err(amount).code(),
                "invalid_amount",
                "{amount}"
            );
        }
        assert_eq!(
            new_refund(b" {\"amount\" : 1000000000000 } ")
                .expect("right")
                .minor_units(),
            MAX_AMOUNT
        );
    }

    #[test]
    fn a_refusal_repeats_little_of_what_was_sent() {
        let long = "x".repeat(100_000);
        for body in [json!(long), json!({&long: 1})] {
            let refusal = new_charge(body.to_string().as_bytes()).expect_err("no charge");
            assert!(format!("{refusal:?}").len() < 500, "{refusal:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (long, pairs) = ("x".repeat(141), |count: usize| {
            let pairs: serde_json::Map<_, _> =
                (0..count).map(|n| (n.to_string(), json!("v"))).collect();
            json!(pairs).to_string()
        });
        for (field, value, expected) in [
            ("currency", "\"eur\"", "invalid_currency"),
            ("currency", "978", "invalid_currency"),
            ("reference", &*json!(long).to_string(), "invalid_reference"),
            ("reference", "7", "invalid_reference"),
            ("metadata", "[]", "invalid_metadata"),
            ("metadata", "null", "invalid_metadata"),
            ("metadata", r#"{"a":1}"#, "invalid_metadata"),
            ("metadata", r#"{"":"a"}"#, "invalid_metadata"),
            ("metadata", r#"{"a":"1","a":"2"}"#, "invalid_metadata"),
            (
                "metadata",
                &json!({"a": "x".repeat(501)}).to_string(),
                "invalid_metadata",
            ),
            (
                "metadata",
                &json!({"x".repeat(41): "a"}).to_string(),
                "invalid_metadata",
            ),
            ("metadata", &pairs(21), "invalid_metadata"),
            ("amuont", "1", "unknown_field"),
        ] {
            let error = new_charge(body(field, value).as_bytes()).expect_err(value);
            assert_eq!(error.code(), expected, "{field}: {value}");
            assert!(format!("{error:?}").contains(field), "{error:?}");
        }
        for missing in ["amount", "currency", "reference"] {
            let mut fields = json!({"amount": 1, "currency": "EUR", "reference": ""});
            fields.as_object_mut().expect("an object").remove(missing);
            let error = new_charge(fields.to_string().as_bytes()).expect_err(missing);
            assert!(format!("{error:?}").contains(missing), "{error:?}");
        }
        assert!(new_charge(body("metadata", &pairs(20)).as_bytes()).is_ok());
        let widest = json!("ü".repeat(140)).to_string();
        assert!(
            new_charge(body("reference", &widest).as_bytes()).is_ok(),
            "characters, not bytes"
        );
    }

    #[test]
    fn what_is_no_object_or_says_a_thing_twice_is_malformed() {
        for body in [
            "",
            "1",
            "[]",
            "null",
            "{",
            r#"{"amount":1,"amount":2}"#,
            "{} {}",
            "\u{feff}{}",
        ] {
            assert_eq!(code(body), "malformed_json", "{body:?}");
        }
    }

    #[test]
    fn the_longest_of_everything_fits_the_body_in_any_spelling() {
        // The widest a character can be spelled: two escapes of six bytes for one outside the basic plane.
        let escaped = |chars: usize| 12 * chars + 6;
        let pairs =
            MAX_METADATA * (escaped(MAX_METADATA_NAME_CHARS) + escaped(MAX_METADATA_VALUE_CHARS));
        assert!(pairs + escaped(MAX_REFERENCE_CHARS) + 200 <= MAX_BODY_BYTES);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_charge_or_a_clear_error(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(new_charge(&bytes).is_err());
        }

        #[test]
        fn any_amount_in_its_bounds_is_read_exactly(amount in 1..=MAX_AMOUNT) {
            let charge = new_charge(body("amount", &amount.to_string()).as_bytes()).expect("right");
            prop_assert_eq!(charge.amount.minor_units(), amount);
        }
    }
}
