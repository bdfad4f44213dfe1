//! Configuration of authentication: `AUTH` and its companion variables, validated together.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use reqwest::Url;

use tenantry_process::config::seconds;

/// Authentication of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// The `tenantID` header is trusted.
    None,
    /// The request has a token that names the same tenant.
    Jwt(Box<JwtConfig>),
}

/// Rules for tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtConfig {
    /// Required `iss`.
    pub issuer: String,
    /// Accepted values of `aud`.
    pub audiences: Vec<String>,
    /// The claim that must equal the `tenantID` header.
    pub claim: String,
    pub source: TokenSource,
    /// Accepted difference between the issuer's clock and ours.
    pub leeway: Duration,
    /// Interval between two fetches of the issuer's keys.
    pub refresh: Duration,
}

/// The header that has the token, and the keys that sign it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// `Authorization: Bearer …`, signed with a key of this set.
    Authorization(KeySetLocation),
    /// `x-amzn-oidc-data`, signed by the load balancer.
    LoadBalancer {
        /// The load balancer's ARN.
        signer: String,
        /// Base URL of the keys of its region.
        keys: Url,
    },
}

/// Location of the issuer's key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySetLocation {
    Url(Url),
    File(PathBuf),
}

/// The variables, each valid alone. `validated` checks them together.
#[derive(Debug, Clone, Args)]
struct AuthArgs {
    /// Authentication of requests: none trusts the tenantID header, so only a trusted load balancer may reach the port;
    /// jwt requires a token
    #[arg(long, env, value_name = "AUTH", value_enum, default_value_t = Mode::None)]
    auth: Mode,

    /// With AUTH=jwt: issuer of the tokens, spelled as in their iss
    #[arg(long, env, value_name = "AUTH_ISSUER")]
    auth_issuer: Option<String>,

    /// With AUTH=jwt: accepted audiences, separated by commas; with AUTH_SOURCE=alb the load balancer's OIDC client ids
    #[arg(long, env, value_name = "AUTH_AUDIENCE", value_delimiter = ',')]
    auth_audience: Vec<String>,

    /// With AUTH=jwt: https URL or file of the issuer's key set; with AUTH_SOURCE=alb the base URL of the load
    /// balancer's keys, if it is not the region's own
    #[arg(long, env, value_name = "AUTH_JWKS")]
    auth_jwks: Option<String>,

    /// With AUTH=jwt: claim that must equal the tenantID header: a name, or a path of names separated by dots
    #[arg(long, env, value_name = "AUTH_CLAIM", default_value = "tenant_id")]
    auth_claim: String,

    /// With AUTH=jwt: header that has the token: Authorization, or the load balancer's x-amzn-oidc-data
    #[arg(long, env, value_name = "AUTH_SOURCE", value_enum, default_value_t = Source::Authorization)]
    auth_source: Source,

    /// With AUTH_SOURCE=alb: ARN of the load balancer that must have signed the token
    #[arg(long, env, value_name = "AUTH_ALB_ARN")]
    auth_alb_arn: Option<String>,

    /// Seconds by which the issuer's clock may differ from the service's
    #[arg(long, env, value_name = "AUTH_LEEWAY_SECONDS", default_value = "30", value_parser = seconds(0, 300))]
    auth_leeway_seconds: Duration,

    /// Seconds between two fetches of the issuer's keys
    #[arg(long, env, value_name = "AUTH_JWKS_REFRESH_SECONDS", default_value = "300", value_parser = seconds(1, 86_400))]
    auth_jwks_refresh_seconds: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    None,
    Jwt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Source {
    Authorization,
    Alb,
}

impl AuthArgs {
    /// # Errors
    /// One line that names the variable that is missing or wrong.
    fn validated(self) -> Result<Auth, String> {
        if self.auth == Mode::None {
            // An operator who sets one of these expects that tokens are checked.
            let set = [
                ("AUTH_ISSUER", self.auth_issuer.is_some()),
                ("AUTH_AUDIENCE", !self.auth_audience.is_empty()),
                ("AUTH_JWKS", self.auth_jwks.is_some()),
                ("AUTH_ALB_ARN", self.auth_alb_arn.is_some()),
            ];
            return match set.into_iter().find(|(_, is_set)| *is_set) {
                Some((name, _)) => Err(format!(
                    "{name} is set, but AUTH is none: set AUTH=jwt, or unset {name}"
                )),
                None => Ok(Auth::None),
            };
        }
        let source = match self.auth_source {
            Source::Authorization => {
                let location = KeySetLocation::parse(&required("AUTH_JWKS", self.auth_jwks)?)?;
                if self.auth_alb_arn.is_some() {
                    return Err(
                        "AUTH_ALB_ARN is set, but AUTH_SOURCE is not alb: set AUTH_SOURCE=alb, or unset AUTH_ALB_ARN"
                            .to_owned(),
                    );
                }
                TokenSource::Authorization(location)
            }
            Source::Alb => {
                load_balancer(required("AUTH_ALB_ARN", self.auth_alb_arn)?, self.auth_jwks)?
            }
        };
        if self.auth_claim.is_empty() {
            return Err(
                "AUTH_CLAIM is empty: set the name of the claim that has the tenant's id"
                    .to_owned(),
            );
        }
        if self.auth_audience.is_empty() || self.auth_audience.iter().any(String::is_empty) {
            return Err(missing("AUTH_AUDIENCE"));
        }
        Ok(Auth::Jwt(Box::new(JwtConfig {
            issuer: required("AUTH_ISSUER", self.auth_issuer)?,
            audiences: self.auth_audience,
            claim: self.auth_claim,
            source,
            leeway: self.auth_leeway_seconds,
            refresh: self.auth_jwks_refresh_seconds,
        })))
    }
}

impl KeySetLocation {
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            url(text).map(Self::Url)
        } else {
            Ok(Self::File(text.into()))
        }
    }
}

fn load_balancer(arn: String, keys: Option<String>) -> Result<TokenSource, String> {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let ["arn", _, "elasticloadbalancing", region, _, resource] = parts[..] else {
        return Err(invalid_arn(&arn));
    };
    let is_region = !region.is_empty()
        && region
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_region || !resource.starts_with("loadbalancer/app/") {
        return Err(invalid_arn(&arn));
    }
    let keys =
        keys.unwrap_or_else(|| format!("https://public-keys.auth.elb.{region}.amazonaws.com"));
    Ok(TokenSource::LoadBalancer {
        keys: url(&keys)?,
        signer: arn,
    })
}

fn invalid_arn(text: &str) -> String {
    format!(
        "AUTH_ALB_ARN is {text:?}: set the ARN of an application load balancer, \
         arn:aws:elasticloadbalancing:<region>:<account>:loadbalancer/app/<name>/<id>"
    )
}

/// A URL that only the issuer can answer: an attacker who can change the answer can sign for every tenant.
fn url(text: &str) -> Result<Url, String> {
    let wrong = |why: &str| {
        format!("AUTH_JWKS is {why}: set an https URL, an http URL of this machine, or a file")
    };
    let url: Url = text.parse().map_err(|_| wrong("not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("a URL with credentials"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_this_machine(&url) => Ok(url),
        _ => Err(wrong("a URL without TLS")),
    }
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn required(name: &str, value: Option<String>) -> Result<String, String> {
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| missing(name))
}

fn missing(name: &str) -> String {
    format!("{name} is not set, but AUTH=jwt needs it; see --help")
}

impl FromArgMatches for Auth {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        AuthArgs::from_arg_matches(matches)?
            .validated()
            .map_err(|line| clap::Error::raw(ErrorKind::ValueValidation, line))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Auth {
    fn augment_args(command: Command) -> Command {
        AuthArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        AuthArgs::augment_args_for_update(command)
    }
}
