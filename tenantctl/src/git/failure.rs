//! What went wrong, told from what git says: try again, plan again, or get somebody.
//!
//! Git has one exit code for everything; its words, in English by `LC_ALL=C`, are what tells failures apart. What is
//! quoted of them is cut, of one line, and without a URL's user.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::address::Address;
use super::names::Branch;

/// Most of git's own words that are quoted.
const MAX_REASON_CHARS: usize = 500;

/// What git says where this machine's disk is the trouble.
const LOCAL_TROUBLE: [&str; 3] = [
    "unable to create temporary file",
    "no space left on device",
    "read-only file system",
];

/// Why git could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no `git`.
    #[error("the git program cannot be started: {0}; install git")]
    NoProgram(#[source] io::Error),
    /// The cache folder cannot be used.
    #[error("the cache folder {folder} cannot be written: {source}; choose another with --cache-dir", folder = folder.display())]
    Cache {
        /// The mirror's folder.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A call of git could not be fed or read.
    #[error("git {action} was cut off: {source}")]
    Io {
        /// The subcommand.
        action: String,
        /// What happened.
        source: io::Error,
    },
    /// A call did not end.
    #[error("git {action} took more than {after:?} and was ended")]
    TimedOut {
        /// The subcommand.
        action: String,
        /// How long it had.
        after: Duration,
    },
    /// Nobody answers there, or not sensibly.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// Git's words.
        reason: String,
    },
    /// The remote does not let us in.
    #[error(
        "{address} refuses access: {reason}; check --username and --password-file, or git's credential helper"
    )]
    Unauthorized {
        /// Where.
        address: String,
        /// Git's words.
        reason: String,
    },
    /// There is no such repository.
    #[error("{address} is not a repository, or not for these credentials: {reason}")]
    NoRepository {
        /// Where.
        address: String,
        /// Git's words.
        reason: String,
    },
    /// The repository has no such branch.
    #[error("{address} has no branch {branch}; push the seed (the folder gitops/) to it first")]
    NoBranch {
        /// Where.
        address: String,
        /// The branch.
        branch: String,
    },
    /// A hook or a rule of the remote's does not take the commit.
    #[error("{address} does not take the commit: {reason}")]
    Declined {
        /// Where.
        address: String,
        /// The remote's words.
        reason: String,
    },
    /// The mirror is not as it must be.
    #[error("git {action} failed: {reason}; the mirror can be deleted at any time: {folder}", folder = folder.display())]
    Mirror {
        /// The subcommand.
        action: String,
        /// Git's words.
        reason: String,
        /// The mirror's folder.
        folder: PathBuf,
    },
    /// Git said what this version does not understand.
    #[error("git {action} answered unexpectedly: {answer:?}")]
    Unexpected {
        /// The subcommand.
        action: &'static str,
        /// The beginning of what it said.
        answer: String,
    },
}

/// What a call came to.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) succeeded: bool,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl Called {
    pub(super) fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Why a remote did not move its branch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The branch is elsewhere, or somebody is moving it right now.
    Moved,
    /// A hook or a rule says no.
    Declined(String),
}

impl GitError {
    /// Whether a push that ended so may have reached the branch: its answer was lost, not given.
    pub const fn may_have_arrived(&self) -> bool {
        matches!(
            self,
            Self::TimedOut { .. } | Self::Unreachable { .. } | Self::Io { .. }
        )
    }

    /// The stable name of the error, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoProgram(_) => "git_missing",
            Self::Cache { .. } => "cache_unwritable",
            Self::Io { .. } | Self::Unexpected { .. } => "git_failed",
            Self::TimedOut { .. } => "timed_out",
            Self::Unreachable { .. } => "unreachable",
            Self::Unauthorized { .. } => "unauthorized",
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

/// What a failed fetch or push came to.
pub(super) fn of_remote(
    address: &Address,
    branch: &Branch,
    called: &Called,
    folder: &Path,
) -> GitError {
    let (text, reason) = (
        called.stderr.to_ascii_lowercase(),
        reason_in(&called.stderr),
    );
    let says = |any: &[&str]| any.iter().any(|words| text.contains(words));
    // The remote's own disk may be full as well, but then it says so itself.
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
    if says(&["couldn't find remote ref"]) {
        return GitError::NoBranch {
            address,
            branch: branch.to_string(),
        };
    }
    if says(&[
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
    if says(&[
        "not found",
        "returned error: 404",
        "does not appear to be a git repository",
        "does not exist",
        "not a git repository",
        "dubious ownership",
    ]) && !says(&["could not resolve"])
    {
        return GitError::NoRepository { address, reason };
    }
    GitError::Unreachable { address, reason }
}

/// What the remote said of the one branch that was pushed, in `--porcelain` form; `None` where it said nothing.
pub(super) fn of_push(porcelain: &str) -> Option<Refusal> {
    let line = porcelain.lines().find(|line| line.starts_with("!\t"))?;
    let summary = line.rsplit('\t').next().unwrap_or_default();
    if summary.starts_with("[rejected]") {
        return Some(Refusal::Moved);
    }
    let reason = summary
        .strip_prefix("[remote rejected]")
        .or_else(|| summary.strip_prefix("[remote failure]"))?;
    // These are git's own words for a branch that another push is moving.
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

/// A declined push, with what the remote's hook had to say.
pub(super) fn declined(address: &Address, reason: &str, called: &Called) -> GitError {
    let said = called
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("remote: "));
    let said = one_line(&said.collect::<Vec<_>>().join(" "));
    let reason = if said.is_empty() {
        reason.to_owned()
    } else {
        format!("{reason} {said}")
    };
    GitError::Declined {
        address: address.to_string(),
        reason,
    }
}

/// The lines that say why, or all of them.
fn reason_in(stderr: &str) -> String {
    let is_telling = |line: &&str| {
        ["fatal: ", "error: ", "remote: ", "ssh: "]
            .iter()
            .any(|prefix| line.starts_with(prefix))
    };
    let telling: Vec<&str> = stderr.lines().filter(is_telling).collect();
    one_line(&if telling.is_empty() {
        stderr.to_owned()
    } else {
        telling.join("; ")
    })
}

/// A text from outside as one line of bounded length: no control characters, no user or password of a URL.
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

/// A word without what stands before the `@` of a URL: a rewrite in the user's git configuration may have put it there.
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
        let called = Called {
            succeeded: false,
            stdout: vec![],
            stderr: stderr.to_owned(),
        };
        of_remote(&address, &branch, &called, Path::new("/mirror"))
    }

    #[test]
    fn failures_of_the_remote_are_told_apart() {
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
    fn a_moved_branch_is_not_a_hook_that_says_no() {
        let of = |summary: &str| {
            of_push(&format!(
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
        assert_eq!(of_push("fatal: unable to access"), None);
    }

    #[test]
    fn what_is_quoted_is_one_bounded_line_without_a_urls_user() {
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
    fn only_an_answer_that_was_lost_may_have_arrived() {
        assert!(failed("fatal: the remote end hung up unexpectedly").may_have_arrived());
        assert!(!failed("fatal: Authentication failed").may_have_arrived());
    }
}
