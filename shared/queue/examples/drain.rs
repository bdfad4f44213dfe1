//! Prints the messages of a queue and deletes them, until Ctrl-C.
//!
//! Messages with an empty body move to the dead-letter queue. The SDK's variables select region, credentials and endpoint,
//! so any SQS endpoint works:
//!
//! ```sh
//! export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
//! export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:4566 # not for AWS itself
//! cargo run -p tenantry-queue --example drain -- arn:aws:sqs:us-east-1:000000000000:orders
//! ```

#![expect(clippy::print_stdout, reason = "an example reports to its user")]

use std::error::Error;

use tenantry_process::arn::QueueArn;
use tenantry_process::aws::AwsSettings;
use tenantry_process::health::Readiness;
use tenantry_process::metrics::Metrics;
use tenantry_process::run::shutdown_signal;
use tenantry_queue::message::Received;
use tenantry_queue::receiver::{Handler, Receiver, ReceiverLimits, SourceQueue, Verdict};

struct Print;

impl Handler for Print {
    async fn handle(&self, batch: &[Received]) -> Vec<Verdict> {
        batch.iter().map(print).collect()
    }
}

fn print(message: &Received) -> Verdict {
    if message.body.trim().is_empty() {
        return Verdict::DeadLetter("empty body".to_owned());
    }
    println!("delivery {}: {}", message.receive_count, message.body);
    Verdict::Done
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arn = std::env::args().nth(1).ok_or("usage: drain QUEUE_ARN")?;
    let queue: QueueArn = arn.parse()?;

    // The receiver retries by itself, so the SDK must not.
    let settings = AwsSettings::from_env().await?;
    let client = aws_sdk_sqs::Client::new(&settings.without_retries());
    let source = SourceQueue::find(&client, &queue).await?;

    let receiver = Receiver::new(
        client,
        source,
        Print,
        ReceiverLimits::default(),
        &Metrics::new("drain", "example"),
        Readiness::default().condition("queue"),
    );
    // After Ctrl-C, a drain takes up to the wait of one long poll.
    receiver.run(shutdown_signal()).await;
    Ok(())
}
