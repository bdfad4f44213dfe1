//! Faults and kills while events are in flight: every event with a 200 is stored once, and no event that could be stored is
//! dead-lettered.

mod ending;
mod endpoint;
mod traffic;

use std::collections::BTreeSet;

use kit::aws::{Depth, Resources};
use kit::world::World;

/// A short lease, so that the messages of a killed consumer are redelivered soon.
const SHORT_LEASE: (&str, &str) = ("VISIBILITY_SECONDS", "2");

/// The set of the ids, each of which must occur once.
fn once_each(ids: Vec<String>) -> BTreeSet<String> {
    let (count, set) = (ids.len(), BTreeSet::from_iter(ids));
    assert_eq!(set.len(), count, "no id was given to two events");
    set
}

/// Asserts that no message was dead-lettered and none is left.
async fn assert_all_consumed(world: &World, of: &Resources) {
    world.drained(of).await;
    assert_eq!(
        world.aws.depth(&of.dead_letters).await,
        Depth::EMPTY,
        "nothing is dead-lettered"
    );
}

/// Calls so far that write items.
async fn writes(world: &World) -> u64 {
    world.endpoint.calls().await.of("DynamoDB.BatchWriteItem")
}
