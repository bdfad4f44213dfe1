//! Errors of parameter calls, with AWS's error codes.

use hyper::StatusCode;

use crate::{protocol::AwsError, store::StoreError};

/// A failed parameter call. The text of a variant is the message for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SsmError {
    #[error("Parameter {0} not found.")]
    ParameterNotFound(String),
    #[error(
        "Systems Manager could not find version {version} of {name}. Verify the version and try again."
    )]
    ParameterVersionNotFound { name: String, version: String },
    #[error(
        "The parameter already exists. To overwrite this value, set the overwrite option in the request to true."
    )]
    ParameterAlreadyExists,
    #[error(
        "Parameter Store does not support changing a parameter's type; create a new parameter."
    )]
    HierarchyTypeMismatch,
    #[error(
        "You attempted to create a new version of {name} by calling the PutParameter API with the overwrite flag. \
         Version {version}, the oldest version, can't be deleted because it has a label associated with it. Move the \
         label to another version of the parameter, and try again."
    )]
    ParameterMaxVersionLimitExceeded { name: String, version: u64 },
    #[error(
        "A parameter version can have a maximum of {0} labels. Move one or more labels to another version and try again."
    )]
    ParameterVersionLabelLimitExceeded(usize),
    #[error("Parameter value, cannot be validated against allowedPattern: {0}")]
    PatternMismatch(String),
    #[error("The allowed pattern {0} is not a valid regular expression.")]
    InvalidAllowedPattern(String),
    #[error("The parameter type {0} is not supported.")]
    UnsupportedParameterType(String),
    #[error("A hierarchy can have a maximum of {0} levels.")]
    HierarchyLevelLimitExceeded(usize),
    #[error("No access to reserved parameter name: {0}.")]
    ReservedName(String),
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    InvalidFilterKey(String),
    #[error("{0}")]
    InvalidFilterOption(String),
    #[error("The specified token is not valid.")]
    InvalidNextToken,
    #[error("The resource type {0} is not valid here; only Parameter is.")]
    InvalidResourceType(String),
    #[error("The resource {0} does not exist.")]
    InvalidResourceId(String),
    #[error("A parameter can have at most {0} tags.")]
    TooManyTags(usize),
    #[error("{0}")]
    Serialization(String),
    #[error("This endpoint does not have the operation {0}.")]
    UnknownOperation(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(crate) type SsmResult<T> = Result<T, SsmError>;

impl SsmError {
    fn code(&self) -> &'static str {
        match self {
            Self::ParameterNotFound(_) => "ParameterNotFound",
            Self::ParameterVersionNotFound { .. } => "ParameterVersionNotFound",
            Self::ParameterAlreadyExists => "ParameterAlreadyExists",
            Self::HierarchyTypeMismatch => "HierarchyTypeMismatchException",
            Self::ParameterMaxVersionLimitExceeded { .. } => "ParameterMaxVersionLimitExceeded",
            Self::ParameterVersionLabelLimitExceeded(_) => "ParameterVersionLabelLimitExceeded",
            Self::PatternMismatch(_) => "ParameterPatternMismatchException",
            Self::InvalidAllowedPattern(_) => "InvalidAllowedPatternException",
            Self::UnsupportedParameterType(_) => "UnsupportedParameterType",
            Self::HierarchyLevelLimitExceeded(_) => "HierarchyLevelLimitExceededException",
            Self::ReservedName(_) => "AccessDeniedException",
            Self::Validation(_) => "ValidationException",
            Self::InvalidFilterKey(_) => "InvalidFilterKey",
            Self::InvalidFilterOption(_) => "InvalidFilterOption",
            Self::InvalidNextToken => "InvalidNextToken",
            Self::InvalidResourceType(_) => "InvalidResourceType",
            Self::InvalidResourceId(_) => "InvalidResourceId",
            Self::TooManyTags(_) => "TooManyTagsError",
            Self::Serialization(_) => "SerializationException",
            Self::UnknownOperation(_) => "UnknownOperationException",
            Self::Store(_) => "InternalServerError",
        }
    }
}

impl From<SsmError> for AwsError {
    fn from(error: SsmError) -> Self {
        let status = match error {
            SsmError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.code(), error.to_string())
    }
}
