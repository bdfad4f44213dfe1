//! The checker: compares table, queue and responses with the promises at the end of a simulation run. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use crate::simulated_aws::{State, as_number, text};

/// Counts of a simulation run.
#[derive(Debug, Default, Clone)]
pub(crate) struct RunCounts {
    pub(crate) charges: usize,
    pub(crate) refunds: usize,
    pub(crate) replays: usize,
    pub(crate) refused: usize,
    pub(crate) kills: usize,
    /// Events sent more than once.
    pub(crate) sent_again: usize,
    pub(crate) lost_responses: usize,
}

impl RunCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.charges += other.charges;
        self.refunds += other.refunds;
        self.replays += other.replays;
        self.refused += other.refused;
        self.kills += other.kills;
        self.sent_again += other.sent_again;
        self.lost_responses += other.lost_responses;
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

/// Checks table and queue. Returns the violated promises, one sentence each.
pub(crate) fn check(
    state: &State,
    responses: &BTreeMap<(String, String), Responses>,
    counts: &mut RunCounts,
) -> Vec<String> {
    let mut violations: Vec<String> = state.violations.iter().cloned().collect();
    let of_kind = |kind: &'static str| {
        state
            .items
            .iter()
            .filter_map(move |((tenant, sk), item)| Some((tenant, sk.strip_prefix(kind)?, item)))
    };
    let mut created = Created::new();
    let pair = |first: &str, second: &str| (first.to_owned(), second.to_owned());
    for (tenant, id, charge) in of_kind("charge#") {
        counts.charges += 1;
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
            violations.push(format!(
                "the sums of {id} do not add up: {sums:?} of {charge:?}"
            ));
        }
    }
    for (tenant, sk, _) in of_kind("refund#") {
        counts.refunds += 1;
        let (charge, id) = sk.split_once('#').unwrap_or_default();
        created.insert(pair(tenant, id), pair("payment.refunded", charge));
        if !state
            .items
            .contains_key(&(tenant.clone(), format!("charge#{charge}")))
        {
            violations.push(format!("a refund of {tenant} has no charge: {sk}"));
        }
    }
    let mut by_key = BTreeSet::new();
    for (tenant, key, item) in of_kind("key#") {
        let id = text(&item["made"]["S"]);
        if !created.contains_key(&pair(tenant, id)) || !by_key.insert((tenant.as_str(), id)) {
            violations.push(format!(
                "the key {key} of {tenant} created nothing of its own"
            ));
        }
        let stored = text(&item["answer"]["S"]);
        match responses.get(&(tenant.clone(), key.to_owned())) {
            Some(own) if own.bodies.iter().eq([stored]) && own.first_times <= 1 => {}
            others => violations.push(format!(
                "{tenant} received other responses under {key}: {others:?}, stored: {stored}"
            )),
        }
    }
    if by_key.len() != created.len() {
        violations.push(format!(
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
            violations.push(format!(
                "{tenant} received a response under {key}, which is not stored"
            ));
        }
    }
    violations.extend(check_events(state, created, counts));
    violations
}

fn check_events(state: &State, mut created: Created, counts: &mut RunCounts) -> Vec<String> {
    let mut violations = Vec::new();
    // The consumer keeps the first event of each id.
    let mut stored: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for (queue, tenant, id, body) in &state.sent {
        let home = if tenant == "tenant-3" {
            "consumer-tenant-3-x7k"
        } else {
            "consumer-pool-1-x7k"
        };
        if queue != home {
            violations.push(format!("{tenant}'s event {id} went to {queue}"));
        }
        if let Some(first) = stored.insert((tenant, id), body) {
            counts.sent_again += 1;
            if first != body {
                violations.push(format!("{id} was sent with two contents"));
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
        let is_expected = found == Some(sent);
        if !is_expected || event["tenant_id"] != tenant {
            violations.push(format!(
                "the event {id} of {tenant} has no subject, or its subject has two events: {body}"
            ));
        }
    }
    violations.extend(
        created
            .into_iter()
            .map(|(subject, event)| format!("no event was sent for {event:?} {subject:?}")),
    );
    violations
}
