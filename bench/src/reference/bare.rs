//! An axum service without middleware that returns the identity answer.

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::{Identity, tenant_in};

pub(super) fn router() -> Router {
    Router::new().route("/producer", get(identity))
}

async fn identity(headers: HeaderMap) -> Response {
    Json(Identity::new(tenant_in(&headers), None)).into_response()
}
