//! Simulations: the author's plugin in the real engine, in a world of the author's that
//! fails by a seed; what must be so in every run, and of a run in which it is not, the
//! shortest that shows it.
//!
//! The engine is the host's own, with the store in memory and virtual time
//! (`sagabox_engine::sim`). Knows no HTTP, no SQL and no clock.

mod answers;
mod as_scenario;
mod choices;
mod draw;
mod file;
mod fit;
mod history;
mod invariant;
mod schedule;
mod seams;
mod shrink;
mod term;
mod transcript;
mod trial;
mod world;

pub(crate) use answers::{Answers, Lookups, Reaction, WrittenAnswer, look_up};
pub use as_scenario::as_scenario;
pub(crate) use choices::{Choices, Odds};
pub use file::{IN_SOURCE, Simulation, beside, read};
pub use fit::fit;
pub(crate) use fit::{fit_answers, fit_lookups};
pub(crate) use history::{Deed, Who, deeds};
pub use transcript::history_lines;
pub use trial::{Failing, SimulationReport, Trial};
