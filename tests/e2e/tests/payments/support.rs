//! An endpoint with the sample tenants and their payments tables, as an installation creates them.

use kit::aws::Resources;
use kit::endpoint::Endpoint;
use kit::http::{Answer, Request};
use kit::service::Service;
use kit::wait::{PATIENCE, until};
use kit::world::World;
use serde_json::{Value, json};

use crate::audit::{Events, Ledger};

/// A short interval, so that the outbox of a crashed service is swept soon.
pub(crate) const SWEEP_SOON: (&str, &str) = ("OUTBOX_SWEEP_SECONDS", "1");

/// The sample tenants with payments: tenant-2 (basic) and tenant-3 (advanced) in the pool, tenant-1 (premium) in its silo.
pub(crate) struct Bank {
    pub(crate) world: World,
    pub(crate) pool: String,
    pub(crate) silo: String,
}

impl Bank {
    pub(crate) async fn open() -> Self {
        Self::over(Endpoint::ephemeral().await).await
    }

    pub(crate) async fn over(endpoint: Endpoint) -> Self {
        let world = World::over(endpoint).await;
        let (pool, silo) = (world.payments.clone(), world.silo_payments.clone());
        Self { world, pool, silo }
    }

    /// Starts the pool's payments with a short sweep interval.
    pub(crate) async fn payments(&self) -> Service {
        self.world
            .service("payments", "pool-1", &[SWEEP_SOON])
            .await
    }

    /// Starts the consumers of the pool and of tenant-3.
    pub(crate) async fn consumers(&self) -> [Service; 2] {
        let lease = [("VISIBILITY_SECONDS", "2")];
        [
            self.world.service("consumer", "pool-1", &lease).await,
            self.world.service("consumer", "tenant-3", &lease).await,
        ]
    }

    /// Waits until the pool's outbox is empty and every event is stored, then compares the ledger with the consumers' tables.
    pub(crate) async fn audited(&self) -> Ledger {
        let aws = &self.world.aws;
        until("the outbox is empty", 2 * PATIENCE, async || {
            self.outbox().await.is_empty()
        })
        .await;
        for of in [&self.world.pool, &self.world.hybrid] {
            self.world.drained(of).await;
            assert_eq!(
                aws.depth(&of.dead_letters).await.visible,
                0,
                "nothing is dead-lettered"
            );
        }
        let ledger = Ledger::read(&aws.scan(&self.pool).await);
        let stored = [
            self.events(&self.world.pool).await,
            self.events(&self.world.hybrid).await,
        ];
        ledger.check(&stored.concat());
        ledger
    }

    /// Events that consumers stored in a table: tenant, table and payload of each.
    pub(crate) async fn events(&self, of: &Resources) -> Events {
        let items = self.world.aws.items(of).await;
        let event = |item: &kit::aws::Item| {
            let payload = serde_json::from_str(&item["payload"]).expect("an event is JSON");
            (item["tenant_id"].clone(), of.table.clone(), payload)
        };
        items.iter().map(event).collect()
    }

    /// The entries of the pool's outbox.
    pub(crate) async fn outbox(&self) -> Vec<Value> {
        let items = self.world.aws.scan(&self.pool).await;
        items
            .into_iter()
            .filter(|item| text(item, "sk").starts_with("outbox#"))
            .collect()
    }
}

/// `POST /payments/charges` with a key.
pub(crate) fn charge(tenant: &str, key: &str, body: &Value) -> Request {
    Request::new("POST", "/payments/charges")
        .tenant(tenant)
        .key(key)
        .body(body.to_string())
}

pub(crate) fn euros(amount: u64) -> Value {
    json!({"amount": amount, "currency": "EUR", "reference": "order-7", "metadata": {"shop": "north"}})
}

/// Whether the answer repeats that of an earlier request.
pub(crate) fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == Some("true")
}

/// A text of an item.
pub(crate) fn text<'a>(item: &'a Value, name: &str) -> &'a str {
    item[name].as_str().unwrap_or_default()
}
