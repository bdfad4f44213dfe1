//! `handle`: one lifecycle message, from an argument instead of a queue.
//!
//! Argo's workflow already has the message, and calls one container step that ends with an exit code. The message is parsed and
//! applied as in the worker.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::arguments::Global;
use super::change;
use super::exit::{CliError, Exit};
use crate::message::{BadMessage, MessageKind};

/// The base64 of this body is 85 KiB; Linux takes 128 KiB per argument. The largest canary wave is 34 KiB.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Applies the message and prints the result.
pub(super) fn run(global: &Global, kind: MessageKind, base64: &str) -> Result<Exit, CliError> {
    let message = kind.parse(&body(base64)?)?;
    change::apply_and_print(global, &message.identified(global.request_id.clone()))
}

fn body(base64: &str) -> Result<String, BadMessage> {
    if base64.len() > base64::encoded_len(MAX_BODY_BYTES, true).unwrap_or(usize::MAX) {
        let message = format!("the message has more than {MAX_BODY_BYTES} bytes");
        return Err(BadMessage::Shape(message));
    }
    let bytes = BASE64_STANDARD.decode(base64).map_err(|error| {
        BadMessage::Shape(format!(
            "the message is not base64 with padding in one line (base64 -w 0): {error}"
        ))
    })?;
    String::from_utf8(bytes)
        .map_err(|error| BadMessage::Shape(format!("the message is not UTF-8: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_up_to_the_limit_is_decoded() {
        for text in ["", "{}", "ü\n", &"x".repeat(MAX_BODY_BYTES)] {
            assert_eq!(body(&BASE64_STANDARD.encode(text)).as_deref(), Ok(text));
        }
        let longer = BASE64_STANDARD.encode("x".repeat(MAX_BODY_BYTES + 3));
        assert!(
            body(&longer)
                .expect_err("too long")
                .to_string()
                .contains("65536 bytes")
        );
    }

    #[test]
    fn invalid_base64_is_an_error_with_a_position_and_never_repeated() {
        for (text, words) in [
            ("e30", "padding"),
            ("e30=\n", "offset 4"),
            ("e3 0=", "offset 2"),
            ("{\"tenant_id\":1}", "offset 0"),
            ("e-_=", "offset 1"),
            ("/w==", "UTF-8"),
        ] {
            let reason = body(text).expect_err(text).to_string();
            assert!(
                reason.contains(words) && !reason.chars().any(char::is_control),
                "{text:?}: {reason}"
            );
        }
    }
}
