//! The stored messages and their times, from the consumer's log.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::ChildStdout;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{NOISY, QUIET};

/// The stored messages that the log has shown so far. Clones share the same state.
#[derive(Clone, Default)]
pub(super) struct Stored(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    noisy: u64,
    quiet: HashMap<String, DateTime<Utc>>,
}

/// The fields of a log line that this module uses.
#[derive(Deserialize)]
struct Line {
    timestamp: String,
    message: String,
    message_id: String,
}

impl Stored {
    /// Follows a log until it ends, on a thread of its own: a full pipe would stop the consumer.
    pub(super) fn follow(log: ChildStdout) -> Self {
        let stored = Self::default();
        let reader = stored.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                reader.record(&line);
            }
        });
        stored
    }

    /// Returns the number of stored messages of the noisy tenant.
    pub(super) fn noisy(&self) -> u64 {
        self.lock().noisy
    }

    /// Returns the time at which a message of the quiet tenant was stored, or none if it is not stored yet.
    pub(super) fn time_of(&self, id: &str) -> Option<DateTime<Utc>> {
        self.lock().quiet.get(id).copied()
    }

    fn record(&self, line: &str) {
        if !line.contains("\"event stored\"") {
            return;
        }
        // The flood is only counted: parsing its lines would take processor time from the measurement.
        if line.contains(&format!("\"{NOISY}\"")) {
            self.lock().noisy += 1;
        } else if line.contains(&format!("\"{QUIET}\""))
            && let Ok(Line {
                timestamp,
                message,
                message_id,
            }) = serde_json::from_str::<Line>(line)
            && message == "event stored"
            && let Ok(time) = DateTime::parse_from_rfc3339(&timestamp)
        {
            self.lock().quiet.insert(message_id, time.to_utc());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flood_is_counted_and_the_quiet_tenant_is_timed() {
        let stored = Stored::default();
        for tenant in [NOISY, NOISY, QUIET] {
            stored.record(&format!(
                r#"{{"timestamp":"2026-11-23T04:00:00.123456Z","level":"INFO","message":"event stored","tenant_id":"{tenant}","message_id":"m"}}"#
            ));
        }
        stored.record(r#"{"message":"receiving"}"#);
        assert_eq!(stored.noisy(), 2);
        assert_eq!(
            stored
                .time_of("m")
                .map(|time| time.timestamp_subsec_micros()),
            Some(123_456)
        );
        assert_eq!(stored.time_of("n"), None);
    }
}
