//! Tags of parameters.

use std::collections::BTreeMap;

use super::{
    api::Tag,
    error::{SsmError, SsmResult},
    parameters::TAGS_MAX,
};

/// Characters of a tag's key and value (AWS).
const KEY_CHARS_MAX: usize = 128;
const VALUE_CHARS_MAX: usize = 256;

/// Checks tags and sorts them by key.
///
/// # Errors
/// `ValidationException`, `TooManyTagsError`.
pub(super) fn check(tags: Vec<Tag>) -> SsmResult<BTreeMap<String, String>> {
    let fits = |tag: &Tag| {
        (1..=KEY_CHARS_MAX).contains(&tag.key.chars().count())
            && tag.value.chars().count() <= VALUE_CHARS_MAX
            && !tag.key.to_ascii_lowercase().starts_with("aws:")
    };
    if let Some(bad) = tags.iter().find(|tag| !fits(tag)) {
        return Err(SsmError::Validation(format!(
            "The tag {:?} is not valid: keys have 1 to {KEY_CHARS_MAX} characters and do not start with aws:, values \
             have up to {VALUE_CHARS_MAX}.",
            bad.key
        )));
    }
    let tags: BTreeMap<_, _> = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    if tags.len() > TAGS_MAX {
        return Err(SsmError::TooManyTags(TAGS_MAX));
    }
    Ok(tags)
}
