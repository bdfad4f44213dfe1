//! Pages of a listing. The token names the last result of the page before.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{
    error::{SsmError, SsmResult},
    parameters::Version,
};

pub(super) fn page_size(asked: Option<i64>, max: i64, default: i64) -> SsmResult<usize> {
    let asked = asked.unwrap_or(default);
    usize::try_from(asked).ok().filter(|_| (1..=max).contains(&asked)).ok_or_else(|| {
        SsmError::Validation(format!(
            "1 validation error detected: Value '{asked}' at 'maxResults' failed to satisfy constraint: Member must \
             have value between 1 and {max}"
        ))
    })
}

/// Returns the first `size` results, and the token of the next page if there is one.
pub(super) fn page<'a>(
    mut found: impl Iterator<Item = (&'a String, &'a Version)>,
    size: usize,
) -> (Vec<(&'a String, &'a Version)>, Option<String>) {
    let page: Vec<_> = found.by_ref().take(size).collect();
    let more = found.next().is_some();
    let token = page
        .last()
        .filter(|_| more)
        .map(|(name, _)| name_token(name));
    (page, token)
}

pub(super) fn name_token(name: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(name)
}

pub(super) fn token_name(token: &str) -> SsmResult<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| SsmError::InvalidNextToken)?;
    String::from_utf8(bytes).map_err(|_| SsmError::InvalidNextToken)
}

pub(super) fn with_token(mut response: Value, token: Option<String>) -> Value {
    if let Some(token) = token {
        response["NextToken"] = token.into();
    }
    response
}
