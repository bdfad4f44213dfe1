//! Fuzz target: ARNs.

use std::fmt::Display;
use std::str::FromStr;

use bolero::check;

use crate::arn::{QueueArn, TableArn};

/// Generated inputs per test run, in addition to the corpus.
const GENERATED: usize = 20_000;

/// Parses untrusted text; an accepted text must print unchanged, a refusal must have a reason.
fn parse<T: FromStr<Err: Display> + Display>(input: &[u8]) -> Option<T> {
    let text = String::from_utf8_lossy(input);
    match text.parse::<T>() {
        Ok(parsed) => {
            assert_eq!(parsed.to_string(), text, "printed unchanged");
            Some(parsed)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a reason");
            None
        }
    }
}

#[test]
fn an_arn_names_at_most_one_of_queue_and_table() {
    check!(name = "arn")
        .with_iterations(GENERATED)
        .for_each(
            |input: &[u8]| match (parse::<QueueArn>(input), parse::<TableArn>(input)) {
                (Some(queue), None) => {
                    assert!(!queue.name().is_empty() && !queue.account().is_empty());
                    assert!(queue.as_str().ends_with(&format!(
                        ":{}:{}",
                        queue.account(),
                        queue.name()
                    )));
                }
                (None, Some(table)) => {
                    assert!(
                        table
                            .as_str()
                            .ends_with(&format!(":table/{}", table.name()))
                            && !table.name().contains('/')
                    );
                }
                (None, None) => {}
                (Some(_), Some(_)) => panic!("both a queue and a table"),
            },
        );
}
