//! The OpenAPI document of the producer's own route, generated from the handler and its types.
//!
//! Headers that the code parses by hand are described here. A test compares these descriptions with the checks.

use utoipa::OpenApi;
use utoipa::openapi::{RefOr, Required};

use crate::accept;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Producer",
        description = "Sends events to the tenant's own queue"
    ),
    paths(accept::accept)
)]
struct Document;

pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let route = document
        .paths
        .paths
        .get_mut("/producer")
        .and_then(|path| path.post.as_mut());
    if let Some(RefOr::T(body)) = route.and_then(|route| route.request_body.as_mut()) {
        // utoipa's macro describes every body as required.
        body.required = Some(Required::False);
    }
    document
}

#[cfg(test)]
mod tests {
    use tenantry_tenancy::tenant::Tier;

    use super::*;

    #[test]
    fn every_header_and_every_tier_is_described() {
        let document = serde_json::to_value(document()).expect("it serializes");
        let parameters = document["paths"]["/producer"]["post"]["parameters"]
            .as_array()
            .expect("the route has headers");
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
