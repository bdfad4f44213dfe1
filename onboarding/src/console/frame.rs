//! The frame of every page: head, navigation, notices, the parts of the page, the live stream's address. Pure.

use axum::http::StatusCode;
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::commits::BrokenCommit;
use super::page::Context;
use super::parts::{commit, icons, time};

/// Entry of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Tenants,
    Pools,
    Deployments,
    Operations,
    Activity,
    Health,
}

/// A rendered page.
pub(super) struct View {
    pub(super) status: StatusCode,
    pub(super) section: Section,
    pub(super) title: String,
    pub(super) parts: Vec<Part>,
}

/// A piece of a page with an id of its own.
pub(super) struct Part {
    pub(super) id: &'static str,
    class: &'static str,
    /// Whether the live stream replaces the part. A form that a person may be filling in is never replaced.
    pub(super) is_live: bool,
    pub(super) body: Body,
}

pub(super) enum Body {
    Whole(Markup),
    /// A table whose rows the live stream replaces one by one.
    Table {
        before: Markup,
        rows: Vec<Row>,
        after: Markup,
    },
}

/// A row of a table.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) cells: Markup,
}

impl Part {
    /// A part that the live stream replaces whenever it changes.
    pub(super) const fn live(id: &'static str, class: &'static str, body: Markup) -> Self {
        Self {
            id,
            class,
            is_live: true,
            body: Body::Whole(body),
        }
    }

    /// A live table.
    pub(super) const fn table(
        id: &'static str,
        class: &'static str,
        before: Markup,
        rows: Vec<Row>,
        after: Markup,
    ) -> Self {
        Self {
            id,
            class,
            is_live: true,
            body: Body::Table {
                before,
                rows,
                after,
            },
        }
    }

    /// A part that stays as it was loaded.
    pub(super) const fn fixed(id: &'static str, class: &'static str, body: Markup) -> Self {
        Self {
            id,
            class,
            is_live: false,
            body: Body::Whole(body),
        }
    }

    /// The element; with `replaces`, the live stream's script puts it in place of the one with the same id.
    pub(super) fn render(&self, replaces: bool) -> Markup {
        html! {
            section id=(self.id) class=(self.class) hx-swap-oob=[replaces.then_some("morph")] {
                @match &self.body {
                    Body::Whole(body) => (body),
                    Body::Table { before, rows, after } => {
                        table.cards role="table" {
                            (before)
                            tbody role="rowgroup" { @for row in rows { (row.render(false)) } }
                        }
                        (after)
                    }
                }
            }
        }
    }
}

impl Row {
    /// The element, as [`Part::render`]. A row is not valid outside a table, so it is sent in a template.
    pub(super) fn render(&self, replaces: bool) -> Markup {
        let row = html! {
            tr role="row" id=(self.id) hx-swap-oob=[replaces.then_some("morph")] { (self.cells) }
        };
        if replaces {
            html! { template { (row) } }
        } else {
            row
        }
    }
}

impl Section {
    const ALL: [(Self, &str, &str); 6] = [
        (Self::Tenants, "Tenants", "/console/tenants"),
        (Self::Pools, "Pools", "/console/pools"),
        (Self::Deployments, "Deployments", "/console/deployments"),
        (Self::Operations, "Operations", "/console/operations"),
        (Self::Activity, "Activity", "/console/activity"),
        (Self::Health, "Health", "/console/health"),
    ];
}

/// Returns the whole document. With an address, the page is live; an error is not.
pub(super) fn document(view: &View, context: &Context, address: Option<&str>) -> Markup {
    html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    (head(&view.title))
                    meta name="htmx-config" content=r#"{"includeIndicatorStyles":false,"allowEval":false,"selfRequestsOnly":true,"historyCacheSize":0}"#;
                    @for script in &assets::SCRIPTS { script defer src=(script.href()) {} }
                }
                body hx-ext="morph" {
                    (icons())
                    a.skip href="#main" { "Skip to content" }
                    header.top {
                        a.brand href="/console" { (mark()) "Tenantry" }
                        nav aria-label="Main" {
                            ul {
                                @for (section, name, href) in Section::ALL {
                                    li { a href=(href) aria-current=[(section == view.section).then_some("page")] { (name) } }
                                }
                            }
                        }
                        p.live #live-state {
                            span.dot aria-hidden="true" {}
                            span { "reload to update" }
                        }
                    }
                    main #main tabindex="-1" {
                        (alerts(context).render(false))
                        @for part in &view.parts { (part.render(false)) }
                    }
                    footer.page {
                        "Signed in as " strong { (context.actor.name) } ", " (context.actor.role.as_str())
                        ". Every change is a commit. Times are in UTC. The API: "
                        a href="/openapi.json" { "/openapi.json" } ". "
                        @if context.has_session {
                            form.inline method="post" action="/console/sign-out" { button.link { "Sign out" } }
                        }
                    }
    @if let Some(address) = address {
                    div #stream hidden hx-ext="sse" sse-connect={ "/console/live?page=" (query_value(address)) } sse-swap="message" hx-swap="none" {}
                    }
                }
            }
        }
}

fn head(title: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        title { (title) " · Tenantry" }
        link rel="icon" href=(assets::ICON.href()) type="image/svg+xml";
        link rel="stylesheet" href=(assets::STYLE.href());
    }
}

/// Returns a document for a person who is not signed in: without navigation, scripts and figures.
pub(super) fn outside(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head { (head(title)) }
            body {
                header.top { a.brand href="/console" { (mark()) "Tenantry" } }
                main #main tabindex="-1" { (body) }
            }
        }
    }
}

/// The notices of every page: a commit that is not in force.
pub(super) fn alerts(context: &Context) -> Part {
    let body = html! {
        @if let Some(broken) = &context.broken { (broken_commit(broken, context)) }
    };
    Part::live("alerts", "alerts", body)
}

fn broken_commit(broken: &BrokenCommit, context: &Context) -> Markup {
    html! {
        div.notice.bad role="alert" {
            h2 { "The newest commit is not in force" }
            p {
                "Since commit " (commit(&broken.commit.commit)) ", " q { (broken.commit.subject) } " by " (broken.commit.actor) " at "
                (time(context.now, broken.commit.time)) ", the repository is not valid"
                @match broken.waiting {
                    0 => {},
                    1 => " (1 commit since waits)",
                    count => { " (" (count) " commits since wait)" }
                }
                ". Every tenant is served as before; no change takes effect until this is mended."
            }
            ul.findings {
                @for finding in &broken.findings {
                    li {
                        span.at {
                            (finding.path)
                            @if let Some(line) = finding.line { ":" (line) }
                            @if let Some(column) = finding.column { ":" (column) }
                        }
                        span { (finding.message) }
                        span { "Next: " (finding.fix) }
                    }
                }
                @if broken.more > 0 { li { "and " (broken.more) " more" } }
            }
            p {
                "In a clone of " code { (context.repository) } ": correct the file, or take the commit back with "
                code { "git pull && git revert " (super::parts::short(&broken.commit.commit)) } "; then push. "
                code { "tenantctl lint" } " checks a commit before a push."
            }
        }
    }
}

/// Percent-encodes a path with its query, so that it is one value of a query.
pub(super) fn query_value(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            use std::fmt::Write;
            write!(encoded, "%{byte:02X}").expect("writing to a string succeeds");
        }
    }
    encoded
}

fn mark() -> Markup {
    html! {
        svg viewBox="0 0 20 20" aria-hidden="true" {
            rect x="1" y="1" width="8" height="8" rx="2" fill="currentColor" {}
            rect x="11" y="1" width="8" height="8" rx="2" fill="currentColor" opacity="0.55" {}
            rect x="1" y="11" width="18" height="8" rx="2" fill="currentColor" opacity="0.8" {}
        }
    }
}
