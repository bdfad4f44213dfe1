//! Fuzz targets: the bodies of charges and refunds.

use bolero::check;
use tenantry_service::error::ApiError;

use crate::money::MAX_AMOUNT;
use crate::request::{MAX_METADATA, MAX_REFERENCE_CHARS, new_charge, new_refund};

/// Generated inputs of each target per test run, beside the kept ones.
const GENERATED: usize = 20_000;

fn assert_is_refusal(error: &ApiError) {
    assert_eq!(error.status(), 400, "{error:?}");
    // The error may repeat a part of the body, with every character escaped.
    let shown = format!("{error:?}");
    assert!(shown.len() < 3000, "{shown}");
}

#[test]
fn a_body_is_a_charge_within_every_bound_or_a_400() {
    check!(name = "charge")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| match new_charge(input) {
            Ok(charge) => {
                assert!((1..=MAX_AMOUNT).contains(&charge.amount.minor_units()));
                assert!(charge.reference.chars().count() <= MAX_REFERENCE_CHARS);
                assert!(charge.metadata.len() <= MAX_METADATA && !charge.metadata.contains_key(""));
                // The digits are in the text, so no float, string or exponent was converted.
                let text = String::from_utf8_lossy(input);
                assert!(
                    text.contains(&charge.amount.minor_units().to_string()),
                    "{text}"
                );
            }
            Err(error) => assert_is_refusal(&error),
        });
}

#[test]
fn a_body_is_a_refund_within_every_bound_or_a_400() {
    check!(name = "refund")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| match new_refund(input) {
            Ok(amount) => assert!((1..=MAX_AMOUNT).contains(&amount.minor_units())),
            Err(error) => assert_is_refusal(&error),
        });
}
