//! The promises that must hold at the end of a story. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use crate::world::{State, as_number, text};

/// Counts of a story.
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

/// The responses to one key of a tenant: all bodies, and the number of first responses.
#[derive(Debug, Default)]
pub(crate) struct Responses {
    pub(crate) bodies: HashSet<String>,
    pub(crate) first_times: usize,
}

/// Charges and refunds by tenant and id: the event's name, and the charge.
type Created = BTreeMap<(String, String), (String, String)>;

/// Returns the broken promises, one sentence each.
pub(crate) fn judge(
    state: &State,
    responses: &BTreeMap<(String, String), Responses>,
    figures: &mut Figures,
) -> Vec<String> {
    let mut broken: Vec<String> = state.broken.iter().cloned().collect();
    let of_kind = |kind: &'static str| {
        state
            .items
            .iter()
            .filter_map(move |((tenant, sk), item)| Some((tenant, sk.strip_prefix(kind)?, item)))
    };
    let mut created = Created::new();
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    for (tenant, id, charge) in of_kind("charge#") {
        figures.charges += 1;
        created.insert(pair(tenant, id), pair("payment.recorded", id));
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
        created.insert(pair(tenant, id), pair("payment.refunded", charge));
        if !state
            .items
            .contains_key(&(tenant.clone(), format!("charge#{charge}")))
        {
            broken.push(format!("a refund of {tenant} has no charge: {sk}"));
        }
    }
    let mut by_key = BTreeSet::new();
    for (tenant, key, item) in of_kind("key#") {
        let id = text(&item["made"]["S"]);
        if !created.contains_key(&pair(tenant, id)) || !by_key.insert((tenant.as_str(), id)) {
            broken.push(format!(
                "the key {key} of {tenant} created nothing of its own"
            ));
        }
        let answer = text(&item["answer"]["S"]);
        match responses.get(&(tenant.clone(), key.to_owned())) {
            Some(own) if own.bodies.iter().eq([answer]) && own.first_times <= 1 => {}
            others => broken.push(format!(
                "{tenant} received other responses under {key}: {others:?}, stored: {answer}"
            )),
        }
    }
    if by_key.len() != created.len() {
        broken.push(format!(
            "{} keys created {} charges and refunds",
            by_key.len(),
            created.len()
        ));
    }
    for (tenant, key) in responses.keys() {
        if !state
            .items
            .contains_key(&(tenant.clone(), format!("key#{key}")))
        {
            broken.push(format!(
                "{tenant} received a response under {key}, which is not stored"
            ));
        }
    }
    broken.extend(judge_events(state, created, figures));
    broken
}

fn judge_events(state: &State, mut created: Created, figures: &mut Figures) -> Vec<String> {
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
        let id_field = if event["event"] == "payment.recorded" {
            "charge_id"
        } else {
            "refund_id"
        };
        let found = created.remove(&(tenant.to_owned(), text(&event[id_field]).to_owned()));
        let sent = (
            text(&event["event"]).to_owned(),
            text(&event["charge_id"]).to_owned(),
        );
        let is_right = found == Some(sent);
        if !is_right || event["tenant_id"] != tenant {
            broken.push(format!(
                "the event {id} of {tenant} has no subject, or its subject has two events: {body}"
            ));
        }
    }
    broken.extend(
        created
            .into_iter()
            .map(|(subject, event)| format!("no event was sent for {event:?} {subject:?}")),
    );
    broken
}
