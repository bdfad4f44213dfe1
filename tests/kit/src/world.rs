//! The sample tenants over an endpoint, as an installation creates them; each test adds the services it needs.

use crate::aws::{Aws, Depth, Resources};
use crate::endpoint::Endpoint;
use crate::service::Service;
use crate::wait::{PATIENCE, until};

/// An endpoint with the sample tenants: tenant-1 premium, tenant-2 basic, tenant-3 advanced, and tenant-4, a second
/// basic tenant.
pub struct World {
    pub endpoint: Endpoint,
    pub aws: Aws,
    /// Resources of the pool, for tenant-2 and tenant-4.
    pub pool: Resources,
    /// Resources of the silo of tenant-1.
    pub silo: Resources,
    /// Resources of the consumer of tenant-3.
    pub hybrid: Resources,
    /// The pool's payments table, for tenant-2, tenant-3 and tenant-4; tenant-4 has no parameter for it.
    pub payments: String,
    /// The payments table of tenant-1's silo.
    pub silo_payments: String,
}

impl World {
    /// Over an endpoint that keeps its data in memory.
    pub async fn new() -> Self {
        Self::over(Endpoint::ephemeral().await).await
    }

    pub async fn over(endpoint: Endpoint) -> Self {
        let aws = endpoint.aws();
        let pool = aws.create("pool-1").await;
        let silo = aws.create("tenant-1").await;
        let hybrid = aws.create("tenant-3").await;
        aws.point("pool-1", &pool).await;
        for (tenant, tier, resources) in [
            ("tenant-1", "premium", &silo),
            ("tenant-2", "basic", &pool),
            ("tenant-3", "advanced", &hybrid),
            ("tenant-4", "basic", &pool),
        ] {
            aws.register(tenant, tier, resources).await;
        }
        let payments = aws.create_payments("pool-1").await;
        let silo_payments = aws.create_payments("tenant-1").await;
        for holder in ["pool-1", "tenant-2", "tenant-3"] {
            aws.point_payments(holder, &payments).await;
        }
        aws.point_payments("tenant-1", &silo_payments).await;
        Self {
            endpoint,
            aws,
            pool,
            silo,
            hybrid,
            payments,
            silo_payments,
        }
    }

    /// Starts a service with further variables and waits until it is ready.
    pub async fn service(
        &self,
        name: &str,
        environment: &str,
        variables: &[(&str, &str)],
    ) -> Service {
        Service::start(name, environment, &self.endpoint.url(), variables)
            .await
            .ready()
            .await
    }

    /// Starts the pool's producer.
    pub async fn producer(&self) -> Service {
        self.service("producer", "pool-1", &[]).await
    }

    /// Starts the pool's consumer.
    pub async fn consumer(&self) -> Service {
        self.service("consumer", "pool-1", &[]).await
    }

    /// Waits until exactly this many items are stored and their messages deleted.
    pub async fn stored(&self, count: usize, of: &Resources) {
        until(
            &format!("{count} items in {}", of.table),
            PATIENCE,
            async || self.aws.items(of).await.len() >= count,
        )
        .await;
        self.drained(of).await;
        assert_eq!(
            self.aws.items(of).await.len(),
            count,
            "items in {}",
            of.table
        );
    }

    /// Waits until the queue is empty and nothing is in flight.
    pub async fn drained(&self, of: &Resources) {
        until(&format!("{} is empty", of.queue), PATIENCE, async || {
            self.aws.depth(&of.queue).await == Depth::EMPTY
        })
        .await;
    }
}
