//! Things that break while events are on their way: whatever a client got a 200 for is stored once, and nothing is set
//! aside that could have been stored.

mod ending;
mod endpoint;
mod traffic;

use std::collections::BTreeSet;

use kit::aws::{Depth, Resources};
use kit::world::World;

/// So that what a killed consumer had in hand comes back soon.
const SHORT_LEASE: (&str, &str) = ("VISIBILITY_SECONDS", "2");

/// The set of the ids, each of which must have come once.
fn once_each(ids: Vec<String>) -> BTreeSet<String> {
    let (count, set) = (ids.len(), BTreeSet::from_iter(ids));
    assert_eq!(set.len(), count, "no id was given to two events");
    set
}

/// Nothing was set aside, and nothing is left.
async fn assert_all_consumed(world: &World, of: &Resources) {
    world.drained(of).await;
    assert_eq!(
        world.aws.depth(&of.dead_letters).await,
        Depth::EMPTY,
        "nothing is set aside"
    );
}

/// Calls so far that were to store something.
async fn writes(world: &World) -> u64 {
    world.endpoint.calls().await.of("DynamoDB.BatchWriteItem")
}
