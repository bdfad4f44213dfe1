//! Amounts in minor units of a currency, always whole numbers.

use std::fmt;

/// Largest amount of a charge, in minor units: every amount and every sum of refunds is exact as a JSON number (2^53).
pub(crate) const MAX_AMOUNT: u64 = 1_000_000_000_000;

/// An amount of a charge or refund: 1 to [`MAX_AMOUNT`] minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amount(u64);

/// Codes that ISO 4217's list of 2026-01-01 no longer has and the crate still has, with the last month as legal tender.
/// tests/openapi compares what the service takes with that list.
const WITHDRAWN: [(&str, &str); 5] = [
    ("BGN", "2026-01"),
    ("CUC", "2021-06"),
    ("HRK", "2023-01"),
    ("SLL", "2023-12"),
    ("ZWL", "2024-08"),
];

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
    /// Returns the currency of a code of ISO 4217, three capital letters. Returns `None` for withdrawn codes, and for codes
    /// without minor units: precious metals, units of account such as `XDR`, the code for tests and the code for "no
    /// currency". Funds with minor units are currencies.
    pub(crate) fn of(code: &str) -> Option<Self> {
        let is_withdrawn = WITHDRAWN.iter().any(|(withdrawn, _)| *withdrawn == code);
        Self::stored(code).filter(|_| !is_withdrawn)
    }

    /// The currency of a stored charge, which may have been withdrawn since.
    pub(crate) fn stored(code: &str) -> Option<Self> {
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
        for code in ["EUR", "USD", "JPY", "KWD", "XCG", "SLE", "ZWG", "CLF"] {
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
            "XDR",
            "ANG",
            "978",
            "€€€",
        ] {
            assert_eq!(Currency::of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_withdrawn_currency_is_for_stored_charges_alone() {
        for (code, _) in WITHDRAWN {
            assert_eq!(Currency::of(code), None, "{code}");
            // Otherwise the crate has caught up, and the list may lose the code once no charge is stored in it.
            assert_eq!(Currency::stored(code).map(Currency::code), Some(code));
        }
    }
}
