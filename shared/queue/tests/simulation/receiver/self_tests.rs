//! The receiver's checker detects violations: traces of a valid run, each with one injected fault; a handler that returns
//! Done without storing; a receiver that deletes first.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use tenantry_queue::receiver::SourceQueue;

use super::checker::check;
use super::handler::{Scripted, StoresNothing};
use super::{DEAD, ReceiverScenario, SOURCE};
use crate::seeds::{Scenario, in_virtual_time, run_seed};
use crate::trace::{Decision, Event, Trace};
use crate::world::protocol::Request;
use crate::world::{World, arn};

/// A valid run with every kind of event that the checker checks.
fn valid_run() -> (ReceiverScenario, Trace) {
    static SEED: OnceLock<u64> = OnceLock::new();
    run_seed(*SEED.get_or_init(|| {
        (0..)
            .find(|seed| is_rich(&run_seed(*seed)))
            .expect("seeds are unlimited")
    }))
}

fn is_rich((scenario, trace): &(ReceiverScenario, Trace)) -> bool {
    let wanted: [fn(&Event) -> bool; 5] = [
        |event| matches!(event, Event::Put { queue, .. } if queue == DEAD),
        |event| matches!(event, Event::Visible { .. }),
        |event| matches!(event, Event::Idle),
        |event| is_decided(event, Decision::Retry),
        |event| is_decided(event, Decision::Done),
    ];
    scenario.terms.is_faultless
        && scenario.terms.handler_takes > scenario.terms.limits.visibility * 2
        && wanted
            .iter()
            .all(|is_wanted| trace.0.iter().any(|(_, event)| is_wanted(event)))
}

fn is_decided(event: &Event, wanted: Decision) -> bool {
    matches!(event, Event::Decided { verdicts } if verdicts.iter().any(|(_, decision)| *decision == wanted))
}

/// Tampers with the trace of a valid run; the checker must report this complaint.
fn assert_detected(tamper: impl FnOnce(&mut Vec<(Duration, Event)>), complaint: &str) {
    let (scenario, mut trace) = valid_run();
    assert_eq!(
        scenario.check(&trace),
        Vec::<String>::new(),
        "valid before the change"
    );
    tamper(&mut trace.0);
    let violations = check(&trace, &scenario.terms);
    assert!(
        violations.iter().any(|said| said.contains(complaint)),
        "{complaint:?} not among {violations:?}"
    );
}

fn first(events: &[(Duration, Event)], is_it: impl Fn(&Event) -> bool) -> usize {
    events
        .iter()
        .position(|(_, event)| is_it(event))
        .expect("every valid run has such an event")
}

#[test]
fn the_checker_detects_a_delete_before_the_store() {
    assert_detected(
        |events| events.retain(|(_, event)| !matches!(event, Event::Stored { .. })),
        "deleted before it was stored",
    );
    assert_detected(
        |events| {
            events.retain(|(_, event)| !matches!(event, Event::Put { queue, .. } if queue == DEAD));
        },
        "neither stored nor dead-lettered",
    );
    assert_detected(
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
fn the_checker_detects_a_handler_that_returns_done_without_storing() {
    let violations = violations_of(async |world, scenario| {
        let client = world.client();
        let source = SourceQueue::find(&client, &arn(SOURCE))
            .await
            .expect("no faults");
        let handler = Scripted::new(world, Arc::clone(&scenario.plans), StoresNothing);
        scenario
            .receive(&client, &source, &handler, scenario.settle())
            .await;
    });
    assert!(
        violations
            .iter()
            .any(|said| said.contains("before it was stored")),
        "{violations:?}"
    );
}

#[test]
fn the_checker_detects_a_receiver_that_deletes_before_it_handles() {
    let violations = violations_of(async |world, scenario| {
        world.note(Event::Started);
        tokio::time::timeout(Duration::from_secs(300), delete_first(&world, scenario))
            .await
            .expect_err("endless");
    });
    assert!(
        violations
            .iter()
            .any(|said| said.contains("before it was stored")),
        "{violations:?}"
    );
    assert!(
        violations
            .iter()
            .any(|said| said.contains("neither stored nor dead-lettered")),
        "{violations:?}"
    );
}

/// Returns the violations of another receiver in a seed's scenario.
fn violations_of(receiver: impl AsyncFn(World, &ReceiverScenario)) -> Vec<String> {
    let (scenario, _) = valid_run();
    in_virtual_time(scenario.seed, async || {
        let scenario = ReceiverScenario::new(scenario.seed);
        tokio::join!(
            scenario.feed(),
            scenario.end_faults(),
            receiver(scenario.world.clone(), &scenario)
        );
        let trace = scenario.world.take_trace();
        check(&trace, &scenario.terms)
    })
}

/// A receiver that deletes before it handles.
async fn delete_first(world: &World, scenario: &ReceiverScenario) {
    let client = world.client();
    let source = SourceQueue::find(&client, &arn(SOURCE))
        .await
        .expect("no faults");
    loop {
        let received = client
            .receive_message()
            .queue_url(&source.url)
            .visibility_timeout(
                i32::try_from(scenario.terms.limits.visibility.as_secs()).expect("small"),
            )
            .message_attribute_names("All")
            .send()
            .await
            .expect("no faults");
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
                .expect("no faults");
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
fn the_checker_detects_a_lease_that_lapses() {
    assert_detected(
        |events| events.retain(|(_, event)| !matches!(event, Event::Visible { .. })),
        "its lease lapsed",
    );
}

#[test]
fn the_checker_detects_a_delivery_without_a_handler() {
    assert_detected(
        |events| {
            let at = first(events, |event| matches!(event, Event::Handling { .. }));
            events.remove(at);
        },
        "neither handled nor released",
    );
}

#[test]
fn the_checker_detects_a_receive_beyond_its_bounds() {
    let receive = |event: &Event| {
        matches!(
            event,
            Event::Called {
                request: Request::Receive { .. },
                ..
            }
        )
    };
    assert_detected(
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
        "for more messages than may be unsettled",
    );
    assert_detected(
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
    assert_detected(
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
fn the_checker_detects_a_message_that_is_never_deleted_and_a_stop_that_takes_too_long() {
    assert_detected(
        |events| events.retain(|(_, event)| !matches!(event, Event::Deleted { .. })),
        "still in the queue",
    );
    assert_detected(
        |events| {
            let at = first(events, |event| matches!(event, Event::Stopped));
            events[at].0 += Duration::from_secs(3600);
        },
        "to stop",
    );
}
