//! The address of the client that sent a request, for the log.
//!
//! Without configuration, this is the peer of the connection. With trusted proxies, it is the last address in their
//! header that is not a trusted proxy's: each proxy appends the address of its own peer, and everything before an
//! untrusted address may be invented. No decision about a request depends on it.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::FORWARDED;
use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// The proxies that are trusted to report a client's address.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Proxies {
    /// Networks of trusted proxies, as CIDRs, separated by commas; none where unset
    #[arg(long, env, value_name = "TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,

    /// Header to which the trusted proxies append their peer's address
    #[arg(
        long,
        env,
        value_name = "TRUSTED_PROXY_HEADER",
        value_enum,
        default_value_t
    )]
    pub trusted_proxy_header: ProxyHeader,
}

/// Header that proxies append to. Only one is read, because proxies pass the other as the client sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, as load balancers of AWS, Traefik and nginx append to.
    #[default]
    XForwardedFor,
    /// `Forwarded` of RFC 7239.
    Forwarded,
}

impl Proxies {
    /// Returns the client's address, as the trusted proxies report it.
    pub(crate) fn source(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut source = peer.ip().to_canonical();
        let lines = headers.get_all(self.trusted_proxy_header.name());
        let mut hops = lines
            .into_iter()
            .map(|line| line.to_str().unwrap_or_default())
            .flat_map(|line| line.split(','))
            .rev();
        while self.is_trusted(source)
            && let Some(hop) = hops
                .next()
                .and_then(|hop| self.trusted_proxy_header.address(hop))
        {
            source = hop;
        }
        source
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(&address))
    }
}

impl ProxyHeader {
    fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => FORWARDED,
        }
    }

    /// The address in one element of the header; `None` where it hides the address, or is malformed.
    fn address(self, element: &str) -> Option<IpAddr> {
        let node = match self {
            Self::XForwardedFor => element,
            Self::Forwarded => element.split(';').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim().eq_ignore_ascii_case("for").then_some(value)
            })?,
        };
        let node = node.trim().trim_matches('"');
        let bare = node.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<IpAddr>().ok();
        let address = address.or_else(|| Some(node.parse::<SocketAddr>().ok()?.ip()))?;
        Some(address.to_canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(trusted: &str, header: ProxyHeader, peer: &str, lines: &[&str]) -> String {
        let networks = trusted.split(',').filter(|network| !network.is_empty());
        let proxies = Proxies {
            trusted_proxies: networks
                .map(|network| network.parse().expect("a CIDR"))
                .collect(),
            trusted_proxy_header: header,
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").expect("a header");
            headers.append(
                name.parse::<HeaderName>().expect("a name"),
                value.parse().expect("a value"),
            );
        }
        let peer = SocketAddr::new(peer.parse().expect("an address"), 1234);
        proxies.source(peer, &headers).to_string()
    }

    #[test]
    fn without_trusted_proxies_the_source_is_the_peer() {
        for line in ["x-forwarded-for: 192.0.2.1", "forwarded: for=192.0.2.1"] {
            for header in [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded] {
                assert_eq!(source("", header, "10.0.0.1", &[line]), "10.0.0.1");
                assert_eq!(
                    source("10.1.0.0/16", header, "10.0.0.1", &[line]),
                    "10.0.0.1"
                );
            }
        }
    }

    #[test]
    fn the_source_is_the_last_address_that_is_no_trusted_proxys() {
        let trusted = "10.0.0.0/8,2001:db8:1::/48";
        for (lines, expected) in [
            (&[][..], "10.0.0.1"),
            (&["x-forwarded-for: 192.0.2.1"], "192.0.2.1"),
            (&["x-forwarded-for: 192.0.2.9, 192.0.2.1"], "192.0.2.1"),
            (
                &["x-forwarded-for: 192.0.2.9, 192.0.2.1 ,10.2.3.4"],
                "192.0.2.1",
            ),
            (
                &[
                    "x-forwarded-for: 192.0.2.9",
                    "x-forwarded-for: 192.0.2.1:5555",
                ],
                "192.0.2.1",
            ),
            (&["x-forwarded-for: 192.0.2.9, nonsense"], "10.0.0.1"),
            (&["x-forwarded-for: 192.0.2.9,"], "10.0.0.1"),
            (&["x-forwarded-for: ::ffff:192.0.2.1"], "192.0.2.1"),
            (&["x-forwarded-for: 10.2.3.4"], "10.2.3.4"),
            (
                &["forwarded: for=192.0.2.9", "x-forwarded-for: 192.0.2.1"],
                "192.0.2.1",
            ),
        ] {
            let header = ProxyHeader::XForwardedFor;
            assert_eq!(
                source(trusted, header, "10.0.0.1", lines),
                expected,
                "{lines:?}"
            );
            assert_eq!(
                source(trusted, header, "::ffff:10.0.0.1", lines),
                expected,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_says() {
        for (line, expected) in [
            ("for=192.0.2.43", "192.0.2.43"),
            (
                "For=\"[2001:db8:cafe::17]:4711\";proto=http",
                "2001:db8:cafe::17",
            ),
            ("for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
            (
                "for=192.0.2.43, FOR=198.51.100.17;by=10.0.0.9",
                "198.51.100.17",
            ),
            (
                "proto=http;by=203.0.113.43;for=\"192.0.2.60:80\"",
                "192.0.2.60",
            ),
            ("for=192.0.2.43, for=_hidden", "10.0.0.1"),
            ("for=192.0.2.43, for=unknown", "10.0.0.1"),
            ("for=192.0.2.43, by=192.0.2.60", "10.0.0.1"),
            // A client's open quote hides no element that a proxy appended.
            ("for=\", for=198.51.100.17", "198.51.100.17"),
            ("for=192.0.2.43, for=10.0.0.7", "192.0.2.43"),
        ] {
            let lines = [&*format!("forwarded: {line}"), "x-forwarded-for: 192.0.2.9"];
            let found = source("10.0.0.0/8", ProxyHeader::Forwarded, "10.0.0.1", &lines);
            assert_eq!(found, expected, "{line}");
        }
    }
}
