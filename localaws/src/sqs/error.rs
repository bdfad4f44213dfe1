//! Errors of queue calls: AWS's error codes, in the two spellings that its clients read.

use hyper::StatusCode;

use crate::{protocol::AwsError, store::StoreError};

/// A failed queue call. The text of a variant is the message for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SqsError {
    #[error("The specified queue does not exist.")]
    QueueDoesNotExist,
    #[error("A queue already exists with the same name and a different value for attribute {0}")]
    QueueNameExists(String),
    #[error("{0}")]
    InvalidAddress(String),
    #[error("Unknown Attribute {0}.")]
    InvalidAttributeName(String),
    #[error("{0}")]
    InvalidAttributeValue(String),
    #[error("{0}")]
    InvalidParameterValue(String),
    #[error("The request must contain the parameter {0}.")]
    MissingParameter(&'static str),
    #[error(
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to \
         #xFFFD | #x10000 to #x10FFFF"
    )]
    InvalidMessageContents,
    #[error("There should be at least one {0} in the request.")]
    EmptyBatchRequest(&'static str),
    #[error("Maximum number of entries per request are 10. You have sent {0}.")]
    TooManyEntriesInBatchRequest(usize),
    #[error("Id {0} repeated.")]
    BatchEntryIdsNotDistinct(String),
    #[error(
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 \
         letters long."
    )]
    InvalidBatchEntryId,
    #[error("Batch requests cannot be longer than 1048576 bytes. You have sent {0} bytes.")]
    BatchRequestTooLong(usize),
    #[error("The input receipt handle is invalid.")]
    ReceiptHandleIsInvalid,
    #[error("The specified message is not in flight.")]
    MessageNotInflight,
    #[error("Too many messages in flight: the queue's limit of 120000 is reached.")]
    OverLimit,
    #[error("Only one PurgeQueue operation on {0} is allowed every 60 seconds.")]
    PurgeQueueInProgress(String),
    #[error("{0}")]
    UnsupportedOperation(String),
    #[error("{0}")]
    ResourceNotFound(String),
    #[error("{0}")]
    Serialization(String),
    #[error("The action {0} is not valid for this endpoint.")]
    InvalidAction(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An injected fault; see `faults.rs`.
    #[error("injected fault")]
    Injected(String),
}

pub(crate) type SqsResult<T> = Result<T, SqsError>;

impl SqsError {
    /// Returns `InvalidParameterValue` with AWS's text for a parameter out of range.
    pub(crate) fn parameter(value: impl std::fmt::Display, name: &str, reason: &str) -> Self {
        Self::InvalidParameterValue(format!(
            "Value {value} for parameter {name} is invalid. Reason: {reason}"
        ))
    }

    /// Returns the name of the error in the API model.
    pub(crate) fn shape(&self) -> &str {
        match self {
            Self::QueueDoesNotExist => "QueueDoesNotExist",
            Self::QueueNameExists(_) => "QueueNameExists",
            Self::InvalidAddress(_) => "InvalidAddress",
            Self::InvalidAttributeName(_) => "InvalidAttributeName",
            Self::InvalidAttributeValue(_) => "InvalidAttributeValue",
            Self::InvalidParameterValue(_) => "InvalidParameterValue",
            Self::MissingParameter(_) => "MissingParameter",
            Self::InvalidMessageContents => "InvalidMessageContents",
            Self::EmptyBatchRequest(_) => "EmptyBatchRequest",
            Self::TooManyEntriesInBatchRequest(_) => "TooManyEntriesInBatchRequest",
            Self::BatchEntryIdsNotDistinct(_) => "BatchEntryIdsNotDistinct",
            Self::InvalidBatchEntryId => "InvalidBatchEntryId",
            Self::BatchRequestTooLong(_) => "BatchRequestTooLong",
            Self::ReceiptHandleIsInvalid => "ReceiptHandleIsInvalid",
            Self::MessageNotInflight => "MessageNotInflight",
            Self::OverLimit => "OverLimit",
            Self::PurgeQueueInProgress(_) => "PurgeQueueInProgress",
            Self::UnsupportedOperation(_) => "UnsupportedOperation",
            Self::ResourceNotFound(_) => "ResourceNotFoundException",
            Self::Serialization(_) => "SerializationException",
            Self::InvalidAction(_) => "InvalidAction",
            Self::Store(_) => "InternalFailure",
            Self::Injected(code) => code,
        }
    }

    /// Returns the code of the older Query protocol, which SDKs report: in the header `x-amzn-query-error`, and in the
    /// entries of a batch.
    pub(crate) fn query_code(&self) -> String {
        match self {
            Self::QueueDoesNotExist => "AWS.SimpleQueueService.NonExistentQueue".into(),
            Self::QueueNameExists(_) => "QueueAlreadyExists".into(),
            Self::EmptyBatchRequest(_)
            | Self::TooManyEntriesInBatchRequest(_)
            | Self::BatchEntryIdsNotDistinct(_)
            | Self::InvalidBatchEntryId
            | Self::BatchRequestTooLong(_)
            | Self::MessageNotInflight
            | Self::PurgeQueueInProgress(_)
            | Self::UnsupportedOperation(_) => format!("AWS.SimpleQueueService.{}", self.shape()),
            _ => self.shape().into(),
        }
    }

    /// Whether the client caused the error.
    pub(crate) fn sender_fault(&self) -> bool {
        !matches!(self, Self::Store(_) | Self::Injected(_))
    }
}

impl From<SqsError> for AwsError {
    fn from(error: SqsError) -> Self {
        let status = match error {
            SqsError::PurgeQueueInProgress(_) => StatusCode::FORBIDDEN,
            _ if error.sender_fault() => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.shape().to_owned(), error.to_string())
            .with_query_code(error.query_code())
    }
}
