//! Call counts per session, for tests that assert whose credentials an operation uses.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::Serialize;

use crate::{calls::Calls, sts::Session};

/// Sessions counted separately (ours); calls of further sessions count as the account's.
const PRINCIPALS_MAX: usize = 1_000;

/// Calls per session and action since the start or the last reset.
#[derive(Debug, Default)]
pub(crate) struct Principals {
    /// Calls with the account's own credentials: nearly all, so they skip the map.
    account: Calls,
    sessions: Mutex<BTreeMap<String, SessionCalls>>,
}

#[derive(Debug)]
struct SessionCalls {
    tags: BTreeMap<String, String>,
    calls: Calls,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PrincipalReport {
    /// ARN of the session; `None` for the account's own credentials.
    session: Option<String>,
    tags: BTreeMap<String, String>,
    calls: BTreeMap<String, u64>,
}

impl Principals {
    /// Counts one call of `action`.
    pub(crate) fn record(&self, session: Option<&Session>, action: &str) {
        let Some(session) = session else {
            return self.account.record(action);
        };
        let arn = session.arn();
        let mut sessions = self.sessions.lock();
        if sessions.len() >= PRINCIPALS_MAX && !sessions.contains_key(&arn) {
            return self.account.record(action);
        }
        let tags = || session.tags.iter().cloned().collect();
        sessions
            .entry(arn)
            .or_insert_with(|| SessionCalls {
                tags: tags(),
                calls: Calls::default(),
            })
            .calls
            .record(action);
    }

    /// Returns the account's counts, then those of each session.
    pub(crate) fn report(&self) -> Vec<PrincipalReport> {
        let account = PrincipalReport {
            session: None,
            tags: BTreeMap::new(),
            calls: self.account.snapshot(),
        };
        let sessions = self.sessions.lock();
        let reports = sessions.iter().map(|(arn, session)| PrincipalReport {
            session: Some(arn.clone()),
            tags: session.tags.clone(),
            calls: session.calls.snapshot(),
        });
        std::iter::once(account).chain(reports).collect()
    }

    pub(crate) fn reset(&self) {
        self.account.reset();
        self.sessions.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(name: &str) -> Session {
        Session {
            role_arn: "arn:aws:iam::000000000000:role/reader".into(),
            session_name: name.into(),
            tags: vec![("team".into(), "blue".into())],
            expires_ms: u64::MAX,
        }
    }

    #[test]
    fn each_session_has_its_own_counts_and_sessions_beyond_the_limit_count_as_the_account() {
        let principals = Principals::default();
        principals.record(None, "SQS.SendMessage");
        for n in 0..PRINCIPALS_MAX + 5 {
            principals.record(Some(&session(&format!("s-{n:04}"))), "DynamoDB.Query");
        }
        principals.record(Some(&session("s-0000")), "DynamoDB.Query");
        let report = principals.report();
        assert_eq!(report.len(), 1 + PRINCIPALS_MAX);
        assert_eq!(
            (
                report[0].calls["SQS.SendMessage"],
                report[0].calls["DynamoDB.Query"]
            ),
            (1, 5)
        );
        assert_eq!(
            report[1].session.as_deref(),
            Some("arn:aws:sts::000000000000:assumed-role/reader/s-0000")
        );
        assert_eq!(
            (report[1].calls["DynamoDB.Query"], &*report[1].tags["team"]),
            (2, "blue")
        );
        principals.reset();
        assert_eq!(principals.report().len(), 1);
    }
}
