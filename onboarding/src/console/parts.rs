//! Small pieces that every page shares: states, times, numbers, icons, links. Pure.
//!
//! A state is a word and a shape, never a color alone.

use std::time::Duration;

use maud::{Markup, html};

use crate::model::{
    Blocked, DeploymentState, OperationState, PoolView, TenantState, TenantView, Time, WaveState,
};

/// Length of a short commit id.
const SHORT: usize = 10;

/// Severity of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Ok,
    /// In progress.
    Info,
    Warn,
    Bad,
    /// Inactive on purpose.
    Idle,
}

impl Tone {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Idle => "idle",
        }
    }
}

/// The shapes that [`icon`] refers to, once per page.
pub(super) fn icons() -> Markup {
    html! {
        svg width="0" height="0" aria-hidden="true" focusable="false" class="hidden-text" {
            symbol id="i-ok" viewBox="0 0 12 12" {
                path d="M2 6.5 4.8 9.3 10 3.4" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" {}
            }
            symbol id="i-info" viewBox="0 0 12 12" {
                circle cx="6" cy="6" r="4.4" fill="none" stroke="currentColor" stroke-width="1.6" {}
                path d="M6 3.6V6l1.7 1.2" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" {}
            }
            symbol id="i-warn" viewBox="0 0 12 12" {
                path d="M6 1.4 11 10.4H1Z" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linejoin="round" {}
                path d="M6 4.8v2.4M6 8.6v.2" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" {}
            }
            symbol id="i-bad" viewBox="0 0 12 12" {
                path d="M2.8 2.8 9.2 9.2M9.2 2.8 2.8 9.2" stroke="currentColor" stroke-width="2" stroke-linecap="round" {}
            }
            symbol id="i-idle" viewBox="0 0 12 12" {
                path d="M2.5 6h7" stroke="currentColor" stroke-width="2" stroke-linecap="round" {}
            }
        }
    }
}

pub(super) fn icon(tone: Tone) -> Markup {
    html! {
        svg aria-hidden="true" { use href={ "#i-" (tone.class()) } {} }
    }
}

pub(super) fn badge(tone: Tone, word: &str) -> Markup {
    html! { span.state.(tone.class()) { (icon(tone)) (word) } }
}

const fn tone_of(state: TenantState) -> Tone {
    match state {
        TenantState::Committed | TenantState::Applied => Tone::Info,
        TenantState::Serving => Tone::Ok,
        TenantState::Suspended | TenantState::Offboarded => Tone::Idle,
        TenantState::Blocked => Tone::Bad,
    }
}

pub(super) fn tenant_badge(tenant: &TenantView) -> Markup {
    html! {
        (badge(tone_of(tenant.state), tenant.state.as_str()))
        @if tenant.held.is_some() { " " span.tag { "held" } }
    }
}

pub(super) fn pool_badge(pool: &PoolView) -> Markup {
    match (&pool.blocked, &pool.applied) {
        (Some(_), _) => badge(Tone::Bad, "blocked"),
        (None, Some(applied)) if applied.ready => badge(Tone::Ok, "applied"),
        (None, _) => badge(Tone::Info, "committed"),
    }
}

pub(super) fn operation_badge(state: OperationState) -> Markup {
    let tone = match state {
        OperationState::Serving => Tone::Ok,
        OperationState::Gone => Tone::Idle,
        OperationState::Failed => Tone::Bad,
        _ => Tone::Info,
    };
    badge(tone, state.as_str())
}

pub(super) fn deployment_badge(state: DeploymentState) -> Markup {
    match state {
        DeploymentState::Running => badge(Tone::Info, "running"),
        DeploymentState::Held => badge(Tone::Bad, "held"),
        DeploymentState::Done => badge(Tone::Ok, "done"),
        DeploymentState::Reverted => badge(Tone::Idle, "reverted"),
    }
}

pub(super) const fn wave_state(state: WaveState) -> (Tone, &'static str) {
    match state {
        WaveState::Waiting => (Tone::Idle, "waiting"),
        WaveState::Applying => (Tone::Info, "applying"),
        WaveState::Baking => (Tone::Info, "baking"),
        WaveState::Good => (Tone::Ok, "good"),
        WaveState::Bad => (Tone::Bad, "bad"),
        WaveState::Reverted => (Tone::Idle, "reverted"),
    }
}

/// A moment in UTC: the time today, else date and time. The whole moment is in the element's title.
pub(super) fn time(now: Time, time: Time) -> Markup {
    let whole = time.to_string();
    let is_today = now.to_string().get(..10) == whole.get(..10);
    let shown = if is_today {
        whole.get(11..19).map(str::to_owned)
    } else {
        whole.get(..16).map(|text| text.replace('T', " "))
    };
    html! { time datetime=(whole) title=(whole) { (shown.unwrap_or_else(|| whole.clone())) } }
}

pub(super) fn maybe_time(now: Time, moment: Option<Time>) -> Markup {
    match moment {
        Some(moment) => time(now, moment),
        None => none(),
    }
}

/// An absent value.
pub(super) fn none() -> Markup {
    html! { span.sub { "–" } }
}

pub(super) fn maybe(text: Option<&str>) -> Markup {
    match text {
        Some(text) => html! { (text) },
        None => none(),
    }
}

/// A duration as people read it: `4 s`, `3 min`, `2 h 5 min`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// An age in seconds, as the platform reports it.
pub(super) fn age(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}

/// A rate: one decimal below 10, none above.
pub(super) fn rate(per_second: f64) -> String {
    if per_second < 0.05 {
        "0".to_owned()
    } else if per_second < 10.0 {
        format!("{per_second:.1}")
    } else {
        count(format!("{per_second:.0}"))
    }
}

/// A number in groups of three digits, separated by a narrow space.
pub(super) fn count(number: impl ToString) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + 4);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

pub(super) fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}

pub(super) fn short(commit: &str) -> &str {
    commit.get(..SHORT).unwrap_or(commit)
}

pub(super) fn commit(commit: &str) -> Markup {
    html! { a href={ "/console/activity/" (commit) } { code { (short(commit)) } } }
}

pub(super) fn tenant_link(id: &str) -> Markup {
    html! { a href=(release_href(id)) { (id) } }
}

/// The page of a tenant or of a pool, by the name of its release.
pub(super) fn release_href(name: &str) -> String {
    if name.starts_with("pool-") {
        "/console/pools".to_owned()
    } else {
        format!("/console/tenants/{name}")
    }
}

/// Links to the first few tenants and pools of a list.
pub(super) fn releases(names: &[String]) -> Markup {
    const SHOWN: usize = 6;
    html! {
        @for (position, name) in names.iter().take(SHOWN).enumerate() {
            @if position > 0 { ", " }
            (tenant_link(name))
        }
        @if names.len() > SHOWN { " and " (names.len() - SHOWN) " more" }
    }
}

/// Why something does not progress, and what to do.
pub(super) fn blocked(blocked: &Blocked, now: Time) -> Markup {
    html! {
        div.notice.bad {
            p { strong { (blocked.reason) } }
            p { "Next: " (blocked.remedy) }
            p.small.sub {
                code { (blocked.code) }
                @if let Some(object) = &blocked.object { " on " code { (object) } }
                @if let Some(since) = blocked.since { " since " (time(now, since)) }
            }
        }
    }
}

/// A unified diff, one element per line.
pub(super) fn diff(text: &str) -> Markup {
    let mut in_head = true;
    let lines = text.lines().filter_map(|line| {
        let class = if line.starts_with("diff ") {
            in_head = true;
            "file"
        } else if line.starts_with("@@") {
            in_head = false;
            "hunk"
        } else if in_head {
            return None;
        } else if line.starts_with('+') {
            "added"
        } else if line.starts_with('-') {
            "removed"
        } else {
            "kept"
        };
        // The line has the same path twice, after `a/` and `b/`.
        let line = match class {
            "file" => line.rsplit_once(" b/").map_or(line, |(_, path)| path),
            _ => line,
        };
        Some((class, line))
    });
    html! {
        pre.diff tabindex="0" role="region" aria-label="changed lines of the commit" {
            @for (class, line) in lines { span.(class) { (line) } }
        }
    }
}

/// The head of a table. `numbers` are the columns with figures.
pub(super) fn columns(names: &[&str], numbers: &[&str]) -> Markup {
    html! {
        thead role="rowgroup" { tr role="row" {
            @for name in names {
                th class=[numbers.contains(name).then_some("number")] scope="col" role="columnheader" { (name) }
            }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_rates_below_ten_have_one_decimal() {
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(12), "12");
        assert_eq!(
            [0.0, 0.31, 9.96, 1234.4].map(rate),
            ["0", "0.3", "10.0", "1\u{202f}234"]
        );
    }

    #[test]
    fn ages_have_at_most_two_units() {
        assert_eq!(
            [0.4, 59.9, 61.0, 7500.0, 200_000.0, -3.0, f64::NAN].map(age),
            ["0 s", "59 s", "1 min", "2 h 5 min", "2 d 7 h", "0 s", "0 s"]
        );
    }

    #[test]
    fn a_moment_today_is_a_time_and_any_other_has_its_date() {
        let now = Time::parse("2026-01-31T12:00:00Z").expect("it is a time");
        let earlier = |text| time(now, Time::parse(text).expect("it is a time")).into_string();
        assert!(earlier("2026-01-31T09:08:07Z").contains(">09:08:07<"));
        assert!(earlier("2026-01-30T09:08:07Z").contains(">2026-01-30 09:08<"));
    }

    #[test]
    fn a_diff_keeps_every_changed_line_and_escapes_it() {
        let text = "diff --git a/x b/x\nindex 1..2\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-<b>\n+<i>\n";
        let markup = diff(text).into_string();
        assert!(markup.contains(
            r#"<span class="removed">-&lt;b&gt;</span><span class="added">+&lt;i&gt;</span>"#
        ));
        assert!(markup.contains(r#"<span class="file">x</span>"#) && !markup.contains("index 1"));
    }
}
