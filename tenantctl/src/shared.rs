//! [`Shared`]: equal values of many tenants are one value in memory.

use std::sync::Arc;

/// Values that are compared with a new one. The tenants of a pool differ from each other in nothing; those with a silo in everything.
const MAX_KNOWN: usize = 16;

/// The values seen last.
#[derive(Debug)]
pub struct Shared<T>(Vec<Arc<T>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Shared<T> {
    /// Returns the known equal of a value, else the value.
    pub fn share(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(known) = self.0.iter().find(|known| **known == value) {
            return Arc::clone(known);
        }
        if self.0.len() == MAX_KNOWN {
            self.0.remove(0);
        }
        self.0.push(Arc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_the_known_ones_are_bounded() {
        let mut shared = Shared::default();
        let first = shared.share(Arc::new(0));
        assert!(Arc::ptr_eq(&first, &shared.share(Arc::new(0))));
        for other in 1..=MAX_KNOWN {
            assert_eq!(*shared.share(Arc::new(other)), other);
        }
        assert!(!Arc::ptr_eq(&first, &shared.share(Arc::new(0))));
        assert_eq!(shared.0.len(), MAX_KNOWN);
    }
}
