//! Who made which calls, for tests that assert whose credentials an operation uses.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

use crate::{calls::Calls, sts::Session};

/// Principals told apart (ours); what further ones do is counted with the account's.
const PRINCIPALS_MAX: usize = 1_000;

/// Number of calls per principal and action, since the start or the last reset of the counts.
#[derive(Debug, Default)]
pub(crate) struct Principals {
    /// The account's own, which are nearly all: counted without looking anybody up.
    account: Calls,
    sessions: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    tags: BTreeMap<String, String>,
    calls: Calls,
}

/// One principal's calls.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// ARN of the role's session; none is the account's own credentials.
    session: Option<String>,
    /// Session tags.
    tags: BTreeMap<String, String>,
    /// Calls by action.
    calls: BTreeMap<String, u64>,
}

impl Principals {
    /// Counts one call of `action`.
    pub(crate) fn record(&self, session: Option<&Session>, action: &str) {
        let Some(session) = session else {
            return self.account.record(action);
        };
        let arn = session.arn();
        let mut sessions = self.sessions();
        if sessions.len() >= PRINCIPALS_MAX && !sessions.contains_key(&arn) {
            return self.account.record(action);
        }
        let tags = || session.tags.iter().cloned().collect();
        sessions
            .entry(arn)
            .or_insert_with(|| Entry {
                tags: tags(),
                calls: Calls::default(),
            })
            .calls
            .record(action);
    }

    /// Everybody's counts, the account's first.
    pub(crate) fn report(&self) -> Vec<Report> {
        let account = Report {
            session: None,
            tags: BTreeMap::new(),
            calls: self.account.snapshot(),
        };
        let sessions = self.sessions();
        let reports = sessions.iter().map(|(arn, entry)| Report {
            session: Some(arn.clone()),
            tags: entry.tags.clone(),
            calls: entry.calls.snapshot(),
        });
        std::iter::once(account).chain(reports).collect()
    }

    /// Forgets all counts.
    pub(crate) fn reset(&self) {
        self.account.reset();
        self.sessions().clear();
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // Counts stay whole whoever panics.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn each_session_is_counted_for_itself_and_what_is_too_much_with_the_account() {
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
