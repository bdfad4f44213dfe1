//! Activity: who did what, commit by commit.

use axum::http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;
use tenantry_service::error::ApiError;

use super::frame::{Part, Section, View, query_value};
use super::page::Context;
use super::parts::{columns, commit, diff, releases, time};
use super::{Console, commits};
use crate::model::Activity;

/// Commits on one page.
const PAGE: usize = 40;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    tenant: String,
    /// The commit after which the page begins.
    cursor: String,
}

pub(super) async fn load(
    filter: &Filter,
    console: &Console,
    context: &Context,
) -> Result<View, ApiError> {
    let given = |text: &'_ String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let (tenant, cursor) = (given(&filter.tenant), given(&filter.cursor));
    let page = console
        .control
        .activity(tenant.as_deref(), PAGE, cursor.as_deref())
        .await?;
    let head = html! {
        h1 { "Activity" }
        p.sub { "Every change is a commit of the GitOps repository." }
    };
    let search = html! {
        form.fields role="search" method="get" action="/console/activity" {
            div.field {
                label for="tenant" { "Tenant or pool" }
                input #tenant name="tenant" type="search" value=(filter.tenant) autocomplete="off" spellcheck="false";
            }
            button { "Filter" }
        }
    };
    let list = html! {
        (table(&page.activity, context))
        @if let Some(next) = &page.next_cursor {
            footer.pages {
                a rel="next" href={ "/console/activity?tenant=" (query_value(filter.tenant.trim())) "&cursor=" (query_value(next)) } { "Older" }
            }
        }
    };
    Ok(View {
        status: StatusCode::OK,
        section: Section::Activity,
        title: "Activity".to_owned(),
        parts: vec![
            Part::fixed("head", "head", head),
            Part::fixed("filter", "filter", search),
            Part::live("activity", "card", list),
        ],
    })
}

pub(super) fn table(activity: &[Activity], context: &Context) -> Markup {
    html! {
        @if activity.is_empty() {
            p.empty { "No commit." }
        } @else {
            table.cards role="table" {
                (columns(&["Time", "Change", "By", "Tenants", "Commit"], &[]))
                tbody role="rowgroup" {
                    @for entry in activity {
                        tr role="row" id={ "a-" (entry.commit) } {
                            td role="cell" { (time(context.now, entry.time)) }
                            td.wide role="cell" {
                                @match &entry.operation {
                                    Some(id) => a href={ "/console/operations/" (id) } { (entry.subject) },
                                    None => (entry.subject),
                                }
                            }
                            td role="cell" data-label="By" { (entry.actor) }
                            td role="cell" { (releases(&entry.tenants)) }
                            td role="cell" { (commit(&entry.commit)) }
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
    let found = commits::view(&console.control, id).await?;
    let entry = &found.activity;
    let head = html! {
        div {
            p.crumbs { a href="/console/activity" { "Activity" } }
            h1 { (entry.subject) }
            p.sub { code { (entry.commit) } " by " (entry.actor) ", " (time(context.now, entry.time)) }
        }
    };
    let change = html! {
        @if !entry.tenants.is_empty() || entry.operation.is_some() {
            header {
                @if !entry.tenants.is_empty() { span { "Tenants: " (releases(&entry.tenants)) } }
                @if let Some(operation) = &entry.operation { a href={ "/console/operations/" (operation) } { "Its operation" } }
            }
        }
        div.body.stack {
            (diff(&found.diff))
            @if found.is_cut { p.sub { "The rest is not shown: run " code { "git show " (entry.commit) } "." } }
        }
    };
    Ok(View {
        status: StatusCode::OK,
        section: Section::Activity,
        title: entry.subject.clone(),
        parts: vec![
            Part::fixed("head", "head", head),
            Part::fixed("commit", "card", change),
        ],
    })
}
