//! Cursors of paged listings: opaque texts, each bound to the owner that received it.
//!
//! The binding does not isolate owners: a listing shows the caller's own items for every cursor. A cursor of another
//! owner is a mistake or an attack, so it is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::ApiError;
use tenantry_tenancy::generation::Owner;

/// Encodes a position as a cursor of the owner.
pub fn to_text(owner: &Owner, position: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{owner}\n{position}"))
}

/// Decodes a cursor; `position` parses the listing's own part of it.
///
/// # Errors
/// 400 for every text that is not a cursor of the owner.
pub fn parse<T>(
    owner: &Owner,
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
        .filter(|(theirs, _)| *theirs == owner.to_string())
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

    use tenantry_tenancy::generation::Generation;
    use tenantry_tenancy::tenant::TenantId;

    use super::*;

    fn owner(id: &str) -> Owner {
        id.parse::<TenantId>().expect("valid").into()
    }

    fn position(owner: &Owner, text: &str) -> Result<String, ApiError> {
        parse(owner, text, |position| Some(position.to_owned()))
    }

    #[test]
    fn a_cursor_is_valid_for_its_own_owner_only() {
        let text = to_text(&owner("tenant-1"), "some\nposition");
        assert_eq!(
            position(&owner("tenant-1"), &text).as_deref(),
            Ok("some\nposition")
        );
        let later = Owner {
            generation: Generation::at_millis(7),
            ..owner("tenant-1")
        };
        for other in [
            owner("tenant-2"),
            owner("tenant-1-b"),
            owner("tenant"),
            later,
        ] {
            assert_eq!(
                position(&other, &text).expect_err("foreign").code(),
                "invalid_cursor"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_position_or_an_invalid_cursor(text in ".{0,80}") {
            if let Err(error) = position(&owner("tenant-1"), &text) {
                prop_assert_eq!(error.code(), "invalid_cursor");
            }
        }
    }
}
