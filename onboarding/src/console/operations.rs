//! Operations: changes on their way, from the request to the tenant's answer.

use axum::http::StatusCode;
use maud::{Markup, html};
use tenantry_service::error::ApiError;

use super::Console;
use super::frame::{Part, Section, View};
use super::page::Context;
use super::parts::{
    Tone, blocked, columns, commit, icon, maybe_time, operation_badge, releases, time,
};
use crate::model::{Operation, OperationState, Time};
use crate::operations::ends_gone;

/// Operations on the page.
const SHOWN: usize = 50;

pub(super) fn load(console: &Console, context: &Context) -> View {
    let operations = console.control.operations(None, SHOWN);
    let head = html! {
        h1 { "Operations" }
        p.sub {
            "A change ends once every tenant that it concerns answers, or answers no more. One that ended before this process \
             started has no time of its end."
        }
    };
    View {
        status: StatusCode::OK,
        section: Section::Operations,
        title: "Operations".to_owned(),
        parts: vec![
            Part::fixed("head", "head", head),
            Part::live("operations", "card", table(&operations, context)),
        ],
    }
}

fn table(operations: &[Operation], context: &Context) -> Markup {
    html! {
        @if operations.is_empty() {
            p.empty { "None yet. " a href="/console/activity" { "Activity" } " has every commit." }
        } @else {
            table.cards role="table" {
                (columns(&["Operation", "State", "Tenants", "By", "Accepted", "Ended", "Commit"], &[]))
                tbody role="rowgroup" {
                    @for operation in operations {
                        tr role="row" id={ "op-" (operation.id) } {
                            th scope="row" role="rowheader" { a href={ "/console/operations/" (operation.id) } { (operation.subject) } }
                            td role="cell" {
                                (operation_badge(operation.state))
                                @if let Some(problem) = &operation.problem { span.reason { (problem.reason) } }
                            }
                            td role="cell" { (releases(&operation.tenants)) }
                            td role="cell" data-label="By" { (operation.actor) }
                            td role="cell" data-label="Accepted" { (maybe_time(context.now, operation.times.accepted)) }
                            td role="cell" data-label="Ended" { (maybe_time(context.now, operation.times.ended)) }
                            td role="cell" data-label="Commit" { @if let Some(id) = &operation.commit { (commit(id)) } }
                        }
                    }
                }
            }
        }
    }
}

pub(super) async fn load_one(
    id: &str,
    console: &Console,
    context: &Context,
) -> Result<View, ApiError> {
    let operation = console.control.operation(id).await?;
    let doing = doing(&operation, console);
    let head = html! {
        div {
            p.crumbs { a href="/console/operations" { "Operations" } }
            h1 { (operation.subject) }
        }
        (operation_badge(operation.state))
    };
    Ok(View {
        status: StatusCode::OK,
        section: Section::Operations,
        title: operation.subject.clone(),
        parts: vec![
            Part::live("head", "head", head),
            Part::live("operation", "card", card(&operation, &doing, context)),
        ],
    })
}

/// What the platform does for the tenants of an operation that has not ended, in its own words.
fn doing(operation: &Operation, console: &Console) -> Vec<(String, String)> {
    if operation.state.is_end() {
        return Vec::new();
    }
    let message = |id: &String| {
        let applied = console.control.tenant(id)?.applied?;
        Some((id.clone(), applied.message?))
    };
    operation.tenants.iter().filter_map(message).collect()
}

fn card(operation: &Operation, doing: &[(String, String)], context: &Context) -> Markup {
    let times = &operation.times;
    let end = match operation.state {
        OperationState::Gone => "gone",
        OperationState::Failed => "failed",
        _ if ends_gone(&operation.kind) => "gone",
        _ => "serving",
    };
    let steps = [
        ("accepted", "the request is valid", times.accepted),
        ("committed", "the commit is pushed", times.committed),
        (
            "applied",
            "the platform has applied the commit",
            times.applied,
        ),
        (
            end,
            match end {
                "gone" => "nothing of the tenant answers",
                "failed" => "the change is not in force",
                _ => "every tenant answers through the load balancer",
            },
            times.ended,
        ),
    ];
    let now_at = steps.iter().position(|(_, _, reached)| reached.is_none());
    html! {
        div.body.stack {
            ol.steps {
                @for (position, (name, meaning, reached)) in steps.into_iter().enumerate() {
                    @let is_now = now_at == Some(position) && !operation.state.is_end();
                    @let (class, tone) = tone(name, reached, is_now, operation.state);
                    li.(class) aria-current=[is_now.then_some("step")] {
                        span.name { (icon(tone)) (name) }
                        span.small { (meaning) }
                        span.small.sub {
                            @if let Some(reached) = reached { (time(context.now, reached)) (after(times.accepted, reached)) }
                            @else if is_now { "waiting" }
                        }
                    }
                }
            }
            @for (tenant, message) in doing {
                p { strong { (tenant) ": " } (message) }
            }
            @if let Some(problem) = &operation.problem { (blocked(problem, context.now)) }
            dl.facts {
                dt { "Kind" } dd { (operation.kind) }
                dt { "Tenants" } dd { (releases(&operation.tenants)) }
                dt { "By" } dd { (operation.actor) }
                dt { "Commit" }
                dd {
                    @match &operation.commit {
                        Some(id) => (commit(id)),
                        None => "none: the repository was in this state already",
                    }
                }
                dt { "Id" } dd { code { (operation.id) } }
            }
            @if let Some(tenant) = operation.tenant.as_ref().filter(|_| operation.kind != "forget") {
                p { a.button.main[operation.state.is_end()] href={ "/console/tenants/" (tenant) } { "Open " (tenant) } }
            }
        }
    }
}

fn tone(
    name: &str,
    reached: Option<Time>,
    is_now: bool,
    state: OperationState,
) -> (&'static str, Tone) {
    if name == "failed" {
        ("failed", Tone::Bad)
    } else if reached.is_some() || state == OperationState::Serving || state == OperationState::Gone
    {
        ("done", Tone::Ok)
    } else if is_now {
        ("now", Tone::Info)
    } else {
        ("todo", Tone::Idle)
    }
}

/// Time since the request, for the steps after it.
fn after(accepted: Option<Time>, reached: Time) -> Markup {
    match accepted {
        Some(accepted) if reached > accepted => {
            let millis = reached.since(accepted).as_millis();
            html! { ", after " @if millis < 10_000 { (format!("{:.1} s", millis as f64 / 1000.0)) } @else { (super::parts::duration(reached.since(accepted))) } }
        }
        _ => html! {},
    }
}
