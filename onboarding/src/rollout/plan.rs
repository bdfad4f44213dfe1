//! What a deployment is asked to do: [`Plan`] and its waves, with their description for OpenAPI.

use serde::{Deserialize, Serialize};
use tenantctl::request::{Percent, ReleaseVersion, Request, Wave};
use tenantry_service::error::ApiError;
use tenantry_tenancy::tenant::{TenantId, Tier};
use utoipa::openapi::schema::{AdditionalProperties, Array, Object, OneOf, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::model::Gate;

/// What to deploy, and how carefully.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub tier: String,
    pub release: String,
    pub waves: Vec<WavePlan>,
    pub bake_seconds: u64,
    pub gate: Gate,
}

/// The tenants of a wave
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WavePlan {
    /// These tenants
    Canary(Vec<String>),
    /// About this share of the tier, from 1 to 100: the same tenants each time
    Percent(#[serde(deserialize_with = "whole")] u8),
    /// Every tenant that does not have the release yet, and for the basic tier the pools
    Rest,
}

/// Reads a whole number, however it is written: JSON Schema takes `10.0` for an integer.
pub(crate) fn whole<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: TryFrom<u64>,
{
    let number = serde_json::Number::deserialize(deserializer)?;
    let of_float = |float: f64| {
        (float.fract() == 0.0 && (0.0..=1e15).contains(&float)).then(|| format!("{float:.0}"))
    };
    let whole = number
        .as_u64()
        .or_else(|| of_float(number.as_f64()?)?.parse().ok());
    let fitting = whole.and_then(|whole| T::try_from(whole).ok());
    fitting.ok_or_else(|| {
        serde::de::Error::custom(format!("{number} is not a whole number within its limits"))
    })
}

impl PartialSchema for WavePlan {
    fn schema() -> RefOr<Schema> {
        let one = |name: &str, schema: Schema| {
            Object::builder()
                .property(name, schema)
                .required(name)
                .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        };
        let tenant = Object::builder()
            .schema_type(Type::String)
            .max_length(Some(32))
            .pattern(Some("^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$"));
        let canary = Array::builder().items(tenant).min_items(Some(1)).build();
        let percent = Object::builder()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(100))
            .build();
        let rest = Object::builder()
            .schema_type(Type::String)
            .enum_values(Some(["rest"]))
            .description(Some(
                "Every tenant that does not have the release yet, and for the basic tier the pools",
            ));
        OneOf::builder()
            .item(one("canary", canary.into()).description(Some("These tenants")))
            .item(one("percent", percent.into()).description(Some(
                "About this share of the tier: the same tenants each time",
            )))
            .item(rest)
            .into()
    }
}

impl ToSchema for WavePlan {}
impl WavePlan {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Canary(tenants) if tenants.len() <= 3 => format!("canary {}", tenants.join(", ")),
            Self::Canary(tenants) => format!("canary of {} tenants", tenants.len()),
            Self::Percent(share) => format!("{share}%"),
            Self::Rest => "rest".to_owned(),
        }
    }

    fn wave(&self) -> Result<Wave, ApiError> {
        let invalid = |why: String| {
            ApiError::bad_request("invalid_wave", format!("BadRequest: waves: {why}"))
        };
        Ok(match self {
            Self::Canary(tenants) => {
                let parsed = tenants.iter().map(|tenant| tenant.parse::<TenantId>());
                let parsed = parsed
                    .collect::<Result<_, _>>()
                    .map_err(|error| invalid(error.to_string()))?;
                Wave::Canary { tenants: parsed }
            }
            Self::Percent(share) => Wave::Percent(
                Percent::try_from(*share).map_err(|error| invalid(error.to_string()))?,
            ),
            Self::Rest => Wave::Rest,
        })
    }
}

impl Plan {
    pub(super) fn request(&self, wave: usize) -> Result<Request, ApiError> {
        let invalid =
            |why: String| ApiError::bad_request("invalid_deployment", format!("BadRequest: {why}"));
        Ok(Request::Deploy {
            tier: self
                .tier
                .parse::<Tier>()
                .map_err(|error| invalid(format!("tier: {error}")))?,
            release: self
                .release
                .parse::<ReleaseVersion>()
                .map_err(|error| invalid(format!("release: {error}")))?,
            wave: self
                .waves
                .get(wave)
                .ok_or_else(|| invalid("waves is empty; name at least one".to_owned()))?
                .wave()?,
        })
    }
}
