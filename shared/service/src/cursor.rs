//! Cursors of paged listings: opaque texts, each bound to the tenant that received it.
//!
//! The binding does not isolate tenants: a listing queries the caller's own partition for every cursor. A cursor of
//! another tenant is a mistake or an attack, so it is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::ApiError;
use tenantry_tenancy::tenant::TenantId;

/// Encodes a position as a cursor of the tenant.
pub fn to_text(tenant: &TenantId, position: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{tenant}\n{position}"))
}

/// Decodes a cursor; `position` parses the listing's own part of it.
///
/// # Errors
/// 400 for every text that is not a cursor of the tenant.
pub fn parse<T>(
    tenant: &TenantId,
    text: &str,
    position: impl FnOnce(&str) -> Option<T>,
) -> Result<T, ApiError> {
    let decoded = URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let parts = decoded
        .as_deref()
        .and_then(|decoded| decoded.split_once('\n'));
    parts
        .filter(|(owner, _)| *owner == tenant.as_str())
        .and_then(|(_, found)| position(found))
        .ok_or_else(|| {
            let msg =
                "BadRequest: the cursor is not valid for this tenant; start again without a cursor";
            ApiError::bad_request("invalid_cursor", msg)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(id: &str) -> TenantId {
        id.parse().expect("valid")
    }

    fn position(tenant: &TenantId, text: &str) -> Result<String, ApiError> {
        parse(tenant, text, |position| Some(position.to_owned()))
    }

    #[test]
    fn a_cursor_is_valid_for_its_own_tenant_only() {
        let text = to_text(&tenant("tenant-1"), "some\nposition");
        assert_eq!(
            position(&tenant("tenant-1"), &text).as_deref(),
            Ok("some\nposition")
        );
        for other in ["tenant-2", "tenant-1-b", "tenant"] {
            assert_eq!(
                position(&tenant(other), &text).expect_err("foreign").code(),
                "invalid_cursor"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_position_or_an_invalid_cursor(text in ".{0,80}") {
            if let Err(error) = position(&tenant("tenant-1"), &text) {
                prop_assert_eq!(error.code(), "invalid_cursor");
            }
        }
    }
}
