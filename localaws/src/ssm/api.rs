//! Requests of the SSM JSON protocol.

use serde::{Deserialize, Serialize};

/// Declares requests. Every member is optional, so that this endpoint, not serde, reports a missing one.
macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub(crate) struct $name {
            $(pub(crate) $field: $type,)*
        }
    )*};
}

requests! {
    PutParameter {
        name: Option<String>,
        value: Option<String>,
        r#type: Option<String>,
        description: Option<String>,
        key_id: Option<String>,
        overwrite: Option<bool>,
        allowed_pattern: Option<String>,
        tags: Option<Vec<Tag>>,
        tier: Option<String>,
        data_type: Option<String>,
    }
    /// `GetParameter` and `DeleteParameter`.
    NameRequest { name: Option<String>, with_decryption: Option<bool>, }
    /// `GetParameters` and `DeleteParameters`.
    NamesRequest { names: Option<Vec<String>>, with_decryption: Option<bool>, }
    GetParametersByPath {
        path: Option<String>,
        recursive: Option<bool>,
        with_decryption: Option<bool>,
        parameter_filters: Option<Vec<Filter>>,
        max_results: Option<i64>,
        next_token: Option<String>,
    }
    DescribeParameters {
        filters: Option<Vec<Filter>>,
        parameter_filters: Option<Vec<Filter>>,
        max_results: Option<i64>,
        next_token: Option<String>,
    }
    GetParameterHistory {
        name: Option<String>,
        with_decryption: Option<bool>,
        max_results: Option<i64>,
        next_token: Option<String>,
    }
    /// `LabelParameterVersion` and `UnlabelParameterVersion`.
    LabelsRequest {
        name: Option<String>,
        parameter_version: Option<u64>,
        labels: Option<Vec<String>>,
    }
    /// `AddTagsToResource`, `RemoveTagsFromResource` and `ListTagsForResource`.
    TagsRequest {
        resource_type: Option<String>,
        resource_id: Option<String>,
        tags: Option<Vec<Tag>>,
        tag_keys: Option<Vec<String>>,
    }
    /// One condition of a listing.
    Filter { key: Option<String>, option: Option<String>, values: Option<Vec<String>>, }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}
