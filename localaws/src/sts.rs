//! STS: the identity of a caller, and assumed roles.
//!
//! Temporary credentials are self-contained: the session token carries role, session name and tags. Nothing is stored,
//! so credentials survive a restart. Signatures are not checked, and the only policy is the one a test sets
//! ([`crate::leading_keys`]): every client that reaches the endpoint may call every operation.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat};
use hyper::{HeaderMap, StatusCode, header::AUTHORIZATION};
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use crate::{
    form::Form,
    protocol::{self, AwsError, Reply, now_ms, request_id, xml_text},
};

/// XML namespace of responses.
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// Request header with the session token of temporary credentials.
const TOKEN_HEADER: &str = "x-amz-security-token";
/// Session tags of one session (AWS).
const TAGS_MAX: usize = 50;
/// Characters of a session tag's key and value (AWS).
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;
/// Session duration in seconds: shortest, default, longest (AWS).
const DURATION_S: (u64, u64, u64) = (900, 3_600, 43_200);
/// Session name length (AWS).
const SESSION_NAME_CHARS: std::ops::RangeInclusive<usize> = 2..=64;

/// An assumed role, as the session token carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) role_arn: String,
    pub(crate) session_name: String,
    /// Keys and values.
    pub(crate) tags: Vec<(String, String)>,
    /// Milliseconds since 1970.
    pub(crate) expires_ms: u64,
}

/// Caller of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// As in `SenderId`.
    pub(crate) user_id: String,
    pub(crate) arn: String,
}

impl Session {
    fn role_name(&self) -> &str {
        self.role_arn.rsplit('/').next().unwrap_or_default()
    }

    fn account(&self) -> &str {
        self.role_arn.split(':').nth(4).unwrap_or_default()
    }

    pub(crate) fn arn(&self) -> String {
        format!(
            "arn:aws:sts::{}:assumed-role/{}/{}",
            self.account(),
            self.role_name(),
            self.session_name
        )
    }

    fn identity(&self) -> Identity {
        let user_id = format!(
            "{}:{}",
            unique_id("AROA", &self.role_arn),
            self.session_name
        );
        Identity {
            user_id,
            arn: self.arn(),
        }
    }

    fn to_token(&self) -> String {
        let json = serde_json::to_vec(self).expect("a session is JSON");
        let check: [u8; 16] = Md5::digest(&json).into();
        BASE64_URL_SAFE_NO_PAD.encode([check.as_slice(), &json].concat())
    }

    fn from_token(token: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (check, json) = bytes.split_at_checked(16)?;
        let expected: [u8; 16] = Md5::digest(json).into();
        (check == expected).then(|| serde_json::from_slice(json).ok())?
    }
}

/// Returns the session of a request that carries one of our session tokens.
///
/// # Errors
/// `ExpiredToken`.
pub(crate) fn session(headers: &HeaderMap) -> Result<Option<Session>, AwsError> {
    let Some(token) = headers.get(TOKEN_HEADER) else {
        return Ok(None);
    };
    // Clients may send any token: one that is not ours means the account's own credentials.
    let Some(session) = token.to_str().ok().and_then(Session::from_token) else {
        return Ok(None);
    };
    if session.expires_ms < now_ms() {
        return Err(AwsError::new(
            StatusCode::FORBIDDEN,
            "ExpiredToken",
            "The security token included in the request is expired",
        ));
    }
    Ok(Some(session))
}

/// Returns the caller of a request: its session, or the account's root user.
pub(crate) fn identity(headers: &HeaderMap, account_id: &str) -> Identity {
    match session(headers) {
        Ok(Some(session)) => session.identity(),
        _ => Identity {
            user_id: account_id.to_owned(),
            arn: format!("arn:aws:iam::{account_id}:root"),
        },
    }
}

/// Runs one operation.
///
/// # Errors
/// The error AWS returns.
pub(crate) fn call(form: &Form, headers: &HeaderMap, account_id: &str) -> Result<Reply, AwsError> {
    match form.get("Action").unwrap_or_default() {
        "GetCallerIdentity" => get_caller_identity(headers, account_id),
        "AssumeRole" => assume_role(form, "AssumeRole"),
        "AssumeRoleWithWebIdentity" => {
            required(form, "WebIdentityToken")?;
            assume_role(form, "AssumeRoleWithWebIdentity")
        }
        action => Err(AwsError::bad_request(
            "InvalidAction",
            format!("Could not find operation {action} for version 2011-06-15"),
        )),
    }
}

fn get_caller_identity(headers: &HeaderMap, account_id: &str) -> Result<Reply, AwsError> {
    if !headers.contains_key(AUTHORIZATION) {
        return Err(AwsError::new(
            StatusCode::FORBIDDEN,
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        ));
    }
    session(headers)?;
    let identity = identity(headers, account_id);
    let account = identity.arn.split(':').nth(4).unwrap_or(account_id);
    Ok(xml(
        "GetCallerIdentity",
        &format!(
            "<Arn>{}</Arn><UserId>{}</UserId><Account>{}</Account>",
            xml_text(&identity.arn),
            xml_text(&identity.user_id),
            xml_text(account)
        ),
    ))
}

fn assume_role(form: &Form, action: &str) -> Result<Reply, AwsError> {
    let session = requested_session(form)?;
    let identity = session.identity();
    let token = session.to_token();
    let seconds = i64::try_from(session.expires_ms / 1_000).unwrap_or(i64::MAX);
    let expiration = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    let secret = format!("{}{}", request_id(), request_id()).replace('-', "");
    let mut result = format!(
        "<Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
         <SessionToken>{token}</SessionToken><Expiration>{}</Expiration></Credentials>\
         <AssumedRoleUser><AssumedRoleId>{}</AssumedRoleId><Arn>{}</Arn></AssumedRoleUser>\
         <PackedPolicySize>0</PackedPolicySize>",
        unique_id("ASIA", &request_id()),
        &secret[..40],
        expiration.to_rfc3339_opts(SecondsFormat::Secs, true),
        xml_text(&identity.user_id),
        xml_text(&identity.arn),
    );
    if action == "AssumeRoleWithWebIdentity" {
        result.push_str("<Provider>localaws</Provider><Audience>sts.amazonaws.com</Audience>");
    }
    Ok(xml(action, &result))
}

fn requested_session(form: &Form) -> Result<Session, AwsError> {
    let invalid = |message: String| AwsError::bad_request("ValidationError", message);
    let role_arn = required(form, "RoleArn")?;
    let parts: Vec<_> = role_arn.splitn(6, ':').collect();
    let is_role = matches!(parts[..], ["arn", _, "iam", "", account, role]
        if account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit())
            && role.strip_prefix("role/").is_some_and(|name| !name.is_empty() && !name.ends_with('/')));
    if !is_role {
        return Err(invalid(format!("{role_arn} is invalid")));
    }
    let session_name = required(form, "RoleSessionName")?;
    let name_fits = SESSION_NAME_CHARS.contains(&session_name.len())
        && session_name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b));
    if !name_fits {
        return Err(invalid(format!(
            "1 validation error detected: Value '{session_name}' at 'roleSessionName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [\\w+=,.@-]{{2,64}}"
        )));
    }
    let (shortest, default, longest) = DURATION_S;
    let duration_s = match form.get("DurationSeconds") {
        Some(text) => text.parse().ok().filter(|s| (shortest..=longest).contains(s)).ok_or_else(|| {
            invalid(format!(
                "1 validation error detected: Value '{text}' at 'durationSeconds' failed to satisfy constraint: \
                 Member must have value between {shortest} and {longest}"
            ))
        })?,
        None => default,
    };
    Ok(Session {
        tags: session_tags(form)?,
        role_arn: role_arn.to_owned(),
        session_name: session_name.to_owned(),
        expires_ms: now_ms() + duration_s * 1_000,
    })
}

fn session_tags(form: &Form) -> Result<Vec<(String, String)>, AwsError> {
    let mut tags: Vec<(String, String)> = Vec::new();
    for n in 1.. {
        let Some(key) = form.get(&format!("Tags.member.{n}.Key")) else {
            break;
        };
        let value = form
            .get(&format!("Tags.member.{n}.Value"))
            .unwrap_or_default();
        let fits = (1..=TAG_KEY_CHARS_MAX).contains(&key.chars().count())
            && value.chars().count() <= TAG_VALUE_CHARS_MAX
            && n <= TAGS_MAX;
        if !fits {
            return Err(AwsError::bad_request(
                "ValidationError",
                format!(
                    "At most {TAGS_MAX} session tags are allowed, keys of 1 to {TAG_KEY_CHARS_MAX} and values of up to \
                     {TAG_VALUE_CHARS_MAX} characters; tag {n} breaks this."
                ),
            ));
        }
        if tags
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(key))
        {
            return Err(AwsError::bad_request(
                "InvalidParameterValue",
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            ));
        }
        tags.push((key.to_owned(), value.to_owned()));
    }
    for n in 1..=TAGS_MAX {
        let Some(key) = form.get(&format!("TransitiveTagKeys.member.{n}")) else {
            break;
        };
        if !tags
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(key))
        {
            return Err(AwsError::bad_request(
                "InvalidParameterValue",
                "One of the specified transitive tag keys cannot be found in the requested tags.",
            ));
        }
    }
    Ok(tags)
}

fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, AwsError> {
    form.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
        let mut member = name.to_owned();
        member[..1].make_ascii_lowercase();
        AwsError::bad_request(
            "ValidationError",
            format!(
                "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not \
                 be null"
            ),
        )
    })
}

/// Returns an id in the form of IAM: a prefix for the kind, then 16 letters and digits, derived from the seed.
fn unique_id(prefix: &str, seed: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Md5::digest(seed.as_bytes());
    let letters = digest
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
    prefix.chars().chain(letters).collect()
}

fn xml(action: &str, result: &str) -> Reply {
    let id = request_id();
    let body = format!(
        "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{result}</{action}Result><ResponseMetadata>\
         <RequestId>{id}</RequestId></ResponseMetadata></{action}Response>"
    );
    protocol::raw_with_id(StatusCode::OK, "text/xml", body, &id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(extra: &str) -> Form {
        Form::parse(&format!(
            "RoleArn=arn:aws:iam::000000000000:role/tenant/app&RoleSessionName=s-1&{extra}"
        ))
    }

    #[test]
    fn a_session_token_carries_role_name_and_tags() {
        let session = requested_session(&form(
            "Tags.member.1.Key=TenantID&Tags.member.1.Value=tenant-1",
        ))
        .unwrap();
        assert_eq!(
            session.tags,
            [("TenantID".to_owned(), "tenant-1".to_owned())]
        );
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN_HEADER, session.to_token().parse().unwrap());
        assert_eq!(super::session(&headers).unwrap(), Some(session));
        assert_eq!(
            identity(&headers, "000000000000").arn,
            "arn:aws:sts::000000000000:assumed-role/app/s-1"
        );
    }

    #[test]
    fn an_unknown_token_means_root_and_an_expired_one_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN_HEADER, "of-another-issuer".parse().unwrap());
        assert_eq!(
            identity(&headers, "000000000000").arn,
            "arn:aws:iam::000000000000:root"
        );
        let mut expired = requested_session(&form("")).unwrap();
        expired.expires_ms = 1;
        headers.insert(TOKEN_HEADER, expired.to_token().parse().unwrap());
        assert_eq!(
            super::session(&headers).unwrap_err().shape(),
            "ExpiredToken"
        );
    }

    #[test]
    fn bad_requests_are_refused() {
        for bad in [
            "RoleArn=nonsense",
            "RoleArn=arn:aws:iam::1:role/x",
            "RoleSessionName=a",
            "RoleSessionName=a%20b",
            "DurationSeconds=899",
            "DurationSeconds=43201",
            "Tags.member.1.Key=a&Tags.member.2.Key=A",
            "Tags.member.1.Key=a&TransitiveTagKeys.member.1=b",
        ] {
            assert!(requested_session(&form(bad)).is_err(), "{bad}");
        }
        assert!(requested_session(&Form::parse("RoleSessionName=abc")).is_err());
    }
}
