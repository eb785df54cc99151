//! The file of an instance as a scenario: its recorded events are what happens, and its recorded
//! effects and states are what is expected. So a process that went wrong on a host is a test of the
//! version that corrects it, and one that went well is a test of every later version.

use std::path::Path;
use std::sync::Arc;

use sagabox_engine::seams::handler::Handler;

use super::file::Scenario;
use crate::io::figures::grouped;
use crate::store::query::instance_file::InstanceFile;
use crate::verify::replay::{Differing, Outcome, Selection, replay};

/// More are no longer read; all are counted.
const DIFFERING_MAX: usize = 20;

impl Scenario {
    /// The scenario that the file of an instance is. None for a file of scenarios.
    ///
    /// # Errors
    /// If the file begins as that of an instance and cannot be read.
    pub(super) fn recorded(path: &Path) -> anyhow::Result<Option<Self>> {
        let file = InstanceFile::open(path).map_err(|error| {
            anyhow::anyhow!(
                "{error}; a file of scenarios holds a list, and that of an instance one object"
            )
        })?;
        Ok(file.map(|InstanceFile { plugin, key, .. }| Self {
            scenario: format!("{plugin} decides for {key} as it was recorded"),
            plugin: Some(plugin),
            recorded: Some(path.to_owned()),
            ..Self::default()
        }))
    }
}

/// Where the handler decides otherwise than the file says, and what could not be compared.
pub(super) fn compare(path: &Path, handler: &Arc<dyn Handler>) -> (Vec<String>, Vec<String>) {
    let outcome = match replayed(path, Arc::clone(handler)) {
        Ok(outcome) => outcome,
        Err(error) => return (vec![format!("{error:#}")], Vec::new()),
    };
    let mut problems: Vec<String> = outcome.differing.iter().flat_map(lines).collect();
    let hidden = outcome.differ - outcome.differing.len() as u64;
    if hidden > 0 {
        problems.push(format!("… and {} more decisions differ", grouped(hidden)));
    }
    // What compares nothing must not look like a success.
    if outcome.replayed() == 0 {
        problems.push("no decision of the file could be repeated".to_owned());
    }
    let skipped = outcome.skipped.iter();
    let notes = skipped.map(|(why, count)| format!("{} not repeated: {why}", grouped(*count)));
    (problems, notes.collect())
}

fn lines(differing: &Differing) -> Vec<String> {
    let Differing { position, event_type, event_id, differences, .. } = differing;
    let head =
        format!("the decision at position {position}, of {event_type} ({event_id}), differs:");
    let details = differences.iter().map(|difference| format!("  {difference}"));
    [head].into_iter().chain(details).collect()
}

/// On a runtime of its own, because the caller may be in one.
fn replayed(path: &Path, handler: Arc<dyn Handler>) -> anyhow::Result<Outcome> {
    let selection = Selection { shown_max: DIFFERING_MAX, ..Selection::default() };
    let url = path.to_string_lossy().into_owned();
    let replaying = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(replay(handler, &url, &selection, 1))
    });
    replaying.join().map_err(|_| anyhow::anyhow!("the thread that replays ended: see above"))?
}
