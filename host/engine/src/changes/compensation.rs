//! Who resolves the dead letter of a command: an operator, by asking the sink's sink lanes, or the
//! plugin that sent it, by handling the event that tells of the refusal.
//!
//! `SinkLanes` and the dispatcher both run ahead of the commits. So who takes a letter here first has
//! it, and the other is refused: a letter is never compensated and redriven, and it counts
//! once in its sink's sums. A compensation that was not committed gives its letter back.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::mpsc;

use crate::lock;
use crate::model::{DeadLetterId, Key, PluginName, Sequence, SinkName};
use crate::pure::hash::HashMap;
use crate::seams::store::RecoveredSink;

/// The open letters of all sinks' messages.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<DeadLetterId, Refusal>,
    sinks: HashMap<SinkName, SinkLanes>,
}

/// A letter, by its place in its sink's outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub sink: SinkName,
    pub plugin: PluginName,
    pub key: Key,
    pub sequence: Sequence,
}

/// How the sink lanes of a sink is told of compensated letters. What comes before it starts waits.
#[derive(Debug)]
struct SinkLanes {
    sender: mpsc::UnboundedSender<Refusal>,
    receiver: Option<mpsc::UnboundedReceiver<Refusal>>,
}

/// A letter that a decision resolves. Dropped before [`Compensation::settle`], it gives
/// the letter back.
#[derive(Debug)]
pub(crate) struct Compensation {
    id: DeadLetterId,
    refusal: Option<Refusal>,
    refusals: Arc<Refusals>,
}

impl Refusals {
    /// With the open letters that the last run left.
    pub(crate) fn new(recovered: &[RecoveredSink]) -> Arc<Self> {
        let refusals = Self::default();
        for RecoveredSink { progress, parked, .. } in recovered {
            for key in parked {
                for dead_letter in
                    key.dead_letters.iter().filter(|dead_letter| !dead_letter.redriving)
                {
                    let (plugin, key) = (key.key.plugin.clone(), key.key.key.clone());
                    let (sink, sequence) = (progress.sink.clone(), Sequence(dead_letter.place));
                    refusals.open(dead_letter.id, Refusal { sink, plugin, key, sequence });
                }
            }
        }
        Arc::new(refusals)
    }

    /// A message became a letter, or is one again.
    pub(crate) fn open(&self, id: DeadLetterId, refusal: Refusal) {
        self.lock().open.insert(id, refusal);
    }

    /// An operator resolves a letter. False: its plugin did.
    pub(crate) fn take(&self, id: DeadLetterId) -> bool {
        self.lock().open.remove(&id).is_some()
    }

    /// The plugin that sent a command has dealt with its refusal. None if an operator has
    /// decided about the letter.
    pub(crate) fn compensate(self: &Arc<Self>, id: DeadLetterId) -> Option<Compensation> {
        let refusal = self.lock().open.remove(&id)?;
        Some(Compensation { id, refusal: Some(refusal), refusals: Arc::clone(self) })
    }

    /// What a sink's sink lanes is told, once.
    pub(crate) fn receiver(&self, sink: &SinkName) -> mpsc::UnboundedReceiver<Refusal> {
        let receiver = self.lock().lanes(sink).receiver.take();
        // A second sink lanes of one sink would be told nothing; there is none.
        receiver.unwrap_or_else(|| mpsc::unbounded_channel().1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn lanes(&mut self, sink: &SinkName) -> &mut SinkLanes {
        self.sinks.entry(sink.clone()).or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            SinkLanes { sender, receiver: Some(receiver) }
        })
    }
}

impl Compensation {
    /// The decision is durable, and with it the letter's end: what waits behind it goes on.
    pub(crate) fn settle(mut self) {
        if let Some(refusal) = self.refusal.take() {
            let mut state = self.refusals.lock();
            // Lanes that have ended need to know nothing.
            let _ = state.lanes(&refusal.sink.clone()).sender.send(refusal);
        }
    }
}

impl Drop for Compensation {
    fn drop(&mut self) {
        if let Some(refusal) = self.refusal.take() {
            self.refusals.open(self.id, refusal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Refusal {
        let (plugin, key) = ("orders".into(), "k-1".into());
        Refusal { sink: "web".into(), plugin, key, sequence: Sequence(7) }
    }

    #[test]
    fn a_dead_letter_is_resolved_by_its_plugin_or_by_an_operator() {
        let (refusals, id) = (Refusals::new(&[]), DeadLetterId(1));
        assert!(refusals.compensate(id).is_none(), "it is none");
        refusals.open(id, refusal());
        assert!(refusals.take(id));
        assert!(refusals.compensate(id).is_none(), "the operator has it");

        refusals.open(id, refusal());
        let compensation = refusals.compensate(id).unwrap();
        assert!(!refusals.take(id), "the plugin has it");
        drop(compensation);
        assert!(refusals.take(id), "it was not committed");

        refusals.open(id, refusal());
        refusals.compensate(id).unwrap().settle();
        assert!(!refusals.take(id), "it is resolved");
        let mut receiver = refusals.receiver(&"web".into());
        assert_eq!(receiver.try_recv(), Ok(refusal()), "also an lanes that starts later");
        assert!(receiver.try_recv().is_err());
    }
}
