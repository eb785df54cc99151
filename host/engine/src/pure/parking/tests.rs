use proptest::prelude::*;

use super::*;

fn parking() -> Parking<&'static str, u64> {
    Parking::new(2)
}

fn places<const N: usize>(places: [u64; N]) -> BTreeSet<u64> {
    places.into()
}

#[test]
fn a_dead_letter_parks_its_key_alone_and_bounded() {
    let mut parking = parking();
    parking.dead_letter(&"a", 5, DeadLetterId(1));
    assert_eq!(parking.admit(&"b", 6), Admission::Free);
    for place in [6, 7] {
        assert_eq!(parking.admit(&"a", place), Admission::Park);
        parking.park(&"a", place);
    }
    assert_eq!(parking.admit(&"a", 8), Admission::Overflow(Some(DeadLetterId(1))));
    assert_eq!(parking.next_portion(), None);
}

#[test]
fn what_comes_while_a_key_resumes_is_kept_behind() {
    let mut parking = parking();
    parking.dead_letter(&"a", 5, DeadLetterId(1));
    parking.park(&"a", 6);
    assert_eq!(parking.check(&"a", 5, DeadLetterId(1)), Ok(()));
    parking.redrive(&"a", 5);
    assert_eq!(parking.check(&"a", 5, DeadLetterId(1)), Err(Refusal::NotOpen));
    let dead_letter = Some(DeadLetterId(1));
    assert_eq!(
        parking.next_portion(),
        Some(Portion { key: "a", dead_letter, places: places([6]) })
    );
    assert_eq!(parking.admit(&"a", 9), Admission::Buffer);
    parking.buffer(&"a", 9);
    assert_eq!(parking.end_portion(&"a", Some(1), [(6, 1)]), [9]);
    assert_eq!(parking.admit(&"a", 9), Admission::Free);
    parking.resolve(&"a", 5);
    parking.unpark(&"a", 6);
    assert!(parking.keys.is_empty(), "nothing is kept of a key that goes on");
    assert_eq!(parking.taken_bytes, 0);
}

#[test]
fn dead_letters_of_a_key_are_resolved_in_order() {
    let mut parking = parking();
    parking.dead_letter(&"a", 5, DeadLetterId(1));
    parking.park(&"a", 6);
    parking.dead_letter(&"a", 9, DeadLetterId(2));
    let not_first = Err(Refusal::NotFirst(DeadLetterId(1)));
    assert_eq!(parking.check(&"a", 9, DeadLetterId(2)), not_first);
    parking.redrive(&"a", 5);
    assert_eq!(parking.admit(&"a", 12), Admission::Park, "it waits behind the second dead letter");
    parking.park(&"a", 12);
    let portion = parking.next_portion().expect("a dead letter and a row");
    assert_eq!(portion.places, places([6]), "what comes after the second dead letter stays");
    assert!(parking.end_portion(&"a", Some(1), []).is_empty());
    parking.resolve(&"a", 5);
    let resuming = Err(Refusal::Resuming);
    assert_eq!(parking.check(&"a", 9, DeadLetterId(2)), resuming, "the row comes before it");
    let portion = parking.next_portion().expect("the row once more");
    assert_eq!((portion.dead_letter, portion.places), (None, places([6])));
    assert!(parking.end_portion(&"a", None, [(6, 1)]).is_empty());
    assert_eq!(parking.check(&"a", 9, DeadLetterId(2)), Ok(()));
}

#[test]
fn what_is_discarded_lies_between_its_dead_letter_and_the_next() {
    let mut parking = parking();
    parking.dead_letter(&"a", 5, DeadLetterId(1));
    for place in [6, 7, 10] {
        parking.park(&"a", place);
    }
    parking.dead_letter(&"a", 9, DeadLetterId(2));
    assert_eq!(parking.discard(&"a", 5), [6, 7]);
    assert_eq!(parking.admit(&"a", 11), Admission::Park);
    assert_eq!(parking.discard(&"a", 9), [10]);
    assert!(parking.keys.is_empty());
}

#[test]
fn a_restart_resumes_what_has_no_open_dead_letter_in_front() {
    let dead_letter =
        |place, redriving| OpenDeadLetter { id: DeadLetterId(place), place, redriving };
    let portion = |dead_letters: &[OpenDeadLetter]| {
        let mut parking = parking();
        parking.restore(&"a", dead_letters, &[3], None);
        parking.next_portion().map(|portion| (portion.dead_letter, portion.places))
    };
    assert_eq!(portion(&[]), Some((None, places([3]))));
    let redriven = [dead_letter(1, true), dead_letter(2, false)];
    assert_eq!(portion(&redriven), Some((Some(DeadLetterId(1)), places([]))));
    assert_eq!(portion(&[dead_letter(1, false)]), None);
}

#[test]
fn nothing_overtakes_a_second_dead_letter_that_is_redriven() {
    let mut parking = parking();
    let dead_letter =
        |place| OpenDeadLetter { id: DeadLetterId(place), place, redriving: place == 8 };
    parking.restore(&"a", &[dead_letter(7), dead_letter(8)], &[9], None);
    parking.redrive(&"a", 7);
    let portion = parking.next_portion().expect("the first dead letter");
    assert_eq!((portion.dead_letter, portion.places), (Some(DeadLetterId(7)), places([])));
    assert!(parking.end_portion(&"a", Some(1), []).is_empty());
    assert_eq!(parking.next_portion(), None);
    parking.resolve(&"a", 7);
    let portion = parking.next_portion().expect("the second dead letter");
    assert_eq!((portion.dead_letter, portion.places), (Some(DeadLetterId(8)), places([9])));
}

#[test]
fn what_is_discarded_takes_nothing_from_a_later_dead_letter_that_is_to_be_redriven() {
    let mut parking = parking();
    parking.dead_letter(&"a", 8, DeadLetterId(1));
    parking.park(&"a", 9);
    parking.redrive(&"a", 8);
    // Before it is read, a row in front of it fails.
    parking.dead_letter(&"a", 6, DeadLetterId(2));
    parking.park(&"a", 7);
    assert_eq!(parking.discard(&"a", 6), [7]);
    let portion = parking.next_portion().expect("the dead letter and its row");
    assert_eq!((portion.dead_letter, portion.places), (Some(DeadLetterId(1)), places([9])));
}

#[test]
fn lanes_have_a_bounded_number_of_bytes() {
    let mut parking: Parking<u64, ()> = Parking::new(10);
    for key in 0..100 {
        parking.restore(&key, &[], &[1, 2], None);
    }
    let mut keys = Vec::new();
    while let Some(portion) = parking.next_portion() {
        keys.push(portion.key);
        parking.end_portion(&portion.key, None, [(1, PORTION_BYTES)]);
    }
    assert_eq!(keys.len(), TAKEN_BYTES_MAX / PORTION_BYTES);
    parking.unpark(&keys[0], 1);
    assert!(parking.next_portion().is_some(), "as soon as something is settled");
}

#[test]
fn a_key_that_waits_for_an_attempt_is_parked_from_its_place_on_until_it_is_woken() {
    let mut parking = parking();
    parking.park(&"a", 5);
    parking.sleep(&"a", 5);
    assert_eq!(parking.admit(&"a", 3), Admission::Free, "what comes before it goes on");
    assert_eq!(parking.admit(&"a", 6), Admission::Park);
    parking.park(&"a", 6);
    assert_eq!(parking.admit(&"a", 7), Admission::Overflow(None));
    assert_eq!(parking.next_portion(), None);
    parking.dead_letter(&"a", 7, DeadLetterId(1));
    assert_eq!(parking.check(&"a", 7, DeadLetterId(1)), Err(Refusal::Waiting));
    parking.wake(&"a");
    let portion = parking.next_portion().expect("it goes on");
    assert_eq!((portion.dead_letter, portion.places), (None, places([5, 6])));
}

#[test]
fn a_dead_letter_that_is_redriven_waits_like_a_row() {
    let mut parking = parking();
    parking.dead_letter(&"a", 5, DeadLetterId(1));
    parking.redrive(&"a", 5);
    assert!(parking.next_portion().is_some());
    assert!(parking.end_portion(&"a", Some(1), []).is_empty());
    parking.redrive(&"a", 5);
    parking.sleep(&"a", 5);
    assert_eq!(parking.next_portion(), None);
    assert_eq!(parking.admit(&"a", 6), Admission::Park);
    parking.park(&"a", 6);
    assert_eq!(parking.check(&"a", 5, DeadLetterId(1)), Err(Refusal::NotOpen));
    parking.wake(&"a");
    let portion = parking.next_portion().expect("it goes on");
    assert_eq!((portion.dead_letter, portion.places), (Some(DeadLetterId(1)), places([6])));
    assert!(parking.end_portion(&"a", Some(1), [(6, 1)]).is_empty());
    parking.redrive(&"a", 5);
    parking.park(&"a", 6);
    parking.sleep(&"a", 5);
    assert_eq!(parking.give_up(&"a"), (vec![DeadLetterId(1)], vec![6]));
    assert!(parking.keys.is_empty() && parking.taken_bytes == 0);
}

#[test]
fn what_waits_behind_a_dead_letter_is_discarded_with_it() {
    let mut parking = parking();
    parking.park(&"a", 7);
    parking.sleep(&"a", 7);
    parking.dead_letter(&"a", 5, DeadLetterId(1));
    assert_eq!(parking.discard(&"a", 5), [7]);
    assert!(parking.keys.is_empty());
}

/// What happens to one key.
#[derive(Clone, Debug)]
enum Happening {
    Arrive,
    /// The first of the lane is decided, or fails for good.
    Decide {
        fails: bool,
    },
    Resolve {
        redrive: bool,
    },
    Read {
        rows: usize,
    },
    /// The first of the lane failed, and is to be tried much later.
    Wait,
    Wake,
    /// An operator pauses the key: what is in its lane leaves memory.
    Pause,
    Resume,
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => Just(Happening::Arrive),
        4 => (0..4).prop_map(|n| Happening::Decide { fails: n == 0 }),
        2 => any::<bool>().prop_map(|redrive| Happening::Resolve { redrive }),
        4 => (1..4_usize).prop_map(|rows| Happening::Read { rows }),
        2 => Just(Happening::Wait),
        2 => Just(Happening::Wake),
        1 => Just(Happening::Pause),
        1 => Just(Happening::Resume),
        1 => Just(Happening::Restart),
    ]
}

/// One key with its lane and its rows, as dispatcher and sink lanes keep them.
#[derive(Default)]
struct Model {
    last: u64,
    /// Places in the lane, and whether they have a row.
    lane: BTreeMap<u64, bool>,
    rows: BTreeSet<u64>,
    dead_letters: BTreeMap<u64, OpenDeadLetter>,
    decided: Vec<u64>,
    retry_place: Option<u64>,
    is_paused: bool,
}

impl Model {
    fn enqueue(&mut self, parking: &mut Parking<u8, u64>, place: u64) {
        match parking.admit(&0, place) {
            Admission::Free => assert!(self.lane.insert(place, false).is_none()),
            Admission::Buffer => parking.buffer(&0, place),
            Admission::Park => {
                self.rows.insert(place);
                parking.park(&0, place);
            }
            Admission::Overflow(_) => self.dead_letter(parking, place),
        }
    }

    fn dead_letter(&mut self, parking: &mut Parking<u8, u64>, place: u64) {
        let id = DeadLetterId(place);
        self.dead_letters.insert(place, OpenDeadLetter { id, place, redriving: false });
        parking.dead_letter(&0, place, id);
    }

    fn decide(&mut self, parking: &mut Parking<u8, u64>, fails: bool) {
        let Some((place, has_row)) = self.lane.pop_first() else { return };
        if !fails {
            self.decided.push(place);
        }
        match (self.dead_letters.get_mut(&place), fails) {
            (Some(dead_letter), true) => {
                dead_letter.redriving = false;
                parking.reopen(&0, place);
            }
            (Some(_), false) => {
                self.dead_letters.remove(&place);
                parking.resolve(&0, place);
            }
            (None, _) => {
                if fails {
                    self.dead_letter(parking, place);
                }
                if has_row {
                    self.rows.remove(&place);
                    parking.unpark(&0, place);
                }
            }
        }
        if fails {
            for (place, _) in std::mem::take(&mut self.lane) {
                // A dead letter that was redriven waits for an operator again; it has no
                // row.
                if let Some(dead_letter) = self.dead_letters.get_mut(&place) {
                    dead_letter.redriving = false;
                    parking.reopen(&0, place);
                    continue;
                }
                self.rows.insert(place);
                parking.park(&0, place);
            }
        }
    }

    fn wait(&mut self, parking: &mut Parking<u8, u64>) {
        let Some((&first, _)) = self.lane.first_key_value() else { return };
        self.leave(parking);
        parking.sleep(&0, first);
        self.retry_place = Some(first);
    }

    /// The lane leaves memory.
    fn leave(&mut self, parking: &mut Parking<u8, u64>) {
        for (place, _) in std::mem::take(&mut self.lane) {
            // A dead letter stays redriven; it has no row.
            if self.dead_letters.contains_key(&place) {
                parking.redrive(&0, place);
                continue;
            }
            self.rows.insert(place);
            parking.park(&0, place);
        }
    }

    fn pause(&mut self, parking: &mut Parking<u8, u64>) {
        parking.pause(&0);
        self.leave(parking);
        self.is_paused = true;
    }

    fn resume(&mut self, parking: &mut Parking<u8, u64>) {
        parking.resume(&0);
        self.is_paused = false;
    }

    fn wake(&mut self, parking: &mut Parking<u8, u64>) {
        self.retry_place = None;
        parking.wake(&0);
    }

    fn resolve(&mut self, parking: &mut Parking<u8, u64>, redrive: bool) {
        let Some((&place, dead_letter)) = self.dead_letters.iter_mut().next() else { return };
        if parking.check(&0, place, dead_letter.id).is_err() {
            return;
        }
        if redrive {
            dead_letter.redriving = true;
            parking.redrive(&0, place);
        } else {
            self.dead_letters.remove(&place);
            parking.resolve(&0, place);
        }
    }

    fn read(&mut self, parking: &mut Parking<u8, u64>, rows: usize) {
        let Some(portion) = parking.next_portion() else { return };
        let read: Vec<u64> = portion.places.iter().copied().take(rows).collect();
        assert!(read.iter().all(|place| self.rows.contains(place)), "{read:?} has no rows");
        for place in &read {
            assert!(self.lane.insert(*place, true).is_none(), "{place} is there twice");
        }
        if let Some(dead_letter) = portion.dead_letter {
            assert!(
                self.lane.insert(dead_letter.0, false).is_none(),
                "the dead letter is there twice"
            );
        }
        let bytes = read.into_iter().map(|place| (place, 1));
        let dead_letter = portion.dead_letter.map(|_| 1);
        for place in parking.end_portion(&0, dead_letter, bytes) {
            self.enqueue(parking, place);
        }
    }

    /// What is not decided comes again, or has its row.
    fn restart(&mut self) -> Parking<u8, u64> {
        let mut parking = Parking::new(3);
        let dead_letters: Vec<OpenDeadLetter> = self.dead_letters.values().copied().collect();
        let rows: Vec<u64> = self.rows.iter().copied().collect();
        if !dead_letters.is_empty() || !rows.is_empty() {
            parking.restore(&0, &dead_letters, &rows, self.retry_place);
        }
        if self.is_paused {
            parking.pause(&0);
        }
        self.lane.clear();
        let settled = |place: &u64| {
            self.decided.contains(place)
                || self.rows.contains(place)
                || self.dead_letters.contains_key(place)
        };
        let again: Vec<u64> = (1..=self.last).filter(|place| !settled(place)).collect();
        for place in again {
            self.enqueue(&mut parking, place);
        }
        parking
    }
}

proptest! {
    #![proptest_config(crate::properties::many_cases())]

    /// Dead letters that are skipped aside, all that came is decided once, and in order.
    #[test]
    fn a_key_goes_on_in_order_whatever_happens(
        happenings in proptest::collection::vec(happening(), 0..80),
    ) {
        let mut model = Model::default();
        let mut parking: Parking<u8, u64> = Parking::new(3);
        let mut skipped = BTreeSet::new();
        let end = std::iter::repeat_n(
            [
                Happening::Wake,
                Happening::Resume,
                Happening::Resolve { redrive: true },
                Happening::Read { rows: 3 },
                Happening::Decide { fails: false },
            ],
            200,
        );
        for happening in happenings.into_iter().chain(end.flatten()) {
            match happening {
                Happening::Arrive => {
                    model.last += 1;
                    let place = model.last;
                    model.enqueue(&mut parking, place);
                }
                Happening::Decide { fails } => model.decide(&mut parking, fails),
                Happening::Resolve { redrive } => {
                    let before: BTreeSet<u64> = model.dead_letters.keys().copied().collect();
                    model.resolve(&mut parking, redrive);
                    let gone = before.into_iter().filter(|p| !model.dead_letters.contains_key(p));
                    skipped.extend(gone);
                }
                Happening::Read { rows } => model.read(&mut parking, rows),
                Happening::Wait => model.wait(&mut parking),
                Happening::Wake => model.wake(&mut parking),
                Happening::Pause => model.pause(&mut parking),
                Happening::Resume => model.resume(&mut parking),
                Happening::Restart if skipped.is_empty() => parking = model.restart(),
                Happening::Restart => {}
            }
            if model.is_paused {
                prop_assert!(model.lane.is_empty(), "{:?} goes on", model.lane);
            }
            let waiting = if model.is_paused { parking.waiting(&0).1 } else { 0 };
            prop_assert_eq!(parking.paused_rows(), waiting);
        }
        let expected: Vec<u64> = (1..=model.last).filter(|p| !skipped.contains(p)).collect();
        prop_assert_eq!(&model.decided, &expected);
        prop_assert!(parking.keys.is_empty() && parking.taken_bytes == 0);
    }
}
