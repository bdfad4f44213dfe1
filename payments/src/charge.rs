//! Charges and refunds, and the rule that the refunds of a charge never exceed it. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use tenantry_tenancy::generation::Owner;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::event::{PaymentEvent, Recorded, Refunded, VERSION};
use crate::money::{Amount, Currency};

/// A validated request for a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewCharge {
    pub(crate) amount: Amount,
    pub(crate) currency: Currency,
    pub(crate) reference: String,
    pub(crate) metadata: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) id: Uuid,
    pub(crate) owner: Owner,
    pub(crate) amount: Amount,
    pub(crate) currency: Currency,
    pub(crate) reference: String,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Sum of the refunds in minor units, never more than the amount.
    pub(crate) refunded: u64,
    pub(crate) created_at: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refund {
    pub(crate) id: Uuid,
    pub(crate) amount: Amount,
    pub(crate) created_at: String,
    /// The charge after this refund.
    pub(crate) charge: Charge,
}

/// Refund status of a charge
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Recorded,
    PartiallyRefunded,
    Refunded,
}

/// A charge
#[derive(Serialize, ToSchema)]
#[schema(as = Charge)]
pub(crate) struct ChargeBody<'a> {
    /// Id of the charge; begins with the time of recording
    id: Uuid,
    /// Charged amount, in minor units of the currency
    #[schema(minimum = 1, maximum = 1_000_000_000_000u64)]
    amount: u64,
    /// Currency code of ISO 4217
    #[schema(example = "EUR")]
    currency: &'a str,
    /// The client's own name for the charge
    reference: &'a str,
    /// The client's own notes
    metadata: &'a BTreeMap<String, String>,
    /// Sum of the refunds so far, in minor units
    #[schema(minimum = 0, maximum = 1_000_000_000_000u64)]
    refunded: u64,
    status: Status,
    /// Time of recording
    #[schema(format = DateTime)]
    created_at: &'a str,
    /// The tenant that owns the charge
    tenant_id: &'a str,
}

/// A refund
#[derive(Serialize, ToSchema)]
#[schema(as = Refund)]
pub(crate) struct RefundBody<'a> {
    /// Id of the refund
    id: Uuid,
    /// Id of the refunded charge
    charge_id: Uuid,
    /// Refunded amount, in minor units of the charge's currency
    #[schema(minimum = 1, maximum = 1_000_000_000_000u64)]
    amount: u64,
    /// Currency code of ISO 4217
    #[schema(example = "EUR")]
    currency: &'a str,
    /// Sum of the charge's refunds, this one included, in minor units
    #[schema(minimum = 1, maximum = 1_000_000_000_000u64)]
    refunded: u64,
    /// Status of the charge after this refund
    status: Status,
    /// Time of recording
    #[schema(format = DateTime)]
    created_at: &'a str,
    /// The tenant that owns the refund
    tenant_id: &'a str,
}

/// Formats a time as in responses, items and events. Text order is time order.
pub(crate) fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Status {
    fn of(amount: Amount, refunded: u64) -> Self {
        match refunded {
            0 => Self::Recorded,
            refunded if refunded < amount.minor_units() => Self::PartiallyRefunded,
            _ => Self::Refunded,
        }
    }
}

impl NewCharge {
    pub(crate) fn recorded(self, id: Uuid, owner: Owner, now: DateTime<Utc>) -> Charge {
        let Self {
            amount,
            currency,
            reference,
            metadata,
        } = self;
        let created_at = timestamp(now);
        Charge {
            id,
            owner,
            amount,
            currency,
            reference,
            metadata,
            refunded: 0,
            created_at,
        }
    }
}

impl Charge {
    /// Returns the minor units that can still be refunded.
    pub(crate) fn left(&self) -> u64 {
        self.amount.minor_units().saturating_sub(self.refunded)
    }

    /// Returns the refund of an amount, or `None` if it exceeds the rest of the charge.
    pub(crate) fn refund(&self, amount: Amount, id: Uuid, now: DateTime<Utc>) -> Option<Refund> {
        let refunded = self.refunded.checked_add(amount.minor_units())?;
        let charge = Self {
            refunded,
            ..self.clone()
        };
        (refunded <= self.amount.minor_units()).then(|| Refund {
            id,
            amount,
            created_at: timestamp(now),
            charge,
        })
    }

    pub(crate) fn body(&self) -> ChargeBody<'_> {
        ChargeBody {
            id: self.id,
            amount: self.amount.minor_units(),
            currency: self.currency.code(),
            reference: &self.reference,
            metadata: &self.metadata,
            refunded: self.refunded,
            status: Status::of(self.amount, self.refunded),
            created_at: &self.created_at,
            tenant_id: self.owner.tenant.as_str(),
        }
    }

    /// Returns the event of the charge's recording.
    pub(crate) fn event(&self) -> PaymentEvent {
        PaymentEvent::Recorded(Recorded {
            version: VERSION,
            occurred_at: self.created_at.clone(),
            tenant_id: self.owner.tenant.to_string(),
            charge_id: self.id,
            amount: self.amount.minor_units(),
            currency: self.currency.code().to_owned(),
            reference: self.reference.clone(),
            metadata: self.metadata.clone(),
        })
    }
}

impl Refund {
    pub(crate) fn body(&self) -> RefundBody<'_> {
        let charge = &self.charge;
        RefundBody {
            id: self.id,
            charge_id: charge.id,
            amount: self.amount.minor_units(),
            currency: charge.currency.code(),
            refunded: charge.refunded,
            status: Status::of(charge.amount, charge.refunded),
            created_at: &self.created_at,
            tenant_id: charge.owner.tenant.as_str(),
        }
    }

    pub(crate) fn event(&self) -> PaymentEvent {
        let charge = &self.charge;
        PaymentEvent::Refunded(Refunded {
            version: VERSION,
            occurred_at: self.created_at.clone(),
            tenant_id: charge.owner.tenant.to_string(),
            charge_id: charge.id,
            refund_id: self.id,
            amount: self.amount.minor_units(),
            currency: charge.currency.code().to_owned(),
            refunded: charge.refunded,
            charged: charge.amount.minor_units(),
            reference: charge.reference.clone(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::TimeZone;
    use proptest::prelude::*;
    use tenantry_tenancy::tenant::TenantId;

    use super::*;

    /// A charge of this many minor units.
    pub(crate) fn charge(amount: u64) -> Charge {
        let new = NewCharge {
            amount: Amount::new(amount).expect("an amount"),
            currency: Currency::of("EUR").expect("a currency"),
            reference: "order-7".to_owned(),
            metadata: BTreeMap::from([("shop".to_owned(), "north".to_owned())]),
        };
        new.recorded(
            Uuid::from_u128(7),
            "tenant-2".parse::<TenantId>().expect("valid").into(),
            noon(),
        )
    }

    pub(crate) fn noon() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 12, 1, 12, 0, 0).unwrap()
    }

    #[test]
    fn golden_the_responses() {
        let charge = charge(1250);
        assert_eq!(
            serde_json::to_string(&charge.body()).unwrap(),
            r#"{"id":"00000000-0000-0000-0000-000000000007","amount":1250,"currency":"EUR","reference":"order-7","metadata":{"shop":"north"},"refunded":0,"status":"recorded","created_at":"2026-12-01T12:00:00.000Z","tenant_id":"tenant-2"}"#
        );
        let refund = charge
            .refund(Amount::new(500).unwrap(), Uuid::from_u128(8), noon())
            .expect("enough is left");
        assert_eq!(
            serde_json::to_string(&refund.body()).unwrap(),
            r#"{"id":"00000000-0000-0000-0000-000000000008","charge_id":"00000000-0000-0000-0000-000000000007","amount":500,"currency":"EUR","refunded":500,"status":"partially_refunded","created_at":"2026-12-01T12:00:00.000Z","tenant_id":"tenant-2"}"#
        );
    }

    proptest! {
        #[test]
        fn refunds_never_exceed_their_charge_and_the_status_follows_their_sum(
            amount in 1_u64..2000, refunds in proptest::collection::vec(1_u64..800, 0..20)
        ) {
            let mut charge = charge(amount);
            for refund in refunds {
                let before = charge.refunded;
                match charge.refund(Amount::new(refund).unwrap(), Uuid::nil(), noon()) {
                    Some(made) => {
                        prop_assert_eq!(made.charge.refunded, before + refund);
                        charge = made.charge;
                    }
                    None => prop_assert!(before + refund > amount && charge.left() < refund),
                }
                prop_assert!(charge.refunded <= amount);
                let expected = if charge.refunded == 0 {
                    Status::Recorded
                } else if charge.refunded < amount {
                    Status::PartiallyRefunded
                } else {
                    Status::Refunded
                };
                prop_assert_eq!(Status::of(charge.amount, charge.refunded), expected);
            }
        }
    }
}
