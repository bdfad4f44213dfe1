//! Tags of parameters.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Ssm,
    api::{OfTags, Tag},
    error::{SsmError, SsmResult},
    names::Selector,
    parameters::TAGS_MAX,
    persist, required,
};

/// Characters of a tag's key and value (AWS).
const KEY_CHARS_MAX: usize = 128;
const VALUE_CHARS_MAX: usize = 256;

impl Ssm {
    pub(super) async fn add_tags(&self, request: OfTags) -> SsmResult<Value> {
        let name = self.resource(&request)?;
        let added = check(required(request.tags, "tags")?)?;
        self.change_tags(name, |tags| tags.extend(added)).await
    }

    pub(super) async fn remove_tags(&self, request: OfTags) -> SsmResult<Value> {
        let name = self.resource(&request)?;
        let keys = required(request.tag_keys, "tagKeys")?;
        self.change_tags(name, |tags| tags.retain(|key, _| !keys.contains(key)))
            .await
    }

    pub(super) fn list_tags(&self, request: &OfTags) -> SsmResult<Value> {
        let name = self.resource(request)?;
        let parameters = self.parameters();
        let parameter = parameters
            .get(&name)
            .ok_or(SsmError::InvalidResourceId(name))?;
        let tags: Vec<_> = parameter
            .tags
            .iter()
            .map(|(key, value)| json!({"Key": key, "Value": value}))
            .collect();
        Ok(json!({"TagList": tags}))
    }

    async fn change_tags(
        &self,
        name: String,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> SsmResult<Value> {
        self.transact(|parameters| {
            let Some(place) = parameters.tags_mut(&name) else {
                return Err(SsmError::InvalidResourceId(name));
            };
            let mut tags = place.clone();
            change(&mut tags);
            if tags.len() > TAGS_MAX {
                return Err(SsmError::TooManyTags(TAGS_MAX));
            }
            place.clone_from(&tags);
            Ok((json!({}), vec![persist::Change::Tag { name, tags }]))
        })
        .await
    }

    fn resource(&self, request: &OfTags) -> SsmResult<String> {
        let resource_type = required(request.resource_type.as_deref(), "resourceType")?;
        if resource_type != "Parameter" {
            return Err(SsmError::InvalidResourceType(resource_type.to_owned()));
        }
        let id = required(request.resource_id.as_deref(), "resourceId")?;
        Ok(Selector::parse(id, &self.realm).name)
    }
}

/// Checks tags and puts them in order.
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
