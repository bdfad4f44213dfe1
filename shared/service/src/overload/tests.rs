use proptest::prelude::*;

use super::*;

fn tenant(number: usize) -> TenantId {
    format!("tenant-{number}").parse().expect("valid")
}

/// Begins one request unless that exceeds the limit.
fn begins(shares: &mut Shares, number: usize, limit: Option<usize>) -> bool {
    let is_begun = !shares.is_exceeded(&tenant(number), limit);
    if is_begun {
        shares.begin(&tenant(number), 1);
    }
    is_begun
}

#[test]
fn the_tenant_that_floods_is_refused_and_the_others_have_their_share() {
    let mut shares = Shares::default();
    let begun = (0..200)
        .filter(|_| begins(&mut shares, 1, Some(100)))
        .count();
    assert_eq!(begun, 100);
    let begun = (0..200)
        .filter(|_| begins(&mut shares, 2, Some(100)))
        .count();
    assert_eq!(begun, 50, "an equal part, whatever the other has");
    (0..60).for_each(|_| shares.end(&tenant(1), 1));
    assert!(
        begins(&mut shares, 1, Some(100)),
        "below the limit no request is refused"
    );
}

#[test]
fn without_a_limit_no_request_is_refused() {
    let mut shares = Shares::default();
    assert!((0..10_000).all(|_| begins(&mut shares, 1, None)));
}

proptest! {
    #[test]
    fn counts_add_up_and_all_shares_together_are_bounded(
        steps in proptest::collection::vec((0_usize..6, any::<bool>()), 0..400),
        limit in 1_usize..40,
    ) {
        let mut shares = Shares::default();
        let mut own = [0_usize; 6];
        for (number, begin) in steps {
            if begin {
                own[number] += usize::from(begins(&mut shares, number, Some(limit)));
            } else if own[number] > 0 {
                own[number] -= 1;
                shares.end(&tenant(number), 1);
            }
            prop_assert_eq!(shares.in_progress, own.iter().sum::<usize>());
            prop_assert!(shares.in_progress <= 2 * limit);
        }
        for (number, own) in own.into_iter().enumerate() {
            (0..own).for_each(|_| shares.end(&tenant(number), 1));
        }
        prop_assert!(shares.by_tenant.is_empty() && shares.in_progress == 0);
    }
}

/// Adapts the limit to so many equal intervals.
fn adapt(limit: &mut Limit, intervals: u32, saturated: bool, over: bool, refused: bool) {
    (0..intervals).for_each(|_| limit.adapt(saturated, over, refused));
}

#[test]
fn a_burst_is_no_overload() {
    let mut limit = Limit::default();
    for _ in 0..100 {
        adapt(&mut limit, OVERLOADED_AFTER - 1, true, true, false);
        adapt(&mut limit, 1, true, false, false);
    }
    assert_eq!(limit.requests(), None);
}

#[test]
fn a_slow_queue_is_no_overload() {
    let mut limit = Limit::default();
    adapt(&mut limit, 1000, false, true, false);
    assert_eq!(limit.requests(), None, "the threads are idle");
}

#[test]
fn an_overload_has_a_low_limit_that_just_saturates_the_threads() {
    let mut limit = Limit::default();
    adapt(&mut limit, OVERLOADED_AFTER, true, true, false);
    assert_eq!(limit.requests(), Some(LOW_START as usize));
    adapt(&mut limit, 3, true, true, true);
    assert!(limit.requests() < Some(LOW_START as usize), "{limit:?}");
    adapt(&mut limit, 5, false, true, true);
    assert!(limit.requests() > Some(LOW_START as usize), "{limit:?}");
}

#[test]
fn an_overload_ends_after_a_probe_without_refusals_and_not_before() {
    let mut limit = Limit::default();
    adapt(
        &mut limit,
        OVERLOADED_AFTER + SHED_INTERVALS,
        true,
        true,
        true,
    );
    assert_eq!(limit.requests(), Some(FREE), "a probe");
    adapt(&mut limit, 1, true, true, true);
    assert!(limit.requests() < Some(FREE), "refused at once: it goes on");
    adapt(&mut limit, SHED_INTERVALS, true, true, true);
    adapt(&mut limit, PROBE_INTERVALS, true, true, false);
    assert_eq!(limit.requests(), None);
}

proptest! {
    #[test]
    fn the_limit_stays_within_its_bounds_and_ends_once_no_request_is_refused(
        intervals in proptest::collection::vec(any::<(bool, bool, bool)>(), 0..300)
    ) {
        let mut limit = Limit::default();
        for (saturated, over, refused) in intervals {
            limit.adapt(saturated, over, refused);
            if let Some(requests) = limit.requests() {
                prop_assert!((LOW_MIN as usize..=FREE).contains(&requests));
            }
        }
        adapt(&mut limit, SHED_INTERVALS + PROBE_INTERVALS, true, false, false);
        prop_assert_eq!(limit.requests(), None);
    }
}
