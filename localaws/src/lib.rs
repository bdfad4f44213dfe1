//! An AWS endpoint in one process: SQS, SSM and STS of its own over SQLite, DynamoDB by dynoxide.
//!
//! The AWS CLI, boto3 and the AWS SDKs use it unchanged on one loopback port. For the operations it implements, it
//! returns AWS's responses and error codes. A call is answered only once its change is on disk, so `kill -9` loses
//! nothing. It knows nothing of tenants.
//!
//! It checks no signatures, and it enforces no policy unless a test sets one. Never expose it to a client that may not
//! read all of its data. It refuses requests that a web page of another site causes: see [`hosts`].
//!
//! For tests it counts calls per action and per session, injects faults, and can restrict sessions to their partition:
//! `/_localaws/calls`, `/_localaws/principals`, `/_localaws/faults`, `/_localaws/leading-keys`, `/_localaws/health` and
//! `/_localaws/session`. `/_localaws/messages/QUEUE/LIMIT` shows messages without receiving them.

mod admin;
mod app;
mod arn_scope;
mod calls;
mod dynamodb;
mod endpoint;
mod faults;
mod form;
pub mod hosts;
mod leading_keys;
mod principals;
pub mod private_files;
mod protocol;
mod server;
mod sqs;
mod ssm;
mod store;
mod sts;

pub use endpoint::{Config, Endpoint, StartError, Storage, start};
