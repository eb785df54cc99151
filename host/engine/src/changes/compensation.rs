//! Who resolves the dead letter of a command: an operator, through the lanes of the sink, or the
//! plugin that sent it, by handling the event about the refusal.
//!
//! The lanes of the sink and the dispatcher both run ahead of the commits. So the one that takes a
//! dead letter here first has it, and the other is refused: a dead letter is never compensated and
//! redriven, and it counts once in its sink's sums. A compensation that was not committed returns
//! its dead letter.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::mpsc;

use crate::lock;
use crate::model::{DeadLetterId, Key, PluginName, Sequence, SinkName};
use crate::pure::hash::HashMap;
use crate::seams::store::RecoveredSink;

/// The open dead letters of all sinks' messages.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<DeadLetterId, Refusal>,
    sinks: HashMap<SinkName, SinkLanes>,
}

/// A dead letter, by its place in its sink's outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub sink: SinkName,
    pub plugin: PluginName,
    pub key: Key,
    pub sequence: Sequence,
}

/// The channel that notifies the lanes of a sink of compensated dead letters. Those from before the
/// stage starts wait in it.
#[derive(Debug)]
struct SinkLanes {
    sender: mpsc::UnboundedSender<Refusal>,
    receiver: Option<mpsc::UnboundedReceiver<Refusal>>,
}

/// A dead letter that a decision resolves. If it is dropped before [`Compensation::settle`], the
/// dead letter is open again.
#[derive(Debug)]
pub(crate) struct Compensation {
    id: DeadLetterId,
    refusal: Option<Refusal>,
    refusals: Arc<Refusals>,
}

impl Refusals {
    /// Starts with the open dead letters that the last run left.
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

    /// A message became a dead letter, or its compensation was not committed.
    pub(crate) fn open(&self, id: DeadLetterId, refusal: Refusal) {
        self.lock().open.insert(id, refusal);
    }

    /// An operator resolves a dead letter. Returns false if its plugin has resolved it.
    pub(crate) fn take(&self, id: DeadLetterId) -> bool {
        self.lock().open.remove(&id).is_some()
    }

    /// The plugin that sent a command has handled its refusal. Returns none if an operator has
    /// resolved the dead letter.
    pub(crate) fn compensate(self: &Arc<Self>, id: DeadLetterId) -> Option<Compensation> {
        let refusal = self.lock().open.remove(&id)?;
        Some(Compensation { id, refusal: Some(refusal), refusals: Arc::clone(self) })
    }

    /// The channel on which the lanes of a sink learn of compensated dead letters. It exists once.
    pub(crate) fn receiver(&self, sink: &SinkName) -> mpsc::UnboundedReceiver<Refusal> {
        let receiver = self.lock().lanes(sink).receiver.take();
        // A sink has its lanes once, so a second receiver would get nothing.
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
    /// The decision is durable, and with it the end of the dead letter: the messages behind it
    /// continue.
    pub(crate) fn settle(mut self) {
        if let Some(refusal) = self.refusal.take() {
            let mut state = self.refusals.lock();
            // Lanes that have ended need no notification.
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
