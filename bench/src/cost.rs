//! Costs of the counted calls at list prices.
//!
//! The prices are list prices of us-east-1 as this project assumes them, without free tiers and data transfer. Compare them
//! with the pages "Amazon SQS pricing" and "Amazon DynamoDB pricing" before you decide by them. Standard parameters of
//! Parameter Store are assumed to cost nothing at standard throughput: the public sample's lookup per request is limited by
//! rate (40 per second), not by price.

use crate::stub::Counts;

/// Price of a million requests to standard queues, in US dollars. SQS bills each started 64 KiB of a payload as a request;
/// the messages measured here are far smaller, so each call is one request.
const SQS_PER_MILLION_REQUESTS_USD: f64 = 0.40;
/// Price of a million write request units on demand, in US dollars. A unit writes an item of up to 1 KiB, in a batch or
/// alone.
const DYNAMODB_PER_MILLION_WRITE_UNITS_USD: f64 = 0.625;
/// Number of messages that a cost is for.
pub(crate) const MESSAGES: f64 = 1_000_000.0;

/// US dollars per million messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    /// SQS requests.
    pub(crate) sqs_usd: f64,
    /// Items written.
    pub(crate) dynamodb_usd: f64,
}

impl Cost {
    /// Returns the cost by the counts of a sending window and of a drain.
    pub(crate) fn of(sending: &Counts, consuming: &Counts) -> Self {
        let sends = sending.of_service("AmazonSQS.") as f64 / sending.sent as f64;
        let receives = consuming.of_service("AmazonSQS.") as f64 / consuming.deleted as f64;
        let writes = consuming.stored as f64 / consuming.deleted as f64;
        Self {
            sqs_usd: (sends + receives) * MESSAGES / 1e6 * SQS_PER_MILLION_REQUESTS_USD,
            dynamodb_usd: writes * MESSAGES / 1e6 * DYNAMODB_PER_MILLION_WRITE_UNITS_USD,
        }
    }

    pub(crate) fn total_usd(self) -> f64 {
        self.sqs_usd + self.dynamodb_usd
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn one_call_each_costs_two_point_one_requests_and_a_write() {
        let calls = |all: &[(&str, u64)]| {
            all.iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect()
        };
        let sending = Counts {
            calls: calls(&[
                ("AmazonSQS.SendMessage", 10),
                ("AmazonSSM.GetParameter", 10),
            ]),
            sent: 10,
            ..Counts::default()
        };
        let consuming = Counts {
            calls: calls(&[
                ("AmazonSQS.ReceiveMessage", 1),
                ("AmazonSQS.DeleteMessage", 10),
                ("DynamoDB_20120810.PutItem", 10),
            ]),
            deleted: 10,
            stored: 10,
            ..Counts::default()
        };
        let cost = Cost::of(&sending, &consuming);
        assert!(
            (cost.sqs_usd - 0.84).abs() < 1e-9 && (cost.dynamodb_usd - 0.625).abs() < 1e-9,
            "{cost:?}"
        );
        let _: BTreeMap<String, u64> = sending.calls;
    }
}
