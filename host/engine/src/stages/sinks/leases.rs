//! The open leases of one queue: which worker has which messages, since when and until when, in the
//! order in which they end. It knows neither the messages nor what becomes of them.
//!
//! The names of workers are here and nowhere else: a name is dropped with its last lease, so there
//! are never more names than leased messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{LeaseId, MessageId, Timestamp, WorkerLeases};
use crate::pure::hash::HashMap;
use crate::pure::monotonic::Instant;
use crate::stages::sinks::lanes::parcel::Lane;

/// A lease with at least one message. Its dates are for people: they are those at which the worker
/// asked, and the end that it was given, also if the wall clock is set meanwhile.
pub(super) struct OpenLease {
    pub worker: Option<Arc<str>>,
    pub since: Instant,
    pub leased_at: Timestamp,
    /// When the worker last asked for something about the lease.
    pub seen_at: Timestamp,
    pub expires_at: Instant,
    /// The date of `expires_at`.
    pub ends_at: Timestamp,
    pub messages: HashMap<MessageId, (Lane, u64)>,
}

impl OpenLease {
    /// The messages after a sequence, with their lanes.
    pub(super) fn messages_after(&self, after: u64) -> impl Iterator<Item = (&Lane, u64)> {
        let all = self.messages.values().map(|(lane, sequence)| (lane, *sequence));
        all.filter(move |(_, sequence)| *sequence > after)
    }
}

#[derive(Default)]
pub(super) struct Leases {
    open: HashMap<LeaseId, OpenLease>,
    expiry: BTreeMap<(Instant, LeaseId), ()>,
}

impl Leases {
    pub(super) fn insert(&mut self, id: LeaseId, lease: OpenLease) {
        self.expiry.insert((lease.expires_at, id), ());
        self.open.insert(id, lease);
    }

    pub(super) fn get(&self, id: LeaseId) -> Option<&OpenLease> {
        self.open.get(&id)
    }

    /// The lease, of which the worker asks for something now.
    pub(super) fn touch(&mut self, id: LeaseId, today: Timestamp) -> Option<&mut OpenLease> {
        let lease = self.open.get_mut(&id)?;
        lease.seen_at = today;
        Some(lease)
    }

    pub(super) fn remove(&mut self, id: LeaseId) -> Option<OpenLease> {
        let lease = self.open.remove(&id)?;
        self.expiry.remove(&(lease.expires_at, id));
        Some(lease)
    }

    /// Changes the end of a lease. Returns false if it has ended.
    pub(super) fn extend(
        &mut self,
        id: LeaseId,
        (until, ends_at): (Instant, Timestamp),
        today: Timestamp,
    ) -> bool {
        let Some(lease) = self.touch(id, today) else { return false };
        let before = std::mem::replace(&mut lease.expires_at, until);
        lease.ends_at = ends_at;
        self.expiry.remove(&(before, id));
        self.expiry.insert((until, id), ());
        true
    }

    /// Removes one of the leases that have expired, the earliest first.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<(LeaseId, OpenLease)> {
        let (&(at, id), ()) = self.expiry.first_key_value()?;
        let lease = (at <= now).then(|| self.remove(id))??;
        Some((id, lease))
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        self.expiry.first_key_value().map(|(&(at, _), ())| at)
    }

    /// The number of leased messages.
    pub(super) fn messages(&self) -> usize {
        self.open.values().map(|lease| lease.messages.len()).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LeaseId, &OpenLease)> {
        self.open.iter().map(|(id, lease)| (*id, lease))
    }

    /// The lanes of the leased messages.
    pub(super) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.open.values().flat_map(|lease| lease.messages.values()).map(|(lane, _)| lane)
    }

    /// The workers that have leases, the one with the oldest first.
    pub(super) fn workers(&self) -> Vec<WorkerLeases> {
        let mut workers: BTreeMap<Option<&Arc<str>>, WorkerLeases> = BTreeMap::new();
        for lease in self.open.values() {
            let own = workers.entry(lease.worker.as_ref()).or_insert_with(|| WorkerLeases {
                worker: lease.worker.clone(),
                messages: 0,
                oldest_at: lease.leased_at,
                next_end_at: lease.ends_at,
                seen_at: lease.seen_at,
            });
            own.messages += lease.messages.len();
            own.oldest_at = own.oldest_at.min(lease.leased_at);
            own.next_end_at = own.next_end_at.min(lease.ends_at);
            own.seen_at = own.seen_at.max(lease.seen_at);
        }
        let mut workers: Vec<_> = workers.into_values().collect();
        workers.sort_by_key(|own| own.oldest_at);
        workers
    }
}
