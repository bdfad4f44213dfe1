//! Requests of the SSM JSON protocol, as they are on the wire.

use serde::{Deserialize, Serialize};

/// Declares requests: every member may be missing, so that we, not serde, name what is.
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
    /// `PutParameter`.
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
    OfName { name: Option<String>, with_decryption: Option<bool>, }
    /// `GetParameters` and `DeleteParameters`.
    OfNames { names: Option<Vec<String>>, with_decryption: Option<bool>, }
    /// `GetParametersByPath`.
    GetParametersByPath {
        path: Option<String>,
        recursive: Option<bool>,
        with_decryption: Option<bool>,
        parameter_filters: Option<Vec<Filter>>,
        max_results: Option<i64>,
        next_token: Option<String>,
    }
    /// `DescribeParameters`.
    DescribeParameters {
        filters: Option<Vec<Filter>>,
        parameter_filters: Option<Vec<Filter>>,
        max_results: Option<i64>,
        next_token: Option<String>,
    }
    /// `GetParameterHistory`.
    GetParameterHistory {
        name: Option<String>,
        with_decryption: Option<bool>,
        max_results: Option<i64>,
        next_token: Option<String>,
    }
    /// `AddTagsToResource`, `RemoveTagsFromResource` and `ListTagsForResource`.
    OfTags {
        resource_type: Option<String>,
        resource_id: Option<String>,
        tags: Option<Vec<Tag>>,
        tag_keys: Option<Vec<String>>,
    }
    /// One condition of a listing.
    Filter { key: Option<String>, option: Option<String>, values: Option<Vec<String>>, }
}

/// A tag.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}
