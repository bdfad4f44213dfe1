//! Failures of git, classified by its messages: retry, plan again, or fail.
//!
//! Git has one exit code for every failure. Its messages, in English by `LC_ALL=C`, distinguish failures. A quoted message is
//! one bounded line without a URL's user.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::address::Address;
use super::names::Branch;

/// Limit of a quoted message of git.
const MAX_REASON_CHARS: usize = 500;

/// Messages of git about the disk of this machine.
const LOCAL_TROUBLE: [&str; 3] = [
    "unable to create temporary file",
    "no space left on device",
    "read-only file system",
];

/// Reason why a call of git failed.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("the git program cannot be started: {0}; install git")]
    NoProgram(#[source] io::Error),
    #[error("the cache folder {folder} cannot be written: {source}; choose another with --cache-dir", folder = folder.display())]
    Cache { folder: PathBuf, source: io::Error },
    #[error("git {action} failed to read or write: {source}")]
    Io { action: String, source: io::Error },
    #[error("git {action} exceeded {after:?} and was stopped")]
    TimedOut { action: String, after: Duration },
    #[error("{address} cannot be reached: {reason}")]
    Unreachable { address: String, reason: String },
    #[error(
        "{address} refuses access: {reason}; check --username and --password-file, or git's credential helper"
    )]
    Unauthorized { address: String, reason: String },
    #[error("{address} is not a repository, or these credentials cannot see it: {reason}")]
    NoRepository { address: String, reason: String },
    #[error(
        "{address} is plain HTTP, which sends the password unencrypted: use https, or leave --password-file out"
    )]
    PlainHttp { address: String },
    #[error(
        "{address} redirects to another address, and credentials follow no redirect: name that address instead ({reason})"
    )]
    Redirected { address: String, reason: String },
    #[error("{address} has no branch {branch}; push the seed (the folder gitops/) to it first")]
    NoBranch { address: String, branch: String },
    #[error("{address} declined the commit: {reason}")]
    Declined { address: String, reason: String },
    #[error("git {action} failed: {reason}; the mirror can be deleted at any time: {folder}", folder = folder.display())]
    Mirror {
        action: String,
        reason: String,
        folder: PathBuf,
    },
    #[error("git {action} returned unexpected output: {answer:?}")]
    Unexpected {
        action: &'static str,
        answer: String,
    },
}

/// The output of a call of git.
#[derive(Debug)]
pub(super) struct GitOutput {
    pub(super) succeeded: bool,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl GitOutput {
    pub(super) fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Reason why a remote did not move its branch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The branch moved, or another push is moving it.
    Moved,
    Declined(String),
}

impl GitError {
    /// Whether the push may have reached the branch: the answer was lost.
    pub const fn may_have_arrived(&self) -> bool {
        matches!(
            self,
            Self::TimedOut { .. } | Self::Unreachable { .. } | Self::Io { .. }
        )
    }

    /// Returns the stable name of the error, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoProgram(_) => "git_missing",
            Self::Cache { .. } => "cache_unwritable",
            Self::Io { .. } | Self::Unexpected { .. } => "git_failed",
            Self::TimedOut { .. } => "timed_out",
            Self::Unreachable { .. } => "unreachable",
            Self::Unauthorized { .. } => "unauthorized",
            Self::PlainHttp { .. } => "plain_http",
            Self::Redirected { .. } => "redirected",
            Self::NoRepository { .. } => "no_repository",
            Self::NoBranch { .. } => "no_branch",
            Self::Declined { .. } => "declined",
            Self::Mirror { .. } => "mirror_broken",
        }
    }

    pub(super) fn unexpected(action: &'static str, answer: &str) -> Self {
        Self::Unexpected {
            action,
            answer: one_line(answer),
        }
    }

    pub(super) fn local(action: String, stderr: &str, folder: &Path) -> Self {
        Self::Mirror {
            action,
            reason: reason_in(stderr),
            folder: folder.to_owned(),
        }
    }
}

/// Classifies a failed fetch or push.
pub(super) fn classify_remote(
    address: &Address,
    branch: &Branch,
    output: &GitOutput,
    folder: &Path,
) -> GitError {
    let (text, reason) = (
        output.stderr.to_ascii_lowercase(),
        reason_in(&output.stderr),
    );
    let has_any = |any: &[&str]| any.iter().any(|words| text.contains(words));
    // A line of the remote is about the disk of the remote.
    let mut ours = text.lines().filter(|line| !line.contains("remote"));
    let is_ours = |line: &str| LOCAL_TROUBLE.iter().any(|words| line.contains(words));
    if ours.any(is_ours) {
        return GitError::Mirror {
            action: "fetch or push".to_owned(),
            reason,
            folder: folder.to_owned(),
        };
    }
    let address = address.to_string();
    if has_any(&["couldn't find remote ref"]) {
        return GitError::NoBranch {
            address,
            branch: branch.to_string(),
        };
    }
    let redirects = [301, 302, 303, 307, 308].map(|status| format!("returned error: {status}"));
    if redirects.iter().any(|words| text.contains(words)) {
        return GitError::Redirected { address, reason };
    }
    if has_any(&[
        "authentication failed",
        "could not read username",
        "could not read password",
        "permission denied",
        "access denied",
        "returned error: 401",
        "returned error: 403",
        "host key verification failed",
        "invalid credentials",
    ]) {
        return GitError::Unauthorized { address, reason };
    }
    if has_any(&[
        "not found",
        "returned error: 404",
        "does not appear to be a git repository",
        "does not exist",
        "not a git repository",
        "dubious ownership",
    ]) && !has_any(&["could not resolve"])
    {
        return GitError::NoRepository { address, reason };
    }
    GitError::Unreachable { address, reason }
}

/// Reads the remote's answer about the one pushed branch, in `--porcelain` form; `None` without an answer.
pub(super) fn classify_push(porcelain: &str) -> Option<Refusal> {
    let line = porcelain.lines().find(|line| line.starts_with("!\t"))?;
    let summary = line.rsplit('\t').next().unwrap_or_default();
    if summary.starts_with("[rejected]") {
        return Some(Refusal::Moved);
    }
    let reason = summary
        .strip_prefix("[remote rejected]")
        .or_else(|| summary.strip_prefix("[remote failure]"))?;
    // Git's messages for a branch that another push is moving.
    let is_race = [
        "failed to update ref",
        "cannot lock ref",
        "failed to lock",
        "incorrect old value",
        "fetch first",
        "stale info",
    ]
    .iter()
    .any(|words| reason.contains(words));
    Some(if is_race {
        Refusal::Moved
    } else {
        Refusal::Declined(one_line(reason))
    })
}

/// Returns the error of a declined push, with the message of the remote's hook.
pub(super) fn declined(address: &Address, reason: &str, output: &GitOutput) -> GitError {
    let message = output
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("remote: "));
    let message = one_line(&message.collect::<Vec<_>>().join(" "));
    let reason = if message.is_empty() {
        reason.to_owned()
    } else {
        format!("{reason} {message}")
    };
    GitError::Declined {
        address: address.to_string(),
        reason,
    }
}

/// Returns the lines with a reason, or all lines.
fn reason_in(stderr: &str) -> String {
    let has_reason = |line: &&str| {
        ["fatal: ", "error: ", "remote: ", "ssh: "]
            .iter()
            .any(|prefix| line.starts_with(prefix))
    };
    let reasons: Vec<&str> = stderr.lines().filter(has_reason).collect();
    one_line(&if reasons.is_empty() {
        stderr.to_owned()
    } else {
        reasons.join("; ")
    })
}

/// Returns untrusted text as one bounded line: no control characters, no user or password of a URL.
fn one_line(text: &str) -> String {
    let printable = text.chars().map(|character| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    });
    let text: String = printable
        .collect::<String>()
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(without_user)
        .collect::<Vec<_>>()
        .join(" ");
    match text.char_indices().nth(MAX_REASON_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Removes the user info from a URL: a rewrite rule in the user's git configuration may add a password.
fn without_user(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else {
        return word.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(stderr: &str) -> GitError {
        let address = "https://host/x".parse().expect("an address");
        let branch = "main".parse().expect("a branch");
        let output = GitOutput {
            succeeded: false,
            stdout: vec![],
            stderr: stderr.to_owned(),
        };
        classify_remote(&address, &branch, &output, Path::new("/mirror"))
    }

    #[test]
    fn failures_of_the_remote_are_classified() {
        for (stderr, code) in [
            (
                "fatal: couldn't find remote ref refs/heads/main",
                "no_branch",
            ),
            (
                "fatal: unable to access 'https://host/x/': Could not resolve host: host",
                "unreachable",
            ),
            (
                "fatal: unable to access 'https://host/x/': Failed to connect to host port 443: Connection refused",
                "unreachable",
            ),
            (
                "fatal: unable to access 'https://host/x/': The requested URL returned error: 503",
                "unreachable",
            ),
            (
                "fatal: unable to access 'https://host/x/': The requested URL returned error: 403",
                "unauthorized",
            ),
            (
                "fatal: Authentication failed for 'https://host/x/'",
                "unauthorized",
            ),
            (
                "fatal: could not read Username for 'https://host': terminal prompts disabled",
                "unauthorized",
            ),
            (
                "git@host: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                "unauthorized",
            ),
            (
                "fatal: repository 'https://host/x/' not found",
                "no_repository",
            ),
            (
                "fatal: '/srv/x' does not appear to be a git repository",
                "no_repository",
            ),
            ("fatal: the remote end hung up unexpectedly", "unreachable"),
            (
                "fatal: Unable to create temporary file '/m/objects/pack/tmp_pack_XXXXXX': No space left on device",
                "mirror_broken",
            ),
            (
                "remote: fatal: Unable to create temporary file: No space left on device",
                "unreachable",
            ),
            ("", "unreachable"),
        ] {
            assert_eq!(failed(stderr).code(), code, "{stderr}");
        }
    }

    #[test]
    fn a_moved_branch_is_not_a_declined_push() {
        let of = |summary: &str| {
            classify_push(&format!(
                "To https://host/x\n!\tabc:refs/heads/main\t{summary}\nDone\n"
            ))
        };
        for summary in [
            "[rejected] (fetch first)",
            "[rejected] (non-fast-forward)",
            "[rejected] (stale info)",
            "[remote rejected] (cannot lock ref 'refs/heads/main': is at 1 but expected 2)",
            "[remote rejected] (failed to update ref)",
            "[remote rejected] (incorrect old value provided)",
        ] {
            assert_eq!(of(summary), Some(Refusal::Moved), "{summary}");
        }
        for summary in [
            "[remote rejected] (pre-receive hook declined)",
            "[remote rejected] (protected branch)",
        ] {
            assert!(
                matches!(of(summary), Some(Refusal::Declined(_))),
                "{summary}"
            );
        }
        assert_eq!(classify_push("fatal: unable to access"), None);
    }

    #[test]
    fn a_quoted_message_is_one_bounded_line_without_a_urls_user() {
        let error = failed(
            "fatal: unable to access 'https://robot:s3cret@host/x/':\x1b[31m bad\nerror: more",
        )
        .to_string();
        assert!(
            !error.contains("s3cret") && !error.contains('\x1b') && !error.contains('\n'),
            "{error}"
        );
        assert!(
            failed(&format!("fatal: {}", "x".repeat(10_000)))
                .to_string()
                .len()
                < 700
        );
    }

    #[test]
    fn only_an_unanswered_push_may_have_arrived() {
        assert!(failed("fatal: the remote end hung up unexpectedly").may_have_arrived());
        assert!(!failed("fatal: Authentication failed").may_have_arrived());
    }
}
