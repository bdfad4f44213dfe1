//! The requests of the walk-through, sent from a tenant's page through the load balancer, with the curl line of each.

use std::time::{Duration, Instant};

use axum::Extension;
use axum::Form;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tenantry_process::retry::with_causes;
use tenantry_service::error::ApiError;
use uuid::Uuid;

use super::Console;
use super::answers::Answer;
use super::page::Context;
use super::session::Person;
use crate::access::Verb;
use crate::control::no_tenant;
use crate::model::TenantView;

/// Time limit of a request; no service takes longer than 5 s.
const WITHIN: Duration = Duration::from_secs(6);
/// Bytes of an answer that are shown.
const MAX_SHOWN: usize = 4096;

/// One of the requests.
pub(super) struct Attempt {
    name: &'static str,
    /// Label of the button.
    label: &'static str,
    method: Method,
    path: &'static str,
    body: Option<&'static str>,
    /// Whether the request needs an idempotency key.
    has_key: bool,
}

const fn ask(name: &'static str, label: &'static str, path: &'static str) -> Attempt {
    Attempt {
        name,
        label,
        method: Method::GET,
        path,
        body: None,
        has_key: false,
    }
}

pub(super) static ATTEMPTS: [Attempt; 6] = [
    ask("ask-producer", "Ask the producer", "/producer"),
    ask("ask-consumer", "Ask the consumer", "/consumer"),
    Attempt {
        name: "send",
        label: "Send a message",
        method: Method::POST,
        path: "/producer",
        body: Some(r#"{"order":7}"#),
        has_key: false,
    },
    ask(
        "list-messages",
        "List the messages",
        "/consumer/messages?limit=3",
    ),
    Attempt {
        name: "charge",
        label: "Charge 12.50 EUR",
        method: Method::POST,
        path: "/payments/charges",
        body: Some(r#"{"amount":1250,"currency":"EUR","reference":"order-7"}"#),
        has_key: true,
    },
    ask(
        "list-charges",
        "List the charges",
        "/payments/charges?limit=3",
    ),
];

impl Attempt {
    fn curl(&self, tenant: &str, load_balancer: &str) -> String {
        let mut line = format!("curl -s -H 'tenantID: {tenant}'");
        if self.has_key {
            line += " -H \"Idempotency-Key: $(uuidgen)\"";
        }
        if let Some(body) = self.body {
            line += &format!(" -d '{body}'");
        }
        let address = format!("{load_balancer}{}", self.path);
        line + " "
            + &if address.contains('?') {
                format!("'{address}'")
            } else {
                address
            }
    }

    async fn send(&self, console: &Console, tenant: &str, load_balancer: &str) -> Answer {
        let began = Instant::now();
        let mut request = console
            .client
            .request(self.method.clone(), format!("{load_balancer}{}", self.path))
            .header("tenantID", tenant)
            .timeout(WITHIN);
        if self.has_key {
            request = request.header("idempotency-key", Uuid::new_v4().to_string());
        }
        if let Some(body) = self.body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let mut needs_token = false;
        let (summary, is_success, body) = match request.send().await {
            Ok(response) => {
                let status = response.status();
                needs_token = status == StatusCode::UNAUTHORIZED;
                let body = response.text().await.unwrap_or_default();
                let summary = format!("{status} in {} ms", began.elapsed().as_millis());
                (summary, status.is_success(), readable(&body))
            }
            Err(error) => (
                format!(
                    "no answer from the load balancer: {}",
                    with_causes(&error.without_url())
                ),
                false,
                String::new(),
            ),
        };
        Answer {
            tenant: tenant.to_owned(),
            request: self.name,
            summary,
            is_success,
            needs_token,
            body,
        }
    }
}

/// JSON over several lines, cut at a size that fits a page.
fn readable(body: &str) -> String {
    let mut text = serde_json::from_str::<Value>(body)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| body.to_owned());
    if text.len() > MAX_SHOWN {
        text.truncate(text.floor_char_boundary(MAX_SHOWN));
        text += "\n…";
    }
    text
}

/// Why a listing through the load balancer is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unlisted {
    /// The tenant's services ask for a token of the tenant.
    TokenNeeded,
    /// No answer, or another one than 200 with JSON.
    Failed,
}

/// Returns what a GET through the load balancer answers.
pub(super) async fn listing(
    console: &Console,
    tenant: &str,
    path: &str,
) -> Result<Value, Unlisted> {
    let load_balancer = console.load_balancer().ok_or(Unlisted::Failed)?;
    let request = console
        .client
        .get(format!("{load_balancer}{path}"))
        .header("tenantID", tenant)
        .timeout(WITHIN);
    let failed = |_| Unlisted::Failed;
    let response = request.send().await.map_err(failed)?;
    if response.status() == StatusCode::UNAUTHORIZED {
        return Err(Unlisted::TokenNeeded);
    }
    let response = response.error_for_status().map_err(failed)?;
    let body = response.bytes().await.map_err(failed)?;
    serde_json::from_slice(&body).map_err(|_| Unlisted::Failed)
}

pub(super) fn render(
    tenant: &TenantView,
    load_balancer: &str,
    answer: Option<&Answer>,
    context: &Context,
) -> Markup {
    let may = context.actor.may(Verb::Peek);
    html! {
        header { h2 { "Try it" } span.sub { "each button sends the request of its line through the load balancer" } }
        div.body.stack {
            @if !may {
                p { "Sending a request needs the role " (Verb::Peek.role().as_str()) "; yours is " (context.actor.role.as_str()) ". The lines work in a shell." }
            }
            ul.try {
                @for attempt in &ATTEMPTS {
                    li #{ "try-" (attempt.name) } {
                        form method="post" action={ "/console/tenants/" (tenant.id) "/requests" } {
                            button name="request" value=(attempt.name) disabled[!may] { (attempt.label) }
                            pre { code { (attempt.curl(&tenant.id, load_balancer)) } }
                        }
                        @if let Some(answer) = answer.filter(|answer| answer.request == attempt.name) {
                            div role="status" {
                                p.small { strong { (answer.summary) } }
                                @if answer.needs_token {
                                    p {
                                        "The tenant's services ask for a token of the tenant, which the console does not have. Add "
                                        code { "-H 'Authorization: Bearer TOKEN'" } " to the line, and send it from a shell."
                                    }
                                }
                                @if !answer.body.is_empty() {
                                    pre.answer { (answer.body) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Fields {
    request: String,
}

/// Sends a request for a tenant and leads to its answer on the tenant's page.
pub(super) async fn submit(
    Extension(console): Extension<Console>,
    Path(tenant): Path<String>,
    person: Person,
    Form(fields): Form<Fields>,
) -> Response {
    let context = console.context(person);
    match perform(&console, &context, &tenant, &fields).await {
        Ok((id, name)) => {
            Redirect::to(&format!("/console/tenants/{tenant}?answer={id}#try-{name}"))
                .into_response()
        }
        Err(error) => console.error_page(&error, &context),
    }
}

async fn perform(
    console: &Console,
    context: &Context,
    tenant: &str,
    fields: &Fields,
) -> Result<(Uuid, &'static str), ApiError> {
    context.actor.check(Verb::Peek)?;
    let tenant = console
        .control
        .tenant(tenant)
        .ok_or_else(|| no_tenant(tenant))?;
    let attempt = ATTEMPTS
        .iter()
        .find(|attempt| attempt.name == fields.request);
    let attempt = attempt.ok_or_else(|| {
        ApiError::bad_request(
            "invalid_request",
            format!(
                "there is no request {:?}; use a button of the page",
                fields.request
            ),
        )
    })?;
    let load_balancer = console.load_balancer().ok_or_else(|| {
        ApiError::unavailable(
            "no_load_balancer",
            "the address of the load balancer is not set",
        )
    })?;
    let answer = attempt.send(console, &tenant.id, &load_balancer).await;
    Ok((console.answers.keep(answer), attempt.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_lines_are_those_of_the_walk_through() {
        let lines = ATTEMPTS
            .iter()
            .map(|attempt| attempt.curl("tenant-3", "http://127.0.0.1:8080"));
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                "curl -s -H 'tenantID: tenant-3' http://127.0.0.1:8080/producer",
                "curl -s -H 'tenantID: tenant-3' http://127.0.0.1:8080/consumer",
                r#"curl -s -H 'tenantID: tenant-3' -d '{"order":7}' http://127.0.0.1:8080/producer"#,
                "curl -s -H 'tenantID: tenant-3' 'http://127.0.0.1:8080/consumer/messages?limit=3'",
                r#"curl -s -H 'tenantID: tenant-3' -H "Idempotency-Key: $(uuidgen)" -d '{"amount":1250,"currency":"EUR","reference":"order-7"}' http://127.0.0.1:8080/payments/charges"#,
                "curl -s -H 'tenantID: tenant-3' 'http://127.0.0.1:8080/payments/charges?limit=3'",
            ]
        );
    }

    #[test]
    fn a_long_answer_is_cut_between_characters() {
        let text = readable(&"ü".repeat(MAX_SHOWN));
        assert!(text.ends_with("ü\n…") && text.len() <= MAX_SHOWN + 4);
    }
}
