//! Access control: actors, roles and the verb of each action.
//!
//! On a laptop's loopback address every request is the owner's. On a cluster a token names the actor and the role.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tenantry_service::error::ApiError;
use utoipa::ToSchema;

/// What a person may do; each role includes the former
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads
    Viewer,
    /// Onboards, moves, suspends, holds, deploys, redrives
    Operator,
    /// Offboards, deletes data
    Owner,
}

/// One action; each needs a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Read,
    Peek,
    Onboard,
    Move,
    Suspend,
    Hold,
    Deploy,
    Redrive,
    Offboard,
    DeleteData,
}

/// The actor of a request, with its role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The subject of the token; `local` on the laptop.
    pub name: String,
    pub role: Role,
}

impl Verb {
    pub const fn role(self) -> Role {
        match self {
            Self::Read => Role::Viewer,
            Self::Peek
            | Self::Onboard
            | Self::Move
            | Self::Suspend
            | Self::Hold
            | Self::Deploy
            | Self::Redrive => Role::Operator,
            Self::Offboard | Self::DeleteData => Role::Owner,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Peek => "peek",
            Self::Onboard => "onboard",
            Self::Move => "move",
            Self::Suspend => "suspend",
            Self::Hold => "hold",
            Self::Deploy => "deploy",
            Self::Redrive => "redrive",
            Self::Offboard => "offboard",
            Self::DeleteData => "delete data",
        }
    }
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Owner => "owner",
        }
    }
}

impl Actor {
    /// The person at the laptop.
    pub fn local() -> Self {
        Self {
            name: "local".to_owned(),
            role: Role::Owner,
        }
    }

    pub fn may(&self, verb: Verb) -> bool {
        self.role >= verb.role()
    }
}

impl Actor {
    /// # Errors
    /// 403 with the role that is needed.
    pub fn check(&self, verb: Verb) -> Result<(), ApiError> {
        if self.may(verb) {
            return Ok(());
        }
        let msg = format!(
            "Forbidden: {} needs the role {}, and yours is {}; ask an owner for it",
            verb.as_str(),
            verb.role().as_str(),
            self.role.as_str()
        );
        Err(ApiError::new(StatusCode::FORBIDDEN, "role_missing", msg))
    }
}
