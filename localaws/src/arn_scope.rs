//! Region and account of the endpoint, as its ARNs and URLs name them.

use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) struct ArnScope {
    pub(crate) region: Arc<str>,
    /// Twelve digits.
    pub(crate) account_id: Arc<str>,
}

impl ArnScope {
    /// Returns the start of every ARN of a service, up to the resource: `arn:aws:sqs:us-east-1:000000000000:`.
    pub(crate) fn prefix(&self, service: &str) -> String {
        format!("arn:aws:{service}:{}:{}:", self.region, self.account_id)
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self {
            region: "us-east-1".into(),
            account_id: "000000000000".into(),
        }
    }
}
