//! Access control of requests: the site that a browser's request comes from, the actor and its role.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tenantry_service::auth::{Authenticator, claim_values};
use tenantry_service::error::ApiError;
use tenantry_service::telemetry::RequestContext;

use super::App;
use crate::access::{Actor, Role};

/// Header in which browsers say which site's page caused a request. No page can change it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Checks `Host` and `Origin` of a request on a developer's machine.
pub type HostRule = Arc<dyn Fn(&Uri, &HeaderMap) -> Result<(), (StatusCode, String)> + Send + Sync>;

/// Source of actors. Clones share it.
#[derive(Clone)]
pub enum Access {
    /// Every request is the owner's: only this machine reaches the port.
    Loopback(HostRule),
    /// A token names the actor and the role.
    Tokens(Authenticator, Arc<RoleConfig>),
}

/// The claim that has the roles, and their names in it.
#[derive(Debug, Clone, clap::Args)]
pub struct RoleConfig {
    /// Claim with the actor's roles or groups, a text or a list: a name, or a path of names separated by dots
    #[arg(long, env, value_name = "ROLE_CLAIM", default_value = "roles")]
    pub role_claim: String,

    /// Value of the claim that makes a viewer
    #[arg(long, env, value_name = "ROLE_VIEWER", default_value = "viewer")]
    pub role_viewer: String,

    /// Value of the claim that makes an operator
    #[arg(long, env, value_name = "ROLE_OPERATOR", default_value = "operator")]
    pub role_operator: String,

    /// Value of the claim that makes an owner
    #[arg(long, env, value_name = "ROLE_OWNER", default_value = "owner")]
    pub role_owner: String,
}

impl RoleConfig {
    /// The highest role among the values of the claim.
    fn role_of(&self, values: &[String]) -> Option<Role> {
        let known = [
            (&self.role_owner, Role::Owner),
            (&self.role_operator, Role::Operator),
            (&self.role_viewer, Role::Viewer),
        ];
        let found = known
            .into_iter()
            .find(|(name, _)| values.iter().any(|value| value == *name));
        found.map(|(_, role)| role)
    }
}

impl Access {
    /// Whether every request is the owner's.
    pub(crate) const fn is_loopback(&self) -> bool {
        matches!(self, Self::Loopback(_))
    }

    /// Whether a request's token is in its `Authorization` header, and not in one that a load balancer sets.
    pub(crate) fn takes_bearer(&self) -> bool {
        matches!(self, Self::Tokens(authenticator, _) if authenticator.reads_authorization())
    }

    /// The names of the roles in the claim, for people.
    pub(crate) fn roles(&self) -> String {
        match self {
            Self::Loopback(_) => String::new(),
            Self::Tokens(_, roles) => format!(
                "{}, {} or {}",
                roles.role_viewer, roles.role_operator, roles.role_owner
            ),
        }
    }

    /// # Errors
    /// 401 without a valid token; 403 without a role.
    pub async fn actor(
        &self,
        headers: &HeaderMap,
        context: &RequestContext,
    ) -> Result<Actor, ApiError> {
        let (authenticator, roles) = match self {
            Self::Loopback(_) => return Ok(Actor::local()),
            Self::Tokens(authenticator, roles) => (authenticator, roles),
        };
        let claims = authenticator
            .claims(headers, context)
            .await?
            .unwrap_or_default();
        let name = claims
            .get("sub")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        let role = roles.role_of(&claim_values(&claims, &roles.role_claim));
        let role = role.filter(|_| !name.is_empty()).ok_or_else(|| {
            let msg = format!(
                "Forbidden: the token has no role here; its claim {} needs {}, {} or {}, and it needs a sub",
                roles.role_claim, roles.role_viewer, roles.role_operator, roles.role_owner
            );
            ApiError::new(StatusCode::FORBIDDEN, "role_missing", msg)
        })?;
        Ok(Actor {
            name: name.to_owned(),
            role,
        })
    }
}

impl FromRequestParts<App> for Actor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let context = parts
            .extensions
            .get::<RequestContext>()
            .cloned()
            .unwrap_or_default();
        app.access.actor(&parts.headers, &context).await
    }
}

/// Refuses a request that a page of another site may have caused.
pub(super) async fn check_site(State(app): State<App>, request: Request, next: Next) -> Response {
    if let Access::Loopback(rule) = &app.access
        && let Err((status, msg)) = rule(request.uri(), request.headers())
    {
        return ApiError::new(status, "foreign_request", msg).into_response();
    }
    let is_safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !is_safe && !is_own_site(request.headers()) {
        let msg = "Forbidden: a page of another site caused this request; use a page of this site, or a program without Origin \
                   and Sec-Fetch-Site";
        return ApiError::new(StatusCode::FORBIDDEN, "foreign_site", msg).into_response();
    }
    app.control.touch();
    next.run(request).await
}

/// Whether a program, or a page of this site, caused the request. Browsers send one of the two headers with each change.
fn is_own_site(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    if let Some(site) = sites.next() {
        let is_own = site == "same-origin" || site == "none";
        return is_own && sites.next().is_none();
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return true;
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"));
    match (authority, host) {
        (Some((_, authority)), Some(host)) => {
            origins.next().is_none() && authority.eq_ignore_ascii_case(host)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("console.example.com"));
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        for own in [
            &[][..],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://console.example.com")],
        ] {
            assert!(is_own_site(&headers(own)), "{own:?}");
        }
        for foreign in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[("origin", "null")],
            &[("origin", "https://evil.example")],
            &[("origin", "https://console.example.com.evil.example")],
            &[
                ("origin", "https://console.example.com"),
                ("origin", "https://evil.example"),
            ],
        ] {
            assert!(!is_own_site(&headers(foreign)), "{foreign:?}");
        }
    }

    #[test]
    fn the_highest_role_counts() {
        let config = RoleConfig {
            role_claim: "groups".to_owned(),
            role_viewer: "saas-viewers".to_owned(),
            role_operator: "saas-operators".to_owned(),
            role_owner: "saas-owners".to_owned(),
        };
        let role = |values: &[&str]| {
            config.role_of(
                &values
                    .iter()
                    .map(|value| (*value).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            role(&["saas-viewers", "saas-operators"]),
            Some(Role::Operator)
        );
        assert_eq!(role(&["saas-owners", "other"]), Some(Role::Owner));
        assert_eq!(role(&["owner"]), None);
    }
}
