//! Pure: the versions of the plugin that decide here, and which of them decides a key's next event.
//!
//! One version serves all keys. A canary serves a share of them beside it; the serving version does
//! the routing for both, so a canary's subscriptions do not matter here. Each version has a
//! generation, which its calls carry. A version stays known until it no longer serves and no call
//! of it is in progress.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::changes::canary::{Canary, Share};
use crate::model::{Absent, Event, Key, Manifest, PluginName, Role, State, Subscription, reserved};
use crate::pure::fields::Fields;
use crate::pure::hash::HashMap;
use crate::seams::handler::Handler;

use super::{ending, importing};

pub(super) struct PluginVersions {
    plugin: PluginName,
    role: Role,
    serving: Version,
    canary: Option<(Version, Share)>,
    /// The number of the next version.
    next: u32,
    /// The versions that serve, or may have calls in progress.
    known: BTreeMap<u32, PluginVersion>,
    /// Whether any version that was known here declares fields.
    has_fields: bool,
    /// The subscriptions of the serving version, by type.
    subscriptions: HashMap<String, Arc<Subscription>>,
    /// The longest time for which an event may be held; none if none is held.
    hold_max: Option<Duration>,
    /// The subscription of a process manager to the event by which an operator ends an instance.
    ended: Arc<Subscription>,
    /// And with the event by which an operator imports one.
    imported: Arc<Subscription>,
}

struct Version {
    handler: Arc<dyn Handler>,
    generation: u32,
}

/// The part of a version that is noted with its decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PluginVersion {
    pub(super) of_plugin: Arc<str>,
    pub(super) of_state: u32,
    /// The fields that it declares; none if it declares none.
    pub(super) fields: Option<Arc<Fields>>,
}

impl PluginVersion {
    fn of(manifest: &Manifest) -> Self {
        Self {
            of_plugin: Arc::clone(&manifest.version),
            of_state: manifest.state_version,
            fields: Fields::new(&manifest.optional.fields).map(Arc::new),
        }
    }
}

impl PluginVersions {
    pub(super) fn new(handler: Arc<dyn Handler>) -> Self {
        let manifest = handler.manifest();
        let subscriptions = subscriptions(manifest);
        let first = PluginVersion::of(manifest);
        Self {
            plugin: manifest.name.clone(),
            role: manifest.role,
            has_fields: first.fields.is_some(),
            known: BTreeMap::from([(0, first)]),
            hold_max: hold_max(&subscriptions),
            subscriptions,
            serving: Version { handler, generation: 0 },
            canary: None,
            next: 1,
            ended: Arc::new(ending::subscription()),
            imported: importing::subscription(),
        }
    }

    pub(super) fn plugin(&self) -> &PluginName {
        &self.plugin
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn has_instances(&self) -> bool {
        self.role.has_instances()
    }

    /// What the plugin does with an event: none if it takes no such type, or none from its
    /// source. Ending and importing an instance are for the host itself, so every process manager
    /// takes their events.
    pub(super) fn subscription(&self, event: &Event) -> Option<&Arc<Subscription>> {
        match event.event_type.as_str() {
            reserved::INSTANCE_ENDED if self.has_instances() => Some(&self.ended),
            reserved::INSTANCE_IMPORTED if self.has_instances() => Some(&self.imported),
            event_type => self.of_type(event_type).filter(|own| own.takes(event)),
        }
    }

    /// The subscription for a type, from the sources that it takes.
    pub(super) fn of_type(&self, event_type: &str) -> Option<&Arc<Subscription>> {
        self.subscriptions.get(event_type)
    }

    /// The subscriptions whose events are held while no instance has their key.
    pub(super) fn held(&self) -> Vec<Arc<Subscription>> {
        let is_held = |s: &&Arc<Subscription>| matches!(s.absent, Absent::Hold(_));
        self.subscriptions.values().filter(is_held).cloned().collect()
    }

    pub(super) fn hold_max(&self) -> Option<Duration> {
        self.hold_max
    }

    /// The event types that the serving version takes.
    pub(super) fn types(&self) -> BTreeSet<String> {
        self.subscriptions.keys().cloned().collect()
    }

    /// Whether an event waited for a version that no longer subscribes to its type, or to its
    /// source.
    pub(super) fn is_outdated(&self, event: &Event) -> bool {
        self.serving.generation != 0
            && event.event_type != reserved::INSTANCE_ENDED
            && self.subscription(event).is_none()
    }

    pub(super) fn serves(&self, handler: &Arc<dyn Handler>) -> bool {
        Arc::ptr_eq(&self.serving.handler, handler)
    }

    /// Lets another version serve from now on.
    pub(super) fn replace(&mut self, handler: Arc<dyn Handler>) {
        let manifest = handler.manifest();
        assert_eq!(manifest.role, self.role, "a version plays its plugin's role");
        self.subscriptions = subscriptions(manifest);
        self.hold_max = hold_max(&self.subscriptions);
        self.serving = self.number(handler);
    }

    pub(super) fn has_canary(&self) -> bool {
        self.canary.is_some()
    }

    /// Lets a canary serve a share of the keys from now on, or ends it. A canary whose share
    /// changes stays the same version.
    pub(super) fn set_canary(&mut self, canary: Option<Canary>) {
        let before = self.canary.take();
        let Some(Canary { handler, share }) = canary else { return };
        let same = before.filter(|(version, _)| Arc::ptr_eq(&version.handler, &handler));
        let version = same.map_or_else(|| self.number(handler), |(version, _)| version);
        self.canary = Some((version, share));
    }

    fn number(&mut self, handler: Arc<dyn Handler>) -> Version {
        let generation = self.next;
        let version = PluginVersion::of(handler.manifest());
        self.has_fields |= version.fields.is_some();
        self.known.insert(generation, version);
        self.next += 1;
        Version { handler, generation }
    }

    /// Forgets the versions that no longer serve. No call may be in progress.
    pub(super) fn forget_earlier(&mut self) {
        let kept = [Some(self.serving.generation), self.canary_generation()];
        self.known.retain(|generation, _| kept.contains(&Some(*generation)));
    }

    pub(super) fn serving_generation(&self) -> u32 {
        self.serving.generation
    }

    pub(super) fn canary_generation(&self) -> Option<u32> {
        self.canary.as_ref().map(|(version, _)| version.generation)
    }

    /// The generation of the version that decides the next event of a key.
    pub(super) fn generation_of(&self, key: &Key) -> u32 {
        match &self.canary {
            Some((version, share)) if share.has(&self.plugin, key) => version.generation,
            _ => self.serving.generation,
        }
    }

    /// The handler of a generation that serves, and whether it is the canary.
    pub(super) fn handler(&self, generation: u32) -> (&Arc<dyn Handler>, bool) {
        match &self.canary {
            Some((version, _)) if version.generation == generation => (&version.handler, true),
            _ => (&self.serving.handler, false),
        }
    }

    /// The version of a generation that serves, or has calls in progress.
    pub(super) fn version(&self, generation: u32) -> &PluginVersion {
        self.known.get(&generation).expect("a version with calls under way is known")
    }

    /// The values of the fields of an instance whose state a version has written. None if no
    /// version declares fields. If only the others do, the instance has none from now on.
    pub(super) fn field_values(&self, of: &PluginVersion, state: &State) -> Option<String> {
        match &of.fields {
            Some(fields) => Some(fields.values(Some(state))),
            None => self.has_fields.then(|| "{}".to_owned()),
        }
    }

    /// The version that the records name for a key's next event; without a key, the version that
    /// does the routing.
    pub(super) fn version_for(&self, key: Option<&Key>) -> Arc<str> {
        let generation = key.map_or(self.serving.generation, |key| self.generation_of(key));
        Arc::clone(&self.version(generation).of_plugin)
    }
}

fn subscriptions(manifest: &Manifest) -> HashMap<String, Arc<Subscription>> {
    let arc = |subscription: &Subscription| Arc::new(subscription.clone());
    manifest.subscriptions.iter().map(|s| (s.event_type.clone(), arc(s))).collect()
}

fn hold_max(subscriptions: &HashMap<String, Arc<Subscription>>) -> Option<Duration> {
    let hold = |subscription: &Arc<Subscription>| match subscription.absent {
        Absent::Hold(duration) => Some(duration),
        Absent::Ignore | Absent::Fail => None,
    };
    subscriptions.values().filter_map(hold).max()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{Correlation, Effect, Failure, OptionalPart, Source, State};
    use crate::seams::handler::{Call, Reply};

    struct Declared(Manifest);

    impl Handler for Declared {
        fn manifest(&self) -> &Manifest {
            &self.0
        }

        fn handle(&self, _: &Call) -> Result<Reply, Failure> {
            unreachable!("nothing is called here")
        }

        fn migrate(&self, _: &State, _: u32) -> Result<Bytes, String> {
            unreachable!("nothing is called here")
        }
    }

    fn handler(version: &str, types: &[(&str, Absent)]) -> Arc<dyn Handler> {
        let subscription = |(event_type, absent): &(&str, Absent)| Subscription {
            event_type: (*event_type).to_owned(),
            source: Source::Any,
            key: Correlation::Instance,
            effect: Effect::Handle,
            absent: *absent,
        };
        Arc::new(Declared(Manifest {
            name: "p".into(),
            role: Role::ProcessManager,
            version: version.into(),
            description: String::new(),
            subscriptions: types.iter().map(subscription).collect(),
            commands: BTreeSet::new(),
            events: BTreeSet::new(),
            lookups: BTreeSet::new(),
            streams: false,
            state_version: 1,
            optional: OptionalPart::default(),
        }))
    }

    fn event(event_type: &str) -> Event {
        let text =
            format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"{event_type}"}}"#);
        let mut event = Event::from_json(text.replace("sagabox.", "").as_bytes()).unwrap();
        event_type.clone_into(&mut event.event_type);
        event
    }

    fn canary(handler: &Arc<dyn Handler>, percent: f64) -> Canary {
        Canary { handler: Arc::clone(handler), share: Share::percent(percent).unwrap() }
    }

    #[test]
    fn a_canary_decides_its_share_and_the_serving_version_the_rest() {
        let mut versions = PluginVersions::new(handler("1", &[]));
        let next = handler("2", &[]);
        versions.set_canary(Some(canary(&next, 50.0)));
        let generations: BTreeSet<u32> =
            (0..100).map(|n| versions.generation_of(&format!("k{n}").into())).collect();
        assert_eq!(generations, BTreeSet::from([0, 1]));
        for n in 0..100 {
            let key = Key::from(format!("k{n}").as_str());
            let (of, is_canary) = versions.handler(versions.generation_of(&key));
            assert_eq!(*versions.version_for(Some(&key)), *of.manifest().version);
            assert_eq!(is_canary, Arc::ptr_eq(of, &next));
        }
        assert_eq!(&*versions.version_for(None), "1", "the serving version does the routing");
    }

    #[test]
    fn a_canary_keeps_its_generation_while_its_share_grows() {
        let mut versions = PluginVersions::new(handler("1", &[]));
        let next = handler("2", &[]);
        versions.set_canary(Some(canary(&next, 1.0)));
        let before = versions.canary_generation();
        versions.set_canary(Some(canary(&next, 100.0)));
        assert_eq!(versions.canary_generation(), before);
        versions.set_canary(Some(canary(&handler("2", &[]), 100.0)));
        assert_ne!(versions.canary_generation(), before, "another load of the same version");
        versions.set_canary(None);
        assert!(!versions.has_canary());
        assert_eq!(versions.generation_of(&"k".into()), 0);
    }

    #[test]
    fn an_earlier_version_is_known_until_its_calls_have_ended() {
        let mut versions = PluginVersions::new(handler("1", &[]));
        let next = handler("2", &[]);
        assert!(!versions.serves(&next));
        versions.replace(Arc::clone(&next));
        assert!(versions.serves(&next));
        assert_eq!(&*versions.version(0).of_plugin, "1", "its decisions are noted as its own");
        versions.forget_earlier();
        assert_eq!(&*versions.version(versions.serving_generation()).of_plugin, "2");
        assert_eq!(versions.known.len(), 1);
    }

    #[test]
    fn what_the_serving_version_takes_follows_it() {
        let hold = |seconds| Absent::Hold(Duration::from_secs(seconds));
        let mut versions = PluginVersions::new(handler(
            "1",
            &[("A", hold(5)), ("B", hold(9)), ("C", Absent::Fail)],
        ));
        assert_eq!(versions.hold_max(), Some(Duration::from_secs(9)));
        assert_eq!(versions.held().len(), 2);
        assert!(!versions.is_outdated(&event("D")), "the first version finds only what it takes");
        versions.replace(handler("2", &[("C", Absent::Ignore)]));
        assert_eq!((versions.hold_max(), versions.held().len()), (None, 0));
        assert_eq!(versions.types(), BTreeSet::from(["C".to_owned()]));
        assert!(versions.is_outdated(&event("A")) && !versions.is_outdated(&event("C")));
        assert!(!versions.is_outdated(&event(reserved::INSTANCE_ENDED)));
        assert!(versions.subscription(&event("A")).is_none());
        assert!(versions.subscription(&event(reserved::INSTANCE_ENDED)).is_some());
    }
}
