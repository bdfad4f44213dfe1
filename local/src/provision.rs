//! Provisioner: creates the AWS resources of tenants and pools, as the Terraform module does on AWS: queue, dead-letter
//! queue, tables, parameters.
//!
//! Names are derived, every call is idempotent, and parameters are written last. So an interrupted run is repeated as a
//! whole. A tenant's parameters also say where its data is, and which move is unfinished ([`Registered`]).

use std::collections::{BTreeMap, BTreeSet};

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
use tenantctl::purge::{PurgeError, purge};
use tenantry_registry::Status;
use tenantry_tenancy::environment::Environment;
use tenantry_tenancy::event::{LISTED_AT, LISTED_INDEX};
use tenantry_tenancy::generation::Generation;
use tenantry_tenancy::parameters::{REFUSED_PATH, TENANTS_PATH};
use tenantry_tenancy::tenant::{TenantId, Tier};

use crate::journal::Journal;
use crate::names::{
    WITH_DATA, consumer_queue_arn, payments_arn, queue_arn, resource_name, table_arn,
};
use crate::topology::{App, TenantSpec};

/// Receives before a message moves to the dead-letter queue.
const MAX_RECEIVE_COUNT: u32 = 5;
/// Retention of the dead-letter queue in seconds: 14 days, the limit of SQS.
const DEAD_LETTER_RETENTION: &str = "1209600";

/// Queues of lifecycle messages.
pub(crate) const LIFECYCLE_QUEUES: [&str; 3] = [
    "argoworkflows-onboarding-queue",
    "argoworkflows-offboarding-queue",
    "argoworkflows-deployment-queue",
];

/// Homes of a tenant's data, read from its parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Registered {
    /// Environment whose queue and table are registered for the consumer, and table for payments.
    pub(crate) homes: BTreeMap<App, Environment>,
    /// The unfinished move.
    pub(crate) unfinished: Option<Journal>,
}

/// The owner of an id that is registered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RegisteredOwner {
    pub(crate) generation: Generation,
    /// Whether the services serve this owner.
    pub(crate) is_active: bool,
}

/// Name of a tenant's parameter with the [`Journal`].
const JOURNAL: &str = "move";
/// Entry of a tenant in the list of those that are not active, while its data moves. The entry is no
/// status, so services do not rely on the list: they read the tenant itself until the entry is gone.
const MOVED: &str = "moved";

/// A call of the provisioner failed.
#[derive(Debug, thiserror::Error)]
#[error("{resource}: {reason}")]
pub struct ProvisionError {
    resource: String,
    reason: String,
}

/// The deletion of a tenant's items in tables that it shares.
pub(crate) struct Purge {
    client: aws_sdk_dynamodb::Client,
    tables: Vec<String>,
    tenant: TenantId,
}

impl Purge {
    /// Deletes the items and proves that none is left. Returns their number.
    pub(crate) async fn run(&self) -> Result<u64, PurgeError> {
        let mut deleted = 0;
        for table in &self.tables {
            deleted += purge(&self.client, table, &self.tenant).await?;
        }
        Ok(deleted)
    }
}

pub(crate) struct Provisioner {
    sqs: aws_sdk_sqs::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    ssm: aws_sdk_ssm::Client,
}

impl Provisioner {
    pub(crate) fn new(config: &aws_config::SdkConfig) -> Self {
        Self {
            sqs: aws_sdk_sqs::Client::new(config),
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            ssm: aws_sdk_ssm::Client::new(config),
        }
    }

    pub(crate) async fn create_lifecycle_queues(&self) -> Result<(), ProvisionError> {
        try_join_all(LIFECYCLE_QUEUES.map(|name| self.create_queue(name)))
            .await
            .map(drop)
    }

    pub(crate) async fn provision_pool(
        &self,
        pool: &Environment,
        apps: &BTreeSet<App>,
    ) -> Result<(), ProvisionError> {
        self.create_resources(pool, apps.iter().copied()).await?;
        for app in apps {
            self.put_home(pool.as_str(), *app, pool).await?;
        }
        Ok(())
    }

    /// Creates the resources of the tenant's own apps.
    pub(crate) async fn create_silo(&self, tenant: &TenantSpec) -> Result<(), ProvisionError> {
        let siloed = App::ALL.into_iter().filter(|app| tenant.is_siloed(*app));
        self.create_resources(&tenant.silo(), siloed).await
    }

    /// Reads where the tenant's data is. Owners other than these environments are not recognized.
    pub(crate) async fn registered(
        &self,
        tenant: &TenantId,
        owners: &BTreeSet<Environment>,
    ) -> Result<Registered, ProvisionError> {
        let of = |name: &str| format!("/{tenant}/{name}");
        let names = ["consumer_sqs", payments_table::PARAMETER, JOURNAL];
        let values = self.parameters(tenant, names).await?;
        let mut registered = Registered::default();
        for owner in owners {
            let arns = [
                (App::Consumer, "consumer_sqs", consumer_queue_arn(owner)),
                (
                    App::Payments,
                    payments_table::PARAMETER,
                    payments_arn(owner),
                ),
            ];
            for (app, name, arn) in arns {
                if values.get(&of(name)) == Some(&arn) {
                    registered.homes.insert(app, owner.clone());
                }
            }
        }
        if let Some(text) = values.get(&of(JOURNAL)) {
            let journal = text.parse().map_err(|reason| ProvisionError {
                resource: of(JOURNAL),
                reason,
            })?;
            registered.unfinished = Some(journal);
        }
        Ok(registered)
    }

    /// Reads which owner of the id is registered; the first one if none is.
    pub(crate) async fn registered_owner(
        &self,
        tenant: &TenantId,
    ) -> Result<RegisteredOwner, ProvisionError> {
        let of = |name: &str| format!("/{tenant}/{name}");
        let values = self.parameters(tenant, ["generation", "status"]).await?;
        let generation = match values.get(&of("generation")) {
            None => Generation::FIRST,
            Some(number) => number.parse().map_err(|error| ProvisionError {
                resource: of("generation"),
                reason: format!("{number:?}: {error}"),
            })?,
        };
        let is_active = values
            .get(&of("status"))
            .is_some_and(|status| status == Status::Active.as_str());
        Ok(RegisteredOwner {
            generation,
            is_active,
        })
    }

    /// Reads parameters of a tenant: their values by full name.
    async fn parameters<const N: usize>(
        &self,
        tenant: &TenantId,
        names: [&str; N],
    ) -> Result<BTreeMap<String, String>, ProvisionError> {
        let names = names.map(|name| format!("/{tenant}/{name}"));
        let request = self.ssm.get_parameters().set_names(Some(names.into()));
        let found = request
            .send()
            .await
            .map_err(|error| failed(&format!("/{tenant}/*"), &error))?;
        let found = found.parameters.unwrap_or_default().into_iter();
        Ok(found
            .filter_map(|found| Some((found.name?, found.value?)))
            .collect())
    }

    /// Records that a move begins, before its first copy.
    pub(crate) async fn begin_move(
        &self,
        tenant: &TenantId,
        journal: &Journal,
    ) -> Result<(), ProvisionError> {
        self.put(&format!("/{tenant}/{JOURNAL}"), &journal.to_string())
            .await?;
        self.put(&format!("{REFUSED_PATH}/{tenant}"), MOVED).await
    }

    /// Records that the move has ended. [`Self::put_status`] then replaces the tenant's entry in the list.
    pub(crate) async fn end_move(&self, tenant: &TenantId) -> Result<(), ProvisionError> {
        self.delete_parameters(vec![format!("/{tenant}/{JOURNAL}")])
            .await
    }

    /// Names the environment whose consumer forwards the tenant's late messages.
    pub(crate) async fn put_moved_from(
        &self,
        tenant: &TenantId,
        former: &Environment,
    ) -> Result<(), ProvisionError> {
        self.put(&format!("/{tenant}/moved_from"), former.as_str())
            .await
    }

    /// Sets the tenant's status, so that its requests are refused; its data stays.
    pub(crate) async fn suspend(&self, tenant: &TenantId) -> Result<(), ProvisionError> {
        self.put_status(tenant, Status::Suspended).await
    }

    /// Deletes the queues, tables and parameters of an offboarded tenant. [`Self::purge`] deletes its items in the pools'
    /// tables.
    pub(crate) async fn delete_data(&self, tenant: &TenantSpec) -> Result<(), ProvisionError> {
        let id = &tenant.id;
        let names = [
            "consumer_sqs",
            "consumer_ddb",
            payments_table::PARAMETER,
            "tier",
            "status",
            "generation",
            "moved_from",
            JOURNAL,
        ];
        let mut names = names.map(|name| format!("/{id}/{name}")).to_vec();
        names.extend([TENANTS_PATH, REFUSED_PATH].map(|path| format!("{path}/{id}")));
        self.delete_parameters(names).await?;
        for app in WITH_DATA {
            self.delete_resources(&tenant.silo(), app).await?;
        }
        Ok(())
    }

    /// Returns the deletion of the tenant's items in these pools' tables.
    pub(crate) fn purge<'p>(
        &self,
        tenant: TenantId,
        pools: impl Iterator<Item = &'p Environment>,
    ) -> Purge {
        let tables = pools.flat_map(|pool| WITH_DATA.map(|app| resource_name(app, pool)));
        Purge {
            client: self.dynamodb.clone(),
            tables: tables.collect(),
            tenant,
        }
    }

    /// Deletes the queues and the table of an environment's app.
    pub(crate) async fn delete_resources(
        &self,
        owner: &Environment,
        app: App,
    ) -> Result<(), ProvisionError> {
        let name = resource_name(app, owner);
        if app == App::Consumer {
            self.delete_queue(&name).await?;
            self.delete_queue(&format!("{name}-dlq")).await?;
        }
        self.delete_table(&name).await
    }

    async fn delete_parameters(&self, names: Vec<String>) -> Result<(), ProvisionError> {
        let request = self.ssm.delete_parameters().set_names(Some(names));
        request
            .send()
            .await
            .map(drop)
            .map_err(|error| failed("parameters", &error))
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

    async fn create_resources(
        &self,
        owner: &Environment,
        apps: impl Iterator<Item = App>,
    ) -> Result<(), ProvisionError> {
        for app in apps {
            match app {
                App::Producer => {}
                App::Consumer => self.create_queue_and_table(owner).await?,
                App::Payments => self.create_payments_table(owner).await?,
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

    /// Creates the table of payments; its idempotency keys expire.
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
            // DynamoDB refuses the call if the time to live is enabled already.
            Err(error) if error.code() == Some("ValidationException") => Ok(()),
            Err(error) => Err(failed(&name, &error)),
        }
    }

    /// Creates a table of tenants' items, with an index that projects all attributes.
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
            Ok(_) => self.enable_recovery(name).await,
            Err(error) if error.code() == Some("ResourceInUseException") => Ok(()),
            Err(error) => Err(failed(name, &error)),
        }
    }

    async fn enable_recovery(&self, table: &str) -> Result<(), ProvisionError> {
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

    /// Writes the tenant's parameters, except its status; a tenant of a pool has the pool's ARNs. The generation comes first,
    /// so that no service sees a new owner as an earlier one.
    pub(crate) async fn register(
        &self,
        tenant: &TenantSpec,
        tier: Tier,
    ) -> Result<(), ProvisionError> {
        let id = tenant.id.as_str();
        let generation = format!("/{id}/generation");
        match tenant.generation.and_then(Generation::number) {
            Some(number) => self.put(&generation, &number).await?,
            None => self.delete_parameters(vec![generation]).await?,
        }
        for app in WITH_DATA {
            if let Some(owner) = tenant.environment_of(app) {
                self.put_home(id, app, owner).await?;
            }
        }
        self.put(&format!("/{id}/tier"), tier.as_str()).await?;
        self.put(&format!("{TENANTS_PATH}/{id}"), tier.as_str())
            .await
    }

    /// Writes the tenant's status, and its entry in the list of tenants that are not active.
    pub(crate) async fn put_status(
        &self,
        tenant: &TenantId,
        status: Status,
    ) -> Result<(), ProvisionError> {
        let entry = format!("{REFUSED_PATH}/{tenant}");
        self.put_status_in_move(tenant, status).await?;
        if status == Status::Active {
            self.delete_parameters(vec![entry]).await
        } else {
            self.put(&entry, status.as_str()).await
        }
    }

    /// Writes the tenant's status alone: a move has an entry of its own in the list.
    pub(crate) async fn put_status_in_move(
        &self,
        tenant: &TenantId,
        status: Status,
    ) -> Result<(), ProvisionError> {
        self.put(&format!("/{tenant}/status"), status.as_str())
            .await
    }

    /// Writes the parameters of a tenant or environment that name the resources of an owner's app.
    async fn put_home(
        &self,
        holder: &str,
        app: App,
        owner: &Environment,
    ) -> Result<(), ProvisionError> {
        match app {
            App::Producer => Ok(()),
            App::Consumer => {
                // The queue decides where messages go, so it comes last.
                let table = table_arn(&resource_name(App::Consumer, owner));
                self.put(&format!("/{holder}/consumer_ddb"), &table).await?;
                self.put(
                    &format!("/{holder}/consumer_sqs"),
                    &consumer_queue_arn(owner),
                )
                .await
            }
            App::Payments => {
                let name = format!("/{holder}/{}", payments_table::PARAMETER);
                self.put(&name, &payments_arn(owner)).await
            }
        }
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

fn failed(resource: &str, error: &(dyn std::error::Error + 'static)) -> ProvisionError {
    ProvisionError {
        resource: resource.to_owned(),
        reason: DisplayErrorContext(error).to_string(),
    }
}
