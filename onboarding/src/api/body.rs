//! Bodies of requests, parsed into changes. The types only describe; the parsers check.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};
use tenantry_service::error::ApiError;
use tenantry_tenancy::tenant::TenantId;
use utoipa::ToSchema;

use crate::model::{Change, Gate};
use crate::rollout::{MAX_BAKE_SECONDS, Plan, WavePlan};

/// Largest body.
const MAX_BYTES: usize = 64 * 1024;
/// Largest limit of restarts.
const MAX_RESTARTS: u64 = 1_000_000;
/// Longest text quoted in an error.
const MAX_QUOTED_CHARS: usize = 40;

/// A tenant to onboard
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTenant)]
pub(crate) struct OnboardBody {
    /// Begins with a letter: Kubernetes wants that of a Service's name
    #[schema(
        max_length = 32,
        pattern = "^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$",
        example = "tenant-7"
    )]
    id: String,
    #[schema(pattern = "^(basic|advanced|premium)$", example = "premium")]
    tier: String,
    /// `0.1` for every patch, or `0.1.3`
    #[schema(
        pattern = r"^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8}))?$",
        example = "0.0"
    )]
    release: String,
    /// At most 20 labels of Kubernetes: 1 to 63 letters, digits and `- _ .`
    #[serde(default)]
    #[schema(required = false, schema_with = labels)]
    labels: BTreeMap<String, String>,
}

fn labels() -> utoipa::openapi::schema::Object {
    use utoipa::openapi::schema::{Object, Type};
    let label = || {
        let pattern = "^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
        Object::builder()
            .schema_type(Type::String)
            .pattern(Some(pattern))
    };
    Object::builder()
        .property_names(Some(label()))
        .additional_properties(Some(label()))
        .max_properties(Some(tenantctl::request::MAX_LABELS))
        .build()
}

/// One change of a tenant: exactly one of these
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TenantChange)]
#[expect(dead_code, reason = "describes; `parse_patch` reads")]
pub(crate) struct PatchBody {
    /// Moves the tenant to a tier; its data follows
    #[schema(required = false, pattern = "^(basic|advanced|premium)$")]
    tier: String,
    /// Deploys a release to this tenant alone
    #[schema(
        required = false,
        pattern = r"^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8}))?$"
    )]
    release: String,
    /// Removes the tenant's routes, or gives them back
    #[schema(required = false)]
    suspended: bool,
    /// Reason why deployments skip the tenant; null lets them include it again
    #[schema(min_length = 1, max_length = 200, pattern = "^[!-~]([ -~]*[!-~])?$")]
    held: Option<String>,
}

/// A deployment to start
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewDeployment)]
pub(crate) struct DeploymentBody {
    #[schema(pattern = "^(basic|advanced|premium)$", example = "basic")]
    tier: String,
    #[schema(
        pattern = r"^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8}))?$",
        example = "0.1"
    )]
    release: String,
    /// In this order; without it, one wave of all tenants
    #[serde(default)]
    #[schema(max_items = 20)]
    waves: Vec<WavePlan>,
    /// Seconds that each wave is watched before the next
    #[serde(default = "bake_seconds", deserialize_with = "crate::rollout::whole")]
    #[schema(maximum = 86_400, default = 300)]
    bake_seconds: u64,
    #[serde(default)]
    gate: Gate,
}

const fn bake_seconds() -> u64 {
    300
}

/// Reads a JSON body.
///
/// # Errors
/// 400, 408, 413, 415.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, ApiError> {
    let is_json = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let kind = value.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        });
    if !is_json {
        let msg =
            "UnsupportedMediaType: the body must be JSON; send Content-Type: application/json";
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            msg,
        ));
    }
    let read = tokio::time::timeout(
        tenantry_service::body::BODY_TIMEOUT,
        axum::body::to_bytes(body, MAX_BYTES),
    );
    match read.await {
        Err(_) => Err(ApiError::body_too_slow()),
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(error)) => {
            let is_large = std::error::Error::source(&error)
                .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
            if is_large {
                let msg = format!(
                    "PayloadTooLarge: the body is larger than {MAX_BYTES} bytes; send a smaller one"
                );
                return Err(ApiError::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "body_too_large",
                    msg,
                ));
            }
            let msg = "BadRequest: the body ended early or is malformed; send it again";
            Err(ApiError::bad_request("body_incomplete", msg))
        }
    }
}

/// # Errors
/// 400 that names the field.
pub fn parse_onboarding(bytes: &[u8]) -> Result<Change, ApiError> {
    let body: OnboardBody = object(bytes)?;
    Ok(Change::Onboard {
        tenant: field("id", &body.id)?,
        tier: field("tier", &body.tier)?,
        release: field("release", &body.release)?,
        labels: body.labels,
    })
}

/// # Errors
/// 400 that names the field.
pub fn parse_patch(tenant: TenantId, bytes: &[u8]) -> Result<Change, ApiError> {
    let body: Map<String, Value> = object(bytes)?;
    let mut fields = body.into_iter();
    let (Some((name, value)), None) = (fields.next(), fields.next()) else {
        let msg = "BadRequest: one change per request; send exactly one of tier, release, suspended, held";
        return Err(ApiError::bad_request("not_one_change", msg));
    };
    match (name.as_str(), value) {
        ("tier", Value::String(tier)) => Ok(Change::Move {
            to: field("tier", &tier)?,
            tenant,
        }),
        ("release", Value::String(release)) => Ok(Change::Release {
            release: field("release", &release)?,
            tenant,
        }),
        ("suspended", Value::Bool(true)) => Ok(Change::Suspend { tenant }),
        ("suspended", Value::Bool(false)) => Ok(Change::Resume { tenant }),
        ("held", Value::Null) => Ok(Change::Unhold { tenant }),
        ("held", Value::String(reason)) => Ok(Change::Hold {
            reason: field("held", &reason)?,
            tenant,
        }),
        (name @ ("tier" | "release" | "suspended" | "held"), value) => {
            let msg = format!(
                "BadRequest: {name} is {}; tier and release are texts, suspended is true or false, held is a text or null",
                quoted(&value.to_string())
            );
            Err(ApiError::bad_request("invalid_field", msg))
        }
        (name, _) => {
            let msg = format!(
                "BadRequest: there is no field {}; send one of tier, release, suspended, held",
                quoted(name)
            );
            Err(ApiError::bad_request("invalid_body", msg))
        }
    }
}

/// # Errors
/// 400 that names the field.
pub fn parse_deployment(bytes: &[u8]) -> Result<Plan, ApiError> {
    let body: DeploymentBody = object(bytes)?;
    let gate = body.gate;
    let is_gate = (0.0..=1.0).contains(&gate.max_error_ratio)
        && gate.max_oldest_message_seconds.is_finite()
        && gate.max_oldest_message_seconds >= 0.0;
    if !is_gate || gate.max_restarts > MAX_RESTARTS || body.bake_seconds > MAX_BAKE_SECONDS {
        let msg = format!(
            "BadRequest: max_error_ratio is from 0 to 1, max_oldest_message_seconds at least 0, max_restarts at most \
             {MAX_RESTARTS}, bake_seconds at most {MAX_BAKE_SECONDS}"
        );
        return Err(ApiError::bad_request("invalid_gate", msg));
    }
    let waves = if body.waves.is_empty() {
        vec![WavePlan::Rest]
    } else {
        body.waves
    };
    Ok(Plan {
        tier: body.tier,
        release: body.release,
        waves,
        bake_seconds: body.bake_seconds,
        gate,
    })
}

fn object<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // A derived structure also accepts a list of its fields' values.
    let is_object = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let parsed = if is_object {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    } else {
        Err("it is no JSON object".to_owned())
    };
    parsed.map_err(|why| {
        let why: String = why
            .chars()
            .filter(|character| !character.is_control())
            .take(300)
            .collect();
        let msg = format!("BadRequest: the body is not valid: {why}; /openapi.json describes it");
        ApiError::bad_request("invalid_body", msg)
    })
}

pub(super) fn field<T: FromStr<Err: std::fmt::Display>>(
    name: &str,
    text: &str,
) -> Result<T, ApiError> {
    text.parse().map_err(|error| {
        let msg = format!("BadRequest: {name} is {}: {error}", quoted(text));
        ApiError::bad_request("invalid_field", msg)
    })
}

fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_exactly_one_change() {
        let tenant: TenantId = "tenant-1".parse().expect("an id");
        let parse = |text: &str| parse_patch(tenant.clone(), text.as_bytes());
        assert!(matches!(
            parse(r#"{"tier":"basic"}"#),
            Ok(Change::Move { .. })
        ));
        assert!(matches!(
            parse(r#"{"release":"0.1.2"}"#),
            Ok(Change::Release { .. })
        ));
        assert!(matches!(
            parse(r#"{"suspended":false}"#),
            Ok(Change::Resume { .. })
        ));
        assert!(matches!(
            parse(r#"{"held":null}"#),
            Ok(Change::Unhold { .. })
        ));
        assert!(matches!(
            parse(r#"{"held":"audit"}"#),
            Ok(Change::Hold { .. })
        ));
        for (text, code) in [
            ("{}", "not_one_change"),
            (r#"{"tier":"basic","held":null}"#, "not_one_change"),
            (r#"{"tier":"gold"}"#, "invalid_field"),
            (r#"{"suspended":"yes"}"#, "invalid_field"),
            (r#"{"color":"red"}"#, "invalid_body"),
            ("[]", "invalid_body"),
            ("", "invalid_body"),
        ] {
            assert_eq!(parse(text).expect_err(text).code(), code, "{text}");
        }
    }

    #[test]
    fn a_deployment_without_waves_is_one_wave_of_all() {
        let plan = parse_deployment(br#"{"tier":"basic","release":"0.1"}"#).expect("complete");
        assert_eq!((plan.waves, plan.bake_seconds), (vec![WavePlan::Rest], 300));
        let waves = br#"{"tier":"basic","release":"0.1","waves":[{"canary":["a"]},{"percent":10},"rest"],"bake_seconds":0,
            "gate":{"max_restarts":1}}"#;
        let plan = parse_deployment(waves).expect("complete");
        assert_eq!((plan.waves.len(), plan.gate.max_restarts), (3, 1));
        for wrong in [
            r#"{"tier":"basic"}"#,
            r#"{"tier":"basic","release":"0.1","gate":{"max_error_ratio":2}}"#,
            r#"{"tier":"basic","release":"0.1","bake_seconds":86401}"#,
            r#"{"tier":"basic","release":"0.1","waves":["some"]}"#,
        ] {
            assert!(parse_deployment(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
