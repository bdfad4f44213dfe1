//! Receipt handles: opaque to clients, self-describing to us.
//!
//! A handle names the queue, the message and which receive it came from, under a checksum. It stays valid
//! over a restart. The checksum tells a mangled handle from a stale one; it is not a secret.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use md5::{Digest as _, Md5};

use super::{core::QueueId, message::Seq};

/// Bytes of the fields: version, queue, message, receive.
const FIELDS: usize = 1 + 8 + 8 + 4;
/// Bytes of the checksum.
const CHECK: usize = 9;
/// First byte of every handle, so that another layout can be told apart.
const VERSION: u8 = 1;

/// A parsed receipt handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    /// The queue it was received from.
    pub(crate) queue: QueueId,
    /// The message.
    pub(crate) seq: Seq,
    /// Which receive of the message, counted from 1.
    pub(crate) receive: u32,
}

impl Handle {
    /// The text a client gets.
    pub(crate) fn encode(self) -> String {
        let mut bytes = [0; FIELDS + CHECK];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.queue.0.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.seq.0.to_be_bytes());
        bytes[17..21].copy_from_slice(&self.receive.to_be_bytes());
        let check = checksum(&bytes[..FIELDS]);
        bytes[FIELDS..].copy_from_slice(&check);
        BASE64_STANDARD.encode(bytes)
    }

    /// Reads a handle back; `None` when it is not one of ours.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; FIELDS + CHECK] = BASE64_STANDARD.decode(text).ok()?.try_into().ok()?;
        let (fields, check) = bytes.split_at(FIELDS);
        if fields[0] != VERSION || check != checksum(fields) {
            return None;
        }
        Some(Self {
            queue: QueueId(u64::from_be_bytes(fields[1..9].try_into().ok()?)),
            seq: Seq(u64::from_be_bytes(fields[9..17].try_into().ok()?)),
            receive: u32::from_be_bytes(fields[17..21].try_into().ok()?),
        })
    }
}

fn checksum(fields: &[u8]) -> [u8; CHECK] {
    let digest = Md5::new()
        .chain_update(b"receipt handle")
        .chain_update(fields)
        .finalize();
    let mut check = [0; CHECK];
    check.copy_from_slice(&digest[..CHECK]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_round_trip_and_mangled_ones_are_refused() {
        let handle = Handle {
            queue: QueueId(7),
            seq: Seq(1 << 40),
            receive: 3,
        };
        let text = handle.encode();
        assert_eq!(Handle::decode(&text), Some(handle));
        assert_eq!(Handle::decode(""), None);
        assert_eq!(Handle::decode("garbage"), None);
        let mangled = if text.starts_with('B') {
            text.replacen('B', "C", 1)
        } else {
            text.replacen('A', "B", 1)
        };
        assert_eq!(Handle::decode(&mangled), None);
    }
}
