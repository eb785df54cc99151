//! Pure: ids that are the same after every retry, crash and takeover (guarantee 5).
//!
//! All are version 5 UUIDs (RFC 9562) of one namespace, over the parts in order,
//! each followed by a zero byte.

use uuid::Uuid;

use crate::model::{Event, Key, PluginName, TimerRef};

/// Never changes: it is part of every id that was ever sent.
const NAMESPACE: Uuid = Uuid::from_u128(0x7d9c_1f0e_53b4_4f0a_9f6e_2b8a_61c5_d340);

/// The identity of one decision: a plugin's for an event, in an instance or lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionIdentity(Uuid);

impl DecisionIdentity {
    #[must_use]
    pub fn new(plugin: &PluginName, event: &Event, key: &Key) -> Self {
        Self(hash(&["decision", plugin.as_str(), &event.source, &event.id, key.as_str()]))
    }

    /// The id of the decision's message number `index`, counting from 0.
    #[must_use]
    pub fn message_id(&self, index: usize) -> String {
        let mut name = [0; 24];
        name[..16].copy_from_slice(self.0.as_bytes());
        name[16..].copy_from_slice(&(index as u64).to_be_bytes());
        Uuid::new_v5(&NAMESPACE, &name).to_string()
    }

    /// The seed for whatever must look random in the call.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.as_u64_pair().0 ^ self.0.as_u64_pair().1
    }
}

/// The id of the event as which a timer fires.
#[must_use]
pub fn timer_event_id(timer: &TimerRef) -> String {
    let TimerRef { plugin, instance, name, due, set_by } = timer;
    let parts = [
        "timer",
        plugin.as_str(),
        instance.as_str(),
        name.as_str(),
        &due.0.to_string(),
        &set_by.to_string(),
    ];
    hash(&parts).to_string()
}

/// Where a plugin's key stands among all of its keys: evenly spread, and for ever.
#[must_use]
pub fn place(plugin: &PluginName, key: &Key) -> u64 {
    // The highest two bits say that it is a UUID: they come last.
    hash(&["place", plugin.as_str(), key.as_str()]).as_u64_pair().1.rotate_left(2)
}

/// The CloudEvents source of what a plugin sends.
#[must_use]
pub fn source(plugin: &PluginName) -> String {
    format!("/sagabox/{plugin}")
}

fn hash(parts: &[&str]) -> Uuid {
    let mut name = Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for part in parts {
        name.extend_from_slice(part.as_bytes());
        name.push(0);
    }
    Uuid::new_v5(&NAMESPACE, &name)
}
