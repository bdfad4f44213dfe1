//! Decisions by a registration and their delay: refusals on every route, made-up ids, and new owners of an id.

mod freshness;
mod made_up_ids;
mod new_owner;

use kit::service::Service;
use kit::world::World;

/// The services of the pool and of both silos.
struct Services {
    pool: [Service; 3],
    silo: [Service; 3],
    /// Its producer and payments are the pool's.
    hybrid: Service,
}

impl Services {
    /// Starts them all with these variables.
    async fn start(world: &World, variables: &[(&str, &str)]) -> Self {
        let start = async |environment: &str| {
            [
                world.service("producer", environment, variables).await,
                world.service("consumer", environment, variables).await,
                world.service("payments", environment, variables).await,
            ]
        };
        Self {
            pool: start("pool-1").await,
            silo: start("tenant-1").await,
            hybrid: world.service("consumer", "tenant-3", variables).await,
        }
    }

    /// Producer, consumer and payments of a tenant.
    fn of(&self, tenant: &str) -> [&Service; 3] {
        match tenant {
            "tenant-1" => self.silo.each_ref(),
            "tenant-3" => [&self.pool[0], &self.hybrid, &self.pool[2]],
            _ => self.pool.each_ref(),
        }
    }
}
