//! Health of the control plane itself. Pure.

use axum::http::StatusCode;
use maud::html;

use super::frame::{Part, Section, View};
use super::page::Context;
use super::parts::{Tone, badge, columns, commit, maybe_time, none, time};
use crate::model::Health;

pub(super) fn view(health: &Health, context: &Context) -> View {
    let is_well = health.parts.iter().all(|part| part.well);
    let head = html! {
        h1 { "Health" }
        @if is_well { (badge(Tone::Ok, "well")) } @else { (badge(Tone::Bad, "not well")) }
        p.sub { "of the control plane itself" }
    };
    let parts = html! {
        table.cards role="table" {
            (columns(&["Part", "State", "Detail", "Last worked"], &[]))
            tbody role="rowgroup" {
                @for part in &health.parts {
                    tr role="row" {
                        th scope="row" role="rowheader" { (part.name) }
                        td role="cell" { @if part.well { (badge(Tone::Ok, "well")) } @else { (badge(Tone::Bad, "not well")) } }
                        td.wide role="cell" { (part.detail) }
                        td role="cell" data-label="Last worked" { (maybe_time(context.now, part.last)) }
                    }
                }
            }
        }
    };
    let facts = html! {
        div.body {
            dl.facts {
                dt { "Platform" } dd { (health.platform) }
                dt { "Repository" } dd { code { (health.repository) } }
                dt { "Branch" } dd { code { (health.branch) } }
                dt { "Head" }
                dd {
                    @match &health.head {
                        Some(head) => { (commit(head)) @if let Some(moment) = health.head_time { ", " (time(context.now, moment)) } },
                        None => (none()),
                    }
                }
                dt { "Version" } dd { (health.version) }
            }
        }
    };
    View {
        status: StatusCode::OK,
        section: Section::Health,
        title: "Health".to_owned(),
        parts: vec![
            Part::live("head", "head", head),
            Part::live("parts", "card", parts),
            Part::live("facts", "card", facts),
        ],
    }
}
