//! Request bodies: parses JSON into validated values. An invalid body is a 400 that names the field.
//!
//! Amounts are parsed from their JSON text: a fraction, an exponent, a sign or quotes are refused, never rounded. An
//! unknown or repeated field is a client's mistake, so it is refused.

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
/// Entries of metadata.
pub(crate) const MAX_METADATA: usize = 20;
/// Longest name of a metadata entry in characters. The name must not be empty.
pub(crate) const MAX_METADATA_NAME_CHARS: usize = 40;
/// Longest value of a metadata entry in characters.
pub(crate) const MAX_METADATA_VALUE_CHARS: usize = 500;
/// Largest body in bytes: fits the longest value of every field, with every character escaped.
pub(crate) const MAX_BODY_BYTES: usize = 160 * 1024;
/// Characters of a client's field name that an error repeats.
const SHOWN_NAME_CHARS: usize = 40;
/// Characters of the parser's reason, which may repeat a part of the body.
const SHOWN_REASON_CHARS: usize = 200;

/// Parses the body of a charge.
///
/// # Errors
/// 400 with the name of the first invalid field.
pub(crate) fn new_charge(body: &[u8]) -> Result<NewCharge, ApiError> {
    let fields = Fields::parse(body, &["amount", "currency", "reference", "metadata"])?;
    Ok(NewCharge {
        amount: amount(&fields)?,
        currency: currency(&fields)?,
        reference: reference(&fields)?,
        metadata: metadata(&fields)?,
    })
}

/// Parses the body of a refund.
///
/// # Errors
/// As [`new_charge`].
pub(crate) fn new_refund(body: &[u8]) -> Result<Amount, ApiError> {
    amount(&Fields::parse(body, &["amount"])?)
}

fn amount(fields: &Fields) -> Result<Amount, ApiError> {
    let invalid = || {
        let msg = format!(
            "BadRequest: amount must be a whole number of minor units from 1 to {MAX_AMOUNT}, without quotes"
        );
        ApiError::bad_request("invalid_amount", msg)
    };
    // The library parses 1250.0, 1e3 and numbers beyond u64 as floats, which are no u64.
    fields
        .read::<u64>("amount")
        .flatten()
        .and_then(Amount::new)
        .ok_or_else(invalid)
}

fn currency(fields: &Fields) -> Result<Currency, ApiError> {
    let invalid = || {
        let msg = "BadRequest: currency must be a code in use of ISO 4217, with minor units, in capitals, for example EUR";
        ApiError::bad_request("invalid_currency", msg)
    };
    let code = fields
        .read::<String>("currency")
        .flatten()
        .ok_or_else(invalid)?;
    Currency::of(&code).ok_or_else(invalid)
}

fn reference(fields: &Fields) -> Result<String, ApiError> {
    let text = fields.read::<String>("reference").flatten();
    text.filter(|text| is_at_most(text, MAX_REFERENCE_CHARS))
        .ok_or_else(|| {
            let msg = format!(
                "BadRequest: reference must be a text of at most {MAX_REFERENCE_CHARS} characters"
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
            "BadRequest: metadata must be an object of at most {MAX_METADATA} texts of at most \
             {MAX_METADATA_VALUE_CHARS} characters, each under its own name of 1 to {MAX_METADATA_NAME_CHARS} characters"
        );
        ApiError::bad_request("invalid_metadata", msg)
    })
}

fn is_at_most(text: &str, chars: usize) -> bool {
    text.chars().nth(chars).is_none()
}

/// The members of a JSON object without repeated names.
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
                "BadRequest: {:?} is not a field of this request; its fields are {known}",
                shown(name, SHOWN_NAME_CHARS)
            );
            return Err(ApiError::bad_request("unknown_field", msg));
        }
        Ok(Self(fields))
    }

    /// Returns the value of a field: `None` if the field is missing, `Some(None)` if the value has another type.
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
                            "the field {:?} is repeated",
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
    fn a_complete_body_is_parsed_and_metadata_is_optional() {
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
    fn an_amount_that_is_not_a_whole_number_is_refused() {
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
    fn an_error_repeats_little_of_the_body() {
        let long = "x".repeat(100_000);
        for body in [json!(long), json!({&long: 1})] {
            let refusal = new_charge(body.to_string().as_bytes()).expect_err("no charge");
            assert!(format!("{refusal:?}").len() < 500, "{refusal:?}");
        }
    }

    #[test]
    fn an_error_names_the_invalid_field() {
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
    fn a_body_that_is_no_object_or_repeats_a_field_is_malformed() {
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
    fn the_longest_values_fit_the_body_in_any_encoding() {
        // The longest encoding of a character: two escapes of six bytes, outside the basic plane.
        let escaped = |chars: usize| 12 * chars + 6;
        let pairs =
            MAX_METADATA * (escaped(MAX_METADATA_NAME_CHARS) + escaped(MAX_METADATA_VALUE_CHARS));
        assert!(pairs + escaped(MAX_REFERENCE_CHARS) + 200 <= MAX_BODY_BYTES);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(new_charge(&bytes).is_err());
        }

        #[test]
        fn any_amount_within_its_bounds_is_parsed_exactly(amount in 1..=MAX_AMOUNT) {
            let charge = new_charge(body("amount", &amount.to_string()).as_bytes()).expect("right");
            prop_assert_eq!(charge.amount.minor_units(), amount);
        }
    }
}
