//! The sender's judge notices what it is there for: traces of a sound run, each spoilt in one way.

use std::sync::OnceLock;
use std::time::Duration;

use super::Story;
use super::judge::judge;
use crate::seeds::{Scenario, play};
use crate::trace::{Event, Outcome, Trace};
use crate::world::wire::{Answer, Request};

/// A run in which much happens and something arrives.
fn sound() -> (Story, Trace) {
    static SEED: OnceLock<u64> = OnceLock::new();
    play(*SEED.get_or_init(|| {
        (0..)
            .find(|seed| is_rich(&play::<Story>(*seed).1))
            .expect("there are seeds without end")
    }))
}

fn is_rich(trace: &Trace) -> bool {
    let arrived = trace.0.iter().filter(|(_, event)| is_ok(event)).count();
    arrived > 10 && trace.0.iter().any(|(_, event)| full_batch(event).is_some())
}

fn is_ok(event: &Event) -> bool {
    matches!(
        event,
        Event::Told {
            outcome: Outcome::Ok,
            ..
        }
    )
}

/// The entries of a batch with a few.
fn full_batch(event: &Event) -> Option<usize> {
    match event {
        Event::Called {
            request: Request::SendBatch { entries, .. },
            ..
        } => Some(entries.len()).filter(|count| *count > 5),
        _ => None,
    }
}

/// Whether the spoilt trace is said to break this.
fn is_noticed(spoil: impl FnOnce(&mut Vec<(Duration, Event)>), complaint: &str) {
    let (story, mut trace) = sound();
    assert_eq!(story.judge(&trace), Vec::<String>::new(), "sound as it was");
    spoil(&mut trace.0);
    let broken = judge(&trace, &story.limits);
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
fn the_judge_notices_an_answer_that_is_missing_or_given_twice() {
    is_noticed(
        |events| {
            let at = first(events, is_ok);
            events.remove(at);
        },
        "never answered",
    );
    is_noticed(
        |events| {
            let again = events[first(events, is_ok)].clone();
            events.push(again);
        },
        "answered twice",
    );
}

#[test]
fn the_judge_notices_an_answer_that_is_late_or_untrue() {
    is_noticed(
        |events| {
            let at = first(events, is_ok);
            events[at].0 += Duration::from_secs(3600);
        },
        "answered after its deadline",
    );
    is_noticed(
        |events| events.retain(|(_, event)| !matches!(event, Event::Put { .. })),
        "not in the queue",
    );
    is_noticed(
        |events| {
            let at = first(events, is_ok);
            if let Event::Told { outcome, .. } = &mut events[at].1 {
                *outcome = Outcome::Full;
            }
        },
        "it had been accepted",
    );
}

#[test]
fn the_judge_notices_a_batch_that_sqs_would_not_take() {
    let spoil = |change: fn(&mut Vec<crate::world::queue::Entry>)| {
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
    is_noticed(spoil(|entries| entries.extend(entries.clone())), "entries");
    is_noticed(
        spoil(|entries| entries[0].body = format!("{}{}", entries[0].body, "x".repeat(2_000_000))),
        "bytes",
    );
    is_noticed(
        spoil(|entries| entries[1].id = entries[0].id.clone()),
        "equal ids",
    );
    is_noticed(
        spoil(|entries| entries[1].id = "a b".to_owned()),
        "malformed id",
    );
    is_noticed(
        spoil(|entries| entries[1].body += "?"),
        "not what was offered",
    );
}

#[test]
fn the_judge_notices_what_is_sent_again_without_need() {
    is_noticed(
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
fn the_judge_notices_a_lone_message_that_waits() {
    is_noticed(
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
fn the_judge_notices_a_drain_that_does_not_end() {
    is_noticed(
        |events| events.retain(|(_, event)| !matches!(event, Event::Drained)),
        "never ended",
    );
    is_noticed(
        |events| {
            let at = first(events, |event| matches!(event, Event::Drained));
            events[at].0 += Duration::from_secs(100);
        },
        "the drain took",
    );
}
