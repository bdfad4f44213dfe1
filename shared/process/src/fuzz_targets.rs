//! Fuzz target: ARNs.

use std::fmt::Display;
use std::str::FromStr;

use bolero::check;

use crate::arn::{QueueArn, TableArn};

/// Generated inputs of each target in each test run, beside the kept ones.
const GENERATED: usize = 20_000;

/// Parses a text of a stranger, which it has to be able to print again as it was.
fn parse<T: FromStr<Err: Display> + Display>(input: &[u8]) -> Option<T> {
    let text = String::from_utf8_lossy(input);
    match text.parse::<T>() {
        Ok(parsed) => {
            assert_eq!(parsed.to_string(), text, "printed as it was parsed");
            Some(parsed)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a reason");
            None
        }
    }
}

#[test]
fn an_arn_names_one_queue_or_one_table() {
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
                (Some(_), Some(_)) => panic!("it cannot be both"),
            },
        );
}
