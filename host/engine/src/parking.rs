//! Pure: keys that wait behind dead letters. What comes for such a key is put
//! aside in the store, in order and bounded; once the letter is resolved it is
//! taken back, and the key goes on. Dispatcher and outlet use it.
//!
//! A key can have several unresolved letters: when too much waits behind the
//! first, what comes next becomes a letter itself. They are resolved in their
//! order, and between two of them only what lies between them is taken back.

use std::collections::BTreeMap;
use std::hash::Hash;

use crate::hash::HashMap;
use crate::model::DeadLetterId;
use crate::store::{OpenLetter, ParkedKey};

#[derive(Debug)]
pub struct Parking<K, T> {
    keys: HashMap<K, Parked<T>>,
    waiting_max: u64,
}

#[derive(Debug)]
struct Parked<T> {
    /// Unresolved, by their place.
    letters: BTreeMap<u64, Letter>,
    /// Rows put aside and not settled since.
    waiting: u64,
    /// Set while what waits is read back.
    resuming: Option<Resuming<T>>,
}

#[derive(Clone, Copy, Debug)]
struct Letter {
    id: DeadLetterId,
    /// Somebody asked for it to be tried again: it is about to be, or is in its lane.
    redriving: bool,
}

#[derive(Debug)]
struct Resuming<T> {
    discard: bool,
    /// What came for the key meanwhile.
    buffer: Vec<T>,
}

/// What to do with something that comes for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Put it into its lane.
    Free,
    /// Put it aside, in the store.
    Park,
    /// Too much waits already: make it a letter of its own. Names the first letter.
    Overflow(DeadLetterId),
    /// Give it to `buffer`: the key is about to go on.
    Buffer,
}

/// Why a letter cannot be resolved now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is resolved, or being redriven.
    NotOpen,
    /// This one of the same key comes first.
    NotFirst(DeadLetterId),
    /// What waits behind an earlier letter is just being taken back.
    Resuming,
}

impl<K, T> Parking<K, T> {
    pub fn new(waiting_max: u64) -> Self {
        Self { keys: HashMap::default(), waiting_max }
    }
}

impl<K: Clone + Eq + Hash, T> Parking<K, T> {
    /// Takes up what the last run left. True if the key must be resumed: its
    /// letters are resolved, or the first is to be redriven.
    pub fn restore(&mut self, key: K, parked: &ParkedKey<K>) -> bool {
        let letters = parked
            .letters
            .iter()
            .map(|&OpenLetter { id, place, redriving }| (place, Letter { id, redriving }));
        let letters: BTreeMap<u64, Letter> = letters.collect();
        let resumes = letters.values().next().is_none_or(|first| first.redriving);
        self.keys.insert(key, Parked { letters, waiting: parked.waiting, resuming: None });
        resumes
    }

    pub fn admit(&self, key: &K) -> Admission {
        let Some(parked) = self.keys.get(key) else { return Admission::Free };
        let Some(open) = parked.letters.values().find(|letter| !letter.redriving) else {
            return match parked.resuming {
                Some(_) => Admission::Buffer,
                None => Admission::Free,
            };
        };
        match parked.waiting < self.waiting_max {
            true => Admission::Park,
            false => Admission::Overflow(open.id),
        }
    }

    /// A row was put aside.
    pub fn park(&mut self, key: &K) {
        if let Some(parked) = self.keys.get_mut(key) {
            parked.waiting += 1;
        }
    }

    /// A row that was put aside is settled.
    pub fn unpark(&mut self, key: &K) {
        if let Some(parked) = self.keys.get_mut(key) {
            parked.waiting = parked.waiting.saturating_sub(1);
        }
        self.tidy(key);
    }

    /// Something of the key became a letter: from now on the key waits.
    pub fn bury(&mut self, key: &K, place: u64, id: DeadLetterId) {
        let parked = match self.keys.get_mut(key) {
            Some(parked) => parked,
            None => self.keys.entry(key.clone()).or_insert(Parked {
                letters: BTreeMap::new(),
                waiting: 0,
                resuming: None,
            }),
        };
        parked.letters.insert(place, Letter { id, redriving: false });
    }

    /// Whether a letter may be resolved now.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn check(&self, key: &K, place: u64, id: DeadLetterId) -> Result<(), Refusal> {
        let parked = self.keys.get(key).ok_or(Refusal::NotOpen)?;
        let letter = parked.letters.get(&place).ok_or(Refusal::NotOpen)?;
        if letter.id != id || letter.redriving {
            return Err(Refusal::NotOpen);
        }
        match parked.letters.first_key_value() {
            Some((&first, _)) if first == place => match parked.resuming {
                None => Ok(()),
                Some(_) => Err(Refusal::Resuming),
            },
            Some((_, first)) => Err(Refusal::NotFirst(first.id)),
            None => Err(Refusal::NotOpen),
        }
    }

    pub fn redrive(&mut self, key: &K, place: u64) {
        self.mark(key, place, true);
    }

    /// A redriven letter failed again.
    pub fn reopen(&mut self, key: &K, place: u64) {
        self.mark(key, place, false);
    }

    fn mark(&mut self, key: &K, place: u64, redriving: bool) {
        if let Some(letter) = self.keys.get_mut(key).and_then(|key| key.letters.get_mut(&place)) {
            letter.redriving = redriving;
        }
    }

    pub fn resolve(&mut self, key: &K, place: u64) {
        if let Some(parked) = self.keys.get_mut(key) {
            parked.letters.remove(&place);
        }
        self.tidy(key);
    }

    /// The letters of a key that nobody has resolved or redriven, with their places.
    pub fn open_letters(&self, key: &K) -> Vec<(u64, DeadLetterId)> {
        let letters = self.keys.get(key).into_iter().flat_map(|parked| &parked.letters);
        let open = letters.filter(|(_, letter)| !letter.redriving);
        open.map(|(&place, letter)| (place, letter.id)).collect()
    }

    /// What waits is about to be read: `end_resume` takes what comes meanwhile.
    pub fn begin_resume(&mut self, key: &K, discard: bool) {
        if let Some(parked) = self.keys.get_mut(key) {
            match &mut parked.resuming {
                Some(resuming) => resuming.discard |= discard,
                None => parked.resuming = Some(Resuming { discard, buffer: Vec::new() }),
            }
        }
    }

    pub fn buffer(&mut self, key: &K, item: T) {
        let resuming = self.keys.get_mut(key).and_then(|parked| parked.resuming.as_mut());
        resuming.expect("`admit` said so").buffer.push(item);
    }

    /// What came meanwhile, and whether what waited is to be discarded; none if
    /// the key is not being resumed.
    pub fn end_resume(&mut self, key: &K) -> Option<(Vec<T>, bool)> {
        let parked = self.keys.get_mut(key)?;
        let Resuming { discard, buffer } = parked.resuming.take()?;
        self.tidy(key);
        Some((buffer, discard))
    }

    /// Rows from this place on wait behind another letter.
    pub fn limit(&self, key: &K) -> u64 {
        self.open_letters(key).first().map_or(u64::MAX, |(place, _)| *place)
    }

    fn tidy(&mut self, key: &K) {
        let idle = |parked: &Parked<T>| {
            parked.letters.is_empty() && parked.waiting == 0 && parked.resuming.is_none()
        };
        if self.keys.get(key).is_some_and(idle) {
            self.keys.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parking() -> Parking<&'static str, u64> {
        Parking::new(2)
    }

    #[test]
    fn a_letter_parks_its_key_alone_and_bounded() {
        let mut parking = parking();
        parking.bury(&"a", 5, DeadLetterId(1));
        assert_eq!(parking.admit(&"b"), Admission::Free);
        for _ in 0..2 {
            assert_eq!(parking.admit(&"a"), Admission::Park);
            parking.park(&"a");
        }
        assert_eq!(parking.admit(&"a"), Admission::Overflow(DeadLetterId(1)));
    }

    #[test]
    fn what_comes_while_a_key_resumes_is_kept_behind() {
        let mut parking = parking();
        parking.bury(&"a", 5, DeadLetterId(1));
        parking.park(&"a");
        assert_eq!(parking.check(&"a", 5, DeadLetterId(1)), Ok(()));
        parking.redrive(&"a", 5);
        parking.begin_resume(&"a", false);
        assert_eq!(parking.check(&"a", 5, DeadLetterId(1)), Err(Refusal::NotOpen));
        assert_eq!(parking.admit(&"a"), Admission::Buffer);
        parking.buffer(&"a", 9);
        assert_eq!(parking.end_resume(&"a"), Some((vec![9], false)));
        assert_eq!(parking.admit(&"a"), Admission::Free);
        parking.resolve(&"a", 5);
        parking.unpark(&"a");
        assert!(parking.keys.is_empty(), "nothing is kept of a key that goes on");
    }

    #[test]
    fn letters_of_a_key_are_resolved_in_order() {
        let mut parking = parking();
        parking.bury(&"a", 5, DeadLetterId(1));
        parking.bury(&"a", 9, DeadLetterId(2));
        let not_first = Err(Refusal::NotFirst(DeadLetterId(1)));
        assert_eq!(parking.check(&"a", 9, DeadLetterId(2)), not_first);
        parking.redrive(&"a", 5);
        parking.begin_resume(&"a", false);
        assert_eq!(parking.limit(&"a"), 9, "what comes after the second letter stays");
        assert_eq!(parking.admit(&"a"), Admission::Park);
        assert_eq!(parking.end_resume(&"a"), Some((Vec::new(), false)));
        parking.resolve(&"a", 5);
        assert_eq!(parking.check(&"a", 9, DeadLetterId(2)), Ok(()));
    }

    #[test]
    fn a_restart_resumes_what_has_no_open_letter_in_front() {
        let letter = |place, redriving| OpenLetter { id: DeadLetterId(place), place, redriving };
        let parked = |letters| ParkedKey { key: "a", letters, waiting: 1 };
        assert!(parking().restore("a", &parked(vec![])));
        assert!(parking().restore("a", &parked(vec![letter(1, true), letter(2, false)])));
        assert!(!parking().restore("a", &parked(vec![letter(1, false)])));
    }
}
