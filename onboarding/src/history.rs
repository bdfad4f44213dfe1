//! The branch's history: the commit that last changed each tenant, the activity, and the requests that commits record.
//!
//! A start rebuilds the history from Git. The number of tenants and the constants below bound its memory.

use std::collections::{BTreeSet, HashMap, VecDeque};

use tenantctl::apply::Recorded;
use tenantctl::git::LogEntry;
use tenantctl::layout;
use tenantctl::status::{ChangeOf, Time};

use crate::model::Activity;

/// Commits read at a start.
pub(crate) const MAX_COMMITS: usize = 20_000;
/// Commits whose order is known. An older one counts as older than each of these.
const MAX_POSITIONS: usize = 5_000;
/// Commits kept for activity.
const MAX_ACTIVITY: usize = 500;
/// Longest subject shown.
const MAX_SUBJECT_CHARS: usize = 200;

/// A commit, its order and what it records.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Commit {
    pub(crate) position: u64,
    pub(crate) activity: Activity,
    pub(crate) recorded: Recorded,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    head: Option<String>,
    next: u64,
    positions: HashMap<String, u64>,
    order: VecDeque<String>,
    changes: HashMap<String, (u64, ChangeOf)>,
    activity: VecDeque<Activity>,
}

impl History {
    /// Adds commits that come after the known ones; `entries` are newest first. Returns them oldest first.
    pub(crate) fn extend(&mut self, entries: Vec<LogEntry>) -> Vec<Commit> {
        let mut added = Vec::with_capacity(entries.len());
        for entry in entries.into_iter().rev() {
            self.next += 1;
            let commit = commit(self.next, entry);
            let id = commit.activity.commit.clone();
            for release in &commit.activity.tenants {
                let change = ChangeOf {
                    commit: id.clone(),
                    time: commit.activity.time,
                    actor: commit.activity.actor.clone(),
                };
                self.changes
                    .insert(release.clone(), (commit.position, change));
            }
            self.positions.insert(id.clone(), commit.position);
            self.order.push_back(id.clone());
            self.activity.push_front(commit.activity.clone());
            self.head = Some(id);
            added.push(commit);
        }
        while self.order.len() > MAX_POSITIONS
            && let Some(oldest) = self.order.pop_front()
        {
            self.positions.remove(&oldest);
        }
        self.activity.truncate(MAX_ACTIVITY);
        added
    }

    pub(crate) fn head(&self) -> Option<&str> {
        self.head.as_deref()
    }

    /// The order of a commit; 0 for one that is older than every known one.
    pub(crate) fn position(&self, commit: &str) -> u64 {
        self.positions.get(commit).copied().unwrap_or(0)
    }

    /// The commit that last changed a release, and its order.
    pub(crate) fn change(&self, release: &str) -> Option<&(u64, ChangeOf)> {
        self.changes.get(release)
    }

    /// Newest first.
    pub(crate) fn activity(&self) -> impl Iterator<Item = &Activity> {
        self.activity.iter()
    }

    /// Forgets the changes of releases that no longer exist.
    pub(crate) fn retain(&mut self, exists: impl Fn(&str) -> bool) {
        self.changes.retain(|release, _| exists(release));
    }
}

pub(crate) fn commit(position: u64, entry: LogEntry) -> Commit {
    let recorded = Recorded::read(&entry.message);
    let subject = entry.message.lines().next().unwrap_or_default();
    let actor = recorded.actor.as_ref();
    let tenants: BTreeSet<String> = entry
        .paths
        .iter()
        .filter_map(layout::release_of)
        .map(str::to_owned)
        .collect();
    let activity = Activity {
        commit: entry.commit.to_string(),
        time: Time::of_seconds(entry.seconds),
        actor: actor.map_or(entry.author, ToString::to_string),
        subject: subject.chars().take(MAX_SUBJECT_CHARS).collect(),
        operation: recorded.id.as_ref().map(ToString::to_string),
        tenants: tenants.into_iter().collect(),
    };
    Commit {
        position,
        activity,
        recorded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u8, path: &str, message: &str) -> LogEntry {
        LogEntry {
            commit: tenantctl::git::Oid::parse(&format!("{number:02x}").repeat(20)).expect("an id"),
            seconds: i64::from(number),
            author: "Ann".to_owned(),
            message: message.to_owned(),
            paths: vec![path.parse().expect("a path")],
        }
    }

    #[test]
    fn the_last_commit_of_a_tenant_is_known_with_its_actor() {
        let mut history = History::default();
        let file = "application-plane/production/tenants/basic/tenant-2.yaml";
        let added = history.extend(vec![
            entry(3, "README.md", "Other"),
            entry(2, file, "Suspend tenant-2\n\nRequest-Id: r-1\nActor: Bob\n"),
            entry(1, file, "By hand"),
        ]);
        assert_eq!(
            added.iter().map(|one| one.position).collect::<Vec<_>>(),
            [1, 2, 3]
        );
        let (position, change) = history.change("tenant-2").expect("it changed");
        assert_eq!((*position, change.actor.as_str()), (2, "Bob"));
        assert_eq!(history.head(), Some("03".repeat(20).as_str()));
        assert_eq!(history.position(&change.commit), 2);
        assert_eq!(history.position("unknown"), 0);
        let newest = history.activity().next().expect("three");
        assert_eq!(
            (newest.subject.as_str(), newest.tenants.len()),
            ("Other", 0)
        );
        assert!(history.change("kustomization").is_none());
    }
}
