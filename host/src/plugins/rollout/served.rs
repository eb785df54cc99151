//! A version that serves, with its shadow and with the canaries that had a share of its keys.
//!
//! A canary's states stay when it is withdrawn or when its share shrinks. The canary converts
//! them, because it knows its own states, and the version that serves may have been released
//! before them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use sagabox_engine::model::{Failure, Manifest, State};
use sagabox_engine::seams::handler::{Call, Handler, Reply};

use super::shadow::Shadow;

use crate::io::locks;

/// The most canaries of one plugin. Each was withdrawn while instances still had states of it.
const CANARIES_MAX: usize = 16;

type HandlersByPlugin = BTreeMap<String, Vec<Arc<dyn Handler>>>;

/// The canaries that convert the states which they have left, by plugin. All clones are one
/// list.
#[derive(Clone, Default)]
pub struct WaysBack(Arc<RwLock<HandlersByPlugin>>);

impl WaysBack {
    /// Adds a candidate that has, or had, a share of the keys.
    pub fn add(&self, candidate: Arc<dyn Handler>) {
        let manifest = candidate.manifest();
        let mut all = locks::write(&self.0);
        let of_plugin = all.entry(manifest.name.to_string()).or_default();
        // A corrected file of the same version replaces the one before.
        of_plugin.retain(|other| other.manifest().version != manifest.version);
        if of_plugin.len() == CANARIES_MAX {
            of_plugin.remove(0);
        }
        of_plugin.push(candidate);
    }

    /// Converts a state by the last canary that wrote states of its version. None if there was
    /// none, or if it does not know the other version.
    fn convert(&self, plugin: &str, state: &State, to: u32) -> Option<Bytes> {
        let canaries: Vec<_> = {
            let all = locks::read(&self.0);
            let of_plugin = all.get(plugin).into_iter().flatten();
            let wrote =
                |canary: &&Arc<dyn Handler>| canary.manifest().state_version == state.version;
            of_plugin.rev().filter(wrote).cloned().collect()
        };
        canaries.iter().find_map(|canary| canary.migrate(state, to).ok())
    }
}

pub struct Served {
    handler: Arc<dyn Handler>,
    ways_back: WaysBack,
    is_observed: AtomicBool,
    shadow: RwLock<Option<Arc<Shadow>>>,
}

impl Served {
    pub fn new(handler: Arc<dyn Handler>, ways_back: WaysBack) -> Self {
        let (is_observed, shadow) = (AtomicBool::new(false), RwLock::new(None));
        Self { handler, ways_back, is_observed, shadow }
    }

    /// Sets the shadow. The one before it ends.
    pub fn observe(&self, shadow: Option<Shadow>) {
        let mut place = locks::write(&self.shadow);
        self.is_observed.store(shadow.is_some(), Ordering::Relaxed);
        *place = shadow.map(Arc::new);
    }
}

impl Handler for Served {
    fn manifest(&self) -> &Manifest {
        self.handler.manifest()
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        self.handle_with_log(call).0
    }

    fn handle_with_log(&self, call: &Call) -> (Result<Reply, Failure>, String) {
        let (reply, log) = self.handler.handle_with_log(call);
        if self.is_observed.load(Ordering::Relaxed) {
            // It may wait for the shadow, and must not keep the host from ending it.
            let shadow = locks::read(&self.shadow).clone();
            if let Some(shadow) = shadow {
                shadow.offer(call, &reply);
            }
        }
        (reply, log)
    }

    fn migrate(&self, state: &State, to: u32) -> Result<Bytes, String> {
        let manifest = self.manifest();
        // This version can read a canary's state of its own state version: the preflight check
        // has tested that.
        let converted = match state.version == manifest.state_version {
            true => None,
            false => self.ways_back.convert(manifest.name.as_str(), state, to),
        };
        converted.map_or_else(|| self.handler.migrate(state, to), Ok)
    }
}

/// The versions that serve, by plugin, with the digests of their files.
pub type Beside = BTreeMap<String, (String, Arc<Served>)>;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sagabox_engine::model::{OptionalPart, Role};

    use super::*;

    /// Converts from its own version to older ones, and reads no other state.
    struct Scripted(Manifest);

    impl Handler for Scripted {
        fn manifest(&self) -> &Manifest {
            &self.0
        }

        fn handle(&self, _: &Call) -> Result<Reply, Failure> {
            unreachable!("only states are converted")
        }

        fn migrate(&self, state: &State, to: u32) -> Result<Bytes, String> {
            match state.version == self.0.state_version && to <= state.version {
                true => Ok(format!("{} by {}", to, self.0.version).into()),
                false => Err(format!("{} does not know it", self.0.version)),
            }
        }
    }

    fn plugin(version: &str, state_version: u32) -> Arc<dyn Handler> {
        Arc::new(Scripted(Manifest {
            name: "p".into(),
            role: Role::ProcessManager,
            version: version.into(),
            description: String::new(),
            subscriptions: Vec::new(),
            commands: BTreeSet::new(),
            events: BTreeSet::new(),
            lookups: BTreeSet::new(),
            streams: false,
            state_version,
            optional: OptionalPart::default(),
        }))
    }

    #[test]
    fn what_a_canary_has_left_is_converted_by_the_last_one_that_knows_it() {
        let ways_back = WaysBack::default();
        let served = Served::new(plugin("1.0.0", 1), ways_back.clone());
        let migrate = |version| served.migrate(&State { version, data: "x".into() }, 1);
        assert_eq!(migrate(2), Err("1.0.0 does not know it".to_owned()));
        ways_back.add(plugin("1.2.0", 2));
        ways_back.add(plugin("1.3.0", 3));
        ways_back.add(plugin("1.4.0", 2));
        assert_eq!(migrate(2), Ok("1 by 1.4.0".into()));
        assert_eq!(migrate(3), Ok("1 by 1.3.0".into()));
        assert_eq!(migrate(1), Ok("1 by 1.0.0".into()), "it reads its own");
        assert_eq!(migrate(4), Err("1.0.0 does not know it".to_owned()));
        for n in 0..2 * CANARIES_MAX {
            ways_back.add(plugin(&format!("2.{n}.0"), 9));
        }
        assert_eq!(ways_back.0.read().unwrap()["p"].len(), CANARIES_MAX);
    }
}
