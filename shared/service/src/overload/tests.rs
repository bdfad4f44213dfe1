use proptest::prelude::*;

use super::*;

fn tenant(number: usize) -> TenantId {
    format!("tenant-{number}").parse().expect("valid")
}

/// Begins one request unless that exceeds the limit.
fn begins(shares: &mut Shares, number: usize, limit: usize) -> bool {
    let is_begun = !shares.is_exceeded(&tenant(number), limit);
    if is_begun {
        shares.begin(&tenant(number), 1);
    }
    is_begun
}

#[test]
fn the_tenant_that_floods_is_refused_and_the_others_have_their_share() {
    let mut shares = Shares::default();
    let begun = (0..200).filter(|_| begins(&mut shares, 1, 100)).count();
    assert_eq!(begun, 100);
    let begun = (0..200).filter(|_| begins(&mut shares, 2, 100)).count();
    assert_eq!(begun, 50, "an equal part, whatever the other has");
    (0..60).for_each(|_| shares.end(&tenant(1), 1));
    assert!(
        begins(&mut shares, 1, 100),
        "below the limit no request is refused"
    );
}

#[test]
fn a_tenant_alone_has_the_whole_limit_and_gets_it_back() {
    let overload = Overload::new(&Metrics::new("producer", "pool-1"));
    let permits: Vec<_> = (0..LIMIT)
        .map(|_| overload.admit(&tenant(1)).expect("below the limit"))
        .collect();
    assert_eq!(
        overload.admit(&tenant(1)).err().map(|error| error.code()),
        Some(ApiError::TOO_BUSY)
    );
    drop(permits);
    assert!(overload.admit(&tenant(1)).is_ok());
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
                own[number] += usize::from(begins(&mut shares, number, limit));
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
