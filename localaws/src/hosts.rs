//! The names under which a server on a developer's machine answers.
//!
//! A web page of another site can let its own name resolve to 127.0.0.1. Its script then reads the answers of a local
//! server. Such a request carries the page's name in `Host`. A request from a page of another site carries that site in
//! `Origin`. This module refuses both; it does not authenticate clients.

use std::{collections::BTreeSet, net::IpAddr, str::FromStr, sync::Arc};

use hyper::{
    HeaderMap, StatusCode, Uri,
    header::{HOST, ORIGIN},
};

/// Names that are allowed beside IP addresses, `localhost` and the names below it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts(Arc<BTreeSet<HostName>>);

/// A DNS name without port, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(String);

/// The flag's value is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host name; give a name without scheme and port, such as localaws.aws.svc")]
pub struct InvalidHostName(String);

/// A request that a page of another site may have caused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForeignRequest {
    #[error(
        "the host {0:?} is not a name of this server; use an IP address or localhost, or start the server with \
         --allow-host and this name"
    )]
    Host(String),
    #[error(
        "the origin {0:?} is another site; use a page of this server or of localhost, or start the server with \
         --allow-host and the name in the origin"
    )]
    Origin(String),
}

impl ForeignRequest {
    /// Returns 421 for a host, 403 for an origin.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin(_) => StatusCode::FORBIDDEN,
        }
    }
}

impl FromStr for HostName {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, InvalidHostName> {
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        let is_label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if !name.split('.').all(is_label) {
            return Err(InvalidHostName(text.to_owned()));
        }
        Ok(Self(name))
    }
}

impl FromIterator<HostName> for AllowedHosts {
    fn from_iter<T: IntoIterator<Item = HostName>>(names: T) -> Self {
        Self(Arc::new(names.into_iter().collect()))
    }
}

impl AllowedHosts {
    /// Checks `Host`, the URI's own host, and `Origin`. A request without them does not come from a browser.
    ///
    /// # Errors
    /// [`ForeignRequest`].
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ForeignRequest> {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let of_uri = uri.authority().map(ToString::to_string);
        let named = headers
            .get_all(HOST)
            .iter()
            .map(|value| text(value.as_bytes()));
        let hosts: Vec<String> = of_uri.into_iter().chain(named).collect();
        if let Some(foreign) = hosts.iter().find(|host| !self.is_own(host)) {
            return Err(ForeignRequest::Host(foreign.clone()));
        }
        for origin in headers.get_all(ORIGIN) {
            let origin = text(origin.as_bytes());
            if !self.is_own_origin(&origin, &hosts) {
                return Err(ForeignRequest::Origin(origin));
            }
        }
        Ok(())
    }

    fn is_own(&self, authority: &str) -> bool {
        match Host::parse(authority) {
            Some(Host::Address(_)) => true,
            Some(Host::Name(name)) => self.is_own_name(&name),
            None => false,
        }
    }

    fn is_own_name(&self, name: &HostName) -> bool {
        name.0 == "localhost" || name.0.ends_with(".localhost") || self.0.contains(name)
    }

    /// An IP address proves no owner. So the address of an origin must be this machine's, or the one that the request
    /// addresses.
    fn is_own_origin(&self, origin: &str, hosts: &[String]) -> bool {
        let Some((_, authority)) = origin.split_once("://") else {
            return false;
        };
        match Host::parse(authority) {
            Some(Host::Address(address)) => {
                address.is_loopback()
                    || hosts
                        .iter()
                        .any(|host| host.eq_ignore_ascii_case(authority))
            }
            Some(Host::Name(name)) => self.is_own_name(&name),
            None => false,
        }
    }
}

/// A host of a URL.
enum Host {
    Address(IpAddr),
    Name(HostName),
}

impl Host {
    /// Parses a host with or without port.
    fn parse(authority: &str) -> Option<Self> {
        let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
        if let Some(rest) = authority.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            let port = port.strip_prefix(':').or(port.is_empty().then_some(""))?;
            let address = address.parse().ok().map(IpAddr::V6)?;
            return is_port(port).then_some(Self::Address(address));
        }
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        if !is_port(port) {
            return None;
        }
        if let Ok(address) = host.parse() {
            return Some(Self::Address(IpAddr::V4(address)));
        }
        // Browsers read a name that ends in a number as an address; `IpAddr`'s parser does not.
        let last = host.trim_end_matches('.').rsplit('.').next()?;
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        host.parse().ok().map(Self::Name)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn check(host: &str, origin: Option<&str>) -> Result<(), ForeignRequest> {
        let allowed: AllowedHosts = ["localaws.aws.svc", "AWS"]
            .into_iter()
            .map(|name| name.parse().unwrap())
            .collect();
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        allowed.check(&Uri::from_static("/"), &headers)
    }

    #[test]
    fn a_host_is_an_address_localhost_or_a_name_that_is_allowed() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:4566",
            "10.42.0.7:4566",
            "[::1]",
            "[::1]:8080",
            "localhost",
            "LocalHost:8080",
            "localhost.:8080",
            "queue.localhost:4566",
            "localaws.aws.svc:4566",
            "localaws.aws.svc.:4566",
            "aws:4566",
        ] {
            assert_eq!(check(host, None), Ok(()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:4566",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io",
            "localaws.aws.svc.evil.example",
            "evil.localaws.aws.svc",
            "user@localhost",
            "localhost:80:80",
            "localhost:x",
            "::1",
            "[::1",
            "[::1]x",
            "0x7f.1",
            "2130706433",
            "127.1",
            "local host",
        ] {
            assert_eq!(
                check(host, None),
                Err(ForeignRequest::Host(host.to_owned())),
                "{host}"
            );
        }
    }

    #[test]
    fn an_origin_is_of_this_server_or_of_this_machine() {
        for (host, origin) in [
            ("127.0.0.1:4566", "http://127.0.0.1:8080"),
            ("127.0.0.1:4566", "http://localhost:3000"),
            ("10.0.0.5:8080", "http://10.0.0.5:8080"),
            ("localhost:8080", "http://app.localhost"),
            ("localhost:8080", "https://[::1]:8080"),
            ("aws:4566", "http://localaws.aws.svc"),
        ] {
            assert_eq!(check(host, Some(origin)), Ok(()), "{origin} to {host}");
        }
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://203.0.113.5",
            "http://10.0.0.5:9999",
            "http://localhost.evil.example",
            "file://",
            "localhost",
            "http://",
        ] {
            assert_eq!(
                check("10.0.0.5:8080", Some(origin)),
                Err(ForeignRequest::Origin(origin.to_owned())),
                "{origin}"
            );
        }
    }

    #[test]
    fn every_host_of_a_request_counts() {
        let allowed = AllowedHosts::default();
        let mut headers = HeaderMap::new();
        assert_eq!(allowed.check(&Uri::from_static("/"), &headers), Ok(()));
        headers.append(HOST, HeaderValue::from_static("localhost"));
        let foreign = Uri::from_static("http://evil.example/producer");
        assert!(allowed.check(&foreign, &headers).is_err());
        headers.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(allowed.check(&Uri::from_static("/"), &headers).is_err());
        let mut origins = HeaderMap::new();
        origins.append(ORIGIN, HeaderValue::from_static("http://localhost"));
        origins.append(ORIGIN, HeaderValue::from_static("http://evil.example"));
        assert!(allowed.check(&Uri::from_static("/"), &origins).is_err());
    }

    #[test]
    fn a_refusal_names_the_flag_and_the_value() {
        for error in [
            check("evil.example", None).unwrap_err(),
            check("localhost", Some("null")).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(
                text.contains("--allow-host") && text.contains('"'),
                "{text}"
            );
        }
        for bad in ["", "http://aws", "aws:4566", "a b", "*", "*.svc"] {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
    }
}
