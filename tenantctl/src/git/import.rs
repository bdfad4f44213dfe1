//! Commits by `git fast-import`: one call writes the files, the folders above them and the commit.
//!
//! Git reads only the folders on the path, so the cost is independent of the repository's size. No work tree and no index is
//! needed. A pure function makes the input, with every path quoted.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::failure::GitError;
use super::names::{Author, Oid};
use super::program::Git;
use crate::tree::Edit;

/// One commit to make.
pub(super) struct Commit<'a> {
    /// `None` for the previous commit of the same call, or for a first commit.
    pub(super) parent: Option<&'a Oid>,
    pub(super) author: &'a Author,
    pub(super) message: &'a str,
    pub(super) edits: &'a [Edit],
}

/// Makes the commits, each on top of the previous; returns the last, which `reference` names.
pub(super) fn run(git: &Git, reference: &str, commits: &[Commit<'_>]) -> Result<Oid, GitError> {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let input = stream(reference, commits, seconds);
    let printed = git.output(
        &[
            "fast-import",
            "--quiet",
            "--force",
            "--date-format=raw",
            "--done",
        ],
        &input,
    )?;
    Oid::parse(printed.trim()).ok_or_else(|| GitError::unexpected("fast-import", &printed))
}

/// Returns the input of fast-import.
fn stream(reference: &str, commits: &[Commit<'_>], seconds: u64) -> Vec<u8> {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for Commit {
        parent,
        author,
        message,
        edits,
    } in commits
    {
        let _ = write!(
            text,
            "commit {reference}\nmark :1\ncommitter {author} {seconds} +0000\n"
        );
        let _ = write!(text, "data {}\n{message}\n", message.len());
        if let Some(parent) = parent {
            let _ = writeln!(text, "from {parent}");
        }
        for Edit { path, content } in *edits {
            let path = quoted(path.as_str());
            match content {
                Some(content) => {
                    let _ = write!(
                        text,
                        "M 100644 inline {path}\ndata {}\n{content}\n",
                        content.len()
                    );
                }
                None => {
                    let _ = writeln!(text, "D {path}");
                }
            }
        }
    }
    text.push_str("get-mark :1\ndone\n");
    text.into_bytes()
}

/// Returns a path in quotes, escaped for fast-import.
fn quoted(path: &str) -> String {
    let escaped = path
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_looks_like_a_command_stays_data() {
        let author = Author::tenantctl();
        let path: crate::tree::RepoPath = "a/b \"c.yaml".parse().expect("a path");
        let edits = [
            Edit {
                path: path.clone(),
                content: Some("x\nD a\n".to_owned()),
            },
            Edit {
                path,
                content: None,
            },
        ];
        let message = "subject\n\ncommit refs/heads/main";
        let commit = Commit {
            parent: None,
            author: &author,
            message,
            edits: &edits,
        };
        let stream = String::from_utf8(stream("refs/pending/1", &[commit], 7)).expect("text");
        assert!(stream.contains(&format!("data {}\nsubject\n", message.len())));
        assert!(
            stream.contains("M 100644 inline \"a/b \\\"c.yaml\"\ndata 6\nx\nD a\n\n"),
            "{stream}"
        );
        assert!(stream.contains("\nD \"a/b \\\"c.yaml\"\n"));
        assert!(stream.contains("committer tenantctl <tenantctl@localhost> 7 +0000\n"));
    }
}
