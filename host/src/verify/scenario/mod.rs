//! Scenarios: what a plugin must decide, written beside it as data, and played on
//! the component itself.
//!
//! A scenario is played on instances that are used again and on fresh ones; both must
//! answer the same, because what a plugin keeps in a global is state that is not saved.
//! Knows no host, no store and no clock: the time is the scenario's.

mod costs;
mod expect;
mod file;
mod find;
mod payload;
mod play;
mod prove;
mod recorded;
mod states;

pub use costs::{Costs, costs};
pub use file::{Scenario, read};
pub use find::{IN_SOURCE, beside, files_in};
pub use prove::{Bench, ScenarioResult};
pub use states::states;
