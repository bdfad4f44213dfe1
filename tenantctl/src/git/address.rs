//! Addresses of repositories: an [`Address`] is safe to pass to git.
//!
//! It holds no secret, starts no program (`ext::`) and is never read as an option.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use uuid::Uuid;

/// Permitted URL schemes.
const SCHEMES: [&str; 4] = ["https", "http", "ssh", "file"];
const MAX_READABLE_CHARS: usize = 60;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

/// Reason why a text is not an address. No message repeats the text: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    #[error("the repository is empty: name its URL or path")]
    Empty,
    #[error("the repository starts with - or holds control characters: name its URL or path")]
    NotAnAddress,
    #[error("the repository's URL has a scheme other than https, http, ssh and file")]
    Scheme,
    #[error("the repository's URL names no host")]
    NoHost,
    #[error(
        "the repository's URL holds a user name or password: take it out, and give git the credentials by \
         --username and --password-file, or by a credential helper"
    )]
    UserInfo,
}

impl Address {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path of a local address.
    pub fn local_path(&self) -> Option<&Path> {
        match self.0.strip_prefix("file://") {
            Some(path) => Some(Path::new(path)),
            None if self.0.contains("://") || is_scp_like(&self.0) => None,
            None => Some(Path::new(&self.0)),
        }
    }

    /// Returns the server of an HTTP address; `None` for any other address, which takes no password of ours.
    pub(super) fn origin(&self) -> Option<Origin> {
        Origin::of(&self.0)
    }

    /// Returns the folder name of the mirror: readable, and unique to the address.
    pub(super) fn folder_name(&self) -> String {
        let readable = |character: char| {
            if character.is_ascii_alphanumeric() {
                character
            } else {
                '-'
            }
        };
        let tail: String = self
            .0
            .chars()
            .rev()
            .take(MAX_READABLE_CHARS)
            .map(readable)
            .collect();
        let tail: String = tail.chars().rev().collect();
        let unique = Uuid::new_v5(&Uuid::NAMESPACE_URL, self.0.as_bytes()).simple();
        format!("{}-{unique}", tail.trim_matches('-'))
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if text.is_empty() {
            return Err(InvalidAddress::Empty);
        }
        if text.starts_with('-') || text.chars().any(char::is_control) {
            return Err(InvalidAddress::NotAnAddress);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return check_url(scheme, rest).map(|()| Self(text.to_owned()));
        }
        if text.contains("::") {
            return Err(InvalidAddress::Scheme);
        }
        if is_scp_like(text) {
            return Ok(Self(text.to_owned()));
        }
        // Git runs in the mirror, where a relative path means another place.
        let path = std::path::absolute(text).map_err(|_| InvalidAddress::NotAnAddress)?;
        path.to_str()
            .map(|path| Self(path.to_owned()))
            .ok_or(InvalidAddress::NotAnAddress)
    }
}

/// Scheme, host and port of an HTTP URL, in one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin(String);

impl Origin {
    pub(super) fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let port = match scheme.as_str() {
            "https" => ":443",
            "http" => ":80",
            _ => return None,
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host)
            .to_ascii_lowercase();
        let host = host
            .strip_suffix(port)
            .unwrap_or(&host)
            .trim_end_matches(':');
        Some(Self(format!("{scheme}://{host}")))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a password may be sent to this address: by an encrypted protocol, or to this machine.
    pub(super) fn is_private(&self) -> bool {
        let Some(host) = self.0.strip_prefix("http://") else {
            return true;
        };
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let host = match host.rsplit_once(':') {
            Some((name, port)) if is_port(port) => name,
            _ => host,
        };
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || address
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_url(scheme: &str, rest: &str) -> Result<(), InvalidAddress> {
    if !SCHEMES.contains(&scheme) {
        return Err(InvalidAddress::Scheme);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, host) = authority
        .rsplit_once('@')
        .map_or((None, authority), |(user, host)| (Some(user), host));
    // With SSH the user is part of the address (git@…) and not a secret; a password is one.
    let is_allowed = user.is_none_or(|user| scheme == "ssh" && is_plain_user(user));
    if !is_allowed {
        return Err(InvalidAddress::UserInfo);
    }
    if scheme != "file" && (host.is_empty() || host.starts_with(['-', ':'])) {
        return Err(InvalidAddress::NoHost);
    }
    Ok(())
}

/// Whether an address has the form `git@host:path`: a colon before any slash.
fn is_scp_like(text: &str) -> bool {
    let Some((place, _)) = text.split_once(':') else {
        return false;
    };
    let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
    let user = place.rsplit_once('@').map_or("git", |(user, _)| user);
    !place.contains('/') && !host.is_empty() && !host.starts_with('-') && is_plain_user(user)
}

fn is_plain_user(user: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !user.is_empty() && !user.starts_with('-') && user.bytes().all(fits)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_paths_and_ssh_forms_are_addresses() {
        for text in [
            "https://git.example.com/org/gitops.git",
            "http://127.0.0.1:3000/gitops",
            "ssh://git@git.example.com:2222/org/gitops.git",
            "file:///srv/gitops.git",
            "git@git.example.com:org/gitops.git",
            "/srv/gitops.git",
        ] {
            assert_eq!(text.parse::<Address>().expect(text).as_str(), text);
        }
        assert!(
            "gitops.git"
                .parse::<Address>()
                .expect("a path")
                .as_str()
                .starts_with('/')
        );
    }

    #[test]
    fn secrets_programs_and_options_are_refused_and_not_repeated() {
        use InvalidAddress::{Empty, NoHost, NotAnAddress, Scheme, UserInfo};
        for (text, reason) in [
            ("", Empty),
            ("--upload-pack=touch /tmp/x", NotAnAddress),
            ("https://host/a\nb", NotAnAddress),
            ("https://user@host/x", UserInfo),
            ("https://user:s3cret@host/x", UserInfo),
            ("https://s3cret@host:443", UserInfo),
            ("https://a@b@host/x", UserInfo),
            ("ssh://git:s3cret@host/x", UserInfo),
            ("ssh://-oProxyCommand=s3cret/x", NoHost),
            ("https:///x", NoHost),
            ("ext::sh -c s3cret", Scheme),
            ("git://host/x", Scheme),
            ("ftp://host/x", Scheme),
        ] {
            let error = text.parse::<Address>().expect_err(text);
            assert_eq!(error, reason, "{text}");
            assert!(!error.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn a_server_has_one_spelling_and_a_password_goes_over_plain_http_to_this_machine_alone() {
        let origin = |url: &str| Origin::of(url).expect(url);
        assert_eq!(origin("https://Host/a"), origin("HTTPS://robot@host:443"));
        for other in [
            "http://host/a",
            "https://host:8443",
            "https://host.evil",
            "https://evil/host",
        ] {
            assert_ne!(origin("https://host"), origin(other), "{other}");
        }
        assert_eq!(Origin::of("ssh://git@host/a"), None);
        assert_eq!(Origin::of("/srv/a.git"), None);
        for url in [
            "https://host",
            "http://127.0.0.1:3000/a",
            "http://127.8.9.1",
            "http://localhost:80/",
            "http://[::1]:8080/a",
        ] {
            assert!(origin(url).is_private(), "{url}");
        }
        for url in [
            "http://host",
            "http://10.0.0.1",
            "http://localhost.evil",
            "http://127.0.0.1.evil:80",
            "http://127.0.0.1@evil",
            "http://[fe80::1]/a",
            "http://0.0.0.0",
        ] {
            assert!(!origin(url).is_private(), "{url}");
        }
    }

    #[test]
    fn each_address_has_a_mirror_of_its_own() {
        let name = |text: &str| text.parse::<Address>().expect(text).folder_name();
        assert_ne!(name("https://host/a/b"), name("https://host/a-b"));
        assert_eq!(name("https://host/a"), name("https://host/a"));
        assert!(name(&format!("https://host/{}", "x".repeat(1000))).len() < 120);
    }
}
