//! Roles, and the permissions that they include.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a token is for. A token can have several.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends events.
    Sender,
    /// Leases messages of queues.
    Worker,
    /// Reads lists and details, without payloads unless the token permits them.
    Reader,
    /// Reads, resolves dead letters, cancels and ends instances.
    Operator,
    /// Does everything, also with tokens, and reads the audit log and payloads.
    Admin,
}

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    Send,
    Work,
    Read,
    Operate,
    Administer,
}

impl Role {
    pub const ALL: [Self; 5] =
        [Self::Sender, Self::Worker, Self::Reader, Self::Operator, Self::Admin];

    pub fn includes(self, permission: Permission) -> bool {
        match self {
            Self::Sender => permission == Permission::Send,
            Self::Worker => permission == Permission::Work,
            Self::Reader => permission == Permission::Read,
            Self::Operator => matches!(permission, Permission::Read | Permission::Operate),
            Self::Admin => true,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Worker => "worker",
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl Permission {
    pub const ALL: [Self; 5] =
        [Self::Send, Self::Work, Self::Read, Self::Operate, Self::Administer];

    /// The roles that include it, for a refusal: `reader, operator or admin`.
    pub fn roles(self) -> String {
        let roles: Vec<_> = Role::ALL.into_iter().filter(|role| role.includes(self)).collect();
        let names: Vec<_> = roles.into_iter().map(Role::as_str).collect();
        match names.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permission_belongs_to_a_role_beside_the_administrator() {
        for permission in Permission::ALL {
            let roles = permission.roles();
            assert!(roles.ends_with("admin"), "{permission:?}: {roles}");
            assert_eq!(roles == "admin", permission == Permission::Administer, "{roles}");
        }
        assert_eq!(Permission::Read.roles(), "reader, operator or admin");
    }
}
