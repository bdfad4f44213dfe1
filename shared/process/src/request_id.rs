//! The id of a request, in its answer and in the log.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// Request and response header of the id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id taken over from a client.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// The client's id where it is fit to be repeated in headers and logs, else a new one.
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_fit = |id: &&HeaderValue| {
        (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
            && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    headers
        .get(REQUEST_ID)
        .filter(is_fit)
        .cloned()
        .unwrap_or_else(|| {
            let mut text = Uuid::encode_buffer();
            let id = Uuid::now_v7().hyphenated().encode_lower(&mut text);
            HeaderValue::from_str(id).expect("a UUID is digits, letters and hyphens")
        })
}
