//! Look-up of a queue's URL by its ARN: configuration holds ARNs, and SQS calls take URLs.

use tenantry_process::arn::QueueArn;
use tenantry_process::retry::{Failure, classify};

/// Looks up a queue's URL with one call.
pub(crate) async fn queue_url(
    client: &aws_sdk_sqs::Client,
    queue: &QueueArn,
) -> Result<String, Failure> {
    let request = client
        .get_queue_url()
        .queue_name(queue.name())
        .queue_owner_aws_account_id(queue.account());
    let found = request.send().await.map_err(|error| classify(&error))?;
    found.queue_url.ok_or_else(|| Failure {
        code: "NoQueueUrl".to_owned(),
        transient: true,
        reason: "the response has no URL".to_owned(),
    })
}
