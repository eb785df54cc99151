//! Pure: keys that wait behind dead letters. Items that come for such a key are parked: they
//! become rows of the store, in order and bounded in number. When the dead letter is resolved,
//! the rows are taken back in portions, and the key continues. The dispatcher and the lanes of
//! sinks use it.
//!
//! A key can have several unresolved dead letters: when too many items wait behind the first one,
//! the next item becomes a dead letter itself. They are resolved in their order, and between two of
//! them only the rows between them are taken back.
//!
//! A key can also wait for the next attempt at its first row, or at a dead letter that is being
//! redriven. It sleeps: its rows from that place on wait until it is woken (`waits.rs`).
//!
//! A key can also be paused by an operator: then all of its rows wait until it is resumed, and any
//! number may, because the total is bounded elsewhere (`changes/backlog.rs`).
//!
//! Memory has the place of each parked row, and never its content. The rows of one key are read
//! in portions. The rows that were taken back, of all keys together, are bounded in bytes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hash;

use crate::model::{DeadLetterId, Key, OpenDeadLetter};
use crate::pure::hash::HashMap;

/// Rows in one portion, as in the other reads of the engine.
pub(crate) const PORTION_ROWS: usize = 512;
/// The next portion of a key is read when at most this many rows of the last one are not
/// settled.
const LANE_ROWS_MIN: usize = 64;
/// Bytes in one portion, beyond its first row: some hundred usual events.
pub(crate) const PORTION_BYTES: usize = 1 << 20;
/// Bytes of all rows that are taken back and not settled. As many portions are read at a time as
/// fit.
const TAKEN_BYTES_MAX: usize = 16 << 20;
/// Items that come for a key while its portion is read stay in memory, up to this many. Further
/// ones are parked as well.
const BUFFER_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct Parking<K, T> {
    keys: HashMap<K, Parked<T>>,
    waiting_max: u64,
    /// Keys that may have a portion to read. A key may have changed since.
    ready: VecDeque<K>,
    /// Portions that are being read.
    reading: usize,
    /// The bytes of all rows that are taken back and not settled.
    taken_bytes: usize,
    /// The rows of paused keys that wait.
    paused_rows: usize,
}

#[derive(Debug)]
struct Parked<T> {
    /// The unresolved dead letters, by their places.
    dead_letters: BTreeMap<u64, Unresolved>,
    /// The places of the parked rows that are neither being read nor taken back.
    waiting: BTreeSet<u64>,
    /// The places of the portion that is being read.
    reading: Option<BTreeSet<u64>>,
    /// The rows that are in the lane again: place and bytes.
    taken: BTreeMap<u64, usize>,
    /// The items that came while a portion was read.
    buffer: Vec<T>,
    /// The place whose next attempt the key waits for; none if it does not sleep.
    retry_place: Option<u64>,
    /// Whether an operator has paused the key.
    is_paused: bool,
    /// Whether the key is in `ready`.
    queued: bool,
}

#[derive(Clone, Copy, Debug)]
struct Unresolved {
    id: DeadLetterId,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// No operator has resolved it: the key waits behind it.
    Open,
    /// It will be redriven, and is read with the next portion.
    Redriving,
    /// It is in its lane, and is being redriven.
    Taken,
}

/// What to read for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Portion<K> {
    pub key: K,
    /// A dead letter to redrive. It comes before all of the places.
    pub dead_letter: Option<DeadLetterId>,
    pub places: BTreeSet<u64>,
}

/// What to do with an item that comes for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Put it into its lane.
    Free,
    /// Park it.
    Park,
    /// Too many items wait already: make it a dead letter itself. Names the key's first dead
    /// letter, if the key waits behind one.
    Overflow(Option<DeadLetterId>),
    /// Give it to `buffer`, because the key is about to continue.
    Buffer,
}

/// Why a dead letter cannot be resolved now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is resolved already, or is being redriven.
    NotOpen,
    /// This dead letter of the same key comes first.
    NotFirst(DeadLetterId),
    /// Rows behind an earlier dead letter are being taken back.
    Resuming,
    /// A row before it waits for its next attempt.
    Waiting,
}

impl<T> Default for Parked<T> {
    fn default() -> Self {
        Self {
            dead_letters: BTreeMap::new(),
            waiting: BTreeSet::new(),
            reading: None,
            taken: BTreeMap::new(),
            buffer: Vec::new(),
            retry_place: None,
            is_paused: false,
            queued: false,
        }
    }
}

impl<T> Parked<T> {
    /// The first dead letter that the key waits behind.
    fn open(&self) -> Option<(u64, Unresolved)> {
        let mut dead_letters =
            self.dead_letters.iter().map(|(place, dead_letter)| (*place, *dead_letter));
        dead_letters.find(|(_, dead_letter)| dead_letter.step == Step::Open)
    }

    /// Rows from this place on wait: for an operator, behind an open dead letter, or for the next
    /// attempt.
    fn limit(&self) -> u64 {
        if self.is_paused {
            return 0;
        }
        self.limit_of_dead_letters().min(self.retry_place.unwrap_or(u64::MAX))
    }

    fn limit_of_dead_letters(&self) -> u64 {
        self.open().map_or(u64::MAX, |(place, _)| place)
    }

    /// The dead letter that will be redriven next. Only the first of a key is ever redriven.
    fn redriving(&self) -> Option<(u64, DeadLetterId)> {
        let (place, dead_letter) = self.dead_letters.first_key_value()?;
        let is_due =
            !self.is_paused && self.retry_place.is_none_or(|retry_place| *place < retry_place);
        (dead_letter.step == Step::Redriving && is_due).then_some((*place, dead_letter.id))
    }

    /// The first place that is not in the lane yet.
    fn first_outside(&self) -> Option<u64> {
        if self.is_paused {
            return Some(0);
        }
        let reading = self.reading.iter().flatten().next().copied();
        let dead_letter =
            self.dead_letters.iter().find(|(_, dead_letter)| dead_letter.step != Step::Taken);
        let dead_letter = dead_letter.map(|(place, _)| *place);
        [self.waiting.first().copied(), reading, dead_letter].into_iter().flatten().min()
    }

    /// Rows from this place on wait behind another dead letter than the one that comes next.
    /// That one need not be open: a row before a dead letter that is redriven can become a dead
    /// letter too.
    fn next_limit(&self) -> u64 {
        let next = self.redriving().map(|(place, _)| place);
        let is_outside = |(place, dead_letter): &(&u64, &Unresolved)| {
            dead_letter.step != Step::Taken && Some(**place) != next
        };
        let first = self.dead_letters.iter().find(is_outside).map(|(place, _)| *place);
        first.map_or(self.limit(), |place| place.min(self.limit()))
    }

    /// Whether there is a portion that the lane may have now.
    fn has_next(&self) -> bool {
        let row = self.waiting.first().is_some_and(|place| *place < self.next_limit());
        let has_room = self.reading.is_none() && self.taken.len() <= LANE_ROWS_MIN;
        has_room && (row || self.redriving().is_some())
    }

    /// The dead letter and the rows that the lane gets next.
    fn next(&self) -> (Option<DeadLetterId>, BTreeSet<u64>) {
        let dead_letter = self.redriving();
        // Rows left behind an earlier dead letter come before the next dead letter.
        let earlier =
            dead_letter.filter(|(place, _)| self.waiting.first().is_some_and(|w| w < place));
        let limit = earlier.map_or(self.next_limit(), |(place, _)| place);
        let dead_letter = dead_letter.filter(|_| earlier.is_none()).map(|(_, id)| id);
        (dead_letter, self.waiting.range(..limit).take(PORTION_ROWS).copied().collect())
    }

    fn is_idle(&self) -> bool {
        self.dead_letters.is_empty()
            && self.waiting.is_empty()
            && self.reading.is_none()
            && self.taken.is_empty()
            && self.buffer.is_empty()
            && !self.is_paused
    }
}

impl<K, T> Parking<K, T> {
    pub(crate) fn new(waiting_max: u64) -> Self {
        Self {
            keys: HashMap::default(),
            waiting_max,
            ready: VecDeque::new(),
            reading: 0,
            taken_bytes: 0,
            paused_rows: 0,
        }
    }
}

impl<K: Clone + Eq + Hash, T> Parking<K, T> {
    /// Restores what the store has of a key.
    pub(crate) fn restore(
        &mut self,
        key: &K,
        dead_letters: &[OpenDeadLetter],
        waiting: &[u64],
        retry_place: Option<u64>,
    ) {
        let dead_letters = dead_letters.iter().map(|&OpenDeadLetter { id, place, redriving }| {
            let step = if redriving { Step::Redriving } else { Step::Open };
            (place, Unresolved { id, step })
        });
        let parked = Parked {
            dead_letters: dead_letters.collect(),
            waiting: waiting.iter().copied().collect(),
            retry_place,
            ..Parked::default()
        };
        self.keys.insert(key.clone(), parked);
        self.offer(key);
    }

    pub(crate) fn admit(&self, key: &K, place: u64) -> Admission {
        let Some(parked) = self.keys.get(key) else { return Admission::Free };
        if parked.first_outside().is_none_or(|first| place < first) {
            return Admission::Free;
        }
        if parked.is_paused {
            return Admission::Park;
        }
        match parked.open() {
            open if (open.is_some() || parked.retry_place.is_some())
                && parked.waiting.len() as u64 >= self.waiting_max =>
            {
                Admission::Overflow(open.map(|(_, dead_letter)| dead_letter.id))
            }
            None if parked.retry_place.is_none()
                && parked.waiting.is_empty()
                && parked.buffer.len() < BUFFER_MAX =>
            {
                Admission::Buffer
            }
            _ => Admission::Park,
        }
    }

    /// Whether the key has an unresolved dead letter or a parked row.
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.keys.contains_key(key)
    }

    /// Whether anything of the key that is before a place is not settled: a row, also if it was
    /// taken back, or a dead letter.
    pub(crate) fn waits_before(&self, key: &K, place: u64) -> bool {
        let Some(parked) = self.keys.get(key) else { return false };
        let reading = parked.reading.iter().flatten().next();
        let rows = [parked.waiting.first(), reading, parked.taken.keys().next()];
        let first = rows.into_iter().flatten().chain(parked.dead_letters.keys().next()).min();
        first.is_some_and(|first| *first < place)
    }

    /// Whether no key waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a portion of the key is being read.
    pub(crate) fn is_reading(&self, key: &K) -> bool {
        self.keys.get(key).is_some_and(|parked| parked.reading.is_some())
    }

    /// Notes that a row was parked, or is parked again after it was taken back.
    pub(crate) fn park(&mut self, key: &K, place: u64) {
        let parked = self.entry(key);
        let is_new = parked.waiting.insert(place);
        let paused_rows = usize::from(is_new && parked.is_paused);
        let bytes = parked.taken.remove(&place).unwrap_or(0);
        self.taken_bytes -= bytes;
        self.paused_rows += paused_rows;
        self.offer(key);
    }

    /// Lets the key wait for the next attempt at this place, which is a row or a dead letter
    /// that is being redriven.
    pub(crate) fn sleep(&mut self, key: &K, place: u64) {
        self.entry(key).retry_place = Some(place);
    }

    /// Whether this place is parked or being redriven, so that it can be read again.
    pub(crate) fn is_aside(&self, key: &K, place: u64) -> bool {
        self.keys.get(key).is_some_and(|parked| {
            let dead_letter = parked.dead_letters.get(&place);
            parked.waiting.contains(&place)
                || dead_letter.is_some_and(|dead_letter| dead_letter.step == Step::Redriving)
        })
    }

    /// The place at which the key sleeps; none if it does not.
    pub(crate) fn retry_place(&self, key: &K) -> Option<u64> {
        self.keys.get(key).and_then(|parked| parked.retry_place)
    }

    /// Ends the key's wait.
    pub(crate) fn wake(&mut self, key: &K) {
        if let Some(parked) = self.keys.get_mut(key) {
            parked.retry_place = None;
        }
        self.offer(key);
    }

    /// Lets all rows of the key wait, and all that come, until the key is resumed.
    pub(crate) fn pause(&mut self, key: &K) {
        let parked = self.entry(key);
        if !std::mem::replace(&mut parked.is_paused, true) {
            let rows = parked.waiting.len();
            self.paused_rows += rows;
        }
    }

    /// Lets the rows of the key continue. Another reason to wait, as a dead letter, stays.
    pub(crate) fn resume(&mut self, key: &K) {
        if let Some(parked) = self.keys.get_mut(key)
            && std::mem::take(&mut parked.is_paused)
        {
            self.paused_rows -= parked.waiting.len();
        }
        self.offer(key);
    }

    /// The rows of all paused keys that wait.
    pub(crate) fn paused_rows(&self) -> usize {
        self.paused_rows
    }

    /// The first of the key's rows that wait, and their number.
    pub(crate) fn waiting(&self, key: &K) -> (Option<u64>, usize) {
        let waiting = self.keys.get(key).map(|parked| &parked.waiting);
        waiting.map_or((None, 0), |places| (places.first().copied(), places.len()))
    }

    /// Notes that a row that was taken back is settled.
    pub(crate) fn unpark(&mut self, key: &K, place: u64) {
        if let Some(parked) = self.keys.get_mut(key) {
            self.taken_bytes -= parked.taken.remove(&place).unwrap_or(0);
        }
        self.offer(key);
    }

    /// Notes that an item of the key became a dead letter. From now on the key waits behind it.
    pub(crate) fn dead_letter(&mut self, key: &K, place: u64, id: DeadLetterId) {
        self.entry(key).dead_letters.insert(place, Unresolved { id, step: Step::Open });
    }

    /// Whether a dead letter may be resolved now.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(crate) fn check(&self, key: &K, place: u64, id: DeadLetterId) -> Result<(), Refusal> {
        let parked = self.keys.get(key).ok_or(Refusal::NotOpen)?;
        let dead_letter = parked.dead_letters.get(&place).ok_or(Refusal::NotOpen)?;
        if dead_letter.id != id || dead_letter.step != Step::Open {
            return Err(Refusal::NotOpen);
        }
        if parked.retry_place.is_some_and(|retry_place| retry_place < place) {
            return Err(Refusal::Waiting);
        }
        let waits = parked.waiting.first().is_some_and(|first| *first < place);
        match parked.dead_letters.first_key_value() {
            Some((&first, _)) if first == place => match waits || parked.reading.is_some() {
                true => Err(Refusal::Resuming),
                false => Ok(()),
            },
            Some((_, first)) => Err(Refusal::NotFirst(first.id)),
            None => Err(Refusal::NotOpen),
        }
    }

    /// Lets a dead letter be redriven, and then the rows behind it.
    pub(crate) fn redrive(&mut self, key: &K, place: u64) {
        self.mark(key, place, Step::Redriving);
    }

    /// Notes that the redrive of a dead letter failed.
    pub(crate) fn reopen(&mut self, key: &K, place: u64) {
        self.mark(key, place, Step::Open);
    }

    fn mark(&mut self, key: &K, place: u64, step: Step) {
        if let Some(parked) = self.keys.get_mut(key)
            && let Some(dead_letter) = parked.dead_letters.get_mut(&place)
        {
            dead_letter.step = step;
            self.taken_bytes -= parked.taken.remove(&place).unwrap_or(0);
        }
        self.offer(key);
    }

    /// Notes that a dead letter is settled. The rows behind it continue.
    pub(crate) fn resolve(&mut self, key: &K, place: u64) {
        if let Some(parked) = self.keys.get_mut(key) {
            parked.dead_letters.remove(&place);
            self.taken_bytes -= parked.taken.remove(&place).unwrap_or(0);
        }
        self.offer(key);
    }

    /// Notes that a dead letter is settled, and with it the rows that wait behind it alone.
    /// Returns their places.
    pub(crate) fn discard(&mut self, key: &K, place: u64) -> Vec<u64> {
        let mut places = Vec::new();
        if let Some(parked) = self.keys.get_mut(key) {
            parked.dead_letters.remove(&place);
            // Rows behind another dead letter stay, also if that one will be redriven.
            let later =
                parked.dead_letters.iter().find(|(_, dead_letter)| dead_letter.step != Step::Taken);
            let limit = later.map_or(u64::MAX, |(place, _)| *place);
            places.extend(parked.waiting.range(place..limit));
            parked.retry_place = parked.retry_place.filter(|at| !(place..limit).contains(at));
            places.iter().for_each(|place| _ = parked.waiting.remove(place));
            self.paused_rows -= if parked.is_paused { places.len() } else { 0 };
        }
        self.offer(key);
        places
    }

    /// Settles all dead letters that are open or wait for their next attempt, and all parked rows.
    /// Returns the ids and the places.
    pub(crate) fn give_up(&mut self, key: &K) -> (Vec<DeadLetterId>, Vec<u64>) {
        let Some(parked) = self.keys.get_mut(key) else { return Default::default() };
        let retry_place = parked.retry_place.take();
        let is_idle = |place: &u64, dead_letter: &mut Unresolved| {
            dead_letter.step == Step::Open || retry_place == Some(*place)
        };
        let open = parked.dead_letters.extract_if(.., is_idle);
        let dead_letters = open.map(|(_, dead_letter)| dead_letter.id).collect();
        let places: Vec<u64> = std::mem::take(&mut parked.waiting).into_iter().collect();
        self.paused_rows -= if parked.is_paused { places.len() } else { 0 };
        self.offer(key);
        (dead_letters, places)
    }

    /// Rows that were read from this place on wait again, because a row before them became a
    /// dead letter meanwhile.
    pub(crate) fn limit(&self, key: &K) -> u64 {
        self.keys.get(key).map_or(u64::MAX, Parked::limit)
    }

    pub(crate) fn buffer(&mut self, key: &K, item: T) {
        self.keys.get_mut(key).expect("`admit` said so").buffer.push(item);
    }

    /// The next portion to read. Keys take turns. None while enough rows are in memory. A row
    /// must be durable before it is read.
    pub(crate) fn next_portion(&mut self) -> Option<Portion<K>> {
        while self.taken_bytes + self.reading * PORTION_BYTES < TAKEN_BYTES_MAX {
            let key = self.ready.pop_front()?;
            let Some(parked) = self.keys.get_mut(&key) else { continue };
            parked.queued = false;
            if !parked.has_next() {
                continue;
            }
            let (dead_letter, places) = parked.next();
            places.iter().for_each(|place| _ = parked.waiting.remove(place));
            parked.reading = Some(places.clone());
            self.reading += 1;
            return Some(Portion { key, dead_letter, places });
        }
        None
    }

    /// Notes that a portion was read: its dead letter, if it has one, and the first of its rows,
    /// with their bytes. The other rows wait again. Returns the items that came meanwhile, which
    /// the caller admits now.
    pub(crate) fn end_portion(
        &mut self,
        key: &K,
        dead_letter_bytes: Option<usize>,
        rows: impl IntoIterator<Item = (u64, usize)>,
    ) -> Vec<T> {
        self.reading -= 1;
        let Some(parked) = self.keys.get_mut(key) else { return Vec::new() };
        let Some(mut rest) = parked.reading.take() else { return Vec::new() };
        let mut taken: Vec<(u64, usize)> = rows.into_iter().collect();
        taken.iter().for_each(|(place, _)| _ = rest.remove(place));
        self.paused_rows += if parked.is_paused { rest.len() } else { 0 };
        parked.waiting.append(&mut rest);
        if let Some(bytes) = dead_letter_bytes
            && let Some((place, _)) = parked.redriving()
            && let Some(dead_letter) = parked.dead_letters.get_mut(&place)
        {
            dead_letter.step = Step::Taken;
            taken.push((place, bytes));
        }
        self.taken_bytes += taken.iter().map(|(_, bytes)| bytes).sum::<usize>();
        parked.taken.extend(taken);
        let buffer = std::mem::take(&mut parked.buffer);
        self.offer(key);
        buffer
    }

    fn entry(&mut self, key: &K) -> &mut Parked<T> {
        if !self.keys.contains_key(key) {
            self.keys.insert(key.clone(), Parked::default());
        }
        self.keys.get_mut(key).expect("it is there now")
    }

    /// Notes that a key may have a portion to read, or forgets the key if nothing is left of it.
    fn offer(&mut self, key: &K) {
        let Some(parked) = self.keys.get_mut(key) else { return };
        if parked.is_idle() {
            self.keys.remove(key);
        } else if !parked.queued && parked.has_next() {
            parked.queued = true;
            self.ready.push_back(key.clone());
        }
    }
}

/// The reason of an item that became a dead letter because too many items wait for its key.
pub(crate) fn too_many(what: &str, key: &Key, first: Option<DeadLetterId>) -> String {
    match first {
        Some(first) => format!("too many {what} of `{key}` wait behind dead letter {}", first.0),
        None => format!("too many {what} of `{key}` wait for its next attempt"),
    }
}

#[cfg(test)]
mod tests;
