//! `handle`: one lifecycle message, from an argument instead of a queue.
//!
//! For whoever has the message already, as Argo's workflow does: one container step that ends with an exit code. What a
//! message means, and what becomes of it, is the worker's: the same parser, the same way to a commit.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::arguments::Global;
use super::change;
use super::exit::{CliError, Exit};
use crate::message::{BadMessage, Kind};

/// Longest body. Its base64 is 85 KiB, and Linux takes 128 KiB an argument; a canary wave of the most tenants is 34 KiB.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Carries the message out and tells what came of it.
pub(super) fn run(global: &Global, kind: Kind, base64: &str) -> Result<Exit, CliError> {
    let message = kind.parse(&body(base64)?)?;
    change::carry_out(global, &message.wanted(global.request_id.clone()))
}

/// The message's body.
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
    fn what_was_encoded_comes_out_up_to_the_bound() {
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
    fn what_is_no_base64_is_told_where_and_never_repeated() {
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
