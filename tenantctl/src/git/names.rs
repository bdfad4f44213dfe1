//! Names of git: [`Oid`], [`Branch`], [`Author`]; each parsed once.

use std::fmt;
use std::str::FromStr;

const MAX_BRANCH_CHARS: usize = 200;
const MAX_AUTHOR_CHARS: usize = 200;

/// The id of a commit: 40 or 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid(String);

/// The name of a branch, without `refs/heads/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch(String);

/// The author of commits: `Name <address>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    name: String,
    email: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a branch is letters, digits and . _ - /, for example main")]
pub struct InvalidBranch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an author is a name and an address: `Platform Team <platform@example.com>`")]
pub struct InvalidAuthor;

impl Oid {
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
        (matches!(text.len(), 40 | 64) && is_hex).then(|| Self(text.to_owned()))
    }

    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 10 digits.
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

impl Author {
    /// The default author.
    pub fn tenantctl() -> Self {
        Self {
            name: "tenantctl".to_owned(),
            email: "tenantctl@localhost".to_owned(),
        }
    }
}

impl FromStr for Branch {
    type Err = InvalidBranch;

    fn from_str(text: &str) -> Result<Self, InvalidBranch> {
        let fits =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
        // Git's own rules for branch names.
        let segment = |segment: &str| {
            !segment.is_empty()
                && !segment.starts_with(['.', '-'])
                && !segment.ends_with(".lock")
                && !segment.ends_with('.')
        };
        let is_branch = text.len() <= MAX_BRANCH_CHARS
            && text.bytes().all(fits)
            && !text.contains("..")
            && text.split('/').all(segment);
        if is_branch {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidBranch)
        }
    }
}

impl FromStr for Author {
    type Err = InvalidAuthor;

    fn from_str(text: &str) -> Result<Self, InvalidAuthor> {
        let (name, rest) = text.split_once('<').ok_or(InvalidAuthor)?;
        let email = rest.strip_suffix('>').ok_or(InvalidAuthor)?;
        let fits = |part: &str| {
            let is_plain =
                |character: char| !character.is_control() && !matches!(character, '<' | '>');
            !part.is_empty()
                && part.chars().count() <= MAX_AUTHOR_CHARS
                && part.chars().all(is_plain)
        };
        let (name, email) = (name.trim_matches(' '), email.trim_matches(' '));
        if fits(name) && fits(email) && !email.contains(' ') {
            Ok(Self {
                name: name.to_owned(),
                email: email.to_owned(),
            })
        } else {
            Err(InvalidAuthor)
        }
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Oid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <{}>", self.name, self.email)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_git_refuses_or_misreads_are_not_branches() {
        for text in ["main", "release/1.2", "a_b-c"] {
            assert!(text.parse::<Branch>().is_ok(), "{text}");
        }
        for text in [
            "", "-f", "a..b", "a b", "a:b", "a/", "/a", ".a", "a/.b", "a.lock", "a@{1}", "a\nb",
            "+a", "a*",
        ] {
            assert_eq!(text.parse::<Branch>(), Err(InvalidBranch), "{text:?}");
        }
    }

    #[test]
    fn an_author_is_a_name_and_an_address_on_one_line() {
        let author = "Platform Team <platform@example.com>"
            .parse::<Author>()
            .expect("complete");
        assert_eq!(author.to_string(), "Platform Team <platform@example.com>");
        for text in [
            "",
            "platform",
            "<a@b>",
            "A <>",
            "A <a@b> x",
            "A\n <a@b>",
            "A <a@b>> 0 +0000",
        ] {
            assert_eq!(text.parse::<Author>(), Err(InvalidAuthor), "{text:?}");
        }
    }

    #[test]
    fn only_whole_hexadecimal_names_are_commits() {
        assert!(Oid::parse(&"0a".repeat(20)).is_some() && Oid::parse(&"f".repeat(64)).is_some());
        for text in [
            "",
            "HEAD",
            &"0".repeat(39),
            &"G".repeat(40),
            &"A".repeat(40),
        ] {
            assert_eq!(Oid::parse(text), None, "{text}");
        }
        assert_eq!(Oid::of_bytes(&[0x0a; 20]).as_str(), "0a".repeat(20));
    }
}
