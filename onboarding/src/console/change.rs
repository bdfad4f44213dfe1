//! A change of a tenant, from its form through the preview of its commit to the operation.
//!
//! The form is sent with GET and changes nothing: its answer has the commit as a diff. The button below the diff sends the form
//! with POST, which is refused if the form is not the previewed one any more. An offboarding asks for the tenant's id once more.

mod action;

use std::collections::BTreeMap;

use axum::Extension;
use axum::Form;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use tenantry_service::error::ApiError;
use uuid::Uuid;

use self::action::Action;
use super::Console;
use super::frame::{Part, Section, View, document};
use super::page::Context;
use super::parts::diff;
use super::session::Person;
use crate::control::{Submission, no_tenant};
use crate::model::{Change, Preview, TenantView};

const MAX_LABELS: usize = 20;

/// The fields of every form of a change.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    action: String,
    tenant: String,
    tier: String,
    release: String,
    reason: String,
    /// One `name=value` per line.
    labels: String,
    delete_data: Option<String>,
    /// Idempotency key, so that a form sent twice is one operation.
    key: String,
    /// The tenant's id, typed.
    confirm: String,
    /// What was previewed, as [`Fields::values`] has it.
    previewed: String,
}

impl Fields {
    pub(super) fn onboarding(self) -> Self {
        Self {
            action: Action::Onboard.as_str().to_owned(),
            ..self
        }
    }

    pub(super) fn of(tenant: &str, fields: Self) -> Self {
        Self {
            tenant: tenant.to_owned(),
            ..fields
        }
    }

    /// Returns one text that differs for fields that differ.
    fn values(&self) -> String {
        let values = [
            self.tenant.as_str(),
            &self.tier,
            &self.release,
            &self.reason,
            &self.labels,
            if self.delete_data.is_some() {
                "yes"
            } else {
                ""
            },
        ];
        values
            .map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
            .join("|")
    }

    fn action(&self) -> Result<Action, ApiError> {
        let action = Action::ALL
            .into_iter()
            .find(|action| action.as_str() == self.action);
        action.ok_or_else(|| {
            let actions = Action::ALL.map(Action::as_str).join(", ");
            wrong(
                "action",
                &self.action,
                &format!("an action is one of {actions}"),
            )
        })
    }

    /// Whether every value is there that the preview needs.
    fn is_complete(&self, action: Action) -> bool {
        let needed: &[&String] = match action {
            Action::Onboard => &[&self.tenant, &self.tier, &self.release],
            Action::Move => &[&self.tier],
            Action::Release => &[&self.release],
            Action::Hold => &[&self.reason],
            _ => &[],
        };
        needed.iter().all(|value| !value.trim().is_empty())
    }

    fn change(&self, action: Action) -> Result<Change, ApiError> {
        let tenant = parse("tenant", &self.tenant)?;
        Ok(match action {
            Action::Onboard => Change::Onboard {
                tenant,
                tier: parse("tier", &self.tier)?,
                release: parse("release", &self.release)?,
                labels: self.labels()?,
            },
            Action::Move => Change::Move {
                tenant,
                to: parse("tier", &self.tier)?,
            },
            Action::Release => Change::Release {
                tenant,
                release: parse("release", &self.release)?,
            },
            Action::Suspend => Change::Suspend { tenant },
            Action::Resume => Change::Resume { tenant },
            Action::Hold => Change::Hold {
                tenant,
                reason: parse("reason", &self.reason)?,
            },
            Action::Unhold => Change::Unhold { tenant },
            Action::Offboard => Change::Offboard {
                tenant,
                delete_data: self.delete_data.is_some(),
            },
            Action::DeleteData => Change::Offboard {
                tenant,
                delete_data: true,
            },
            Action::Forget => Change::Forget { tenant },
        })
    }

    fn labels(&self) -> Result<BTreeMap<String, String>, ApiError> {
        let lines = self
            .labels
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        let labels: BTreeMap<String, String> = lines
            .map(|line| {
                let pair = line
                    .split_once('=')
                    .ok_or_else(|| wrong("label", line, "a label is name=value, one a line"))?;
                Ok((pair.0.trim().to_owned(), pair.1.trim().to_owned()))
            })
            .collect::<Result<_, ApiError>>()?;
        if labels.len() > MAX_LABELS {
            return Err(wrong(
                "labels",
                &labels.len().to_string(),
                &format!("a tenant has at most {MAX_LABELS} labels"),
            ));
        }
        Ok(labels)
    }
}

pub(super) fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &str,
    value: &str,
) -> Result<T, ApiError> {
    let value = value.trim();
    value
        .parse()
        .map_err(|error: T::Err| wrong(field, value, &error.to_string()))
}

pub(super) fn wrong(field: &str, value: &str, problem: &str) -> ApiError {
    ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_field",
        format!("{field} {value:?}: {problem}"),
    )
}

/// Renders the form, and the commit's preview once the form is complete.
pub(super) async fn load(
    fields: &Fields,
    console: &Console,
    context: &Context,
) -> Result<View, ApiError> {
    let action = fields.action()?;
    context.actor.check(action.role_verb())?;
    let tenant = console.control.tenant(fields.tenant.trim());
    if tenant.is_none() && action != Action::Onboard {
        return Err(no_tenant(&fields.tenant));
    }
    let preview = if fields.is_complete(action) {
        let change = fields.change(action);
        Some(match change {
            Ok(change) => console.control.preview(&context.actor, &change).await,
            Err(error) => Err(error),
        })
    } else {
        None
    };
    let pools = console.control.pools();
    let release = ReleaseField {
        default: pools.first().map(|pool| pool.release.as_str()),
        hint: console.release_hint(),
    };
    Ok(view(fields, action, tenant.as_ref(), preview, release))
}

/// What the field for a release begins with, and what is said below it.
#[derive(Clone, Copy)]
struct ReleaseField<'a> {
    default: Option<&'a str>,
    hint: &'static str,
}

fn view(
    fields: &Fields,
    action: Action,
    tenant: Option<&TenantView>,
    preview: Option<Result<Preview, ApiError>>,
    release: ReleaseField<'_>,
) -> View {
    let title = match action {
        Action::Onboard => "Onboard a tenant".to_owned(),
        action => format!("{} {}", action.verb(), fields.tenant),
    };
    let status = match &preview {
        Some(Err(error)) => error.status(),
        _ => StatusCode::OK,
    };
    let head = html! {
        div {
            p.crumbs {
                a href="/console/tenants" { "Tenants" }
                @if action != Action::Onboard { " / " a href={ "/console/tenants/" (fields.tenant) } { (fields.tenant) } }
            }
            h1 { (title) }
            p.sub { (action.effect()) }
        }
    };
    let mut parts = vec![Part::fixed("head", "head", head)];
    if action.has_fields() {
        let form = form(fields, action, tenant, release);
        parts.push(Part::fixed("form", "card", form));
    }
    match preview {
        None => {}
        Some(Err(error)) => parts.push(Part::fixed("outcome", "problem", problem(&error))),
        Some(Ok(preview)) => parts.push(Part::fixed(
            "outcome",
            "card",
            commit(fields, action, &preview),
        )),
    }
    View {
        status,
        section: Section::Tenants,
        title,
        parts,
    }
}

pub(super) fn problem(error: &ApiError) -> Markup {
    html! {
        div.notice.bad role="alert" {
            p { strong { (sentence(error.msg())) } }
            p.small.sub { "Nothing was changed. Code " code { (error.code()) } "." }
        }
    }
}

/// What a page says of a problem: without the name of the status before it, and without the request to the API after it.
fn sentence(msg: &str) -> &str {
    // Such as `NotFound`; a field is lower case.
    let is_status = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    let msg = msg.split_once("; GET /").map_or(msg, |(before, _)| before);
    match msg.split_once(": ") {
        Some((status, rest)) if is_status(status) => rest,
        _ => msg,
    }
}

fn form(
    fields: &Fields,
    action: Action,
    tenant: Option<&TenantView>,
    release: ReleaseField<'_>,
) -> Markup {
    let address = match action {
        Action::Onboard => "/console/onboard".to_owned(),
        _ => format!("/console/tenants/{}/change", fields.tenant),
    };
    let or = |value: &str, default: Option<&str>| {
        let default = default.unwrap_or_default().trim_end_matches(".x");
        if value.is_empty() {
            default.to_owned()
        } else {
            value.to_owned()
        }
    };
    html! {
        div.body {
            // The fragment leads to the commit, or to why there is none, below the form.
            form #change.form method="get" action={ (address) "#outcome" } {
                input type="hidden" name="action" value=(action.as_str());
                @if action != Action::Onboard { input type="hidden" name="tenant" value=(fields.tenant); }
                @if action == Action::Onboard {
                    div.field {
                        label for="tenant" { "Id" }
                        input #tenant name="tenant" required autocomplete="off" spellcheck="false" autocapitalize="none"
                            value=(fields.tenant) aria-describedby="tenant-hint";
                        p.hint #tenant-hint { "Lower-case letters, digits and hyphens, at most 32; begins with a letter, ends with a letter or digit." }
                    }
                }
                @if let Action::Onboard | Action::Move = action { (tiers(fields, tenant.filter(|_| action == Action::Move))) }
                @if let Action::Onboard | Action::Release = action {
                    div.field {
                        label for="release" { "Release" }
                        input #release name="release" required autocomplete="off"
                            value=(or(&fields.release, tenant.map(|tenant| tenant.release.as_str()).or(release.default)))
                            aria-describedby="release-hint";
                        p.hint #release-hint { (release.hint) }
                    }
                }
                @if action == Action::Onboard {
                    div.field {
                        label for="labels" { "Labels " span.sub { "(optional)" } }
                        textarea #labels name="labels" rows="2" aria-describedby="labels-hint" { (fields.labels) }
                        p.hint #labels-hint { "One name=value per line." }
                    }
                }
                @if action == Action::Hold {
                    div.field {
                        label for="reason" { "Reason" }
                        input #reason name="reason" required maxlength="200" value=(fields.reason);
                    }
                }
                @if action == Action::Offboard {
                    div.check {
                        input #delete_data type="checkbox" name="delete_data" value="yes" checked[fields.delete_data.is_some()];
                        label for="delete_data" { "Delete the data, too: its messages, items and payments. Nothing brings them back." }
                    }
                }
                div.buttons {
                    button.main[!fields.is_complete(action)] formnovalidate[fields.is_complete(action)] {
                        @if fields.is_complete(action) { "Preview again" } @else { "Preview the commit" }
                    }
                    a.button href=(back(fields, action)) { "Cancel" }
                }
            }
        }
    }
}

fn tiers(fields: &Fields, tenant: Option<&TenantView>) -> Markup {
    const TIERS: [(&str, &str); 3] = [
        ("basic", "every app in the pool"),
        (
            "advanced",
            "consumer in a silo of its own, the rest in the pool",
        ),
        ("premium", "every app in a silo of its own"),
    ];
    html! {
        fieldset {
            legend { "Tier" }
            @for (tier, meaning) in TIERS {
                @let is_present = tenant.is_some_and(|tenant| tenant.tier == tier);
                div.check {
                    input #{ "tier-" (tier) } type="radio" name="tier" value=(tier) required
                        checked[fields.tier == tier] disabled[is_present];
                    label for={ "tier-" (tier) } {
                        strong { (tier) } span.sub { ": " (meaning) @if is_present { " (the present tier)" } }
                    }
                }
            }
        }
    }
}

fn back(fields: &Fields, action: Action) -> String {
    match action {
        Action::Onboard => "/console/tenants".to_owned(),
        _ => format!("/console/tenants/{}", fields.tenant),
    }
}

/// The commit, and the form that makes it.
fn commit(fields: &Fields, action: Action, preview: &Preview) -> Markup {
    let key = if fields.key.is_empty() {
        Uuid::now_v7().to_string()
    } else {
        fields.key.clone()
    };
    // The fields are those of the form above. Without one, the values are hidden here.
    let form = if action.has_fields() {
        "change"
    } else {
        "confirmation"
    };
    if preview.diff.is_empty() {
        return html! {
            header { h2 { "Nothing to commit" } }
            div.body {
                p {
                    "The repository is in this state already. "
                    a href={ "/console/tenants/" (fields.tenant.trim()) } { "Open " (fields.tenant.trim()) }
                }
            }
        };
    }
    html! {
        header {
            h2 { "The commit, before it is made" }
            span.sub { code { (preview.subject) } }
        }
        div.body.stack {
            (diff(&preview.diff))
            @if !action.has_fields() {
                form #confirmation hidden {
                    input type="hidden" name="action" value=(action.as_str());
                    input type="hidden" name="tenant" value=(fields.tenant.trim());
                }
            }
            div.form {
                input type="hidden" name="key" value=(key) form=(form);
                input type="hidden" name="previewed" value=(fields.values()) form=(form);
                @if action.is_confirmed() {
                    div.field {
                        label for="confirm" { "Type " code { (fields.tenant) } " to confirm" }
                        input #confirm name="confirm" required autocomplete="off" spellcheck="false" autocapitalize="none"
                            pattern=(fields.tenant) title={ "the tenant's id: " (fields.tenant) } form=(form);
                    }
                }
                div.buttons {
                    button.main[!action.is_confirmed()].danger[action.is_confirmed()] form=(form) formmethod="post"
                        formaction="/console/changes" {
                        (action.verb()) " " (fields.tenant)
                    }
                    @if !action.has_fields() { a.button href=(back(fields, action)) { "Cancel" } }
                }
            }
        }
    }
}

/// Makes the commit. The answer leads to the operation; a refusal shows the form again.
pub(super) async fn submit(
    Extension(console): Extension<Console>,
    person: Person,
    Form(fields): Form<Fields>,
) -> Response {
    let context = console.context(person);
    match perform(&console, &context, &fields).await {
        Ok(operation) => Redirect::to(&format!("/console/operations/{operation}")).into_response(),
        Err(error) => {
            let Ok(mut view) = load(&fields, &console, &context).await else {
                return console.error_page(&error, &context);
            };
            if view.status != StatusCode::OK {
                // The preview was refused, too.
                view.parts.retain(|part| part.id != "outcome");
            }
            view.status = error.status();
            view.parts
                .insert(1, Part::fixed("problem", "problem", problem(&error)));
            (view.status, document(&view, &context, None)).into_response()
        }
    }
}

async fn perform(
    console: &Console,
    context: &Context,
    fields: &Fields,
) -> Result<String, ApiError> {
    let action = fields.action()?;
    let change = fields.change(action)?;
    context.actor.check(action.role_verb())?;
    if action.has_fields() && fields.previewed != fields.values() {
        let msg = "Conflict: the form is not the previewed one any more; look at the commit below, then confirm it";
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "form_changed",
            msg.to_owned(),
        ));
    }
    if action.is_confirmed() && fields.confirm.trim() != fields.tenant {
        let problem = format!("type the tenant's id {:?} to confirm", fields.tenant);
        return Err(wrong("confirmation", &fields.confirm, &problem));
    }
    let submission = Submission {
        key: Some(fields.key.clone()).filter(|key| !key.is_empty()),
        callback: None,
    };
    let operation = console.control.submit(&context.actor, change, submission);
    Ok(operation.await?.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_a_problem_without_the_words_of_the_api() {
        let cases = [
            (
                "NotFound: there is no tenant \"a\"; GET /tenants lists all tenants",
                "there is no tenant \"a\"",
            ),
            (
                "Conflict: tenant a is held: audit",
                "tenant a is held: audit",
            ),
            ("tenant \"A\": lower case", "tenant \"A\": lower case"),
            ("label: one a line", "label: one a line"),
        ];
        for (msg, shown) in cases {
            assert_eq!(sentence(msg), shown);
        }
    }
}
