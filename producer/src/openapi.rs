//! The OpenAPI document, made from the handler and the type it answers with. What is checked by hand when a request is
//! read is described here, and tests compare the two.

#![expect(
    dead_code,
    reason = "these types describe; the ones that read and write are elsewhere"
)]

use utoipa::openapi::{RefOr, Required};
use utoipa::{IntoParams, OpenApi};

use crate::accept;

/// The routes of the producer.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Producer",
        description = "Events of a tenant, onto its own queue"
    ),
    paths(accept::accept)
)]
struct Document;

/// Which tier the caller believes the tenant has
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct TierHeader {
    /// The tenant's own tier; another is refused
    #[param(
        required = false,
        pattern = "^(basic|advanced|premium)$",
        example = "basic"
    )]
    tier: String,
}

/// What the producer's own routes take and answer.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let route = document
        .paths
        .paths
        .get_mut("/producer")
        .and_then(|path| path.post.as_mut());
    if let Some(RefOr::T(body)) = route.and_then(|route| route.request_body.as_mut()) {
        // The macro takes every body for a required one.
        body.required = Some(Required::False);
    }
    document
}

#[cfg(test)]
mod tests {
    use tenantry_tenancy::tenant::Tier;

    use super::*;

    #[test]
    fn it_describes_the_route_and_every_tier() {
        let document = serde_json::to_value(document()).expect("it serialises");
        let parameters = document["paths"]["/producer"]["post"]["parameters"]
            .as_array()
            .expect("it has headers");
        let names: Vec<_> = parameters
            .iter()
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        assert_eq!(
            names,
            ["tenantID", "tier", "Idempotency-Key", "traceparent"]
        );
        assert_eq!(
            document["paths"]["/producer"]["post"]["requestBody"]["required"],
            false
        );
        let tiers = Tier::ALL.map(Tier::as_str).join("|");
        assert_eq!(parameters[1]["schema"]["pattern"], format!("^({tiers})$"));
    }
}
