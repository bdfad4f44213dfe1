//! An AWS endpoint in one process: SQS, SSM and STS of its own over SQLite, DynamoDB by dynoxide.
//!
//! The AWS CLI, boto3 and the AWS SDKs use it unchanged on one loopback port. It promises AWS's answers and
//! error codes for the operations it has, answers a call only when its change is on disk, and loses
//! nothing to `kill -9`. It checks no signatures and enforces no policies unasked, so it must never be reachable by
//! anyone who may not read all of its data. It knows nothing of tenants.
//!
//! For testers it counts calls, tells who made them, injects faults and can keep sessions to their partition: see
//! `/_localaws/calls`, `/_localaws/principals`, `/_localaws/faults`, `/_localaws/leading-keys`, `/_localaws/health` and
//! `/_localaws/session`.

mod admin;
mod app;
mod calls;
mod dynamodb;
mod endpoint;
mod faults;
mod form;
mod leading_keys;
mod principals;
mod protocol;
mod realm;
mod server;
mod sqs;
mod ssm;
mod store;
mod sts;

pub use endpoint::{Config, Endpoint, StartError, Storage, start};
