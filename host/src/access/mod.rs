//! Who may do what: roles, the permissions that they include, the tokens that carry them, and the
//! record of what was done with them.
//!
//! Nothing here reads a request or writes a store.

mod audit;
mod roles;
mod secret;
mod token;

pub use audit::{AuditEntry, AuditFilter, AuditRow};
pub use roles::{Permission, Role};
pub use secret::{Digest, PREFIX, Secret};
pub use token::{NAME_BYTES_MAX, Token};
