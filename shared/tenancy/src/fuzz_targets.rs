//! Fuzz targets: ids of tenants, tiers and environments.

use std::fmt::Display;
use std::str::FromStr;

use bolero::check;

use crate::environment::Environment;
use crate::tenant::{TenantId, Tier};

/// Generated inputs per target and test run, in addition to the corpus.
const GENERATED: usize = 20_000;

/// Parses untrusted text; an accepted text must print unchanged, a refusal must have a reason.
fn parse<T: FromStr<Err: Display> + Display>(input: &[u8]) -> Option<T> {
    let text = String::from_utf8_lossy(input);
    match text.parse::<T>() {
        Ok(parsed) => {
            assert_eq!(parsed.to_string(), text, "printed unchanged");
            Some(parsed)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a reason");
            None
        }
    }
}

/// RFC 1123 to the letter, and the contract's bound.
fn is_label(text: &str) -> bool {
    let is_end = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=32).contains(&text.len())
        && text.bytes().all(|byte| is_end(byte) || byte == b'-')
        && text.bytes().next().is_some_and(is_end)
        && text.bytes().next_back().is_some_and(is_end)
}

#[test]
fn a_tenant_id_is_a_label_without_another_meaning() {
    check!(name = "tenant-id")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            if let Some(id) = parse::<TenantId>(input) {
                assert!(is_label(id.as_str()));
                assert!(
                    !["pool-", "kube-", "argo-"]
                        .iter()
                        .any(|prefix| id.as_str().starts_with(prefix))
                );
                assert_eq!(
                    id.as_str()
                        .parse::<Environment>()
                        .map(|silo| silo.admits(&id))
                        .ok(),
                    Some(true)
                );
            }
        });
}

#[test]
fn a_tier_is_one_of_three() {
    let mut is_replayed = false;
    check!(name = "tier")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            is_replayed |= input == b"premium";
            parse::<Tier>(input);
        });
    assert!(is_replayed, "bolero replays the corpus in __fuzz__");
}

#[test]
fn an_environment_is_a_label_and_a_silo_belongs_to_one_tenant() {
    let other: TenantId = "tenant-9".parse().expect("valid");
    check!(name = "environment")
        .with_iterations(GENERATED)
        .for_each(|input: &[u8]| {
            if let Some(environment) = parse::<Environment>(input) {
                assert!(is_label(environment.as_str()));
                match &environment {
                    Environment::Pool(_) => assert!(environment.admits(&other)),
                    Environment::Silo(owner) => {
                        assert_eq!(environment.admits(&other), *owner == other);
                    }
                }
            }
        });
}
