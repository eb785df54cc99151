//! A token as the store keeps it: what it permits, and until when. Its secret is not part of it.

use std::collections::BTreeSet;

use sagabox_engine::model::Timestamp;

use super::limit::{Fingerprint, Rate};
use super::roles::{Permission, Role};

/// A name, or an address.
pub const NAME_BYTES_MAX: usize = 128;
/// What the names of people begin with in records, and no name of a token.
pub const PERSON: &str = "oidc:";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Zero before the store has it.
    pub id: u64,
    /// For people: who or what uses it.
    pub name: String,
    pub roles: BTreeSet<Role>,
    /// Whether it may see the data of events and the states of instances.
    pub payloads: bool,
    /// The only plugins that it may read and operate; empty for all.
    pub plugins: BTreeSet<String>,
    /// The only types that it may send and lease; empty for all.
    pub types: BTreeSet<String>,
    /// None: the one of the configuration, if it has one.
    pub rate: Option<Rate>,
    /// The only client certificates with which it may be used; empty for all. Each of them also
    /// stands for the token.
    pub certificates: BTreeSet<Fingerprint>,
    pub created_at: Timestamp,
    pub created_by: String,
    /// None: it does not expire.
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// To some minutes.
    pub last_used_at: Option<Timestamp>,
}

impl Token {
    pub fn permits(&self, permission: Permission) -> bool {
        self.roles.iter().any(|role| role.includes(permission))
    }

    pub fn sees_payloads(&self) -> bool {
        self.payloads || self.roles.contains(&Role::Admin)
    }

    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expiry| now < expiry)
    }
}
