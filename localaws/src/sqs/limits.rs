//! Limits of the queue service, each with its source.
//!
//! "AWS" means the SQS quotas page and the API reference; "ours" is a choice of this endpoint.

use std::ops::RangeInclusive;

/// The API counts in seconds, the core in milliseconds.
pub(crate) const MS_PER_S: u64 = 1_000;

/// Queue name length in characters (AWS).
pub(crate) const QUEUE_NAME_CHARS_MAX: usize = 80;
/// Entries per batch call (AWS).
pub(crate) const BATCH_ENTRIES_MAX: usize = 10;
/// Characters in a batch entry id (AWS).
pub(crate) const BATCH_ENTRY_ID_CHARS_MAX: usize = 80;
/// Bytes of one message with its attributes, and of a whole batch (AWS, since August 2025).
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1_048_576;
/// Attributes per message (AWS).
pub(crate) const MESSAGE_ATTRIBUTES_MAX: usize = 10;
/// Characters in an attribute name or data type (AWS).
pub(crate) const ATTRIBUTE_NAME_CHARS_MAX: usize = 256;
/// Characters in a message group id (AWS).
pub(crate) const GROUP_ID_CHARS_MAX: usize = 128;
/// Messages per receive (AWS).
pub(crate) const RECEIVE_MESSAGES: RangeInclusive<i64> = 1..=10;
/// Messages in flight per standard queue (AWS: approximate there, exact here).
pub(crate) const IN_FLIGHT_MAX: usize = 120_000;
/// Results per page of a listing (AWS).
pub(crate) const LIST_RESULTS: RangeInclusive<i64> = 1..=1_000;
/// Tags per queue (AWS).
pub(crate) const TAGS_MAX: usize = 50;
/// Characters in a tag key (AWS).
pub(crate) const TAG_KEY_CHARS_MAX: usize = 128;
/// Characters in a tag value (AWS).
pub(crate) const TAG_VALUE_CHARS_MAX: usize = 256;

/// Visibility timeout in seconds; the end is also the limit on the total of one receive (AWS).
pub(crate) const VISIBILITY_S: RangeInclusive<i64> = 0..=43_200;
/// Delivery delay in seconds (AWS).
pub(crate) const DELAY_S: RangeInclusive<i64> = 0..=900;
/// Long-poll wait in seconds (AWS).
pub(crate) const WAIT_S: RangeInclusive<i64> = 0..=20;
/// Retention in seconds (AWS).
pub(crate) const RETENTION_S: RangeInclusive<i64> = 60..=1_209_600;
/// `MaximumMessageSize` in bytes (AWS).
pub(crate) const MESSAGE_SIZE_BYTES: RangeInclusive<i64> = 1_024..=1_048_576;
/// `KmsDataKeyReusePeriodSeconds` (AWS).
pub(crate) const KMS_REUSE_S: RangeInclusive<i64> = 60..=86_400;
/// `maxReceiveCount` of a redrive policy (AWS).
pub(crate) const MAX_RECEIVES: RangeInclusive<i64> = 1..=1_000;
/// Source queues of a `byQueue` redrive permission (AWS).
pub(crate) const REDRIVE_SOURCES_MAX: usize = 10;
/// Time between two purges of a queue, in milliseconds (AWS).
pub(crate) const PURGE_INTERVAL_MS: u64 = 60 * MS_PER_S;
/// Messages that one receive may move to the dead-letter queue (ours). It bounds the time under the lock; the next
/// receive continues.
pub(crate) const REDRIVES_PER_RECEIVE_MAX: usize = 1_000;
/// Messages that a move task moves per transaction (ours).
pub(crate) const MOVE_CHUNK: usize = 250;
/// Move tasks listed per source queue (AWS).
pub(crate) const LISTED_MOVE_TASKS: RangeInclusive<i64> = 1..=10;
/// Messages per second of a move task (AWS).
pub(crate) const MOVE_RATE: RangeInclusive<i64> = 1..=500;
