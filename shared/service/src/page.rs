//! Pages of listings: how many items, and what a query that asks for something else is told.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::ApiError;

/// Items of a page where the caller does not say.
pub const DEFAULT_LIMIT: usize = 20;
/// Items of the largest page.
pub const MAX_LIMIT: usize = 100;

/// Which page is asked for
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// Items of the page
    #[param(value_type = usize, required = false, minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<usize>,
    /// `next_cursor` of the page before
    #[param(value_type = String, required = false)]
    pub cursor: Option<String>,
}

/// The query of a listing.
///
/// # Errors
/// 400 where it has what the listing does not take.
pub fn query(asked: Result<Query<Asked>, QueryRejection>) -> Result<Asked, ApiError> {
    asked.map(|Query(asked)| asked).map_err(|error| {
        ApiError::bad_request(
            "invalid_query",
            format!("BadRequest: {}", error.body_text()),
        )
    })
}

/// The size of the page asked for.
///
/// # Errors
/// 400 below 1 and above [`MAX_LIMIT`].
pub fn limit(asked: Option<usize>) -> Result<usize, ApiError> {
    let limit = asked.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) {
        return Ok(limit);
    }
    let msg = format!("BadRequest: limit is a number from 1 to {MAX_LIMIT}");
    Err(ApiError::bad_request("invalid_limit", msg))
}
