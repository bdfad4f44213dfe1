//! What the Terraform module creates for a tenant on AWS: queue, dead-letter queue, table, parameters.
//!
//! Names are derived, every call is idempotent and the parameters come last, so that a run that was cut off is simply
//! run again.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    PointInTimeRecoverySpecification, Projection, ProjectionType, ScalarAttributeType,
};
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use aws_sdk_ssm::types::ParameterType;
use futures_util::future::try_join_all;
use shared::environment::Environment;
use shared::event::{LISTED_AT, LISTED_INDEX};
use uuid::Uuid;

use crate::topology::{TenantSpec, pool};
use crate::{ACCOUNT, REGION};

/// Deliveries before a message goes to the dead-letter queue.
const MAX_RECEIVE_COUNT: u32 = 5;
/// What the dead-letter queue keeps, in seconds: 14 days, SQS's most.
const DEAD_LETTER_RETENTION: &str = "1209600";
/// Characters of a name's suffix.
const SUFFIX_CHARS: usize = 3;

/// A call of the provisioning failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct ProvisionError {
    what: String,
    reason: String,
}

struct Provisioner {
    sqs: aws_sdk_sqs::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    ssm: aws_sdk_ssm::Client,
}

/// Creates what is missing for the pool and the tenants.
pub(crate) async fn provision(
    config: &aws_config::SdkConfig,
    tenants: &[TenantSpec],
) -> Result<(), ProvisionError> {
    let provisioner = Provisioner {
        sqs: aws_sdk_sqs::Client::new(config),
        dynamodb: aws_sdk_dynamodb::Client::new(config),
        ssm: aws_sdk_ssm::Client::new(config),
    };
    let mut owners: Vec<Environment> = vec![pool()];
    owners.extend(tenants.iter().map(TenantSpec::data_environment).filter(|owner| *owner != pool()));
    try_join_all(owners.iter().map(|owner| provisioner.create_queue_and_table(owner))).await?;
    try_join_all(owners.iter().map(|owner| provisioner.put_arns(owner.as_str(), owner))).await?;
    try_join_all(tenants.iter().map(|tenant| provisioner.register(tenant))).await?;
    Ok(())
}

impl Provisioner {
    async fn create_queue_and_table(&self, owner: &Environment) -> Result<(), ProvisionError> {
        let name = resource_name(owner);
        tokio::try_join!(self.create_queue(&name), self.create_table(&name))?;
        Ok(())
    }

    async fn create_queue(&self, name: &str) -> Result<(), ProvisionError> {
        let dead_letters = format!("{name}-dlq");
        let request = self
            .sqs
            .create_queue()
            .queue_name(&dead_letters)
            .attributes(Attribute::MessageRetentionPeriod, DEAD_LETTER_RETENTION)
            .attributes(Attribute::SqsManagedSseEnabled, "true");
        request.send().await.map_err(|error| failed(&dead_letters, &error))?;
        let redrive = serde_json::json!({
            "deadLetterTargetArn": queue_arn(&dead_letters), "maxReceiveCount": MAX_RECEIVE_COUNT,
        });
        let request = self
            .sqs
            .create_queue()
            .queue_name(name)
            .attributes(Attribute::RedrivePolicy, redrive.to_string())
            .attributes(Attribute::SqsManagedSseEnabled, "true");
        request.send().await.map_err(|error| failed(name, &error))?;
        Ok(())
    }

    async fn create_table(&self, name: &str) -> Result<(), ProvisionError> {
        let (hash, range) = ("tenant_id", "message_id");
        let listed = GlobalSecondaryIndex::builder()
            .index_name(LISTED_INDEX)
            .set_key_schema(Some(vec![key(hash, KeyType::Hash), key(LISTED_AT, KeyType::Range)]))
            .projection(Projection::builder().projection_type(ProjectionType::All).build());
        let request = self
            .dynamodb
            .create_table()
            .table_name(name)
            .set_attribute_definitions(Some([hash, range, LISTED_AT].map(attribute).into()))
            .set_key_schema(Some(vec![key(hash, KeyType::Hash), key(range, KeyType::Range)]))
            .global_secondary_indexes(listed.build().expect("name, keys and projection are set"))
            .billing_mode(BillingMode::PayPerRequest);
        match request.send().await {
            Ok(_) => self.protect(name).await,
            Err(error) if error.code() == Some("ResourceInUseException") => Ok(()),
            Err(error) => Err(failed(name, &error)),
        }
    }

    /// Point-in-time recovery.
    async fn protect(&self, table: &str) -> Result<(), ProvisionError> {
        let recovery =
            PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build();
        let request = self
            .dynamodb
            .update_continuous_backups()
            .table_name(table)
            .point_in_time_recovery_specification(recovery.expect("the flag is set"));
        request.send().await.map_err(|error| failed(table, &error))?;
        Ok(())
    }

    /// A tenant's parameters; a tenant of the pool has the pool's ARNs.
    async fn register(&self, tenant: &TenantSpec) -> Result<(), ProvisionError> {
        let id = tenant.id.as_str();
        self.put_arns(id, &tenant.data_environment()).await?;
        self.put(&format!("/{id}/tier"), tenant.tier.as_str()).await
    }

    async fn put_arns(&self, holder: &str, owner: &Environment) -> Result<(), ProvisionError> {
        let name = resource_name(owner);
        self.put(&format!("/{holder}/consumer_sqs"), &queue_arn(&name)).await?;
        self.put(&format!("/{holder}/consumer_ddb"), &table_arn(&name)).await
    }

    async fn put(&self, name: &str, value: &str) -> Result<(), ProvisionError> {
        let request =
            self.ssm.put_parameter().name(name).value(value).r#type(ParameterType::String).overwrite(true);
        request.send().await.map_err(|error| failed(name, &error))?;
        Ok(())
    }
}

fn attribute(name: &str) -> AttributeDefinition {
    let definition =
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
    definition.build().expect("name and type are set")
}

fn key(attribute: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder()
        .attribute_name(attribute)
        .key_type(kind)
        .build()
        .expect("name and kind are set")
}

/// `consumer-<owner>-<3 characters>`, the characters derived from the owner.
fn resource_name(owner: &Environment) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    // A digest that no release changes: a kept data folder must find its names again.
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, owner.as_str().as_bytes());
    let suffix: String = digest.as_bytes()[..SUFFIX_CHARS]
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 36)]))
        .collect();
    format!("consumer-{owner}-{suffix}")
}

fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

fn table_arn(name: &str) -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}")
}

fn failed(what: &str, error: &(dyn std::error::Error + 'static)) -> ProvisionError {
    ProvisionError { what: what.to_owned(), reason: DisplayErrorContext(error).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_the_contract_has_them_and_the_same_in_every_run() {
        let name = resource_name(&pool());
        assert_eq!(name, resource_name(&pool()));
        let suffix = name.strip_prefix("consumer-pool-1-").expect("the owner is in the name");
        assert_eq!(suffix.len(), 3);
        assert!(suffix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
        assert_ne!(name, resource_name(&"tenant-1".parse().expect("valid")));
    }
}
