//! The sender's checker detects violations: traces of a valid run, each with one injected fault.

use std::sync::OnceLock;
use std::time::Duration;

use super::SenderScenario;
use super::checker::check;
use crate::seeds::{Scenario, run_seed};
use crate::trace::{Event, Outcome, Trace};
use crate::world::protocol::{Answer, Request};

/// A valid run with full batches and many confirmed messages.
fn valid_run() -> (SenderScenario, Trace) {
    static SEED: OnceLock<u64> = OnceLock::new();
    run_seed(*SEED.get_or_init(|| {
        (0..)
            .find(|seed| is_rich(&run_seed::<SenderScenario>(*seed).1))
            .expect("seeds are unlimited")
    }))
}

fn is_rich(trace: &Trace) -> bool {
    let arrived = trace.0.iter().filter(|(_, event)| is_ok(event)).count();
    arrived > 10 && trace.0.iter().any(|(_, event)| full_batch(event).is_some())
}

fn is_ok(event: &Event) -> bool {
    matches!(
        event,
        Event::Returned {
            outcome: Outcome::Ok,
            ..
        }
    )
}

/// Number of entries of a batch, if there are more than five.
fn full_batch(event: &Event) -> Option<usize> {
    match event {
        Event::Called {
            request: Request::SendBatch { entries, .. },
            ..
        } => Some(entries.len()).filter(|count| *count > 5),
        _ => None,
    }
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
    let violations = check(&trace, &scenario.limits);
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
fn the_checker_detects_an_answer_that_is_missing_or_given_twice() {
    assert_detected(
        |events| {
            let at = first(events, is_ok);
            events.remove(at);
        },
        "never answered",
    );
    assert_detected(
        |events| {
            let again = events[first(events, is_ok)].clone();
            events.push(again);
        },
        "answered twice",
    );
}

#[test]
fn the_checker_detects_an_answer_that_is_late_or_untrue() {
    assert_detected(
        |events| {
            let at = first(events, is_ok);
            events[at].0 += Duration::from_secs(3600);
        },
        "answered after its deadline",
    );
    assert_detected(
        |events| events.retain(|(_, event)| !matches!(event, Event::Put { .. })),
        "not in the queue",
    );
    assert_detected(
        |events| {
            let at = first(events, is_ok);
            if let Event::Returned { outcome, .. } = &mut events[at].1 {
                *outcome = Outcome::Full;
            }
        },
        "it had been accepted",
    );
}

#[test]
fn the_checker_detects_a_batch_that_sqs_would_not_take() {
    let tamper = |change: fn(&mut Vec<crate::world::queue::Entry>)| {
        move |events: &mut Vec<(Duration, Event)>| {
            let at = first(events, |event| full_batch(event).is_some());
            if let Event::Called {
                request: Request::SendBatch { entries, .. },
                ..
            } = &mut events[at].1
            {
                change(entries);
            }
        }
    };
    assert_detected(tamper(|entries| entries.extend(entries.clone())), "entries");
    assert_detected(
        tamper(|entries| entries[0].body = format!("{}{}", entries[0].body, "x".repeat(2_000_000))),
        "bytes",
    );
    assert_detected(
        tamper(|entries| entries[1].id = entries[0].id.clone()),
        "equal ids",
    );
    assert_detected(
        tamper(|entries| entries[1].id = "a b".to_owned()),
        "malformed id",
    );
    assert_detected(
        tamper(|entries| entries[1].body += "?"),
        "differs from the offered message",
    );
}

#[test]
fn the_checker_detects_a_needless_retry() {
    assert_detected(
        |events| {
            let confirms = |event: &Event| {
                matches!(event, Event::Answered { answer: Answer::Batch(results), .. }
                    if results.iter().all(|(_, result)| result.is_ok()))
            };
            let at = first(events, confirms);
            let Event::Answered {
                call: confirmed, ..
            } = events[at].1
            else {
                unreachable!("just found")
            };
            let again = first(
                events,
                |event| matches!(event, Event::Called { call, .. } if *call == confirmed),
            );
            let (now, again) = (events[at].0, events[again].1.clone());
            events.insert(at + 1, (now, again));
        },
        "though it was confirmed",
    );
}

#[test]
fn the_checker_detects_a_lone_message_that_waits() {
    assert_detected(
        |events| {
            let at = first(events, |event| matches!(event, Event::Offered { .. }));
            events[at].0 = Duration::ZERO;
            for (now, _) in &mut events[at + 1..] {
                *now += Duration::from_millis(5);
            }
        },
        "a lone message waited",
    );
}

#[test]
fn the_checker_detects_a_drain_that_does_not_end() {
    assert_detected(
        |events| events.retain(|(_, event)| !matches!(event, Event::Drained)),
        "never ended",
    );
    assert_detected(
        |events| {
            let at = first(events, |event| matches!(event, Event::Drained));
            events[at].0 += Duration::from_secs(100);
        },
        "the drain took",
    );
}
