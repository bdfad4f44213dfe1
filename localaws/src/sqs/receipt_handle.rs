//! Receipt handles: opaque to clients, self-describing to this endpoint.
//!
//! A handle names the queue, the message and the receive, under a checksum. It stays valid over a restart. The checksum
//! distinguishes a corrupt handle from a stale one; it is not a secret.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use md5::{Digest as _, Md5};

use super::{message::Seq, names::QueueId};

/// Bytes of the fields: version, queue, message, receive.
const FIELDS: usize = 1 + 8 + 8 + 4;
const CHECK: usize = 9;
/// First byte of every handle: the version of its layout.
const VERSION: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceiptHandle {
    pub(crate) queue: QueueId,
    pub(crate) seq: Seq,
    /// Number of the receive, from 1.
    pub(crate) receive: u32,
}

impl ReceiptHandle {
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

    /// Decodes a handle; `None` if it is not one of ours.
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
    fn a_handle_round_trips_and_a_corrupt_one_is_refused() {
        let handle = ReceiptHandle {
            queue: QueueId(7),
            seq: Seq(1 << 40),
            receive: 3,
        };
        let text = handle.encode();
        assert_eq!(ReceiptHandle::decode(&text), Some(handle));
        assert_eq!(ReceiptHandle::decode(""), None);
        assert_eq!(ReceiptHandle::decode("garbage"), None);
        let corrupt = if text.starts_with('B') {
            text.replacen('B', "C", 1)
        } else {
            text.replacen('A', "B", 1)
        };
        assert_eq!(ReceiptHandle::decode(&corrupt), None);
    }
}
