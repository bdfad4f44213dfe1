//! Lifecycle messages of the queues, parsed into a [`Request`].
//!
//! The parser is strict. An unknown field, a value of another type or a hostile id refuses the message at every delivery, and
//! the reason names the field. The reason quotes untrusted text escaped and truncated, so a message attribute can hold it.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tenantry_tenancy::tenant::{TenantId, Tier};

use crate::request::{IdentifiedRequest, Labels, Percent, ReplyQueue, Request, RequestId, Wave};

/// Limit of untrusted text that a reason quotes.
const MAX_QUOTED_CHARS: usize = 80;
/// Limit of tenants in a canary wave.
const MAX_CANARY_TENANTS: usize = 1000;

/// The kind of a lifecycle message, one for each queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    Onboarding,
    Offboarding,
    Deployment,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub request: Request,
    pub id: Option<RequestId>,
    /// Queue that gets the events of the request.
    pub reply_to: Option<ReplyQueue>,
}

/// A message that can never be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// Not the expected JSON object.
    #[error("{0}")]
    Shape(String),
    #[error("{field} is {value}: {rule}")]
    Field {
        field: &'static str,
        /// Escaped and truncated.
        value: String,
        rule: String,
    },
    #[error("canary, percent and rest exclude one another")]
    Wave,
}

impl MessageKind {
    pub const ALL: [Self; 3] = [Self::Onboarding, Self::Offboarding, Self::Deployment];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Onboarding => "onboarding",
            Self::Offboarding => "offboarding",
            Self::Deployment => "deployment",
        }
    }

    /// Parses the body of a message of this kind. A refused body is refused at every delivery.
    pub fn parse(self, body: &str) -> Result<Message, BadMessage> {
        match self {
            Self::Onboarding => object::<Onboarding>(body)?.message(),
            Self::Offboarding => object::<Offboarding>(body)?.message(),
            Self::Deployment => object::<Deployment>(body)?.message(),
        }
    }
}

impl Message {
    /// Gives the request an id: the sender's own id, else the delivery's id, which is equal at each delivery, else a random id.
    pub fn identified(self, delivered_under: Option<RequestId>) -> IdentifiedRequest {
        let id = self.id.or(delivered_under);
        let may_be_repeat = id.is_some();
        IdentifiedRequest {
            request: self.request,
            id: id.unwrap_or_else(RequestId::random),
            may_be_repeat,
            reply_to: self.reply_to,
        }
    }
}

impl BadMessage {
    /// Returns the stable name of the error, for programs.
    pub const CODE: &str = "malformed";
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Onboarding {
    tenant_id: String,
    tenant_tier: String,
    release_version: String,
    request_id: Option<String>,
    reply_to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Offboarding {
    tenant_id: String,
    tenant_tier: Option<String>,
    #[serde(default)]
    delete_data: bool,
    request_id: Option<String>,
    reply_to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deployment {
    tenant_tier: String,
    release_version: String,
    canary: Option<Vec<String>>,
    percent: Option<u8>,
    #[serde(default)]
    rest: bool,
    request_id: Option<String>,
    reply_to: Option<String>,
}

impl Onboarding {
    fn message(self) -> Result<Message, BadMessage> {
        let tenant = field("tenant_id", &self.tenant_id)?;
        let tier = field("tenant_tier", &self.tenant_tier)?;
        let release = field("release_version", &self.release_version)?;
        Ok(Message {
            request: Request::Onboard {
                tenant,
                tier,
                release,
                labels: Labels::default(),
            },
            id: id(self.request_id)?,
            reply_to: reply_to(self.reply_to)?,
        })
    }
}

impl Offboarding {
    fn message(self) -> Result<Message, BadMessage> {
        let tenant: TenantId = field("tenant_id", &self.tenant_id)?;
        let tier: Option<Tier> = self
            .tenant_tier
            .map(|tier| field("tenant_tier", &tier))
            .transpose()?;
        let request = Request::Offboard {
            tenant,
            tier,
            delete_data: self.delete_data,
        };
        Ok(Message {
            request,
            id: id(self.request_id)?,
            reply_to: reply_to(self.reply_to)?,
        })
    }
}

impl Deployment {
    fn message(self) -> Result<Message, BadMessage> {
        let tier = field("tenant_tier", &self.tenant_tier)?;
        let release = field("release_version", &self.release_version)?;
        let wave = match (self.canary, self.percent, self.rest) {
            (None, None, false) => Wave::All,
            (None, None, true) => Wave::Rest,
            (None, Some(share), false) => {
                let rule = |error: crate::request::InvalidPercent| {
                    bad("percent", &share.to_string(), &error)
                };
                Wave::Percent(Percent::try_from(share).map_err(rule)?)
            }
            (Some(tenants), None, false) => canary(&tenants)?,
            _ => return Err(BadMessage::Wave),
        };
        Ok(Message {
            request: Request::Deploy {
                tier,
                release,
                wave,
            },
            id: id(self.request_id)?,
            reply_to: reply_to(self.reply_to)?,
        })
    }
}

fn canary(tenants: &[String]) -> Result<Wave, BadMessage> {
    if tenants.len() > MAX_CANARY_TENANTS {
        let value = tenants.len().to_string();
        return Err(bad(
            "canary",
            &value,
            &format!("a canary wave names at most {MAX_CANARY_TENANTS} tenants"),
        ));
    }
    let tenants: Result<_, _> = tenants
        .iter()
        .map(|tenant| field("canary", tenant))
        .collect();
    Ok(Wave::Canary { tenants: tenants? })
}

fn reply_to(text: Option<String>) -> Result<Option<ReplyQueue>, BadMessage> {
    text.map(|text| field("reply_to", &text)).transpose()
}

fn id(text: Option<String>) -> Result<Option<RequestId>, BadMessage> {
    text.map(|text| field("request_id", &text)).transpose()
}

fn object<T: DeserializeOwned>(body: &str) -> Result<T, BadMessage> {
    // A derived structure also accepts a list of its fields' values.
    if !body.trim_start().starts_with('{') {
        return Err(BadMessage::Shape(format!(
            "the message is {}, not a JSON object",
            quoted(body)
        )));
    }
    // The library's message quotes untrusted text.
    serde_json::from_str(body).map_err(|error| BadMessage::Shape(printable(&error.to_string())))
}

fn field<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &'static str,
    text: &str,
) -> Result<T, BadMessage> {
    text.parse().map_err(|error| bad(name, text, &error))
}

fn bad(field: &'static str, value: &str, rule: &dyn std::fmt::Display) -> BadMessage {
    BadMessage::Field {
        field,
        value: quoted(value),
        rule: rule.to_string(),
    }
}

/// Returns untrusted text in quotes, escaped and truncated.
fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    printable(&format!("{cut:?}{more}"))
}

/// Returns bounded text that a message attribute may hold: no control characters, no non-characters (SQS refuses U+FFFE
/// and U+FFFF).
fn printable(text: &str) -> String {
    let fits =
        |character: char| !character.is_control() && !matches!(character, '\u{fffe}' | '\u{ffff}');
    text.chars()
        .map(|character| {
            if fits(character) {
                character
            } else {
                '\u{fffd}'
            }
        })
        .take(400)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(kind: MessageKind, body: &str) -> Request {
        kind.parse(body).expect(body).request
    }

    #[test]
    fn the_contracts_messages_are_parsed() {
        let onboarding =
            r#"{"tenant_id":"tenant-1","tenant_tier":"premium","release_version":"0.0"}"#;
        assert_eq!(
            request(MessageKind::Onboarding, onboarding),
            Request::Onboard {
                tenant: "tenant-1".parse().expect("an id"),
                tier: Tier::Premium,
                release: "0.0".parse().expect("a release"),
                labels: Labels::default(),
            }
        );
        let tenant: TenantId = "tenant-t1d6c".parse().expect("an id");
        assert_eq!(
            request(
                MessageKind::Offboarding,
                r#"{"tenant_id":"tenant-t1d6c","tenant_tier":"advanced"}"#
            ),
            Request::Offboard {
                tenant: tenant.clone(),
                tier: Some(Tier::Advanced),
                delete_data: false
            }
        );
        assert_eq!(
            request(
                MessageKind::Offboarding,
                r#"{"tenant_id":"tenant-t1d6c","delete_data":true}"#
            ),
            Request::Offboard {
                tenant,
                tier: None,
                delete_data: true
            }
        );
        let Request::Deploy { tier, wave, .. } = request(
            MessageKind::Deployment,
            r#"{"tenant_tier":"basic","release_version":"0.1"}"#,
        ) else {
            panic!("a deployment")
        };
        assert_eq!((tier, wave), (Tier::Basic, Wave::All));
    }

    #[test]
    fn waves_and_request_ids_are_parsed() {
        let of = |more: &str| {
            let body = format!(r#"{{"tenant_tier":"basic","release_version":"0.1",{more}}}"#);
            MessageKind::Deployment.parse(&body)
        };
        let wave = |more: &str| match of(more).expect(more).request {
            Request::Deploy { wave, .. } => wave,
            other => panic!("{other:?}"),
        };
        assert_eq!(wave(r#""rest":true"#), Wave::Rest);
        assert_eq!(
            wave(r#""percent":10"#),
            Wave::Percent(10.try_into().expect("a share"))
        );
        let Wave::Canary { tenants } = wave(r#""canary":["tenant-1"]"#) else {
            panic!("a canary wave")
        };
        assert_eq!(tenants.len(), 1);
        assert_eq!(
            of(r#""request_id":"r-1""#).expect("fine").id,
            Some("r-1".parse().expect("an id"))
        );
        assert_eq!(of(r#""rest":true,"percent":10"#), Err(BadMessage::Wave));
        let many = vec!["\"t\""; MAX_CANARY_TENANTS + 1].join(",");
        for bad in [
            r#""percent":0"#,
            r#""percent":101"#,
            r#""request_id":"a b""#,
            r#""canary":["../x"]"#,
            &format!("\"canary\":[{many}]"),
        ] {
            assert!(
                matches!(of(bad), Err(BadMessage::Field { .. })),
                "{bad:.60}"
            );
        }
        assert!(matches!(of(r#""percent":300"#), Err(BadMessage::Shape(_))));
    }

    #[test]
    fn the_senders_id_takes_precedence_over_the_deliverys() {
        let body = |more: &str| format!(r#"{{"tenant_id":"t"{more}}}"#);
        let wanted = |more: &str, under: Option<&str>| {
            let under = under.map(|id| id.parse().expect("an id"));
            MessageKind::Offboarding
                .parse(&body(more))
                .expect("fine")
                .identified(under)
        };
        let own = r#","request_id":"order-17""#;
        for (more, under, id) in [
            (own, Some("m-1"), "order-17"),
            (own, None, "order-17"),
            ("", Some("m-1"), "m-1"),
        ] {
            let wanted = wanted(more, under);
            assert_eq!((wanted.id.as_str(), wanted.may_be_repeat), (id, true));
        }
        assert!(!wanted("", None).may_be_repeat, "an id just made up");
    }

    #[test]
    fn hostile_and_misspelled_messages_are_refused_with_a_reason() {
        let long = "x".repeat(100_000);
        for (body, named) in [
            (
                r#"{"tenant_id":"../../clusters/production","tenant_tier":"basic","release_version":"0.0"}"#,
                "tenant_id",
            ),
            (
                r#"{"tenant_id":"a\nb","tenant_tier":"basic","release_version":"0.0"}"#,
                "tenant_id",
            ),
            (
                r#"{"tenant_id":"kube-system","tenant_tier":"basic","release_version":"0.0"}"#,
                "reserved",
            ),
            (
                r#"{"tenant_id":"t","tenant_tier":"../../../clusters/production","release_version":"0.0"}"#,
                "tenant_tier",
            ),
            (
                r#"{"tenant_id":"t","tenant_tier":"Basic","release_version":"0.0"}"#,
                "tenant_tier",
            ),
            (
                r#"{"tenant_id":"t","tenant_tier":"basic","release_version":"0.0 # x"}"#,
                "release_version",
            ),
            (
                r#"{"tenant_id":"t","tenant_tier":"basic"}"#,
                "release_version",
            ),
            (
                r#"{"tenant_id":"t","tenant_tier":"basic","release_version":"0.0","admin":true}"#,
                "admin",
            ),
            (
                r#"{"tenant_id":"t","tenant_id":"u","tenant_tier":"basic","release_version":"0.0"}"#,
                "duplicate",
            ),
            (
                r#"{"tenant_id":1,"tenant_tier":"basic","release_version":"0.0"}"#,
                "string",
            ),
            (r#"["t","basic","0.0",null]"#, "not a JSON object"),
            ("", "not a JSON object"),
            (
                &format!(
                    r#"{{"tenant_id":"{long}","tenant_tier":"basic","release_version":"0.0"}}"#
                ),
                "tenant_id",
            ),
            (&format!(r#"{{"{long}":1}}"#), "unknown field"),
        ] {
            let reason = MessageKind::Onboarding
                .parse(body)
                .expect_err(&body[..body.len().min(80)])
                .to_string();
            assert!(reason.contains(named), "{reason}");
        }
    }

    proptest! {
        #[test]
        fn a_reason_is_always_one_short_printable_line(id in any::<String>(), body in any::<String>()) {
            let message = serde_json::json!({ "tenant_id": id, "tenant_tier": "basic", "release_version": "0.0" });
            for body in [message.to_string(), body] {
                if let Err(bad) = MessageKind::Onboarding.parse(&body) {
                    let reason = bad.to_string();
                    prop_assert!(reason.chars().count() < 1000 && !reason.chars().any(char::is_control), "{reason:?}");
                }
            }
        }
    }
}
