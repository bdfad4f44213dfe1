//! Amounts in minor units of a currency, always whole numbers.

use std::fmt;

/// Largest amount of a charge, in minor units: every amount and every sum of refunds is exact as a JSON number (2^53).
pub(crate) const MAX_AMOUNT: u64 = 1_000_000_000_000;

/// An amount of a charge or refund: 1 to [`MAX_AMOUNT`] minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amount(u64);

/// A currency of ISO 4217 that has minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Currency(iso_currency::Currency);

impl Amount {
    /// Returns `None` outside 1 to [`MAX_AMOUNT`].
    pub(crate) fn new(minor_units: u64) -> Option<Self> {
        (1..=MAX_AMOUNT)
            .contains(&minor_units)
            .then_some(Self(minor_units))
    }

    pub(crate) const fn minor_units(self) -> u64 {
        self.0
    }
}

impl Currency {
    /// Returns the currency of a code of ISO 4217, three capital letters. Returns `None` for codes without minor units:
    /// precious metals, the code for tests and the code for "no currency".
    pub(crate) fn of(code: &str) -> Option<Self> {
        iso_currency::Currency::from_code(code)
            .filter(|currency| currency.exponent().is_some())
            .map(Self)
    }

    pub(crate) fn code(self) -> &'static str {
        self.0.code()
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_at_least_one_minor_unit_and_at_most_the_bound() {
        assert_eq!(Amount::new(0), None);
        assert_eq!(Amount::new(1).map(Amount::minor_units), Some(1));
        assert_eq!(
            Amount::new(MAX_AMOUNT).map(Amount::minor_units),
            Some(1_000_000_000_000)
        );
        assert_eq!(Amount::new(MAX_AMOUNT + 1), None);
    }

    #[test]
    fn a_currency_is_a_code_of_iso_4217_with_minor_units() {
        for code in ["EUR", "USD", "JPY", "KWD", "XCG"] {
            assert_eq!(Currency::of(code).map(Currency::code), Some(code));
        }
        for wrong in [
            "eur",
            "EU",
            "EURO",
            "",
            "ZZZ",
            "XXX",
            "XTS",
            "XAU",
            "978",
            "€€€",
        ] {
            assert_eq!(Currency::of(wrong), None, "{wrong:?}");
        }
    }
}
