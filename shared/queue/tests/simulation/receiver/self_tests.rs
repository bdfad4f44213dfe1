//! The receiver's judge notices what it is there for: traces of a sound run, each spoilt in one way; a handler that says
//! done of what it has not stored; a receiver that deletes first.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use tenantry_queue::receiver::Source;

use super::handler::{Lying, Scripted};
use super::judge::judge;
use super::{DEAD, SOURCE, Story};
use crate::seeds::{Scenario, in_virtual_time, play};
use crate::trace::{Decision, Event, Trace};
use crate::world::wire::Request;
use crate::world::{World, arn};

/// A run in which everything happens that a judge has an opinion of.
fn sound() -> (Story, Trace) {
    static SEED: OnceLock<u64> = OnceLock::new();
    play(*SEED.get_or_init(|| {
        (0..)
            .find(|seed| is_rich(&play(*seed)))
            .expect("there are seeds without end")
    }))
}

fn is_rich((story, trace): &(Story, Trace)) -> bool {
    let wanted: [fn(&Event) -> bool; 5] = [
        |event| matches!(event, Event::Put { queue, .. } if queue == DEAD),
        |event| matches!(event, Event::Visible { .. }),
        |event| matches!(event, Event::Idle),
        |event| is_decided(event, Decision::Retry),
        |event| is_decided(event, Decision::Done),
    ];
    story.terms.is_calm
        && story.terms.handler_takes > story.terms.limits.visibility * 2
        && wanted
            .iter()
            .all(|is_it| trace.0.iter().any(|(_, event)| is_it(event)))
}

fn is_decided(event: &Event, wanted: Decision) -> bool {
    matches!(event, Event::Decided { verdicts } if verdicts.iter().any(|(_, decision)| *decision == wanted))
}

/// Whether the spoilt trace is said to break this.
fn is_noticed(spoil: impl FnOnce(&mut Vec<(Duration, Event)>), complaint: &str) {
    let (story, mut trace) = sound();
    assert_eq!(story.judge(&trace), Vec::<String>::new(), "sound as it was");
    spoil(&mut trace.0);
    let broken = judge(&trace, &story.terms);
    assert!(
        broken.iter().any(|said| said.contains(complaint)),
        "{complaint:?} not among {broken:?}"
    );
}

fn first(events: &[(Duration, Event)], is_it: impl Fn(&Event) -> bool) -> usize {
    events
        .iter()
        .position(|(_, event)| is_it(event))
        .expect("it is in every sound run")
}

#[test]
fn the_judge_notices_a_delete_before_the_store() {
    is_noticed(
        |events| events.retain(|(_, event)| !matches!(event, Event::Stored { .. })),
        "deleted before it was stored",
    );
    is_noticed(
        |events| {
            events.retain(|(_, event)| !matches!(event, Event::Put { queue, .. } if queue == DEAD));
        },
        "neither stored nor set aside",
    );
    is_noticed(
        |events| {
            let at = first(events, |event| is_decided(event, Decision::Done));
            let Event::Decided { verdicts } = &mut events[at].1 else {
                unreachable!("just found")
            };
            verdicts
                .iter_mut()
                .for_each(|(_, decision)| *decision = Decision::Retry);
        },
        "deleted before it was stored",
    );
}

#[test]
fn the_judge_notices_a_handler_that_has_not_stored_what_it_calls_done() {
    let broken = played_by(async |world, story| {
        let client = world.client();
        let source = Source::find(&client, &arn(SOURCE))
            .await
            .expect("the weather is calm");
        let handler = Scripted::new(world, Arc::clone(&story.plans), Lying);
        story
            .receive(&client, &source, &handler, story.settle())
            .await;
    });
    assert!(
        broken
            .iter()
            .any(|said| said.contains("before it was stored")),
        "{broken:?}"
    );
}

#[test]
fn the_judge_notices_a_receiver_that_deletes_before_it_handles() {
    let broken = played_by(async |world, story| {
        world.note(Event::Started);
        tokio::time::timeout(Duration::from_secs(300), delete_first(&world, story))
            .await
            .expect_err("endless");
    });
    assert!(
        broken
            .iter()
            .any(|said| said.contains("before it was stored")),
        "{broken:?}"
    );
    assert!(
        broken
            .iter()
            .any(|said| said.contains("neither stored nor set aside")),
        "{broken:?}"
    );
}

/// What the judge says of a seed's story when somebody else plays the receiver.
fn played_by(receiver: impl AsyncFn(World, &Story)) -> Vec<String> {
    let (story, _) = sound();
    in_virtual_time(story.seed, async || {
        let story = Story::new(story.seed);
        tokio::join!(
            story.feed(),
            story.clear(),
            receiver(story.world.clone(), &story)
        );
        let trace = story.world.take_trace();
        judge(&trace, &story.terms)
    })
}

/// A receiver as it should not be.
async fn delete_first(world: &World, story: &Story) {
    let client = world.client();
    let source = Source::find(&client, &arn(SOURCE))
        .await
        .expect("the weather is calm");
    loop {
        let received = client
            .receive_message()
            .queue_url(&source.url)
            .visibility_timeout(
                i32::try_from(story.terms.limits.visibility.as_secs()).expect("small"),
            )
            .message_attribute_names("All")
            .send()
            .await
            .expect("the weather is calm");
        for message in received.messages.unwrap_or_default() {
            let handle = message.receipt_handle.unwrap_or_default();
            let entry = DeleteMessageBatchRequestEntry::builder()
                .id("0")
                .receipt_handle(&handle)
                .build()
                .expect("set");
            client
                .delete_message_batch()
                .queue_url(&source.url)
                .entries(entry)
                .send()
                .await
                .expect("calm");
            world.note(Event::Handling {
                handles: vec![handle],
            });
            world.note(Event::Stored {
                body: message.body.unwrap_or_default(),
            });
        }
        world.sleep(Duration::from_secs(1)).await;
    }
}

#[test]
fn the_judge_notices_a_lease_that_lapses() {
    is_noticed(
        |events| events.retain(|(_, event)| !matches!(event, Event::Visible { .. })),
        "its lease lapsed",
    );
}

#[test]
fn the_judge_notices_a_delivery_that_nobody_is_given() {
    is_noticed(
        |events| {
            let at = first(events, |event| matches!(event, Event::Handling { .. }));
            events.remove(at);
        },
        "neither handed over nor back",
    );
}

#[test]
fn the_judge_notices_a_receive_beyond_its_bounds() {
    let receive = |event: &Event| {
        matches!(
            event,
            Event::Called {
                request: Request::Receive { .. },
                ..
            }
        )
    };
    is_noticed(
        |events| {
            let at = first(events, receive);
            let Event::Called {
                request: Request::Receive { asked, .. },
                ..
            } = &mut events[at].1
            else {
                unreachable!("just found")
            };
            *asked = 1000;
        },
        "for more than may be in hand",
    );
    is_noticed(
        |events| {
            let (at, poll) = (
                first(events, |event| matches!(event, Event::Stopping)),
                first(events, receive),
            );
            let late = (events[at].0, events[poll].1.clone());
            events.insert(at + 1, late);
        },
        "after the stop",
    );
    is_noticed(
        |events| {
            let (at, poll) = (
                first(events, |event| matches!(event, Event::Idle)),
                first(events, receive),
            );
            let extra = (events[at].0, events[poll].1.clone());
            events.insert(at + 1, extra);
        },
        "though the queue is idle",
    );
}

#[test]
fn the_judge_notices_a_message_that_is_never_deleted_and_a_stop_that_takes_too_long() {
    is_noticed(
        |events| events.retain(|(_, event)| !matches!(event, Event::Deleted { .. })),
        "still in the queue",
    );
    is_noticed(
        |events| {
            let at = first(events, |event| matches!(event, Event::Stopped));
            events[at].0 += Duration::from_secs(3600);
        },
        "to stop",
    );
}
