//! What the Terraform module creates for a tenant on AWS: queue, dead-letter queue, tables, parameters.
//!
//! Names are derived, every call is idempotent and the parameters come last, so that a run that was cut off is simply
//! run again.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    PointInTimeRecoverySpecification, Projection, ProjectionType, ScalarAttributeType,
    TimeToLiveSpecification,
};
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_sqs::operation::get_queue_url::GetQueueUrlError;
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use aws_sdk_ssm::types::ParameterType;
use futures_util::future::try_join_all;
use payments::table as payments_table;
use tenantry_registry::Status;
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::event::{LISTED_AT, LISTED_INDEX};
use tenantry_tenancy::tenant::{TenantId, Tier};
use uuid::Uuid;

use crate::topology::{App, Life, TenantSpec};
use crate::{ACCOUNT, REGION};

/// Deliveries before a message goes to the dead-letter queue.
const MAX_RECEIVE_COUNT: u32 = 5;
/// What the dead-letter queue keeps, in seconds: 14 days, SQS's most.
const DEAD_LETTER_RETENTION: &str = "1209600";
/// Characters of a name's suffix.
const SUFFIX_CHARS: usize = 3;

/// Queues that lifecycle messages come by, as the contract names them.
pub(crate) const LIFECYCLE_QUEUES: [&str; 3] = [
    "argoworkflows-onboarding-queue",
    "argoworkflows-offboarding-queue",
    "argoworkflows-deployment-queue",
];

/// A call of the provisioning failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct ProvisionError {
    what: String,
    reason: String,
}

/// Creates and deletes what is the tenants'.
pub(crate) struct Provisioner {
    sqs: aws_sdk_sqs::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    ssm: aws_sdk_ssm::Client,
}

impl Provisioner {
    /// Over the endpoint of these settings.
    pub(crate) fn new(config: &aws_config::SdkConfig) -> Self {
        Self {
            sqs: aws_sdk_sqs::Client::new(config),
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            ssm: aws_sdk_ssm::Client::new(config),
        }
    }

    /// The queues of the tenant lifecycle.
    pub(crate) async fn create_lifecycle_queues(&self) -> Result<(), ProvisionError> {
        try_join_all(LIFECYCLE_QUEUES.map(|name| self.create_queue(name)))
            .await
            .map(drop)
    }

    /// What a pool's apps work on.
    pub(crate) async fn provision_pool(
        &self,
        pool: &Environment,
        apps: &BTreeSet<App>,
    ) -> Result<(), ProvisionError> {
        self.provision_apps(pool, apps.iter().copied()).await
    }

    /// What a tenant's own apps work on, and its registration. Of one that is offboarded everything stays, until its data
    /// is to be deleted.
    pub(crate) async fn provision_tenant(&self, tenant: &TenantSpec) -> Result<(), ProvisionError> {
        let silo = tenant.silo();
        match tenant.life {
            Life::Onboard { tier, status } => {
                self.provision_apps(
                    &silo,
                    App::ALL.into_iter().filter(|app| tenant.is_siloed(*app)),
                )
                .await?;
                self.register(tenant, tier).await?;
                self.put_status(&tenant.id, status).await
            }
            Life::Offboarded { .. } => self.suspend(&tenant.id).await,
        }
    }

    /// Has a tenant's requests refused; everything of its stays.
    pub(crate) async fn suspend(&self, tenant: &TenantId) -> Result<(), ProvisionError> {
        self.put_status(tenant, Status::Suspended).await
    }

    /// Deletes an offboarded tenant's queues, tables and parameters. What it stored in a pool's tables stays there.
    pub(crate) async fn delete_data(&self, tenant: &TenantSpec) -> Result<(), ProvisionError> {
        let (silo, id) = (tenant.silo(), &tenant.id);
        let names = [
            "consumer_sqs",
            "consumer_ddb",
            payments_table::PARAMETER,
            "tier",
            "status",
        ];
        let names = names.map(|name| format!("/{id}/{name}"));
        let deleted = self
            .ssm
            .delete_parameters()
            .set_names(Some(names.into()))
            .send()
            .await;
        deleted.map_err(|error| failed("parameters", &error))?;
        let consumer = resource_name(App::Consumer, &silo);
        self.delete_queue(&consumer).await?;
        self.delete_queue(&format!("{consumer}-dlq")).await?;
        self.delete_table(&consumer).await?;
        self.delete_table(&resource_name(App::Payments, &silo))
            .await
    }

    async fn delete_queue(&self, name: &str) -> Result<(), ProvisionError> {
        let found = match self.sqs.get_queue_url().queue_name(name).send().await {
            Ok(found) => found,
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(GetQueueUrlError::is_queue_does_not_exist) =>
            {
                return Ok(());
            }
            Err(error) => return Err(failed(name, &error)),
        };
        let request = self.sqs.delete_queue().set_queue_url(found.queue_url);
        request
            .send()
            .await
            .map(drop)
            .map_err(|error| failed(name, &error))
    }

    async fn delete_table(&self, name: &str) -> Result<(), ProvisionError> {
        match self.dynamodb.delete_table().table_name(name).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(()),
            Err(error) => Err(failed(name, &error)),
        }
    }

    async fn provision_apps(
        &self,
        owner: &Environment,
        apps: impl Iterator<Item = App>,
    ) -> Result<(), ProvisionError> {
        for app in apps {
            match app {
                App::Producer => {}
                App::Consumer => {
                    self.create_queue_and_table(owner).await?;
                    self.put_arns(owner.as_str(), owner).await?;
                }
                App::Payments => {
                    self.create_payments_table(owner).await?;
                    self.put_payments_arn(owner.as_str(), owner).await?;
                }
            }
        }
        Ok(())
    }

    async fn create_queue_and_table(&self, owner: &Environment) -> Result<(), ProvisionError> {
        let name = resource_name(App::Consumer, owner);
        tokio::try_join!(
            self.create_queue(&name),
            self.create_table(&name, "message_id", LISTED_INDEX, ("tenant_id", LISTED_AT))
        )?;
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
        request
            .send()
            .await
            .map_err(|error| failed(&dead_letters, &error))?;
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

    /// The payments' table; what its keys are kept for ends by itself.
    async fn create_payments_table(&self, owner: &Environment) -> Result<(), ProvisionError> {
        use payments_table::{EXPIRES_AT, OUTBOX, OUTBOX_AT, OUTBOX_SHARD, RANGE};
        let name = resource_name(App::Payments, owner);
        self.create_table(&name, RANGE, OUTBOX, (OUTBOX_SHARD, OUTBOX_AT))
            .await?;
        let time_to_live = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name(EXPIRES_AT)
            .build();
        let request = self
            .dynamodb
            .update_time_to_live()
            .table_name(&name)
            .time_to_live_specification(time_to_live.expect("flag and name are set"));
        match request.send().await {
            Ok(_) => Ok(()),
            // It is refused where it is enabled already.
            Err(error) if error.code() == Some("ValidationException") => Ok(()),
            Err(error) => Err(failed(&name, &error)),
        }
    }

    /// A table of tenants' items, with an index over all their attributes.
    async fn create_table(
        &self,
        name: &str,
        range: &str,
        index: &str,
        (index_hash, index_range): (&str, &str),
    ) -> Result<(), ProvisionError> {
        let hash = "tenant_id";
        let attributes: BTreeSet<_> = [hash, range, index_hash, index_range].into();
        let index = GlobalSecondaryIndex::builder()
            .index_name(index)
            .set_key_schema(Some(vec![
                key(index_hash, KeyType::Hash),
                key(index_range, KeyType::Range),
            ]))
            .projection(
                Projection::builder()
                    .projection_type(ProjectionType::All)
                    .build(),
            );
        let request = self
            .dynamodb
            .create_table()
            .table_name(name)
            .set_attribute_definitions(Some(attributes.into_iter().map(attribute).collect()))
            .set_key_schema(Some(vec![
                key(hash, KeyType::Hash),
                key(range, KeyType::Range),
            ]))
            .global_secondary_indexes(index.build().expect("name, keys and projection are set"))
            .billing_mode(BillingMode::PayPerRequest);
        match request.send().await {
            Ok(_) => self.protect(name).await,
            Err(error) if error.code() == Some("ResourceInUseException") => Ok(()),
            Err(error) => Err(failed(name, &error)),
        }
    }

    /// Point-in-time recovery.
    async fn protect(&self, table: &str) -> Result<(), ProvisionError> {
        let recovery = PointInTimeRecoverySpecification::builder()
            .point_in_time_recovery_enabled(true)
            .build();
        let request = self
            .dynamodb
            .update_continuous_backups()
            .table_name(table)
            .point_in_time_recovery_specification(recovery.expect("the flag is set"));
        request
            .send()
            .await
            .map_err(|error| failed(table, &error))?;
        Ok(())
    }

    /// A tenant's parameters; a tenant of the pool has the pool's ARNs.
    async fn register(&self, tenant: &TenantSpec, tier: Tier) -> Result<(), ProvisionError> {
        let id = tenant.id.as_str();
        if let Some(owner) = tenant.environment_of(App::Consumer) {
            self.put_arns(id, owner).await?;
        }
        if let Some(owner) = tenant.environment_of(App::Payments) {
            self.put_payments_arn(id, owner).await?;
        }
        self.put(&format!("/{id}/tier"), tier.as_str()).await
    }

    async fn put_status(&self, tenant: &TenantId, status: Status) -> Result<(), ProvisionError> {
        self.put(&format!("/{tenant}/status"), status.as_str())
            .await
    }

    async fn put_arns(&self, holder: &str, owner: &Environment) -> Result<(), ProvisionError> {
        let name = resource_name(App::Consumer, owner);
        self.put(&format!("/{holder}/consumer_sqs"), &queue_arn(&name))
            .await?;
        self.put(&format!("/{holder}/consumer_ddb"), &table_arn(&name))
            .await
    }

    async fn put_payments_arn(
        &self,
        holder: &str,
        owner: &Environment,
    ) -> Result<(), ProvisionError> {
        let arn = table_arn(&resource_name(App::Payments, owner));
        self.put(&format!("/{holder}/{}", payments_table::PARAMETER), &arn)
            .await
    }

    async fn put(&self, name: &str, value: &str) -> Result<(), ProvisionError> {
        let request = self
            .ssm
            .put_parameter()
            .name(name)
            .value(value)
            .r#type(ParameterType::String)
            .overwrite(true);
        request.send().await.map_err(|error| failed(name, &error))?;
        Ok(())
    }
}

fn attribute(name: &str) -> AttributeDefinition {
    let definition = AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S);
    definition.build().expect("name and type are set")
}

fn key(attribute: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder()
        .attribute_name(attribute)
        .key_type(kind)
        .build()
        .expect("name and kind are set")
}

/// `<app>-<owner>-<3 characters>`, the characters derived from the owner.
fn resource_name(app: App, owner: &Environment) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    // A digest that no release changes: a kept data folder must find its names again.
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, owner.as_str().as_bytes());
    let suffix: String = digest.as_bytes()[..SUFFIX_CHARS]
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 36)]))
        .collect();
    format!("{}-{owner}-{suffix}", app.as_str())
}

fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

fn table_arn(name: &str) -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}")
}

fn failed(what: &str, error: &(dyn std::error::Error + 'static)) -> ProvisionError {
    ProvisionError {
        what: what.to_owned(),
        reason: DisplayErrorContext(error).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_the_contract_has_them_and_the_same_in_every_run() {
        let pool: Environment = "pool-1".parse().expect("valid");
        let name = resource_name(App::Consumer, &pool);
        assert_eq!(name, resource_name(App::Consumer, &pool));
        let suffix = name
            .strip_prefix("consumer-pool-1-")
            .expect("the owner is in the name");
        assert_eq!(suffix.len(), 3);
        assert!(
            suffix
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
        assert_ne!(
            name,
            resource_name(App::Consumer, &"tenant-1".parse().expect("valid"))
        );
        assert!(resource_name(App::Payments, &pool).starts_with("payments-pool-1-"));
    }
}
