//! Responses and errors in AWS JSON and in the XML of the Query protocol.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;

pub(crate) type Reply = Response<Full<Bytes>>;

/// Response header with the request id.
const REQUEST_ID: &str = "x-amzn-requestid";
/// Response header with the Query protocol's code of a JSON error; SDKs prefer it to the shape's name.
const QUERY_ERROR: &str = "x-amzn-query-error";

/// An error as an AWS service returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AwsError {
    status: StatusCode,
    shape: String,
    query_code: Option<String>,
    message: String,
}

impl AwsError {
    /// Creates an error; `shape` is its name in the API model.
    pub(crate) fn new(
        status: StatusCode,
        shape: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            shape: shape.into(),
            query_code: None,
            message: message.into(),
        }
    }

    /// Creates an error of the client's: status 400.
    pub(crate) fn bad_request(shape: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, shape, message)
    }

    /// Adds the code of this error in the Query protocol.
    pub(crate) fn with_query_code(mut self, code: impl Into<String>) -> Self {
        self.query_code = Some(code.into());
        self
    }

    #[cfg(test)]
    pub(crate) fn shape(&self) -> &str {
        &self.shape
    }

    /// Renders the error in a protocol.
    pub(crate) fn reply(&self, protocol: Protocol) -> Reply {
        match protocol {
            Protocol::Json {
                content_type,
                namespace,
            } => self.json_reply(content_type, namespace),
            Protocol::Query { namespace } => self.query_reply(namespace),
        }
    }

    /// The party that caused the error, in the words of the Query protocol.
    fn fault(&self) -> &'static str {
        if self.status.is_server_error() {
            "Receiver"
        } else {
            "Sender"
        }
    }

    fn json_reply(&self, content_type: &'static str, namespace: &str) -> Reply {
        let body = serde_json::json!({"__type": format!("{namespace}{}", self.shape), "message": self.message});
        let mut reply = raw(self.status, content_type, body.to_string());
        if let Some(code) = &self.query_code
            && let Ok(value) = HeaderValue::try_from(format!("{code};{}", self.fault()))
        {
            reply.headers_mut().insert(QUERY_ERROR, value);
        }
        reply
    }

    fn query_reply(&self, namespace: &str) -> Reply {
        let id = request_id();
        let body = format!(
            "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{}</Type><Code>{}</Code><Message>{}</Message>\
             </Error><RequestId>{id}</RequestId></ErrorResponse>",
            self.fault(),
            xml_text(&self.shape),
            xml_text(&self.message)
        );
        raw_with_id(self.status, "text/xml", body, &id)
    }
}

/// Protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Json {
        content_type: &'static str,
        /// Prefix of an error's shape.
        namespace: &'static str,
    },
    /// Form requests, XML responses.
    Query { namespace: &'static str },
}

pub(crate) const SQS: Protocol = Protocol::Json {
    content_type: "application/x-amz-json-1.0",
    namespace: "com.amazonaws.sqs#",
};
pub(crate) const SSM: Protocol = Protocol::Json {
    content_type: "application/x-amz-json-1.1",
    namespace: "",
};
/// DynamoDB, for the responses that are not dynoxide's.
pub(crate) const DYNAMODB: Protocol = Protocol::Json {
    content_type: "application/x-amz-json-1.0",
    namespace: "com.amazonaws.dynamodb.v20120810#",
};
pub(crate) const STS: Protocol = Protocol::Query {
    namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
};

/// Returns a successful response with a JSON body.
pub(crate) fn json(protocol: Protocol, body: &impl Serialize) -> Reply {
    let content_type = match protocol {
        Protocol::Json { content_type, .. } => content_type,
        Protocol::Query { .. } => "application/json",
    };
    let body = serde_json::to_vec(body).expect("responses are structs and string-keyed maps");
    raw(StatusCode::OK, content_type, body)
}

pub(crate) fn raw(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    raw_with_id(status, content_type, body, &request_id())
}

/// Returns a response whose body repeats the request id, as XML responses do.
pub(crate) fn raw_with_id(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
    id: &str,
) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let id = HeaderValue::from_str(id).expect("a UUID is a header value");
    headers.insert(REQUEST_ID, id);
    reply
}

/// Returns a new request id. It only names the request in logs, so a weak random source is enough.
pub(crate) fn request_id() -> String {
    uuid::Builder::from_random_bytes(fastrand::u128(..).to_le_bytes())
        .into_uuid()
        .to_string()
}

/// Escapes text for XML.
pub(crate) fn xml_text(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

pub(crate) fn now_ms() -> u64 {
    let elapsed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
