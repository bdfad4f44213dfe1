//! Deployments: a release, wave by wave, each wave with its gate.

use axum::Extension;
use axum::Form;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use tenantctl::request::{Percent, ReleaseVersion};
use tenantry_service::error::ApiError;
use tenantry_tenancy::tenant::Tier;
use uuid::Uuid;

use super::Console;
use super::change::{parse, problem, wrong};
use super::frame::{Part, Section, View, document};
use super::page::Context;
use super::parts::{
    Tone, age, blocked, commit, count, deployment_badge, duration, icon, maybe_time, percent,
    releases, time, wave_state,
};
use super::session::Person;
use crate::access::Verb;
use crate::model::{DeploymentState, DeploymentView, Figures, Gate, WaveState, WaveView};

use crate::rollout::{self, Plan, WavePlan};

/// Seconds that a wave is watched, unless the form says otherwise.
const BAKE_SECONDS: u64 = 60;

/// The fields of the form of a deployment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    tier: String,
    release: String,
    /// Ids, separated by commas or spaces.
    canaries: String,
    percent: String,
    bake_seconds: String,
    max_error_percent: String,
    max_oldest_seconds: String,
    max_restarts: String,
    key: String,
}

pub(super) fn load(fields: &Fields, console: &Console, context: &Context) -> View {
    let deployments = console.control.deployments();
    let head = html! {
        h1 { "Deployments" }
        p.sub { "A release reaches the tenants of a tier wave by wave. The next wave begins once the former one was good." }
    };
    let mut parts = vec![
        Part::fixed("head", "head", head),
        Part::live("deployments", "stack", list(&deployments, context)),
    ];
    if context.actor.may(Verb::Deploy) {
        parts.push(Part::fixed(
            "deploy",
            "card",
            form(fields, console.release_hint()),
        ));
    }
    View {
        status: StatusCode::OK,
        section: Section::Deployments,
        title: "Deployments".to_owned(),
        parts,
    }
}

fn list(deployments: &[DeploymentView], context: &Context) -> Markup {
    html! {
        @if deployments.is_empty() {
            div.card { p.empty { "No deployment yet." } }
        }
        @for deployment in deployments {
            article.card id={ "d-" (deployment.id) } {
                header {
                    h2 { a href={ "/console/deployments/" (deployment.id) } { (deployment.release) " to " (deployment.tier) } }
                    (deployment_badge(deployment.state))
                    span.grow {}
                    span.sub { "by " (deployment.actor) ", " (time(context.now, deployment.started)) }
                }
                div.body { (waves(deployment, context)) }
            }
        }
    }
}

/// The waves as steps, each with its figures beside the gate's limits.
fn waves(deployment: &DeploymentView, context: &Context) -> Markup {
    html! {
        ol.steps {
            @for wave in &deployment.waves {
                @let (tone, word) = wave_state(wave.state);
                li.(step_class(tone, wave.state)) {
                    span.name { (icon(tone)) (wave.name) }
                    span.small { (word) @if let Some(moment) = wave.ended.or(wave.serving).or(wave.committed) { ", " (time(context.now, moment)) } }
                    span.small.sub { (count(wave.tenants.len())) @if wave.tenants.len() == 1 { " release" } @else { " releases" } }
                }
            }
        }
    }
}

const fn step_class(tone: Tone, state: WaveState) -> &'static str {
    match (tone, state) {
        (Tone::Ok, _) => "done",
        (Tone::Info, _) => "now",
        (Tone::Bad, _) => "failed",
        _ => "todo",
    }
}

pub(super) fn load_one(id: &str, console: &Console, context: &Context) -> Result<View, ApiError> {
    let deployment = console
        .control
        .deployment(id)
        .ok_or_else(|| rollout::unknown(id))?;
    let title = format!("{} to {}", deployment.release, deployment.tier);
    let head = html! {
        div {
            p.crumbs { a href="/console/deployments" { "Deployments" } }
            h1 { (title) }
        }
        (deployment_badge(deployment.state))
        span.sub { "by " (deployment.actor) ", " (time(context.now, deployment.started)) }
    };
    Ok(View {
        status: StatusCode::OK,
        section: Section::Deployments,
        title,
        parts: vec![
            Part::live("head", "head", head),
            Part::live("deployment", "stack", detail(&deployment, context)),
        ],
    })
}

fn detail(deployment: &DeploymentView, context: &Context) -> Markup {
    html! {
        @if let Some(problem) = &deployment.problem { (blocked(problem, context.now)) }
        @if deployment.state != DeploymentState::Reverted && context.actor.may(Verb::Deploy) {
            div.buttons {
                @if deployment.state == DeploymentState::Held {
                    (decision(deployment, "continue", "Go on in spite of it", ""))
                }
                (decision(deployment, "revert", "Revert by one commit", "danger"))
            }
        }
        div.card {
            header { h2 { "Gate" } span.sub { "limits of a wave during its bake time" } }
            div.body {
                dl.facts {
                    dt { "Bake time" } dd { (duration(std::time::Duration::from_secs(deployment.bake_seconds))) }
                    dt { "Errors" } dd { "at most " (percent(deployment.gate.max_error_ratio)) }
                    dt { "Oldest message" } dd { "at most " (age(deployment.gate.max_oldest_message_seconds)) }
                    dt { "Restarts" } dd { "at most " (count(deployment.gate.max_restarts)) }
                }
            }
        }
        @for wave in &deployment.waves { (wave_card(wave, &deployment.gate, context)) }
    }
}

fn decision(deployment: &DeploymentView, action: &str, label: &str, class: &str) -> Markup {
    html! {
        form.inline method="post" action={ "/console/deployments/" (deployment.id) "/" (action) } {
            button class=(class) { (label) }
        }
    }
}

fn wave_card(wave: &WaveView, gate: &Gate, context: &Context) -> Markup {
    let (tone, word) = wave_state(wave.state);
    html! {
        article.card {
            header { h2 { (wave.name) } (super::parts::badge(tone, word)) }
            div.body.stack {
                (figures(&wave.figures, gate))
                dl.facts {
                    dt { "Releases" }
                    dd { @if wave.tenants.is_empty() { "none: each has the release already" } @else { (releases(&wave.tenants)) } }
                    dt { "Commit" } dd { @if let Some(id) = &wave.commit { (commit(id)) } @else { "not made yet" } }
                    dt { "Committed" } dd { (maybe_time(context.now, wave.committed)) }
                    dt { "Serving" } dd { (maybe_time(context.now, wave.serving)) }
                    dt { "Ended" } dd { (maybe_time(context.now, wave.ended)) }
                }
            }
        }
    }
}

fn figures(figures: &Figures, gate: &Gate) -> Markup {
    let shown = [
        (
            "Errors",
            figures
                .error_ratio
                .map(|ratio| (percent(ratio), ratio > gate.max_error_ratio)),
            percent(gate.max_error_ratio),
        ),
        (
            "Oldest message",
            figures
                .oldest_message_seconds
                .map(|seconds| (age(seconds), seconds > gate.max_oldest_message_seconds)),
            age(gate.max_oldest_message_seconds),
        ),
        (
            "Restarts",
            figures
                .restarts
                .map(|restarts| (count(restarts), restarts > gate.max_restarts)),
            count(gate.max_restarts),
        ),
    ];
    let known: Vec<_> = shown
        .into_iter()
        .filter_map(|(name, figure, limit)| Some((name, figure?, limit)))
        .collect();
    html! {
        @if !known.is_empty() {
            dl.figures {
                @for (name, (figure, is_above), limit) in &known {
                    div {
                        dt { (name) }
                        dd.bad[*is_above] { (figure) " " small { @if *is_above { "above " } @else { "of " } (limit) } }
                    }
                }
            }
        }
    }
}

fn form(fields: &Fields, release_hint: &str) -> Markup {
    let gate = Gate::default();
    let or = |value: &str, default: String| {
        if value.is_empty() {
            default
        } else {
            value.to_owned()
        }
    };
    let key = or(&fields.key, Uuid::now_v7().to_string());
    let text = |name: &str, label: &str, hint: &str, value: String, is_required: bool| {
        html! {
            div.field {
                label for={ "d-" (name) } { (label) }
                input #{ "d-" (name) } name=(name) value=(value) required[is_required] autocomplete="off"
                    aria-describedby={ "d-" (name) "-hint" };
                p.hint #{ "d-" (name) "-hint" } { (hint) }
            }
        }
    };
    html! {
        header { h2 { "Deploy a release" } }
        div.body {
            form.form method="post" action="/console/deployments" {
                input type="hidden" name="key" value=(key);
                div.field {
                    label for="d-tier" { "Tier" }
                    select #d-tier name="tier" {
                        @for tier in ["basic", "advanced", "premium"] { option selected[fields.tier == tier] { (tier) } }
                    }
                }
                (text("release", "Release", release_hint, fields.release.clone(), true))
                (text("canaries", "Canaries", "Ids of tenants for the first wave, separated by commas; may be empty.", fields.canaries.clone(), false))
                (text("percent", "Then this share, in percent", "1 to 100; empty: all other tenants in one wave.", fields.percent.clone(), false))
                details open[!fields.bake_seconds.is_empty()] {
                    summary { span { "Gate" } " " span.sub { "how long each wave is watched, and what must hold before the next" } }
                    div.form.inner {
                        (text("bake_seconds", "Bake time, in seconds", "How long each wave is watched.", or(&fields.bake_seconds, BAKE_SECONDS.to_string()), true))
                        (text("max_error_percent", "Errors, in percent", "Largest share of requests answered with 5xx.", or(&fields.max_error_percent, (gate.max_error_ratio * 100.0).to_string()), true))
                        (text("max_oldest_seconds", "Age of the oldest message, in seconds", "Largest age in a queue of the wave.", or(&fields.max_oldest_seconds, gate.max_oldest_message_seconds.to_string()), true))
                        (text("max_restarts", "Restarts", "Most restarts of pods during the bake time.", or(&fields.max_restarts, gate.max_restarts.to_string()), true))
                    }
                }
                div.buttons { button.main { "Deploy" } }
            }
        }
    }
}

impl Fields {
    fn plan(&self) -> Result<Plan, ApiError> {
        let canaries: Vec<String> = self
            .canaries
            .split([',', ' '])
            .filter(|id| !id.is_empty())
            .map(str::to_owned)
            .collect();
        let mut waves = Vec::new();
        if !canaries.is_empty() {
            waves.push(WavePlan::Canary(canaries));
        }
        if !self.percent.trim().is_empty() {
            waves.push(WavePlan::Percent(
                parse::<Percent>("share, in percent", &self.percent)?.get(),
            ));
        }
        waves.push(WavePlan::Rest);
        let errors: f64 = number("errors, in percent", &self.max_error_percent)?;
        Ok(Plan {
            tier: parse::<Tier>("tier", &self.tier)?.to_string(),
            release: parse::<ReleaseVersion>("release", &self.release)?.to_string(),
            waves,
            bake_seconds: number("bake time, in seconds", &self.bake_seconds)?,
            gate: Gate {
                max_error_ratio: errors / 100.0,
                max_oldest_message_seconds: number(
                    "age of the oldest message, in seconds",
                    &self.max_oldest_seconds,
                )?,
                max_restarts: number("restarts", &self.max_restarts)?,
            },
        })
    }
}

fn number<T: std::str::FromStr>(field: &str, value: &str) -> Result<T, ApiError> {
    let parsed = value.trim().parse();
    parsed.map_err(|_| wrong(field, value, "a number is wanted, for example 300"))
}

/// Starts a deployment. The answer leads to it; a refusal shows the form again.
pub(super) async fn submit(
    Extension(console): Extension<Console>,
    person: Person,
    Form(fields): Form<Fields>,
) -> Response {
    let context = console.context(person);
    let started = match fields.plan() {
        Ok(plan) => {
            let key = Some(fields.key.as_str()).filter(|key| !key.is_empty());
            console.control.deploy(&context.actor, plan, key).await
        }
        Err(error) => Err(error),
    };
    match started {
        Ok(started) => {
            Redirect::to(&format!("/console/deployments/{}", started.id)).into_response()
        }
        Err(error) => {
            let mut view = load(&fields, &console, &context);
            view.parts
                .insert(1, Part::fixed("problem", "problem", problem(&error)));
            let page = document(&view, &context, None);
            (error.status(), page).into_response()
        }
    }
}

/// Reverts or continues a deployment.
pub(super) async fn decide(
    Extension(console): Extension<Console>,
    Path((id, decision)): Path<(String, String)>,
    person: Person,
) -> Response {
    let decided = match decision.as_str() {
        "revert" => console
            .control
            .revert_deployment(&person.actor, &id)
            .await
            .map(drop),
        "continue" => console
            .control
            .continue_deployment(&person.actor, &id)
            .await
            .map(drop),
        _ => Err(ApiError::no_route()),
    };
    match decided {
        Ok(()) => Redirect::to(&format!("/console/deployments/{id}")).into_response(),
        Err(error) => console.error_page(&error, &console.context(person)),
    }
}
