//! Queries of paged listings: limit and cursor, and the errors for every other query.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::ApiError;

/// Items of a page if the query has no limit.
pub const DEFAULT_LIMIT: usize = 20;
/// Items of the largest page.
pub const MAX_LIMIT: usize = 100;

/// The requested page
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Largest number of items in the page
    #[param(value_type = usize, required = false, minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<usize>,
    /// `next_cursor` of the previous page; omit it for the first page
    #[param(value_type = String, required = false)]
    pub cursor: Option<String>,
}

/// # Errors
/// 400 for unknown parameters and for values of another type.
pub fn query(parsed: Result<Query<PageQuery>, QueryRejection>) -> Result<PageQuery, ApiError> {
    parsed.map(|Query(query)| query).map_err(|error| {
        ApiError::bad_request(
            "invalid_query",
            format!("BadRequest: {}", error.body_text()),
        )
    })
}

/// Returns the limit of a page.
///
/// # Errors
/// 400 below 1 and above [`MAX_LIMIT`].
pub fn limit(requested: Option<usize>) -> Result<usize, ApiError> {
    let limit = requested.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) {
        return Ok(limit);
    }
    let msg = format!("BadRequest: limit is {limit}; set a number from 1 to {MAX_LIMIT}");
    Err(ApiError::bad_request("invalid_limit", msg))
}
