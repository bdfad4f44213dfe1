//! The trailers of a commit that record its request.
//!
//! `Request-Id` identifies a repeat. `Request` holds the request itself: it reveals another request with the same id, and
//! documents the history.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::git::Oid;
use crate::request::{Actor, IdentifiedRequest, ReplyQueue, Request, RequestId, Wave};

const ID: &str = "Request-Id: ";
const REQUEST: &str = "Request: ";
const ACTOR: &str = "Actor: ";
const DEPLOYMENT: &str = "Deployment: ";
const REPLY_TO: &str = "Reply-To: ";
const CALLBACK: &str = "Callback: ";

/// The trailers of a commit.
#[derive(Debug)]
pub(super) struct RequestTrailers {
    pub(super) commit: Oid,
    pub(super) id: RequestId,
    /// `None` if tenantctl did not write the commit.
    request: Option<Value>,
}

impl RequestTrailers {
    /// Reads the trailers: the lines of the last paragraph.
    pub(super) fn read(commit: Oid, message: &str) -> Option<Self> {
        let (_, trailers) = message.trim_end().rsplit_once("\n\n")?;
        let trailer = |name| trailers.lines().find_map(|line| line.strip_prefix(name));
        let request = trailer(REQUEST).and_then(|text| serde_json::from_str(text).ok());
        Some(Self {
            commit,
            id: trailer(ID)?.parse().ok()?,
            request,
        })
    }

    /// Whether the commit applied this request.
    pub(super) fn is(&self, request: &Request) -> bool {
        self.request.as_ref() == Some(&request_json(request))
    }

    pub(super) fn text(&self) -> String {
        self.request
            .as_ref()
            .map_or_else(|| "not made by tenantctl".to_owned(), Value::to_string)
    }
}

/// What a commit records of the change that it made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recorded {
    pub id: Option<RequestId>,
    /// The request as [`request_json`] writes it.
    pub request: Option<Value>,
    pub actor: Option<Actor>,
    /// What the control plane records of a deployment.
    pub deployment: Option<Value>,
    /// The queue that gets the events of the request.
    pub reply_to: Option<ReplyQueue>,
    /// The URL that gets the events of the request.
    pub callback: Option<String>,
}

impl Recorded {
    /// Reads the trailers of a commit's message. A commit made by hand has none.
    pub fn read(message: &str) -> Self {
        let Some((_, trailers)) = message.trim_end().rsplit_once("\n\n") else {
            return Self::default();
        };
        let trailer = |name| trailers.lines().find_map(|line| line.strip_prefix(name));
        let object = |name| trailer(name).and_then(|text| serde_json::from_str(text).ok());
        Self {
            id: trailer(ID).and_then(|text| text.parse().ok()),
            request: object(REQUEST),
            actor: trailer(ACTOR).and_then(|text| text.parse().ok()),
            deployment: object(DEPLOYMENT),
            reply_to: trailer(REPLY_TO).and_then(|text| text.parse().ok()),
            callback: trailer(CALLBACK).map(str::to_owned),
        }
    }
}

/// What a commit records beside its request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Origin {
    pub actor: Option<Actor>,
    /// A JSON object, which is written in one line.
    pub deployment: Option<Value>,
    /// The URL that gets the events of the request: one line without spaces.
    pub callback: Option<String>,
}

impl Origin {
    /// The lines of the trailers.
    pub(super) fn lines(&self) -> String {
        let line = |name: &str, value: Option<String>| {
            value
                .map(|value| format!("{name}{value}\n"))
                .unwrap_or_default()
        };
        [
            line(ACTOR, self.actor.as_ref().map(ToString::to_string)),
            line(
                DEPLOYMENT,
                self.deployment.as_ref().map(ToString::to_string),
            ),
            line(CALLBACK, self.callback.clone()),
        ]
        .concat()
    }
}

/// Returns the line to search for a commit with this id.
pub fn id_line(id: &RequestId) -> String {
    format!("{ID}{id}")
}

/// Returns the message of the commit of a request.
pub(super) fn message(subject: &str, identified: &IdentifiedRequest, origin: &Origin) -> String {
    let reply_to = identified
        .reply_to
        .as_ref()
        .map(|queue| format!("{REPLY_TO}{queue}\n"));
    format!(
        "{subject}\n\n{REQUEST}{}\n{}\n{}{}",
        request_json(&identified.request),
        id_line(&identified.id),
        origin.lines(),
        reply_to.unwrap_or_default()
    )
}

/// Returns a request as a JSON object: `action` and its parameters.
pub fn request_json(request: &Request) -> Value {
    match request {
        Request::Onboard {
            tenant,
            tier,
            release,
            labels,
        } => {
            let mut object = json!({ "action": "onboard", "tenant": tenant.as_str(), "tier": tier.as_str(), "release": release.to_string() });
            if !labels.is_empty() {
                object["labels"] = json!(labels.iter().collect::<BTreeMap<_, _>>());
            }
            object
        }
        Request::Offboard {
            tenant,
            tier,
            delete_data,
        } => {
            let tier = tier.map(tenantry_tenancy::tenant::Tier::as_str);
            json!({ "action": "offboard", "tenant": tenant.as_str(), "tier": tier, "delete_data": delete_data })
        }
        Request::Forget { tenant } => json!({ "action": "forget", "tenant": tenant.as_str() }),
        Request::Deploy {
            tier,
            release,
            wave,
        } => {
            json!({ "action": "deploy", "tier": tier.as_str(), "release": release.to_string(), "wave": describe_wave(wave) })
        }
        Request::Move {
            tenant,
            to,
            leave_data,
        } => {
            json!({ "action": "move", "tenant": tenant.as_str(), "to": to.as_str(), "leave_data": leave_data })
        }
        Request::Suspend { tenant } => json!({ "action": "suspend", "tenant": tenant.as_str() }),
        Request::Resume { tenant } => json!({ "action": "resume", "tenant": tenant.as_str() }),
        Request::Hold { tenant, reason } => {
            json!({ "action": "hold", "tenant": tenant.as_str(), "reason": reason.as_str() })
        }
        Request::Unhold { tenant } => json!({ "action": "unhold", "tenant": tenant.as_str() }),
        Request::Restore {
            deployment,
            releases,
        } => {
            let releases = releases.iter().map(|one| {
                json!({ "release": one.release.as_str(), "deployed": one.deployed, "former": one.former })
            });
            json!({ "action": "restore", "deployment": deployment.as_str(), "releases": releases.collect::<Vec<_>>() })
        }
    }
}

fn describe_wave(wave: &Wave) -> Value {
    match wave {
        Wave::All => json!("all"),
        Wave::Rest => json!("rest"),
        Wave::Percent(share) => json!({ "percent": share.get() }),
        Wave::Canary { tenants } => {
            json!({ "canary": tenants.iter().map(tenantry_tenancy::tenant::TenantId::as_str).collect::<Vec<_>>() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oid() -> Oid {
        Oid::of_bytes(&[1; 20])
    }

    fn identified(tenant: &str) -> IdentifiedRequest {
        let request = Request::Suspend {
            tenant: tenant.parse().expect("an id"),
        };
        IdentifiedRequest {
            request,
            id: "r-1".parse().expect("an id"),
            may_be_repeat: true,
            reply_to: None,
        }
    }

    #[test]
    fn trailers_identify_their_request_and_no_other() {
        let one = identified("tenant-1");
        let recorded = RequestTrailers::read(
            oid(),
            &message("Suspend tenant-1", &one, &Origin::default()),
        )
        .expect("it has an id");
        assert_eq!(recorded.id, one.id);
        assert!(recorded.is(&one.request) && !recorded.is(&identified("tenant-2").request));
    }

    #[test]
    fn a_commit_records_who_asked_and_for_which_deployment() {
        let origin = Origin {
            actor: "Ann <ann@example.com>".parse().ok(),
            deployment: Some(json!({ "id": "d-1", "wave": 2 })),
            callback: Some("https://example.com/hook".to_owned()),
        };
        let message = message("Suspend tenant-1", &identified("tenant-1"), &origin);
        let recorded = Recorded::read(&message);
        assert_eq!(
            (recorded.actor, recorded.deployment),
            (origin.actor, origin.deployment)
        );
        assert_eq!(recorded.id.expect("it has an id").as_str(), "r-1");
        assert_eq!(Recorded::read("By hand"), Recorded::default());
    }

    #[test]
    fn only_the_last_paragraph_has_trailers() {
        assert!(
            RequestTrailers::read(oid(), "Request-Id: r-1").is_none(),
            "a subject"
        );
        assert!(RequestTrailers::read(oid(), "Say\n\nRequest-Id: r-1\n\nbecause").is_none());
        let by_hand =
            RequestTrailers::read(oid(), "Say\n\nRequest-Id: r-1\nSigned-off-by: A <a@b>")
                .expect("it has an id");
        assert!(!by_hand.is(&identified("tenant-1").request));
    }

    #[test]
    fn a_reason_cannot_add_a_line() {
        let reason = "Request-Id: r-2".parse().expect("one line");
        let request = Request::Hold {
            tenant: "tenant-1".parse().expect("an id"),
            reason,
        };
        let message = message(
            "Hold tenant-1: Request-Id: r-2",
            &IdentifiedRequest {
                request,
                ..identified("x")
            },
            &Origin::default(),
        );
        assert_eq!(
            message.lines().filter(|line| line.starts_with(ID)).count(),
            1
        );
        assert_eq!(
            RequestTrailers::read(oid(), &message)
                .expect("it has an id")
                .id
                .as_str(),
            "r-1"
        );
    }
}
