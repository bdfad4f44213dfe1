//! The OpenAPI document of the consumer's own routes, generated from the handler and its types.

use utoipa::OpenApi;

use crate::messages;

#[derive(OpenApi)]
#[openapi(
    info(title = "Consumer", description = "Stored messages of a tenant"),
    paths(messages::list)
)]
struct Document;

pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tenantry_service::page::{DEFAULT_LIMIT, MAX_LIMIT};

    use super::*;

    #[test]
    fn the_described_bounds_are_the_checked_ones() {
        let document = serde_json::to_value(document()).expect("it serializes");
        let parameters = &document["paths"]["/consumer/messages"]["get"]["parameters"];
        let limit = parameters
            .as_array()
            .and_then(|all| all.iter().find(|one| one["name"] == "limit"));
        let limit = &limit.expect("a limit")["schema"];
        assert_eq!(
            (&limit["minimum"], &limit["maximum"], &limit["default"]),
            (&json!(1), &json!(MAX_LIMIT), &json!(DEFAULT_LIMIT)),
            "{limit}"
        );
    }
}
