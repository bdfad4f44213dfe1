//! The services of one endpoint, and the state that its connections share.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    calls::Calls, dynamodb::DynamoDb, faults::Faults, hosts::AllowedHosts,
    leading_keys::LeadingKeys, principals::Principals, sqs::Sqs, ssm::Ssm, store::Store,
};

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) account_id: Arc<str>,
    pub(crate) addr: SocketAddr,
    pub(crate) allowed_hosts: AllowedHosts,
    pub(crate) calls: Calls,
    pub(crate) principals: Principals,
    pub(crate) faults: Arc<Faults>,
    pub(crate) leading_keys: LeadingKeys,
    pub(crate) sqs: Sqs,
    pub(crate) ssm: Ssm,
    pub(crate) dynamodb: DynamoDb,
    pub(crate) store: Store,
    /// `SenderId` of messages sent with the account's own credentials.
    pub(crate) root_id: Arc<str>,
}
