//! Settings of tables that dynoxide lacks: the period of point-in-time recovery, and a changed encryption.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::arn_scope::ArnScope;

/// Days of recovery points where a request names none (AWS).
pub(super) const RECOVERY_DAYS_DEFAULT: u64 = 35;

/// Settings by table. A table with none has no entry.
pub(crate) type AllSettings = BTreeMap<String, TableSettings>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct TableSettings {
    /// Days of recovery points, if recovery is enabled.
    pub(crate) recovery_days: Option<u64>,
    /// Encryption since the last change; `None` if it is as the table was created.
    pub(crate) encryption: Option<Encryption>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Encryption {
    /// With a key of DynamoDB's.
    Owned,
    /// With the KMS key of this ARN.
    Kms(String),
}

impl Encryption {
    /// Reads an `SSESpecification`.
    ///
    /// # Errors
    /// The text of the `ValidationException`.
    pub(super) fn parse(specification: &Value, scope: &ArnScope) -> Result<Self, String> {
        let kind = specification["SSEType"].as_str();
        if let Some(kind) = kind.filter(|kind| *kind != "KMS") {
            return Err(format!(
                "One or more parameter values were invalid: SSEType {kind} is not supported; use KMS"
            ));
        }
        let key = specification["KMSMasterKeyId"].as_str();
        if specification["Enabled"] != true {
            return match (kind, key) {
                (None, None) => Ok(Self::Owned),
                _ => Err(
                    "One or more parameter values were invalid: SSEType and KMSMasterKeyId are only for \
                     Enabled=true"
                        .into(),
                ),
            };
        }
        let key = key.unwrap_or("alias/aws/dynamodb");
        if key.starts_with("arn:") {
            return Ok(Self::Kms(key.to_owned()));
        }
        // There are no keys here. The id of an alias's key derives from its name.
        let id = match key.strip_prefix("alias/") {
            Some(alias) => {
                uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, alias.as_bytes()).to_string()
            }
            None => key.to_owned(),
        };
        Ok(Self::Kms(format!("{}key/{id}", scope.prefix("kms"))))
    }

    /// Shows the encryption in a table's description.
    pub(super) fn show(&self, table: &mut Value) {
        let Some(table) = table.as_object_mut() else {
            return;
        };
        match self {
            Self::Owned => {
                table.remove("SSEDescription");
            }
            Self::Kms(arn) => {
                table.insert(
                    "SSEDescription".into(),
                    json!({"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": arn}),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(specification: &Value) -> Result<Encryption, String> {
        Encryption::parse(specification, &ArnScope::sample())
    }

    #[test]
    fn an_encryption_is_with_a_key_of_kms_or_of_dynamodb() {
        let arn = "arn:aws:kms:us-east-1:000000000000:key/mine";
        for (specification, key) in [
            (json!({"Enabled": true, "KMSMasterKeyId": arn}), arn),
            (
                json!({"Enabled": true, "SSEType": "KMS", "KMSMasterKeyId": "mine"}),
                arn,
            ),
        ] {
            assert_eq!(parse(&specification), Ok(Encryption::Kms(key.into())));
        }
        let of_aws = parse(&json!({"Enabled": true}));
        assert_eq!(of_aws, parse(&json!({"Enabled": true, "SSEType": "KMS"})));
        assert_ne!(
            of_aws,
            parse(&json!({"Enabled": true, "KMSMasterKeyId": "alias/mine"}))
        );
        for specification in [json!({"Enabled": false}), json!({})] {
            assert_eq!(parse(&specification), Ok(Encryption::Owned));
        }
        for bad in [
            json!({"Enabled": true, "SSEType": "AES256"}),
            json!({"Enabled": false, "SSEType": "KMS"}),
            json!({"KMSMasterKeyId": "mine"}),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_description_shows_the_encryption_as_changed() {
        let mut table = json!({"SSEDescription": {"Status": "ENABLED"}});
        Encryption::Owned.show(&mut table);
        assert_eq!(table, json!({}));
        Encryption::Kms("arn".into()).show(&mut table);
        assert_eq!(table["SSEDescription"]["KMSMasterKeyArn"], "arn");
    }
}
