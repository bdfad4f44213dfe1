//! The page of a tenant: state, the flow of its messages, latest messages and payments, queues, requests to try, actions, history.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use tenantry_service::error::ApiError;
use uuid::Uuid;

use super::flow::Flow;
use super::frame::{Part, Section, View};
use super::latest::{Gone, Latest};
use super::page::Context;
use super::parts::{
    Tone, age, blocked, columns, commit, count, icon, maybe, percent, tenant_badge, time,
};
use super::session::Person;
use super::tenants::environment_tag;
use super::{Console, activity, requests};
use crate::access::Verb;
use crate::control::no_tenant;
use crate::model::{Activity, PeekedMessage, QueueView, TenantState, TenantView, Time};

/// Commits of the history that the page shows.
const HISTORY: usize = 8;
/// Messages that a peek shows.
const PEEKED: usize = 10;
/// The query: what the page shows beside the tenant.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Shown {
    /// Answer of a request that was tried.
    answer: Option<Uuid>,
    peek: Option<Peek>,
    done: Option<Done>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Peek {
    Queue,
    Dead,
}

/// The form whose redirect led to the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Done {
    Redrive,
}

/// Everything that the page shows.
struct Data<'a> {
    tenant: &'a TenantView,
    queue: Result<QueueView, ApiError>,
    parameters: Result<Vec<(String, String)>, ApiError>,
    latest: Arc<Latest>,
    history: Vec<Activity>,
    peeked: Option<(Peek, Result<Vec<PeekedMessage>, ApiError>)>,
}

pub(super) async fn load(
    id: &str,
    shown: &Shown,
    console: &Console,
    context: &Context,
) -> Result<View, ApiError> {
    let tenant = console.control.tenant(id).ok_or_else(|| no_tenant(id))?;
    let peeked = match shown.peek {
        Some(peek) => {
            let dead = peek == Peek::Dead;
            Some((
                peek,
                console.control.peek(&context.actor, id, dead, PEEKED).await,
            ))
        }
        None => None,
    };
    let data = Data {
        tenant: &tenant,
        queue: console.control.queue(id).await,
        parameters: console.parameters(&tenant).await,
        latest: console.latest(&tenant).await,
        history: console.history(&tenant, HISTORY).await,
        peeked,
    };
    let mut parts = data.parts(shown, context);
    if let Some(load_balancer) = console.load_balancer()
        && !matches!(tenant.state, TenantState::Offboarded)
    {
        let answer = shown
            .answer
            .and_then(|id| console.answers.get(id, &tenant.id));
        let body = requests::render(&tenant, &load_balancer, answer.as_ref(), context);
        // Below the picture, so that the flow of a sent message is visible.
        parts.insert(4, Part::fixed("try", "card", body));
    }
    Ok(View {
        status: StatusCode::OK,
        section: Section::Tenants,
        title: tenant.id.clone(),
        parts,
    })
}

impl Data<'_> {
    fn parts(&self, shown: &Shown, context: &Context) -> Vec<Part> {
        let tenant = self.tenant;
        let head = html! {
            div {
                p.crumbs { a href="/console/tenants" { "Tenants" } }
                h1 { (tenant.id) }
            }
            (tenant_badge(tenant))
            span.tag { (tenant.tier) }
            span.tag { "release " (tenant.release) }
            @for (name, value) in &tenant.labels { span.tag { (name) "=" (value) } }
        };
        let notice = html! {
            @if shown.done == Some(Done::Redrive) {
                div.notice.ok role="status" { p { "The messages of the dead-letter queue go back to the queue." } }
            }
        };
        vec![
            Part::live("head", "head", head),
            Part::fixed("notice", "notices", notice),
            Part::live("state", "card", self.state(context)),
            Part::live("flow", "card", self.flow()),
            Part::live("messages", "card half", self.latest.messages(self.gone())),
            Part::live("payments", "card half", self.latest.payments(self.gone())),
            Part::live("queues", "card half", self.queues(context)),
            Part::fixed("actions", "card half", self.actions(context)),
            Part::fixed("peek", "card", self.peek(context)),
            Part::live("names", "card", self.names()),
            Part::live("history", "card", self.history(context)),
        ]
    }

    fn is_gone(&self) -> bool {
        self.tenant.state == TenantState::Offboarded
    }

    fn gone(&self) -> Option<Gone> {
        self.is_gone().then_some(if self.tenant.delete_data {
            Gone::WithData
        } else {
            Gone::DataKept
        })
    }

    fn state(&self, context: &Context) -> Markup {
        let now = context.now;
        let tenant = self.tenant;
        let steps = [self.desired(now), self.applied(now), self.serving(now)];
        html! {
            header { h2 { "State" } span.sub { "desired by Git, applied by the platform, serving as probed" } }
            div.body.stack {
                ol.steps {
                    @for (class, tone, name, text) in steps {
                        li.(class) {
                            span.name { (icon(tone)) (name) }
                            span.small { (text) }
                        }
                    }
                }
                @if let Some(reason) = &tenant.blocked { (blocked(reason, now)) }
                @if let Some(reason) = &tenant.held { p { strong { "Held: " } (reason) " Deployments skip this tenant." } }
            }
        }
    }

    fn desired(&self, now: Time) -> (&'static str, Tone, &'static str, Markup) {
        match &self.tenant.desired {
            Some(desired) => {
                let text = html! {
                    (commit(&desired.commit)) " by " (desired.actor) ", " (time(now, desired.time)) br;
                    "release " (desired.release)
                };
                ("done", Tone::Ok, "desired", text)
            }
            None => (
                "todo",
                Tone::Idle,
                "desired",
                html! { "not in the repository" },
            ),
        }
    }

    fn applied(&self, now: Time) -> (&'static str, Tone, &'static str, Markup) {
        match &self.tenant.applied {
            Some(applied) => {
                let text = html! {
                    @if let Some(id) = &applied.commit { "up to " (commit(id)) ", changed " } (time(now, applied.time))
                    @if let Some(message) = &applied.message { br; (message) }
                };
                match (applied.ready, &self.tenant.blocked) {
                    (true, _) => ("done", Tone::Ok, "applied", text),
                    (false, Some(_)) => ("failed", Tone::Bad, "not applied", text),
                    (false, None) => ("now", Tone::Info, "being applied", text),
                }
            }
            None => (
                "now",
                Tone::Info,
                "not applied yet",
                html! { "the platform has not reported the tenant" },
            ),
        }
    }

    fn serving(&self, now: Time) -> (&'static str, Tone, &'static str, Markup) {
        if self.tenant.suspended {
            return (
                "todo",
                Tone::Idle,
                "suspended",
                html! { "no routes, on purpose" },
            );
        }
        if self.tenant.state == TenantState::Offboarded {
            return ("todo", Tone::Idle, "gone", html! { "no routes, no apps" });
        }
        match &self.tenant.serving {
            Some(serving) => {
                let text = html! {
                    @for (app, probed) in serving.apps.iter() {
                        @match (&probed.error, &probed.environment) {
                            (Some(error), _) => { (app) ": " (error) br; }
                            (None, Some(environment)) => { (app) " answers from " (environment) br; }
                            (None, None) => {}
                        }
                    }
                    "since " (time(now, serving.since))
                };
                if serving.answers {
                    ("done", Tone::Ok, "serving", text)
                } else {
                    ("now", Tone::Warn, "not serving", text)
                }
            }
            None => ("todo", Tone::Idle, "not probed yet", html! {}),
        }
    }

    fn flow(&self) -> Markup {
        let resource = |name: &str| {
            let parameters = self.parameters.as_ref().ok()?;
            parameters
                .iter()
                .find(|(parameter, _)| parameter.ends_with(name))
                .map(|(_, value)| value.rsplit(['/', ':']).next().unwrap_or(value))
        };
        let picture = Flow {
            tenant: self.tenant,
            queue: self.queue.as_ref().ok(),
            table: resource("/consumer_ddb"),
            ledger: resource("/payments_ddb"),
        };
        let figures = &self.tenant.figures;
        let notes = [
            figures
                .error_ratio
                .map(|ratio| format!("errors {}", percent(ratio))),
            figures
                .restarts
                .map(|restarts| format!("restarts {}", count(restarts))),
            figures
                .last_error
                .as_ref()
                .map(|error| format!("last error: {error}")),
        ];
        let notes: Vec<String> = notes.into_iter().flatten().collect();
        html! {
            header {
                h2 { "Message flow" }
                span.sub {
                    (notes.join(", "))
                }
            }
            div.body { (picture.render()) }
        }
    }

    fn queues(&self, context: &Context) -> Markup {
        let href = |peek: &str| format!("/console/tenants/{}?peek={peek}#peek", self.tenant.id);
        let may_peek = context.actor.may(Verb::Peek);
        html! {
            header { h2 { "Queues" } span.sub { "a peek receives nothing" } }
            @match &self.queue {
                Err(_) if self.gone() == Some(Gone::WithData) => p.empty { "The tenant's queues were deleted with its data." },
                Err(_) if self.is_gone() => p.empty { "The tenant has no consumer any more. Its queue was emptied before the consumer ended." },
                Err(error) => p.empty { (error.msg()) },
                Ok(queue) => div.body.stack {
                    dl.facts {
                        dt { "Queue" } dd { code { (queue.name) } }
                        dt { "Waiting" } dd { (count(queue.visible)) @if queue.delayed > 0 { ", delayed " (count(queue.delayed)) } }
                        dt { "In progress" } dd { (count(queue.in_flight)) }
                        dt { "Oldest" } dd { (maybe(self.tenant.figures.oldest_message_seconds.map(age).as_deref())) }
                        @if let Some(dead) = &queue.dead_letter {
                            dt { "Dead-letter queue" } dd { code { (dead.name) } }
                            dt { "Dead letters" } dd { (count(dead.messages)) }
                        }
                    }
                    div.buttons {
                        @if may_peek {
                            a.button href=(href("queue")) { "Peek at the queue" }
                            a.button href=(href("dead")) { "Peek at the dead-letter queue" }
                        }
                        @if context.actor.may(Verb::Redrive) {
                            form.inline method="post" action={ "/console/tenants/" (self.tenant.id) "/redrive" } {
                                    button disabled[queue.dead_letter.as_ref().is_none_or(|dead| dead.messages == 0)] { "Redrive the dead letters" }
                            }
                        }
                    }
                },
            }
        }
    }

    fn peek(&self, context: &Context) -> Markup {
        let Some((peek, peeked)) = &self.peeked else {
            return html! {};
        };
        let name = match peek {
            Peek::Queue => "Messages in the queue",
            Peek::Dead => "Messages in the dead-letter queue",
        };
        html! {
            header { h2 { (name) } span.sub { "at " (time(context.now, context.now)) ", the first " (PEEKED) } }
            @match peeked {
                Err(error) => p.empty { (error.msg()) },
                Ok(messages) if messages.is_empty() => p.empty { "The queue is empty." },
                Ok(messages) => table.cards role="table" {
                    (columns(&["Sent", "Deliveries", "Body", "Attributes"], &["Deliveries"]))
                    tbody role="rowgroup" {
                        @for message in messages {
                            tr role="row" {
                                td role="cell" title=(message.id) { (time(context.now, message.sent)) }
                                td.number role="cell" data-label="Deliveries" { (count(message.receive_count)) }
                                td.wide role="cell" { code { (message.body) } }
                                td.wide.small role="cell" {
                                    @for (name, value) in &message.attributes { (name) "=" (value) br; }
                                }
                            }
                        }
                    }
                },
            }
        }
    }

    fn names(&self) -> Markup {
        let tenant = self.tenant;
        html! {
            header { h2 { "Routes and names" } }
            div.body.stack {
                dl.facts {
                    @for (app, place) in tenant.apps.iter() {
                        dt { "/" (app) }
                        dd {
                            "TenantID: " (tenant.id) " → " (environment_tag(&place.environment))
                            @if !place.routed { " not routed" }
                        }
                    }
                    dt { "File" } dd { code { (tenant.path) } }
                    @match &self.parameters {
                        Err(error) => { dt { "Parameters" } dd { (error.msg()) } },
                        Ok(parameters) => @for (name, value) in parameters {
                            dt { code { (name) } } dd { code { (value) } }
                        },
                    }
                }
            }
        }
    }

    fn history(&self, context: &Context) -> Markup {
        html! {
            header {
                h2 { "Commits" }
                span.grow {}
                a.small href={ "/console/activity?tenant=" (self.tenant.id) } { "All commits of this tenant" }
            }
            (activity::table(&self.history, context))
        }
    }

    fn actions(&self, context: &Context) -> Markup {
        let tenant = self.tenant;
        let is_gone = tenant.state == TenantState::Offboarded || tenant.desired.is_none();
        let actions: &[(Verb, &str, &str, &str)] = match (is_gone, tenant.delete_data) {
            (true, false) => &[(
                Verb::DeleteData,
                "delete-data",
                "Delete the data",
                "deletes its messages, items and payments for good",
            )],
            (true, true) => &[(
                Verb::DeleteData,
                "forget",
                "Forget",
                "deletes the record; the id is free again",
            )],
            (false, _) => &[
                (
                    Verb::Move,
                    "move",
                    "Move",
                    "to another tier, with its messages and data",
                ),
                (
                    Verb::Deploy,
                    "release",
                    "Change the release",
                    "upgrades the tenant alone",
                ),
                if tenant.suspended {
                    (Verb::Suspend, "resume", "Resume", "gives the routes back")
                } else {
                    (
                        Verb::Suspend,
                        "suspend",
                        "Suspend",
                        "takes the routes away, keeps everything else",
                    )
                },
                if tenant.held.is_some() {
                    (
                        Verb::Hold,
                        "unhold",
                        "Release the hold",
                        "deployments include the tenant again",
                    )
                } else {
                    (Verb::Hold, "hold", "Hold", "deployments skip the tenant")
                },
                (
                    Verb::Offboard,
                    "offboard",
                    "Offboard",
                    "ends its routes and apps",
                ),
            ],
        };
        html! {
            header { h2 { "Actions" } span.sub { "each shows its commit first" } }
            div.body.stack {
                ul.actions {
                    @for (verb, action, name, effect) in actions {
                        li {
                            @if context.actor.may(*verb) {
                                a.button href={ "/console/tenants/" (tenant.id) "/change?action=" (action) } { (name) "…" }
                                span.sub { (effect) }
                            } @else {
                                span.button.off { (name) }
                                span.sub { "needs the role " (verb.role().as_str()) }
                            }
                        }
                    }
                }
                @if is_gone {
                    p.sub { @if tenant.delete_data { "The id is free for another owner once the record is forgotten." } @else { "The id is free for another owner once the data is deleted and the record is forgotten." } }
                }
            }
        }
    }
}

/// Moves the dead letters back to the queue.
pub(super) async fn redrive(
    Extension(console): Extension<Console>,
    Path(tenant): Path<String>,
    person: Person,
) -> Response {
    match console.control.redrive(&person.actor, &tenant).await {
        Ok(()) => Redirect::to(&format!("/console/tenants/{tenant}?done=redrive")).into_response(),
        Err(error) => console.error_page(&error, &console.context(person)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::console::frame::document;
    use crate::console::samples::{context, parameters, queue, tenant};

    #[test]
    fn nothing_that_a_client_sent_is_markup_on_the_page() {
        let tenant = tenant(3);
        let message = json!({
            "message_id": "01a2", "timestamp": "2026-01-31T11:59:00+0000", "producer_environment": "pool-1",
            "consumer_environment": "tenant-3", "payload": {"order": "<script>alert(1)</script>"},
        });
        let charge = json!({
            "id": "01a3", "amount": 1250, "currency": "EUR", "reference": "<img src=x>", "status": "recorded",
            "created_at": "2026-01-31T11:58:00.000Z",
        });
        let data = Data {
            tenant: &tenant,
            queue: queue(),
            parameters: parameters(&tenant.id),
            latest: Arc::new(Latest::of(vec![message], vec![charge])),
            history: Vec::new(),
            peeked: None,
        };
        let context = context();
        let mut parts = data.parts(&Shown::default(), &context);
        parts.insert(
            4,
            Part::fixed(
                "try",
                "card",
                requests::render(&tenant, "http://127.0.0.1:8080", None, &context),
            ),
        );
        let view = View {
            status: StatusCode::OK,
            section: Section::Tenants,
            title: tenant.id.clone(),
            parts,
        };
        let page = document(&view, &context, Some("/console/tenants/tenant-3")).into_string();
        assert!(
            page.contains("&lt;script&gt;alert(1)&lt;/script&gt;")
                && page.contains("&lt;img src=x&gt;")
        );
        assert!(!page.contains("<script>alert") && !page.contains("<img"));
    }
}
