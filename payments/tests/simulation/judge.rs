//! What must hold when everything has come to rest. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use crate::world::{State, as_number, text};

/// What there was in a story.
#[derive(Debug, Default, Clone)]
pub(crate) struct Figures {
    pub(crate) charges: usize,
    pub(crate) refunds: usize,
    pub(crate) replays: usize,
    pub(crate) refused: usize,
    pub(crate) kills: usize,
    /// Events sent more than once.
    pub(crate) sent_again: usize,
    pub(crate) lost_answers: usize,
}

impl Figures {
    pub(crate) fn add(&mut self, other: &Self) {
        self.charges += other.charges;
        self.refunds += other.refunds;
        self.replays += other.replays;
        self.refused += other.refused;
        self.kills += other.kills;
        self.sent_again += other.sent_again;
        self.lost_answers += other.lost_answers;
    }
}

/// The answers clients were given, by tenant and key: all bodies, and how many were told as the first.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) bodies: HashSet<String>,
    pub(crate) first_times: usize,
}

/// What was made, by tenant and id: the event's name, and of which charge.
type Made = BTreeMap<(String, String), (String, String)>;

/// The promises that are broken, one sentence each.
pub(crate) fn judge(
    state: &State,
    told: &BTreeMap<(String, String), Told>,
    figures: &mut Figures,
) -> Vec<String> {
    let mut broken: Vec<String> = state.broken.iter().cloned().collect();
    let of_kind = |kind: &'static str| {
        state
            .items
            .iter()
            .filter_map(move |((tenant, sk), item)| Some((tenant, sk.strip_prefix(kind)?, item)))
    };
    let mut made = Made::new();
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    for (tenant, id, charge) in of_kind("charge#") {
        figures.charges += 1;
        made.insert(pair(tenant, id), pair("payment.recorded", id));
        let refunds = of_kind("refund#").filter(|(of, sk, _)| *of == tenant && sk.starts_with(id));
        let mut sums: Vec<_> = refunds
            .map(|(_, _, item)| (as_number(&item["refunded"]), as_number(&item["amount"])))
            .collect();
        sums.sort_unstable();
        let sum = sums.iter().try_fold(0, |before, (after, amount)| {
            (before + amount == *after).then_some(*after)
        });
        if sum != Some(as_number(&charge["refunded"])) || sum > Some(as_number(&charge["amount"])) {
            broken.push(format!(
                "the sums of {id} do not add up: {sums:?} of {charge:?}"
            ));
        }
    }
    for (tenant, sk, _) in of_kind("refund#") {
        figures.refunds += 1;
        let (charge, id) = sk.split_once('#').unwrap_or_default();
        made.insert(pair(tenant, id), pair("payment.refunded", charge));
        if !state
            .items
            .contains_key(&(tenant.clone(), format!("charge#{charge}")))
        {
            broken.push(format!("a refund of no charge of {tenant}'s: {sk}"));
        }
    }
    let mut by_key = BTreeSet::new();
    for (tenant, key, item) in of_kind("key#") {
        let id = text(&item["made"]["S"]);
        if !made.contains_key(&pair(tenant, id)) || !by_key.insert((tenant.as_str(), id)) {
            broken.push(format!("the key {key} of {tenant} made nothing of its own"));
        }
        let answer = text(&item["answer"]["S"]);
        match told.get(&(tenant.clone(), key.to_owned())) {
            Some(told) if told.bodies.iter().eq([answer]) && told.first_times <= 1 => {}
            told => broken.push(format!(
                "{tenant} was told otherwise under {key}: {told:?}, kept: {answer}"
            )),
        }
    }
    if by_key.len() != made.len() {
        broken.push(format!(
            "{} keys made {} charges and refunds",
            by_key.len(),
            made.len()
        ));
    }
    for (tenant, key) in told.keys() {
        if !state
            .items
            .contains_key(&(tenant.clone(), format!("key#{key}")))
        {
            broken.push(format!("{tenant} was told of {key}, and it is not there"));
        }
    }
    broken.extend(judge_events(state, made, figures));
    broken
}

fn judge_events(state: &State, mut made: Made, figures: &mut Figures) -> Vec<String> {
    let mut broken = Vec::new();
    // The consumer keeps the first of each id.
    let mut stored: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for (queue, tenant, id, body) in &state.sent {
        let home = if tenant == "tenant-3" {
            "consumer-tenant-3-x7k"
        } else {
            "consumer-pool-1-x7k"
        };
        if queue != home {
            broken.push(format!("{tenant}'s event {id} went to {queue}"));
        }
        if let Some(first) = stored.insert((tenant, id), body) {
            figures.sent_again += 1;
            if first != body {
                broken.push(format!("{id} was sent with two contents"));
            }
        }
    }
    for ((tenant, id), body) in stored {
        let event: Value = serde_json::from_str(body).unwrap_or_default();
        let about = if event["event"] == "payment.recorded" {
            "charge_id"
        } else {
            "refund_id"
        };
        let found = made.remove(&(tenant.to_owned(), text(&event[about]).to_owned()));
        let told = (
            text(&event["event"]).to_owned(),
            text(&event["charge_id"]).to_owned(),
        );
        let is_right = found == Some(told);
        if !is_right || event["tenant_id"] != tenant {
            broken.push(format!(
                "{id} of {tenant} tells of nothing, or for the second time: {body}"
            ));
        }
    }
    broken.extend(
        made.into_iter()
            .map(|(of, what)| format!("nothing was told of {what:?} {of:?}")),
    );
    broken
}
