//! The pools: environments that tenants share. Pure.

use axum::http::StatusCode;
use maud::{Markup, html};

use super::frame::{Part, Section, View};
use super::page::Context;
use super::parts::{age, blocked, commit, count, maybe, none, percent, pool_badge, rate, time};
use crate::model::PoolView;

pub(super) fn view(pools: &[PoolView], context: &Context) -> View {
    let head = html! { h1 { "Pools" } p.sub { "An environment that tenants share; a silo is on its tenant's page." } };
    View {
        status: StatusCode::OK,
        section: Section::Pools,
        title: "Pools".to_owned(),
        parts: vec![
            Part::fixed("head", "head", head),
            Part::live(
                "pools",
                "stack",
                html! { @for pool in pools { (card(pool, context)) } },
            ),
        ],
    }
}

fn card(pool: &PoolView, context: &Context) -> Markup {
    let figures = &pool.figures;
    let shown = [
        ("Tenants", Some(count(pool.tenants))),
        ("Requests/s", figures.requests_per_second.map(rate)),
        ("Errors", figures.error_ratio.map(percent)),
        ("Queue", figures.queue_depth.map(count)),
        ("Oldest message", figures.oldest_message_seconds.map(age)),
        ("Dead letters", figures.dead_letters.map(count)),
        ("Restarts", figures.restarts.map(count)),
    ];
    html! {
        article.card id={ "pool-" (pool.id) } {
            header {
                h2 { (pool.id) }
                (pool_badge(pool))
                span.tag { "release " (pool.release) }
                span.grow {}
                a.small href="/console/tenants?tier=basic" { "Its basic tenants" }
            }
            div.body.stack {
                @if let Some(reason) = &pool.blocked { (blocked(reason, context.now)) }
                dl.figures {
                    @for (name, figure) in shown {
                        @if let Some(figure) = figure { div { dt { (name) } dd { (figure) } } }
                    }
                }
                dl.facts {
                    dt { "Apps" } dd { (pool.apps.join(", ")) }
                    dt { "Desired" }
                    dd {
                        @match &pool.desired {
                            Some(desired) => { (commit(&desired.commit)) " by " (desired.actor) ", " (time(context.now, desired.time)) },
                            None => (none()),
                        }
                    }
                    dt { "Applied" }
                    dd {
                        @match &pool.applied {
                            Some(applied) => {
                                @if let Some(id) = &applied.commit { (commit(id)) ", " } (time(context.now, applied.time))
                                @if let Some(message) = &applied.message { ": " (message) }
                            },
                            None => (none()),
                        }
                    }
                    dt { "Last error" } dd { (maybe(figures.last_error.as_deref())) }
                }
            }
        }
    }
}
