//! Sends 100 messages to a queue from as many tasks. The tasks share SendMessageBatch calls.
//!
//! The SDK's variables select region, credentials and endpoint, so any SQS endpoint works:
//!
//! ```sh
//! export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
//! export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:4566 # not for AWS itself
//! cargo run -p tenantry-queue --example send -- arn:aws:sqs:us-east-1:000000000000:orders
//! ```

#![expect(clippy::print_stdout, reason = "an example reports to its user")]

use std::error::Error;

use tenantry_process::arn::QueueArn;
use tenantry_process::aws::AwsSettings;
use tenantry_process::metrics::Metrics;
use tenantry_queue::message::Outgoing;
use tenantry_queue::sender::{Sender, SenderLimits};
use tokio::task::JoinSet;

const MESSAGES: usize = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arn = std::env::args().nth(1).ok_or("usage: send QUEUE_ARN")?;
    let queue: QueueArn = arn.parse()?;

    // The sender retries single entries by itself, so the SDK must not retry whole calls.
    let settings = AwsSettings::from_env().await?;
    let client = aws_sdk_sqs::Client::new(&settings.without_retries());
    let metrics = Metrics::new("send", "example");
    let sender = Sender::new(client, SenderLimits::default(), &metrics);

    let mut sends = JoinSet::new();
    for number in 0..MESSAGES {
        let (sender, queue) = (sender.clone(), queue.clone());
        sends.spawn(async move {
            let body = format!(r#"{{"order":{number}}}"#);
            let mut message = Outgoing::new(body, format!("customer-{}", number % 3));
            message.attribute("message_id", format!("order-{number}"));
            sender.send(&queue, message).await
        });
    }
    for outcome in sends.join_all().await {
        outcome?;
    }
    sender.drain().await;

    println!("{MESSAGES} messages confirmed");
    print!("{}", metrics.render());
    Ok(())
}
