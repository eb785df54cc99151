use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{DeadLetterSubject, Event, Hops, Position};

const TODAY: Timestamp = Timestamp(1_800_000_000_000);

/// What is durable of one key.
#[derive(Debug, Default)]
struct Store {
    dead_letters: BTreeMap<u64, DeadLetter>,
    rows: BTreeSet<u64>,
    wait: Option<Wait>,
    dropped: BTreeSet<u64>,
    discarded: u64,
}

impl Rows<u8> for Store {
    fn dead_letter(&mut self, dead_letter: DeadLetter) {
        use DeadLetterStatus::{Discarded, Open, Redriven, Redriving, Skipped};
        let before = self.dead_letters.get(&dead_letter.place()).map(|before| before.status);
        let after = dead_letter.status;
        assert!(
            matches!(
                (before, after),
                (Some(Open), Redriving | Skipped | Discarded)
                    | (Some(Redriving), Redriven | Open | Discarded)
            ),
            "{before:?} to {after:?}"
        );
        self.dead_letters.insert(dead_letter.place(), dead_letter);
    }

    fn settled(&mut self, _: &u8, place: u64) {
        assert!(self.rows.remove(&place), "{place} has no row");
    }

    fn dropped(&mut self, _: &u8, places: &[u64]) {
        for place in places {
            assert!(self.rows.remove(place), "{place} has no row");
            self.dropped.insert(*place);
        }
    }

    fn wait_ended(&mut self, _: &u8, place: u64) {
        let ended = self.wait.take_if(|wait| wait.place == place);
        assert!(ended.is_some(), "nothing waits at {place}");
    }

    fn count_discarded(&mut self, count: u64) {
        self.discarded += count;
    }
}

fn dead_letter(place: u64) -> DeadLetter {
    let event = Event {
        id: place.to_string(),
        source: "/test".to_owned(),
        event_type: "E".to_owned(),
        subject: None,
        time: None,
        datacontenttype: None,
        dataschema: None,
        extensions: Vec::new(),
        data: bytes::Bytes::new(),
    };
    DeadLetter {
        id: DeadLetterId(place),
        subject: DeadLetterSubject::Event,
        plugin: "p".into(),
        key: Some("k".into()),
        position: Position(place),
        reason: "first".to_owned(),
        log: Some("info first".into()),
        attempts: 1,
        plugin_version: "1".into(),
        at: TODAY,
        status: DeadLetterStatus::Open,
        resolved_by: None,
        resolved_reason: None,
        event: Arc::new(event),
        hops: Hops::OUTSIDE,
        edited: None,
        batch: None,
    }
}

fn resolution(action: Action) -> Resolution {
    Resolution { action, by: "me".to_owned(), reason: "test".to_owned(), batch: None }
}

fn again(reason: &str) -> Failing<'_> {
    let (plugin_version, at, log) = ("2".into(), TODAY.after(HOUR), Some("info again".into()));
    Failing { reason, attempts: 2, plugin_version, at, log }
}

const HOUR: Duration = Duration::from_secs(3_600);

/// One key: its lane, and what a stage keeps of it.
struct Key {
    dead_letters: DeadLetters<u8, u64, ()>,
    store: Store,
    lane: BTreeMap<u64, LaneItem>,
    last: u64,
    handled: Vec<u64>,
    /// By their plugin.
    compensated: BTreeSet<u64>,
}

impl Key {
    fn new() -> Self {
        Self {
            dead_letters: DeadLetters::new(3),
            store: Store::default(),
            lane: BTreeMap::new(),
            last: 0,
            handled: Vec::new(),
            compensated: BTreeSet::new(),
        }
    }

    /// With the places 1 to `last` in the lane.
    fn with(last: u64) -> Self {
        let mut key = Self::new();
        (0..last).for_each(|_| key.arrive());
        key
    }

    fn arrive(&mut self) {
        self.last += 1;
        self.enqueue(self.last);
    }

    fn enqueue(&mut self, place: u64) {
        match self.dead_letters.admit(&0, place) {
            Admission::Free => {
                assert!(self.lane.insert(place, LaneItem::Fresh).is_none(), "{place} twice");
            }
            Admission::Buffer => self.dead_letters.buffer(&0, place),
            Admission::Park => self.park(place),
            Admission::Overflow(_) => self.dead_letter(place, LaneItem::Fresh),
        }
    }

    fn park(&mut self, place: u64) {
        self.store.rows.insert(place);
        self.dead_letters.park(&0, place);
    }

    fn dead_letter(&mut self, place: u64, item: LaneItem) {
        self.dead_letters.open(&0, place, DeadLetterId(place));
        self.store.dead_letters.insert(place, dead_letter(place));
        self.dead_letters.settle(&0, place, item, &mut self.store);
    }

    fn handle(&mut self) {
        let Some((place, item)) = self.lane.pop_first() else { return };
        self.handled.push(place);
        self.dead_letters.settle(&0, place, item, &mut self.store);
    }

    fn lose(&mut self) {
        let Some((place, item)) = self.lane.pop_first() else { return };
        if !matches!(item, LaneItem::DeadLetter(_)) {
            self.store.dropped.insert(place);
        }
        self.store.discarded += 1;
        self.dead_letters.lose(&0, place, item, &mut self.store);
    }

    fn fail(&mut self) {
        let Some((&first, _)) = self.lane.first_key_value() else { return };
        for (place, item) in std::mem::take(&mut self.lane) {
            let failing = again("again");
            let failing = (place == first).then_some(&failing);
            match self.dead_letters.fail(&0, place, item, failing, &mut self.store) {
                Left::Nothing => {}
                Left::ToPark => self.park(place),
                Left::ToDeadLetter => self.dead_letter(place, item),
            }
        }
    }

    fn wait(&mut self) {
        let Some((&first, _)) = self.lane.first_key_value() else { return };
        for (place, item) in std::mem::take(&mut self.lane) {
            if self.dead_letters.leave(&0, place, item) == Left::ToPark {
                self.park(place);
            }
        }
        let pause = Postponed { attempt: 2, reason: "busy", memo: (), until: None, today: TODAY };
        let wait = self.dead_letters.sleep(&0, first, pause, &mut self.store);
        self.store.wait = Some(wait.expect("it is put aside"));
    }

    /// Resolves the first dead letter, if that may be resolved. True if it was.
    fn resolve(&mut self, action: Action) -> bool {
        let unresolved = |dead_letter: &&DeadLetter| dead_letter.status.is_unresolved();
        let Some(dead_letter) = self.store.dead_letters.values().find(unresolved).cloned() else {
            return false;
        };
        let may = self.dead_letters.check(&0, &dead_letter).is_ok();
        if may {
            self.dead_letters.resolve(&0, dead_letter, resolution(action), &mut self.store);
        }
        may
    }

    /// Of the last dead letter that is open.
    fn compensate(&mut self) {
        let open = |dead_letter: &&mut DeadLetter| dead_letter.status == DeadLetterStatus::Open;
        if let Some(dead_letter) = self.store.dead_letters.values_mut().rev().find(open) {
            dead_letter.status = DeadLetterStatus::Compensated;
            let place = dead_letter.place();
            self.compensated.insert(place);
            self.dead_letters.remove(&0, place);
        }
    }

    fn give_up(&mut self) {
        for id in self.dead_letters.give_up(&0, &mut self.store) {
            let dead_letter = self.store.dead_letters.get_mut(&id.0).expect("its place is its id");
            assert!(dead_letter.status.is_unresolved());
            dead_letter.status = DeadLetterStatus::Discarded;
        }
    }

    fn read(&mut self, rows_max: usize) {
        let Some(portion) = self.dead_letters.next_portion() else { return };
        let mut dead_letter = portion.dead_letter.map(|id| self.store.dead_letters[&id.0].clone());
        let mut rows: Vec<u64> = portion.places.into_iter().take(rows_max).collect();
        let buffered =
            self.dead_letters.end_portion(&0, &mut dead_letter, &mut rows, |place| (*place, 1));
        if let Some(dead_letter) = dead_letter {
            assert_eq!(dead_letter.status, DeadLetterStatus::Redriving);
            let item = LaneItem::DeadLetter(dead_letter.id);
            assert!(self.lane.insert(dead_letter.place(), item).is_none());
            self.dead_letters.taken(dead_letter);
        }
        for place in rows {
            assert!(self.store.rows.contains(&place), "{place} has no row");
            assert!(self.lane.insert(place, LaneItem::Parked).is_none(), "{place} twice");
        }
        buffered.into_iter().for_each(|place| self.enqueue(place));
    }

    fn wake(&mut self) {
        self.dead_letters.wake_key(&0);
    }

    /// Places that are settled, or durable in another way than in the log.
    fn is_settled(&self, place: u64) -> bool {
        let store = &self.store;
        self.handled.contains(&place)
            || store.rows.contains(&place)
            || store.dropped.contains(&place)
            || store.dead_letters.contains_key(&place)
    }

    fn restart(&mut self) {
        self.lane.clear();
        self.dead_letters = DeadLetters::new(3);
        let unresolved = self.store.dead_letters.values().filter(|l| l.status.is_unresolved());
        let dead_letters: Vec<OpenDeadLetter> = unresolved
            .map(|dead_letter| OpenDeadLetter {
                id: dead_letter.id,
                place: dead_letter.place(),
                redriving: dead_letter.status == DeadLetterStatus::Redriving,
            })
            .collect();
        let rows: Vec<u64> = self.store.rows.iter().copied().collect();
        if !dead_letters.is_empty() || !rows.is_empty() {
            let wait = self.store.wait.as_ref().map(|wait| (wait, ()));
            self.dead_letters.restore(&0, &dead_letters, &rows, wait, TODAY);
        }
        for place in 1..=self.last {
            if !self.is_settled(place) {
                self.enqueue(place);
            }
        }
    }

    fn status(&self, place: u64) -> DeadLetterStatus {
        self.store.dead_letters[&place].status
    }
}

#[test]
fn a_redriven_dead_letter_that_fails_again_is_open_with_the_newer_reason() {
    let mut key = Key::with(3);
    key.fail();
    assert_eq!((key.status(1), key.store.rows.len()), (DeadLetterStatus::Open, 2));
    assert!(
        key.resolve(Action::Redrive { edited: Some(Box::new((*dead_letter(9).event).clone())) })
    );
    assert_eq!(key.status(1), DeadLetterStatus::Redriving);
    assert!(!key.resolve(Action::Skip), "it is being redriven");
    key.read(3);
    assert!(key.dead_letters.in_lane(DeadLetterId(1)).is_some());
    key.fail();
    let dead_letter = &key.store.dead_letters[&1];
    assert_eq!((dead_letter.status, dead_letter.attempts), (DeadLetterStatus::Open, 3));
    assert_eq!((&*dead_letter.reason, &*dead_letter.plugin_version), ("again", "2"));
    assert_eq!(dead_letter.log.as_deref(), Some("info again"));
    assert_eq!(dead_letter.at, TODAY.after(HOUR));
    assert_eq!(dead_letter.current().id, "9", "what the operator put in its place stays");
    assert_eq!(dead_letter.resolved_by.as_deref(), Some("me"));
    assert!(key.dead_letters.in_lane(DeadLetterId(1)).is_none());
}

#[test]
fn a_dead_letter_behind_one_that_fails_is_open_again_as_it_was() {
    let mut key = Key::with(1);
    key.fail();
    key.arrive();
    assert!(key.resolve(Action::Redrive { edited: None }));
    key.read(3);
    key.lane.insert(0, LaneItem::Fresh);
    key.fail();
    let dead_letter = &key.store.dead_letters[&1];
    assert_eq!((dead_letter.status, dead_letter.attempts), (DeadLetterStatus::Open, 1));
    assert_eq!(dead_letter.reason, "first", "no attempt of its own failed");
}

#[test]
fn each_action_settles_what_it_says() {
    let of = |action: Action| {
        let mut key = Key::with(3);
        key.fail();
        assert!(key.resolve(action));
        for _ in 0..2 {
            key.read(3);
            (0..3).for_each(|_| key.handle());
        }
        assert!(!key.dead_letters.contains(&0), "the key goes on");
        (key.status(1), key.handled, key.store.discarded)
    };
    let redrive = Action::Redrive { edited: None };
    assert_eq!(of(redrive), (DeadLetterStatus::Redriven, vec![1, 2, 3], 0));
    assert_eq!(of(Action::Skip), (DeadLetterStatus::Skipped, vec![2, 3], 1));
    assert_eq!(of(Action::Discard), (DeadLetterStatus::Discarded, vec![], 3));
}

#[tokio::test(start_paused = true)]
async fn an_item_that_waits_goes_on_with_its_attempt_when_its_time_has_come() {
    let mut dead_letters: DeadLetters<u8, u64, &str> = DeadLetters::new(3);
    let mut store = Store::default();
    let now = Instant::now();
    let pause = |attempt, memo| Postponed {
        attempt,
        reason: "busy",
        memo,
        until: Some(now + HOUR),
        today: TODAY,
    };
    assert_eq!(dead_letters.sleep(&0, 5, pause(2, "a"), &mut store), None, "nothing is there");
    store.rows.insert(5);
    dead_letters.park(&0, 5);
    store.wait = dead_letters.sleep(&0, 5, pause(2, "a"), &mut store);
    assert_eq!(store.wait.as_ref().map(|wait| wait.until), Some(TODAY.after(HOUR)));
    // It fails for another reason before that.
    store.wait = dead_letters.sleep(&0, 5, pause(3, "b"), &mut store);
    assert_eq!(dead_letters.next_wake(), Some(now + HOUR));
    dead_letters.wake(now);
    assert_eq!(dead_letters.next_portion(), None);
    dead_letters.wake(now + HOUR);
    assert!(dead_letters.next_portion().is_some());
    assert_eq!(dead_letters.attempt(&0, 5).map(|(attempt, memo)| (attempt, *memo)), Some((3, "b")));
    dead_letters.end_portion(&0, &mut None, &mut vec![5_u64], |place| (*place, 1));
    dead_letters.settle(&0, 5, LaneItem::Parked, &mut store);
    assert!(store.wait.is_none() && store.rows.is_empty() && !dead_letters.contains(&0));
}

#[test]
fn a_key_that_is_given_up_keeps_what_is_in_its_lane() {
    let mut key = Key::with(1);
    key.fail();
    key.arrive();
    assert!(key.resolve(Action::Redrive { edited: None }));
    key.read(0);
    key.give_up();
    assert_eq!((key.status(1), key.store.dropped.len()), (DeadLetterStatus::Redriving, 1));
    assert_eq!(key.store.discarded, 1);
    key.handle();
    assert_eq!(key.status(1), DeadLetterStatus::Redriven);
    assert!(!key.dead_letters.contains(&0));
}

/// What happens to one key.
#[derive(Clone, Debug)]
enum Step {
    Arrive,
    Handle,
    Lose,
    Fail,
    Wait,
    Wake,
    Resolve(Action),
    Compensate,
    GiveUp,
    Read(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Arrive),
        6 => Just(Step::Handle),
        1 => Just(Step::Lose),
        3 => Just(Step::Fail),
        2 => Just(Step::Wait),
        2 => Just(Step::Wake),
        3 => Just(Step::Resolve(Action::Redrive { edited: None })),
        1 => Just(Step::Resolve(Action::Skip)),
        1 => Just(Step::Resolve(Action::Discard)),
        1 => Just(Step::Compensate),
        1 => Just(Step::GiveUp),
        8 => (0..4_usize).prop_map(Step::Read),
        1 => Just(Step::Restart),
    ]
}

impl Key {
    fn step(&mut self, step: Step) {
        match step {
            Step::Arrive => self.arrive(),
            Step::Handle => self.handle(),
            Step::Lose => self.lose(),
            Step::Fail => self.fail(),
            Step::Wait => self.wait(),
            Step::Wake => self.wake(),
            Step::Resolve(action) => _ = self.resolve(action),
            Step::Compensate => self.compensate(),
            Step::GiveUp => self.give_up(),
            Step::Read(rows) => self.read(rows),
            Step::Restart => self.restart(),
        }
    }
}

proptest! {
    #![proptest_config(crate::properties::many_cases())]

    /// Each item is handled once and in order, or is discarded, skipped or compensated, and is
    /// counted so; and in the end no row, wait or unresolved dead letter is left.
    #[test]
    fn each_item_of_a_key_ends_once_whatever_happens(
        steps in proptest::collection::vec(step(), 0..100),
    ) {
        let mut key = Key::new();
        for step in steps {
            key.step(step);
            if let Some(Wait { place, .. }) = key.store.wait {
                let dead_letter = key.store.dead_letters.get(&place);
                let redriving =
                    dead_letter.is_some_and(|l| l.status == DeadLetterStatus::Redriving);
                prop_assert!(redriving || key.store.rows.contains(&place), "{place} waits");
            }
        }
        for _ in 0..300 {
            for step in [
                Step::Wake,
                Step::Resolve(Action::Redrive { edited: None }),
                Step::Read(3),
                Step::Handle,
            ] {
                key.step(step);
            }
        }
        let store = &key.store;
        prop_assert!(store.rows.is_empty() && store.wait.is_none(), "{store:?}");
        prop_assert!(!key.dead_letters.contains(&0) && key.dead_letters.in_lane.is_empty());
        prop_assert!(key.handled.is_sorted_by(|a, b| a < b), "{:?}", key.handled);
        let mut discarded = store.dropped.clone();
        for (place, dead_letter) in &store.dead_letters {
            match dead_letter.status {
                DeadLetterStatus::Redriven => prop_assert!(key.handled.contains(place)),
                DeadLetterStatus::Compensated => {
                    prop_assert!(key.compensated.contains(place));
                }
                DeadLetterStatus::Skipped | DeadLetterStatus::Discarded => {
                    prop_assert!(discarded.insert(*place), "{place} twice");
                }
                status => prop_assert!(false, "{place} is {status:?}"),
            }
        }
        prop_assert_eq!(store.discarded, discarded.len() as u64);
        let ended: BTreeSet<u64> =
            key.handled.iter().chain(&discarded).chain(&key.compensated).copied().collect();
        let count = key.handled.len() + discarded.len() + key.compensated.len();
        prop_assert_eq!(count, ended.len(), "none ended twice");
        prop_assert_eq!(ended, (1..=key.last).collect());
    }
}
