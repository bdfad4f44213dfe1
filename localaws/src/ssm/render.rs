//! Parameters as JSON, for responses.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use super::{
    names,
    parameters::{Kind, Version},
};
use crate::arn_scope::ArnScope;

/// Renders a parameter for the reading operations.
pub(super) fn parameter(
    scope: &ArnScope,
    name: &str,
    version: &Version,
    decrypt: bool,
    selector: Option<&str>,
) -> Value {
    let mut shown = json!({
        "Name": name,
        "Type": version.kind.name(),
        "Value": value_of(version, decrypt),
        "Version": version.version,
        "LastModifiedDate": seconds(version.modified_ms),
        "ARN": names::arn(name, scope),
        "DataType": version.data_type,
    });
    if let Some(selector) = selector {
        shown["Selector"] = format!(":{selector}").into();
    }
    shown
}

/// Renders a version without its value.
pub(super) fn metadata(name: &str, version: &Version) -> Value {
    let mut shown = json!({
        "Name": name,
        "Type": version.kind.name(),
        "LastModifiedDate": seconds(version.modified_ms),
        "LastModifiedUser": version.modified_by,
        "Version": version.version,
        "Tier": version.tier,
        "Policies": [],
        "DataType": version.data_type,
    });
    let optional = [
        ("Description", &version.description),
        ("KeyId", &version.key_id),
        ("AllowedPattern", &version.allowed_pattern),
    ];
    for (member, value) in optional {
        if let Some(value) = value {
            shown[member] = value.as_str().into();
        }
    }
    shown
}

/// Returns the value, or an opaque text for a `SecureString` without decryption.
pub(super) fn value_of(version: &Version, decrypt: bool) -> String {
    if version.kind != Kind::SecureString || decrypt {
        return version.value.clone();
    }
    let mut opaque = Vec::with_capacity(64);
    for n in 0..4_u8 {
        let block = Md5::new()
            .chain_update([n])
            .chain_update(version.modified_ms.to_be_bytes());
        opaque.extend_from_slice(&block.chain_update(&version.value).finalize());
    }
    BASE64_STANDARD.encode(opaque)
}

/// Converts a time for AWS JSON: seconds, with the milliseconds as a fraction.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 fit a double's 53 bits"
)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}
