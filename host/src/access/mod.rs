//! Who may do what: roles, the permissions that they include, the tokens that carry them, the
//! sessions of people, and the record of what was done with them.
//!
//! Nothing here reads a request or writes a store.

mod aging;
mod audit;
mod limit;
mod roles;
mod secret;
mod session;
mod token;

pub use aging::Aging;
pub use audit::{AuditEntry, AuditFilter, AuditRow};
pub use limit::{Fingerprint, Rate};
pub use roles::{Permission, Role};
pub use secret::{Digest, PREFIX, Secret};
pub use session::{Holder, Person, Session};
pub use token::{NAME_BYTES_MAX, PERSON, Token};
