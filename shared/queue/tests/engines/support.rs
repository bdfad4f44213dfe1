//! An embedded endpoint in this process, and what the engine tests ask of it.

use kit::endpoint::Controls;
use kit::wait::PATIENCE;
use tenantry_process::arn::QueueArn;
use tenantry_process::aws::AwsSettings;

pub(crate) struct Aws {
    pub(crate) endpoint: localaws::Endpoint,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) controls: Controls,
    kit: kit::aws::Aws,
}

impl Aws {
    pub(crate) async fn start() -> Self {
        let endpoint = localaws::start(localaws::Config::ephemeral())
            .await
            .unwrap();
        let settings = AwsSettings::for_endpoint(&endpoint.url(), "us-east-1");
        Self {
            sqs: aws_sdk_sqs::Client::new(&settings.without_retries()),
            controls: Controls::of(endpoint.addr()),
            kit: kit::aws::Aws::of(&endpoint.url()),
            endpoint,
        }
    }

    /// A queue with a dead-letter queue.
    pub(crate) async fn queue(&self, name: &str) -> QueueArn {
        self.kit.create_queue(name).await;
        arn(name)
    }

    /// Messages in the queue: waiting and leased.
    pub(crate) async fn count(&self, name: &str) -> (u64, u64) {
        let url = format!("{}/000000000000/{name}", self.endpoint.url());
        let depth = self.kit.depth(&url).await;
        (depth.visible, depth.in_flight)
    }

    /// Injects faults from now on.
    pub(crate) async fn faults(&self, rules: &str) {
        self.controls
            .inject(serde_json::from_str(rules).unwrap())
            .await;
    }
}

pub(crate) fn arn(name: &str) -> QueueArn {
    format!("arn:aws:sqs:us-east-1:000000000000:{name}")
        .parse()
        .unwrap()
}

/// Ends once the condition holds.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFnMut() -> bool) {
    kit::wait::until(what, PATIENCE, condition).await;
}
