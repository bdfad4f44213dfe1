//! The OpenAPI document of the payments routes, generated from the handlers and their types.
//!
//! Bodies that the code parses by hand are described here. Tests compare these descriptions with the checks.

#![expect(
    dead_code,
    reason = "these types only describe; other types read and write"
)]

use std::collections::BTreeMap;

use utoipa::openapi::schema::{Object, Type};
use utoipa::{OpenApi, ToSchema};

use crate::request::{MAX_METADATA, MAX_METADATA_NAME_CHARS, MAX_METADATA_VALUE_CHARS};
use crate::{charge, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Payments",
        description = "Idempotent charges and refunds of a tenant"
    ),
    paths(routes::charge, routes::list, routes::find, routes::refund),
    components(schemas(
        charge::ChargeBody,
        charge::RefundBody,
        charge::Status,
        routes::ChargeList
    ))
)]
struct Document;

pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// A request for a charge
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCharge {
    /// Amount in minor units of the currency: a whole number without fraction or exponent
    #[schema(minimum = 1, maximum = 1_000_000_000_000u64, example = 1250)]
    amount: u64,
    /// Currency code of ISO 4217, of a currency with minor units
    #[schema(pattern = "^[A-Z]{3}$", example = "EUR")]
    currency: String,
    /// The client's own name for the charge
    #[schema(max_length = 140, example = "order-7")]
    reference: String,
    #[schema(required = false, schema_with = metadata)]
    metadata: BTreeMap<String, String>,
}

fn metadata() -> Object {
    let description = format!(
        "The client's own notes: at most {MAX_METADATA} texts of at most {MAX_METADATA_VALUE_CHARS} characters, under \
         names of 1 to {MAX_METADATA_NAME_CHARS} characters"
    );
    let name = Object::builder()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(MAX_METADATA_NAME_CHARS));
    let text = Object::builder()
        .schema_type(Type::String)
        .max_length(Some(MAX_METADATA_VALUE_CHARS));
    Object::builder()
        .description(Some(description))
        .property_names(Some(name))
        .additional_properties(Some(text))
        .max_properties(Some(MAX_METADATA))
        .build()
}

/// A request for a refund
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRefund {
    /// Amount in minor units of the charge's currency
    #[schema(minimum = 1, maximum = 1_000_000_000_000u64, example = 500)]
    amount: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::charge::tests::charge;
    use crate::money::{Amount, MAX_AMOUNT};
    use crate::request::MAX_REFERENCE_CHARS;

    fn document() -> Value {
        serde_json::to_value(super::document()).expect("it serializes")
    }

    #[test]
    fn every_route_is_described_and_the_described_bounds_are_the_checked_ones() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths");
        let routes: Vec<_> = paths
            .iter()
            .flat_map(|(path, item)| {
                item.as_object()
                    .expect("methods")
                    .keys()
                    .map(move |method| format!("{method} {path}"))
            })
            .collect();
        assert_eq!(
            routes,
            [
                "get /payments/charges",
                "post /payments/charges",
                "get /payments/charges/{id}",
                "post /payments/charges/{id}/refunds",
            ]
        );
        let new = &document["components"]["schemas"]["NewCharge"];
        assert_eq!(
            new["properties"]["amount"]["maximum"],
            json!(MAX_AMOUNT),
            "{new}"
        );
        assert_eq!(
            new["properties"]["reference"]["maxLength"],
            json!(MAX_REFERENCE_CHARS)
        );
        assert_eq!(
            new["properties"]["metadata"]["maxProperties"],
            json!(MAX_METADATA)
        );
        assert_eq!(new["required"], json!(["amount", "currency", "reference"]));
        assert_eq!(new["additionalProperties"], json!(false));
    }

    #[test]
    fn responses_have_exactly_the_described_fields() {
        let charge = charge(10);
        let amount = Amount::new(3).expect("an amount");
        let refund = charge
            .refund(amount, uuid::Uuid::nil(), crate::charge::tests::noon())
            .expect("enough");
        for (name, body) in [
            (
                "Charge",
                serde_json::to_value(charge.body()).expect("it serializes"),
            ),
            (
                "Refund",
                serde_json::to_value(refund.body()).expect("it serializes"),
            ),
        ] {
            let schema = &document()["components"]["schemas"][name];
            let keys = |value: &Value| {
                value
                    .as_object()
                    .expect("an object")
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
            };
            assert_eq!(keys(&schema["properties"]), keys(&body), "{name}");
        }
    }
}
