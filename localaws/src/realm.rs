//! Where this endpoint pretends to be.

use std::sync::Arc;

/// What the endpoint's ARNs and URLs say.
#[derive(Clone, Debug)]
pub(crate) struct Realm {
    /// Region in ARNs.
    pub(crate) region: Arc<str>,
    /// Twelve-digit account in ARNs and queue URLs.
    pub(crate) account_id: Arc<str>,
}
