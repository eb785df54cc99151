//! Redriven events that an operator has edited. The dispatcher routes them by the plugin's rules as
//! if they arrived now. An event that still belongs to the instance or lane at which it failed
//! takes its old place there. An event that names other keys is appended to the log once more, and
//! is decided in the order of its new place. An event that cannot be routed is refused.
//!
//! An instance that already got the original event never gets the edited one, because it would
//! decide the event twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::changes::resolve::{ResolveError, ResolveRequest, keep_reserved};
use crate::model::{Action, DeadLetter, Event, Key, reserved};
use crate::pure::correlate::correlate;
use crate::seams::store::StoredInstance;
use crate::stages::reads::{detached, until_read};

use super::spans::keep_trace;
use super::{Dispatcher, Via};

/// An edited event that names other keys than the one at which it failed, and the stored
/// instances of all of its keys, before and after.
pub(super) struct Rerouted {
    request: ResolveRequest,
    keys: Keys,
    instances: Vec<StoredInstance>,
}

/// The correlation keys of a dead letter's event, before and after the edit.
struct Keys {
    before: BTreeSet<Key>,
    after: BTreeSet<Key>,
}

/// Where an edited event goes.
enum Route {
    /// To the instance or lane at which it failed, in its old place.
    Stay,
    /// To the end of the log.
    Move,
}

impl Dispatcher {
    /// Whether a delivery is the event of a dead letter that was edited and now names other keys.
    pub(super) fn is_rerouted(&self, via: Via) -> bool {
        let Via::DeadLetter(id) = via else { return false };
        let Some(dead_letter) = self.dead_letters.in_lane(id) else { return false };
        dead_letter
            .edited
            .as_ref()
            .is_some_and(|edited| self.correlated(edited) != self.correlated(&dead_letter.event))
    }

    /// The keys of an event by the current rules; empty if it has none.
    fn correlated(&self, event: &Event) -> BTreeSet<Key> {
        let rule = self.versions.subscription(event);
        let keys = rule.and_then(|rule| correlate(event, &rule.key).ok());
        keys.unwrap_or_default().into_iter().collect()
    }

    /// Returns the request, unless it is refused, or is about an edited event whose route must be
    /// found first.
    pub(super) fn check_edited(&mut self, mut request: ResolveRequest) -> Option<ResolveRequest> {
        let Action::Redrive { edited: Some(edited) } = &mut request.resolution.action else {
            return Some(request);
        };
        let dead_letter = &request.dead_letter;
        let keys = match self.keys_of(dead_letter, edited) {
            Ok(keys) => keys,
            Err(reason) => {
                let refused = Err(ResolveError::Edited { id: dead_letter.id.0, reason });
                self.answer(request.reply, refused);
                return None;
            }
        };
        let Some(key) = dead_letter.key.clone() else { return Some(request) };
        if let Err(refused) = self.check_dead_letter(&key, dead_letter) {
            self.answer(request.reply, Err(refused));
            return None;
        }
        let of_host = edited.event_type.starts_with(reserved::PREFIX);
        let extra = |after: &Key| *after != key && !keys.before.contains(after);
        let stays = keys.after.contains(&key) && !keys.after.iter().any(extra);
        // An event that still has the keys by which it came reaches the same instance as before.
        if of_host || stays || keys.before == keys.after {
            return Some(request);
        }
        if self.versions.has_instances() {
            self.reroute(key, keys, request);
        } else {
            self.on_rerouted(Rerouted { request, keys, instances: Vec::new() });
        }
        None
    }

    /// Reads the instances of the keys that the event named before, and names now.
    fn reroute(&mut self, key: Key, keys: Keys, request: ResolveRequest) {
        let (store, plugin) = (Arc::clone(&self.context.store), self.plugin.clone());
        let mut all = vec![key];
        all.extend(keys.before.iter().chain(&keys.after).cloned());
        self.reroutes.push(detached(async move {
            let instances = until_read(
                || store.load(&plugin, &all),
                |error| tracing::warn!(%plugin, %error, "reading instances failed; retrying"),
            );
            let instances = instances.await;
            Rerouted { request, keys, instances }
        }));
    }

    pub(super) fn on_rerouted(&mut self, rerouted: Rerouted) {
        let Rerouted { request, keys, instances } = rerouted;
        let ResolveRequest { dead_letter, resolution, reply } = request;
        let Some(key) = dead_letter.key.clone() else { return };
        let route = self.route_of(&key, &keys, instances).map_err(|reason| {
            let id = dead_letter.id.0;
            ResolveError::Edited { id, reason }
        });
        // Another request may have resolved it meanwhile.
        let route = self.check_dead_letter(&key, &dead_letter).and(route);
        let outcome = match route {
            Ok(Route::Stay) => self.resolve(&key, dead_letter, resolution),
            Ok(Route::Move) => self.requeue(dead_letter, resolution),
            Err(refused) => Err(refused),
        };
        self.answer(reply, outcome);
    }

    fn route_of(
        &self,
        key: &Key,
        keys: &Keys,
        stored: Vec<StoredInstance>,
    ) -> Result<Route, String> {
        let mut own = BTreeSet::from([key.clone()]);
        let mut has_it = None;
        for StoredInstance { instance, claims, .. } in stored {
            // The instance in memory may be newer.
            let claims = self.instance_cache.claims_of(&instance.key).unwrap_or(&claims);
            let has = |keys: &BTreeSet<Key>| {
                keys.iter().any(|k| *k == instance.key || claims.contains(k))
            };
            if instance.key == *key {
                own.extend(claims.iter().cloned());
            } else if has(&keys.before) && has(&keys.after) {
                has_it = Some(instance.key.clone());
            }
        }
        let named_before = |after: &&Key| keys.before.contains(after);
        if keys.after.iter().any(|after| own.contains(after)) {
            let extra = |after: &&Key| !own.contains(*after) && !named_before(after);
            return match keys.after.iter().find(extra) {
                None => Ok(Route::Stay),
                Some(extra) => Err(format!(
                    "it still reaches `{key}`, and also `{extra}`; remove that key, and \
                     send a separate event for it"
                )),
            };
        }
        match keys.after.iter().find(named_before).cloned().or(has_it) {
            None => Ok(Route::Move),
            Some(has_it) => Err(format!(
                "it no longer reaches `{key}`, and `{has_it}` has already received the original event"
            )),
        }
    }

    /// Checks an edited event, and finds its keys. The attributes that the host has set on it stay.
    fn keys_of(&self, dead_letter: &DeadLetter, edited: &mut Event) -> Result<Keys, String> {
        let original = &dead_letter.event;
        if (&edited.id, &edited.source) != (&original.id, &original.source) {
            return Err(format!(
                "its id and source must stay `{}` and `{}`: they are its identity",
                original.id, original.source
            ));
        }
        let of_host = |event: &Event| event.event_type.starts_with(reserved::PREFIX);
        if of_host(original) && edited.event_type != original.event_type {
            return Err(format!("its type must stay `{}`", original.event_type));
        }
        if !of_host(original) && of_host(edited) {
            return Err(format!("`{}` is a type of the host's own events", edited.event_type));
        }
        keep_reserved(original, edited)?;
        keep_trace(original, edited);
        let Some(subscription) = self.versions.subscription(edited) else {
            return Err(match self.versions.of_type(&edited.event_type) {
                None => format!("{} does not subscribe to `{}`", self.plugin, edited.event_type),
                Some(own) => format!(
                    "{} takes `{}` from {}, and not from `{}`",
                    self.plugin, edited.event_type, own.source, edited.source
                ),
            });
        };
        let after = correlate(edited, &subscription.key)?;
        if after.is_empty() {
            return Err("its list of correlation keys is empty".to_owned());
        }
        let before = self.correlated(&dead_letter.event);
        Ok(Keys { before, after: after.into_iter().collect() })
    }
}
