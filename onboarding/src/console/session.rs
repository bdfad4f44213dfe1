//! Signing in to the pages with a token, where no load balancer does that.
//!
//! A person gives a token of the identity provider once. The browser keeps it in a cookie that scripts cannot read, that other
//! sites cannot send, and that only the pages get; the API takes no cookie. The service keeps no session: the token is validated
//! with each request, as every token is, and the session ends with the token. A request without a valid token gets a page that
//! says what to do.

use axum::Form;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use tenantry_service::error::ApiError;
use tenantry_service::telemetry::RequestContext;

use super::frame::outside;
use super::page::{Page, ROOT};
use crate::access::Actor;
use crate::api::App;

/// Browsers take a cookie with this prefix by https alone, or from this machine.
const TOKEN: &str = "__Secure-tenantry-token";
/// Attributes of the cookie: no script reads it, no other site sends it, only the pages get it.
const ATTRIBUTES: &str = "Path=/console; HttpOnly; Secure; SameSite=Strict";
/// Longest token: browsers keep cookies of up to 4,096 bytes.
const MAX_TOKEN_BYTES: usize = 3_800;

/// The reader of a page. Unlike [`Actor`], the token may be in the cookie, and a refusal is a page.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) actor: Actor,
    /// Whether the token is in the cookie, so that the person can sign out.
    pub(super) has_session: bool,
}

impl FromRequestParts<App> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let mut headers = parts.headers.clone();
        let mut has_session = false;
        if app.access.takes_bearer() && !headers.contains_key(AUTHORIZATION) {
            let session = cookie(&headers).and_then(bearer);
            has_session = session.is_some();
            headers.extend(session.map(|session| (AUTHORIZATION, session)));
        }
        match app.access.actor(&headers, &context(parts)).await {
            Ok(actor) => Ok(Self { actor, has_session }),
            Err(error) => {
                let asked = Some(&parts.uri).filter(|_| parts.method == Method::GET);
                Err(refused(app, &error, asked, has_session))
            }
        }
    }
}

fn context(parts: &Parts) -> RequestContext {
    parts
        .extensions
        .get::<RequestContext>()
        .cloned()
        .unwrap_or_default()
}

/// The token in the cookie.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let texts = headers.get_all(COOKIE).iter();
    let mut pairs = texts
        .filter_map(|text| text.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, token) = pairs.find(|(name, _)| *name == TOKEN)?;
    Some(token)
}

/// The header of a token, if the text may be one: its characters are those of a cookie.
fn bearer(token: &str) -> Option<HeaderValue> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let may_be_token = !token.is_empty() && token.len() <= MAX_TOKEN_BYTES;
    if !may_be_token || !token.bytes().all(is_plain) {
        return None;
    }
    HeaderValue::try_from(format!("Bearer {token}")).ok()
}

/// What a person gets instead of a page.
fn refused(app: &App, error: &ApiError, asked: Option<&Uri>, has_session: bool) -> Response {
    let back = asked.map_or("/console/tenants", |uri| {
        uri.path_and_query().map_or(ROOT, |asked| asked.as_str())
    });
    let is_first = error.status() == StatusCode::UNAUTHORIZED && error.code() == "token_missing";
    let problem = Some(error).filter(|_| !is_first || !app.access.takes_bearer());
    let mut response = page(app, problem, back, has_session, error.status());
    if has_session && error.status() == StatusCode::UNAUTHORIZED {
        forget(&mut response);
    }
    response
}

fn page(
    app: &App,
    problem: Option<&ApiError>,
    back: &str,
    has_session: bool,
    status: StatusCode,
) -> Response {
    let body = html! {
        h1 { "Sign in" }
        @if let Some(error) = problem {
            div.notice.bad role="alert" {
                p { strong { (error.msg()) } }
                p.small.sub { "Code " code { (error.code()) } "." }
            }
        }
        @if app.access.takes_bearer() {
            section.card {
                div.body {
                    form.form method="post" action="/console/sign-in" {
                        input type="hidden" name="page" value=(back);
                        div.field {
                            label for="token" { "Token" }
                            input #token name="token" type="password" required autocomplete="off" spellcheck="false"
                                aria-describedby="token-hint";
                            p.hint #token-hint {
                                "A JWT of your identity provider, with your role (" (app.access.roles()) ") in its claim. The browser keeps \
                                 it for these pages until you sign out or the token expires; the service keeps nothing."
                            }
                        }
                        div.buttons { button.main { "Sign in" } }
                    }
                }
            }
        } @else {
            p { "The load balancer signs you in here: open the console at the load balancer's address." }
        }
        @if has_session {
            form method="post" action="/console/sign-out" { button { "Sign out" } }
        }
    };
    let mut response = (status, outside("Sign in", &body)).into_response();
    if status == StatusCode::UNAUTHORIZED {
        // A 401 names what it takes. Browsers ask for nothing at this scheme.
        let challenge = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(axum::http::header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn forget(response: &mut Response) {
    let ended = format!("{TOKEN}=; Max-Age=0; {ATTRIBUTES}");
    let ended = HeaderValue::try_from(ended).expect("constants are visible characters");
    response.headers_mut().insert(SET_COOKIE, ended);
}

/// Shows the form to sign in. It needs no token.
pub(super) async fn form(State(app): State<App>, parts: Parts) -> Response {
    if app.access.is_loopback() {
        return Redirect::to("/console/tenants").into_response();
    }
    let has_session = cookie(&parts.headers).is_some();
    page(&app, None, "/console/tenants", has_session, StatusCode::OK)
}

#[derive(Deserialize)]
pub(super) struct Fields {
    token: String,
    #[serde(default)]
    page: String,
}

/// Keeps a valid token in the cookie, and leads to the page that was asked for.
pub(super) async fn sign_in(
    State(app): State<App>,
    parts: Parts,
    Form(fields): Form<Fields>,
) -> Response {
    let back: Uri = fields.page.parse().unwrap_or_default();
    let is_page = fields.page.starts_with(ROOT) && Page::parse(&back).is_ok();
    let back = if is_page {
        &*fields.page
    } else {
        "/console/tenants"
    };
    let refused = |error: &ApiError| page(&app, Some(error), back, false, error.status());
    if !app.access.takes_bearer() {
        return Redirect::to(back).into_response();
    }
    let token = fields.token.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token).trim();
    let Some(bearer) = bearer(token) else {
        let msg = format!(
            "BadRequest: this is no token: a JWT has letters, digits, -, _ and dots, and at most {MAX_TOKEN_BYTES} bytes here; paste \
             the whole token, or use a smaller one"
        );
        return refused(&ApiError::bad_request("token_unusable", msg));
    };
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, bearer);
    match app.access.actor(&headers, &context(&parts)).await {
        Ok(actor) => {
            tracing::info!(actor = actor.name, role = actor.role.as_str(), "signed in");
            let mut response = Redirect::to(back).into_response();
            let kept = format!("{TOKEN}={token}; {ATTRIBUTES}");
            let mut kept = HeaderValue::try_from(kept).expect("the token was checked");
            kept.set_sensitive(true);
            response.headers_mut().insert(SET_COOKIE, kept);
            response
        }
        Err(error) => refused(&error),
    }
}

/// Ends the session in this browser.
pub(super) async fn sign_out() -> Response {
    let mut response = Redirect::to("/console/sign-in").into_response();
    forget(&mut response);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_among_other_cookies_and_nothing_else_is_one() {
        let headers = |text: &str| {
            let value = HeaderValue::try_from(text).expect("visible");
            HeaderMap::from_iter([(COOKIE, value)])
        };
        let both = headers("a=b; __Secure-tenantry-token=x.y.z; c=d");
        assert_eq!(cookie(&both), Some("x.y.z"));
        assert_eq!(cookie(&headers("tenantry-token=x.y.z")), None);
        assert_eq!(bearer("x.y.z").expect("a token"), "Bearer x.y.z");
        for text in [
            "",
            "a b",
            "a;b",
            "a=b",
            "ä",
            &"x".repeat(MAX_TOKEN_BYTES + 1),
        ] {
            assert!(bearer(text).is_none(), "{text}");
        }
    }
}
