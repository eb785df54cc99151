//! A session: the time for which a person is signed in with a browser. Its secret is in a cookie,
//! and the store has its digest alone.

use std::collections::BTreeSet;

use sagabox_engine::model::Timestamp;
use serde::{Deserialize, Serialize};

use super::roles::Role;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Zero before the store has it.
    pub id: u64,
    pub holder: Holder,
    /// The client's address at the login.
    pub origin: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// To some minutes.
    pub last_used_at: Timestamp,
}

/// Whose session it is, and so what it permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// It permits what the token with this id permits, as long as that is valid.
    Token(u64),
    /// It permits what the identity provider's claims gave at the login.
    Person(Person),
}

/// A person whom an identity provider knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub issuer: String,
    /// The provider's own name, which never changes. Unique together with the issuer.
    pub subject: String,
    /// For people, such as an address.
    pub name: String,
    pub roles: BTreeSet<Role>,
    pub payloads: bool,
    /// The only plugins that the person may read and operate; empty for all.
    pub plugins: BTreeSet<String>,
}

impl Holder {
    /// Whether it is the same token or person. What the claims gave may differ.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Token(one), Self::Token(other)) => one == other,
            (Self::Person(one), Self::Person(other)) => {
                (&one.issuer, &one.subject) == (&other.issuer, &other.subject)
            }
            (Self::Token(_), Self::Person(_)) | (Self::Person(_), Self::Token(_)) => false,
        }
    }
}

impl Session {
    /// Whether it can be used, if it ends after so much time without a use.
    pub fn is_valid(&self, now: Timestamp, idle: std::time::Duration) -> bool {
        now < self.expires_at && now < self.last_used_at.after(idle)
    }
}
