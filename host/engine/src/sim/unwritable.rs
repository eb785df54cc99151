//! Faults of a world: a store that cannot write some rows until an operator repairs it, one that
//! another host takes over, and one that fails while the host stops.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::scripts::AUDITOR;
use crate::lock;
use crate::model::{DeadLetter, DeadLetterStatus, DeadLetterSubject, Key};
use crate::seams::store::faulty::{CommitFault, Drawn, FaultRates, Faults};
use crate::seams::store::{Append, Batch, CommitError};

/// The rows that the store cannot write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unwritable {
    /// Events of senders, by their ids.
    pub events: BTreeSet<String>,
    /// The orders of which `rows` cannot be written.
    pub orders: BTreeSet<String>,
    pub rows: BTreeSet<Rows>,
    /// Whether a batch that removes old data cannot be written.
    pub expiry: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rows {
    Decisions,
    Claims,
    Messages,
    Held,
    Parked,
    /// The events of timers that are due.
    Timers,
    /// Dead letters of notes. The event of such a dead letter is discarded and counted.
    Notes,
    /// Dead letters of messages whose reason is the text that the sink gave.
    Reasons,
}

const ALL: [Rows; 8] = [
    Rows::Decisions,
    Rows::Claims,
    Rows::Messages,
    Rows::Held,
    Rows::Parked,
    Rows::Timers,
    Rows::Notes,
    Rows::Reasons,
];

impl Unwritable {
    pub(crate) fn draw(
        random: &mut StdRng,
        orders: impl Iterator<Item = String>,
        events: impl Iterator<Item = String>,
    ) -> Self {
        Self {
            events: events.filter(|_| random.random_ratio(1, 12)).collect(),
            orders: orders.take(2).filter(|_| random.random_ratio(2, 3)).collect(),
            rows: ALL.into_iter().filter(|_| random.random_ratio(1, 3)).collect(),
            expiry: random.random_ratio(1, 3),
        }
    }

    /// Whether a dead letter is about an order with unwritable rows.
    pub(crate) fn concerns(&self, dead_letter: &DeadLetter) -> bool {
        let data = String::from_utf8_lossy(&dead_letter.event.data);
        let instance = dead_letter.event.extension(crate::model::reserved::EXTENSION_INSTANCE);
        self.orders.iter().any(|order| {
            dead_letter.key.as_ref().is_some_and(|key| key.as_str() == order)
                || instance == Some(order.as_str())
                || data.contains(order.as_str())
        })
    }

    fn rejects(&self, batch: &Batch) -> bool {
        let is_bad = |key: &Key| self.orders.contains(key.as_str());
        let sent = |append: &Append| append.hops.0 == 0 && self.events.contains(&append.event.id);
        let fires =
            |append: &Append| append.fires.as_ref().is_some_and(|timer| is_bad(&timer.instance));
        let is_about = |dead_letter: &DeadLetter| dead_letter.key.as_ref().is_some_and(is_bad);
        let of_event = |dead_letter: &DeadLetter| dead_letter.subject == DeadLetterSubject::Event;
        let is_lost = |dead_letter: &DeadLetter| {
            of_event(dead_letter)
                && dead_letter.status == DeadLetterStatus::Open
                && dead_letter.plugin.as_str() == AUDITOR
                && is_about(dead_letter)
        };
        // A reason that the store gave can be written.
        let says_why = |dead_letter: &DeadLetter| {
            !of_event(dead_letter)
                && dead_letter.reason.starts_with("planted")
                && is_about(dead_letter)
        };
        batch.appends.iter().any(sent)
            || (self.expiry && batch.expire.is_some())
            || self.rows.iter().any(|rows| match rows {
                Rows::Decisions => batch.decisions.iter().any(|row| is_bad(&row.key)),
                Rows::Claims => batch.claims.iter().any(|row| row.claimed && is_bad(&row.instance)),
                Rows::Messages => batch.messages.iter().any(|row| is_bad(&row.key)),
                Rows::Held => batch.held.iter().any(|row| is_bad(&row.key)),
                Rows::Parked => batch.parked.iter().any(|row| is_bad(&row.key)),
                Rows::Timers => batch.appends.iter().any(fires),
                Rows::Notes => batch.dead_letters.iter().any(|dead_letter| is_lost(dead_letter)),
                Rows::Reasons => batch.dead_letters.iter().any(|dead_letter| says_why(dead_letter)),
            })
    }
}

/// The faults that are drawn from a seed, and the unwritable rows.
pub(crate) struct Planted {
    drawn: Drawn,
    unwritable: Unwritable,
    cured: Arc<AtomicBool>,
    /// How often another host takes over, in thousandths of the commits.
    fenced: u32,
    /// Whether every read and commit fails.
    is_broken: Arc<AtomicBool>,
    random: Mutex<StdRng>,
}

impl Planted {
    pub(crate) fn new(
        rates: FaultRates,
        seed: u64,
        unwritable: Unwritable,
        cured: Arc<AtomicBool>,
        fenced: u32,
        is_broken: Arc<AtomicBool>,
    ) -> Self {
        let random = Mutex::new(StdRng::seed_from_u64(seed.rotate_left(7)));
        Self { drawn: Drawn::new(rates, seed), unwritable, cured, fenced, is_broken, random }
    }
}

impl Faults for Planted {
    fn delay(&self) -> Duration {
        self.drawn.delay()
    }

    fn commit(&self) -> Option<CommitFault> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Some(CommitFault::Refused);
        }
        let mut random = lock(&self.random);
        match random.random_range(0..1_000) < self.fenced {
            true => Some(CommitFault::Fenced),
            false => self.drawn.commit(),
        }
    }

    fn batch(&self, batch: &Batch) -> Option<CommitError> {
        let rejects = !self.cured.load(Ordering::Relaxed) && self.unwritable.rejects(batch);
        rejects.then(|| CommitError::Rejected("planted: a row cannot be written".to_owned()))
    }

    fn read(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed) || self.drawn.read()
    }
}
