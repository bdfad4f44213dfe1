//! [`Generation`] and [`Owner`]: distinguish the owners that a tenant id has had, one after the other.
//!
//! Everything that is kept or derived under an id carries the generation, so a new owner never meets the data of an
//! earlier one. The first generation is written nowhere: the absence of a number means the first.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::tenant::TenantId;

/// Largest number: thirteen digits, the milliseconds of the year 2286.
const MAX_NUMBER: u64 = 9_999_999_999_999;

/// Which owner of a tenant id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(Option<NonZeroU64>);

/// The owner of data: a tenant id, and which of its owners. Displayed, it is the id alone for the first generation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    pub tenant: TenantId,
    pub generation: Generation,
}

/// The text names no generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a generation is a number from 1 to {MAX_NUMBER}, without leading zeros")]
pub struct InvalidGeneration;

impl Generation {
    /// The generation of every id that was onboarded without a number.
    pub const FIRST: Self = Self(None);

    /// The generation of an owner onboarded at this time, in milliseconds since 1970: no other owner of the id has it.
    /// Times outside the years 1970 to 2286 give the nearest number.
    pub fn at_millis(time: i64) -> Self {
        let number = u64::try_from(time).unwrap_or(1).clamp(1, MAX_NUMBER);
        Self(NonZeroU64::new(number))
    }

    /// Whether an owner of this generation may have existed at this time, in milliseconds since 1970.
    pub fn existed_at(self, time: i64) -> bool {
        self.0
            .is_none_or(|began| u64::try_from(time).is_ok_and(|time| began.get() <= time))
    }

    /// Its number as text; `None` for the first generation.
    pub fn number(self) -> Option<String> {
        self.0.map(|number| number.to_string())
    }
}

impl FromStr for Generation {
    type Err = InvalidGeneration;

    fn from_str(text: &str) -> Result<Self, InvalidGeneration> {
        let number = text.parse::<NonZeroU64>().map_err(|_| InvalidGeneration)?;
        // Each generation has one text: no sign, no leading zero.
        if number.get() > MAX_NUMBER || number.to_string() != text {
            return Err(InvalidGeneration);
        }
        Ok(Self(Some(number)))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("first"),
        }
    }
}

impl From<TenantId> for Owner {
    /// The first owner of an id.
    fn from(tenant: TenantId) -> Self {
        Self {
            tenant,
            generation: Generation::FIRST,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tenant.fmt(f)?;
        match self.generation.0 {
            // No tenant id has this character, so two owners never have the same text.
            Some(number) => write!(f, "@{number}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_gives_a_generation_that_no_earlier_owner_has() {
        let at = Generation::at_millis(1_770_000_000_000);
        assert_eq!(at.number().as_deref(), Some("1770000000000"));
        for time in [i64::MIN, -1, 0, 1, 1_770_000_000_000, i64::MAX] {
            let number = Generation::at_millis(time).number().expect("not the first");
            assert!(number.parse::<Generation>().is_ok(), "{time}: {number}");
        }
    }

    #[test]
    fn an_owner_exists_from_its_onboarding_on() {
        let later = Generation::at_millis(1_770_000_000_000);
        assert!(!later.existed_at(1_769_999_999_999));
        assert!(later.existed_at(1_770_000_000_000));
        assert!(!later.existed_at(-1));
        assert!(Generation::FIRST.existed_at(-1));
    }

    #[test]
    fn two_owners_of_an_id_have_different_texts() {
        let first: Owner = "tenant-1".parse::<TenantId>().expect("valid").into();
        let second = Owner {
            generation: Generation::at_millis(7),
            ..first.clone()
        };
        assert_eq!(first.to_string(), "tenant-1");
        assert_eq!(second.to_string(), "tenant-1@7");
    }

    #[test]
    fn a_generation_has_one_text_and_the_first_has_none() {
        let second: Generation = "1770000000000".parse().expect("valid");
        assert_eq!(second.number().as_deref(), Some("1770000000000"));
        assert_ne!(second, Generation::FIRST);
        assert_eq!(Generation::FIRST.number(), None);
        for text in [
            "",
            "0",
            "01",
            "+1",
            "-1",
            "1 ",
            "1.0",
            "first",
            "10000000000000",
        ] {
            assert_eq!(
                text.parse::<Generation>(),
                Err(InvalidGeneration),
                "{text:?}"
            );
        }
    }
}
