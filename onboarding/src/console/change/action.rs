//! The kinds of changes, and how the form of each is worded.

use crate::access::Verb;

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Onboard,
    Move,
    Release,
    Suspend,
    Resume,
    Hold,
    Unhold,
    Offboard,
    DeleteData,
    Forget,
}

impl Action {
    pub(super) const ALL: [Self; 10] = [
        Self::Onboard,
        Self::Move,
        Self::Release,
        Self::Suspend,
        Self::Resume,
        Self::Hold,
        Self::Unhold,
        Self::Offboard,
        Self::DeleteData,
        Self::Forget,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Onboard => "onboard",
            Self::Move => "move",
            Self::Release => "release",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Hold => "hold",
            Self::Unhold => "unhold",
            Self::Offboard => "offboard",
            Self::DeleteData => "delete-data",
            Self::Forget => "forget",
        }
    }

    /// Verb of the button.
    pub(super) const fn verb(self) -> &'static str {
        match self {
            Self::Onboard => "Onboard",
            Self::Move => "Move",
            Self::Release => "Set the release of",
            Self::Suspend => "Suspend",
            Self::Resume => "Resume",
            Self::Hold => "Hold",
            Self::Unhold => "Release the hold of",
            Self::Offboard => "Offboard",
            Self::DeleteData => "Delete the data of",
            Self::Forget => "Forget",
        }
    }

    pub(super) const fn effect(self) -> &'static str {
        match self {
            Self::Onboard => {
                "One commit adds the tenant's file. Then its queue, tables and parameters are created, its apps start, and \
                 its routes lead to them."
            }
            Self::Move => {
                "The tenant's messages, items and payments move along. While they do, requests that write payments get 503 \
                 with Retry-After; every other request is served."
            }
            Self::Release => {
                "The tenant's apps are upgraded to the release, or brought back to it."
            }
            Self::Suspend => {
                "The tenant loses its routes. Its messages, items and payments stay, and a resumption brings the routes back."
            }
            Self::Resume => "The tenant gets its routes back.",
            Self::Hold => "Deployments skip the tenant until the hold is released.",
            Self::Unhold => "The next deployment includes the tenant again.",
            Self::Offboard => {
                "The tenant's routes and apps end, once every accepted message is stored. Its data stays, unless you \
                 have it deleted."
            }
            Self::DeleteData => {
                "The tenant's messages, items and payments are deleted with their queues and tables. Nothing brings them back."
            }
            Self::Forget => {
                "The tenant's record and its data are deleted, and the id is free for another owner. Nothing brings the data back."
            }
        }
    }

    /// The verb whose role the form needs at least; the values may make it a stronger one.
    pub(super) const fn role_verb(self) -> Verb {
        match self {
            Self::Onboard => Verb::Onboard,
            Self::Move => Verb::Move,
            Self::Release => Verb::Deploy,
            Self::Suspend | Self::Resume => Verb::Suspend,
            Self::Hold | Self::Unhold => Verb::Hold,
            Self::Offboard => Verb::Offboard,
            Self::DeleteData | Self::Forget => Verb::DeleteData,
        }
    }

    /// Whether there is a value to choose.
    pub(super) const fn has_fields(self) -> bool {
        !matches!(
            self,
            Self::Suspend | Self::Resume | Self::Unhold | Self::DeleteData | Self::Forget
        )
    }

    /// Whether the tenant's id has to be typed.
    pub(super) const fn is_confirmed(self) -> bool {
        matches!(self, Self::Offboard | Self::DeleteData | Self::Forget)
    }
}
