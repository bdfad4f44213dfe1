//! The requests under way, in all and by tenant: pure.

use std::collections::HashMap;

use crate::tenant::TenantId;

/// How many requests are under way.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    all: usize,
    by_tenant: HashMap<TenantId, usize>,
}

impl UnderWay {
    pub(super) fn all(&self) -> usize {
        self.all
    }

    /// Whether one more would be too many: more than `most` in all, and more than the tenant's share of them. Each share
    /// is an equal part, so all together are at most twice `most`.
    pub(super) fn is_too_much(&self, tenant: &TenantId, most: Option<usize>) -> bool {
        let Some(most) = most.filter(|most| self.all >= *most) else {
            return false;
        };
        let own = self.by_tenant.get(tenant).copied().unwrap_or_default();
        let tenants = self.by_tenant.len() + usize::from(own == 0);
        own >= most / tenants
    }

    /// Counts one more.
    pub(super) fn begin(&mut self, tenant: &TenantId) {
        self.all += 1;
        *self.by_tenant.entry(tenant.clone()).or_default() += 1;
    }

    /// Counts one less.
    pub(super) fn end(&mut self, tenant: &TenantId) {
        let Some(own) = self.by_tenant.get_mut(tenant) else {
            return;
        };
        self.all -= 1;
        *own -= 1;
        if *own == 0 {
            self.by_tenant.remove(tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(number: usize) -> TenantId {
        format!("tenant-{number}").parse().expect("valid")
    }

    /// Begins one unless that is too much.
    fn begins(under_way: &mut UnderWay, number: usize, most: Option<usize>) -> bool {
        let is_begun = !under_way.is_too_much(&tenant(number), most);
        if is_begun {
            under_way.begin(&tenant(number));
        }
        is_begun
    }

    #[test]
    fn whoever_asks_for_most_is_refused_and_the_others_are_not() {
        let mut under_way = UnderWay::default();
        let taken = (0..200)
            .filter(|_| begins(&mut under_way, 1, Some(100)))
            .count();
        assert_eq!(taken, 100);
        let taken = (0..200)
            .filter(|_| begins(&mut under_way, 2, Some(100)))
            .count();
        assert_eq!(taken, 50, "an equal part, whatever the other has");
        (0..60).for_each(|_| under_way.end(&tenant(1)));
        assert!(
            begins(&mut under_way, 1, Some(100)),
            "below the limit nobody is refused"
        );
    }

    #[test]
    fn without_a_limit_nobody_is_refused() {
        let mut under_way = UnderWay::default();
        assert!((0..10_000).all(|_| begins(&mut under_way, 1, None)));
    }

    proptest! {
        #[test]
        fn counts_add_up_and_all_together_are_bounded(
            steps in proptest::collection::vec((0_usize..6, any::<bool>()), 0..400),
            most in 1_usize..40,
        ) {
            let mut under_way = UnderWay::default();
            let mut own = [0_usize; 6];
            for (number, is_begun) in steps {
                if is_begun {
                    own[number] += usize::from(begins(&mut under_way, number, Some(most)));
                } else if own[number] > 0 {
                    own[number] -= 1;
                    under_way.end(&tenant(number));
                }
                prop_assert_eq!(under_way.all(), own.iter().sum::<usize>());
                prop_assert!(under_way.all() <= 2 * most);
            }
            for (number, own) in own.into_iter().enumerate() {
                (0..own).for_each(|_| under_way.end(&tenant(number)));
            }
            prop_assert!(under_way.by_tenant.is_empty() && under_way.all() == 0);
        }
    }
}
