//! Fuzzing: mutated input for whatever reads what strangers send.
//!
//! A target is a test beside the code it is for. It is a function of bytes that asserts what must hold and names what
//! became of them, its *outcome*: an error's code, say. Every input of `fuzz/corpus/TARGET` is replayed, then mutations of
//! them are tried. One with an outcome not seen before joins those that are mutated: that is what leads the search, in
//! place of the coverage that other fuzzers measure with an instrumented build. An input that makes the target panic is
//! made small, kept in `fuzz/crashes/TARGET`, and replayed from then on.
//!
//! Variables: `FUZZ_INPUTS` (20,000 a target by default), `FUZZ_SECONDS` (instead: as many as fit in that time),
//! `FUZZ_SEED`, and `FUZZ_KEEP=1`, which adds inputs with a new outcome to the corpus.

mod corpus;
mod mutate;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use self::corpus::Corpus;
use self::mutate::Mutator;

/// Inputs of a target where nothing else is said.
const INPUTS: u64 = 20_000;
/// A slow target is tried on one of this many inputs.
pub const SLOW: u64 = 100;
/// Inputs that are mutated at most; those of the corpus always are.
const MAX_POOL: usize = 2_000;
/// Steps in which a crash is made small at most.
const MAX_SHRINKS: usize = 2_000;
/// Inputs between two looks at the clock.
const BETWEEN_LOOKS: u64 = 64;

/// How long a target is tried.
enum Budget {
    Inputs(u64),
    Time(Duration),
}

/// Tries a target on its corpus and on mutations of it; `tokens` are texts that mean something to it.
///
/// # Panics
/// Where the target does, or has no corpus.
pub fn fuzz(name: &str, tokens: &[&str], target: impl Fn(&[u8]) -> String) {
    fuzz_some(name, tokens, 1, target);
}

/// As [`fuzz`], for a target that takes milliseconds: a [`SLOW`]th of the inputs, or as many as fit in the time.
///
/// # Panics
/// As [`fuzz`].
pub fn fuzz_slow(name: &str, tokens: &[&str], target: impl Fn(&[u8]) -> String) {
    fuzz_some(name, tokens, SLOW, target);
}

fn fuzz_some(name: &str, tokens: &[&str], one_of: u64, target: impl Fn(&[u8]) -> String) {
    let seed = variable("FUZZ_SEED").unwrap_or(1);
    let budget = variable("FUZZ_SECONDS").map_or_else(
        || Budget::Inputs(variable("FUZZ_INPUTS").unwrap_or(INPUTS) / one_of),
        |seconds| Budget::Time(Duration::from_secs(seconds)),
    );
    let corpus = Corpus::of(name);
    let mut pool = corpus.inputs();
    assert!(!pool.is_empty(), "{name} has no corpus");
    let replayed = pool.len();
    let began = Instant::now();
    let mut outcomes: BTreeSet<String> =
        pool.iter().map(|input| run(&corpus, &target, input, seed)).collect();
    let known = outcomes.len();
    let mut mutator = Mutator::new(seed, tokens);
    let mut tried = 0;
    while budget.has_left(tried, began) {
        let input = mutator.mutate(&pool);
        let outcome = run(&corpus, &target, &input, seed);
        tried += 1;
        if !outcomes.contains(&outcome) {
            outcomes.insert(outcome);
            corpus.keep(&input);
            if pool.len() < MAX_POOL {
                pool.push(input);
            }
        }
    }
    say(&format!(
        "fuzz {name:<20} {tried:>9} inputs, {replayed:>3} of the corpus, {:>4} outcomes ({} new), 0 crashes, {:>5.1} s, seed {seed}",
        outcomes.len(),
        outcomes.len() - known,
        began.elapsed().as_secs_f64()
    ));
}

/// A message as an outcome: its words up to what it quotes, without numbers, so that alike ones are one.
pub fn outcome(message: &str) -> String {
    let words = message.split(['"', '`']).next().unwrap_or_default().chars();
    words.filter(|character| character.is_ascii_alphabetic() || *character == ' ').take(80).collect()
}

impl Budget {
    fn has_left(&self, tried: u64, began: Instant) -> bool {
        match self {
            Self::Inputs(inputs) => tried < *inputs,
            // The clock costs as much as a small target.
            Self::Time(time) => !tried.is_multiple_of(BETWEEN_LOOKS) || began.elapsed() < *time,
        }
    }
}

/// The outcome of an input. A crash is made small, kept and told.
fn run(corpus: &Corpus, target: &impl Fn(&[u8]) -> String, input: &[u8], seed: u64) -> String {
    let attempt = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| target(input)));
    let Err(reason) = attempt(input) else { return target(input) };
    let small = shrink(input, |input| attempt(input).is_err());
    let place = corpus.keep_crash(&small);
    say(&format!(
        "fuzz: a crash, kept in {} (seed {seed}): {:?}",
        place.display(),
        String::from_utf8_lossy(&small)
    ));
    std::panic::resume_unwind(reason)
}

/// The input without whatever it can do without and still crash.
fn shrink(input: &[u8], crashes: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let (mut small, mut steps) = (input.to_vec(), 0);
    let mut length = small.len() / 2;
    while length > 0 {
        let mut at = 0;
        while at < small.len() && steps < MAX_SHRINKS {
            let mut less = small.clone();
            less.drain(at..(at + length).min(small.len()));
            steps += 1;
            if crashes(&less) {
                small = less;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
    small
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")))
}

#[expect(clippy::print_stderr, reason = "figures of a test, and what explains its failure")]
fn say(line: &str) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_that_takes_several_mutations_is_found_and_made_small() {
        let mut outcomes = BTreeSet::new();
        let mut pool = vec![b"knock".to_vec()];
        let mut mutator = Mutator::new(7, &["open", "sesame"]);
        // Each word is an outcome, so the search gets from one to both.
        let target = |input: &[u8]| {
            let text = String::from_utf8_lossy(input).into_owned();
            (text.contains("open"), text.contains("sesame"))
        };
        let found = (0..100_000).find_map(|_| {
            let input = mutator.mutate(&pool);
            if outcomes.insert(target(&input)) {
                pool.push(input.clone());
            }
            (target(&input) == (true, true)).then_some(input)
        });
        let small = shrink(&found.expect("both words"), |input| target(input) == (true, true));
        assert_eq!(small.len(), "opensesame".len(), "{:?}", String::from_utf8_lossy(&small));
    }

    #[test]
    fn a_seed_tells_the_same_story_each_time_and_another_tells_another() {
        let story = |seed| {
            let mut mutator = Mutator::new(seed, &["token"]);
            let pool = [b"some input".to_vec(), b"other".to_vec()];
            (0..100).map(|_| mutator.mutate(&pool)).collect::<Vec<_>>()
        };
        assert_eq!(story(1), story(1));
        assert_ne!(story(1), story(2));
    }

    #[test]
    fn messages_that_differ_in_what_they_quote_are_one_outcome() {
        assert_eq!(outcome("line 3: wrong: \"a\" is"), outcome("line 41: wrong: \"b c\" was"));
        assert_ne!(outcome("line 3: wrong: \"a\""), outcome("line 3: missing: \"a\""));
    }
}
