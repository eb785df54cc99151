use std::collections::BTreeSet;

use sagabox_engine::model::{
    Absent, AnswerValue, Correlation, Due, Effect, Event, JSON, MessageKind, OptionalPart,
    Outgoing, Question, Role, Source, Subscription, TimerChange, Timestamp,
};

use super::super::room::{WAITING_BYTES_MAX, WAITING_MAX};
use super::super::served::{Served, WaysBack};
use super::*;
use crate::decisions::json::json;

type Decide = Box<dyn Fn(&Call) -> Result<Reply, Failure> + Send + Sync>;

struct Scripted(Manifest, Decide);

impl Handler for Scripted {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        (self.1)(call)
    }

    /// Converts only to newer versions, by adding a character.
    fn migrate(&self, state: &State, to: u32) -> Result<Bytes, String> {
        match state.version < to {
            true => Ok([&*state.data, b"+"].concat().into()),
            false => Err("it is newer".to_owned()),
        }
    }
}

fn comparer(
    event_type: &str,
    state_version: u32,
    decide: impl Fn(&Call) -> Result<Reply, Failure> + Send + Sync + 'static,
) -> Comparer {
    let subscription = Subscription {
        event_type: event_type.to_owned(),
        source: Source::Any,
        key: Correlation::Subject,
        effect: Effect::StartOrHandle,
        absent: Absent::Ignore,
    };
    let manifest = Manifest {
        name: "p".into(),
        role: Role::ProcessManager,
        version: "2.0.0".into(),
        description: String::new(),
        subscriptions: vec![subscription],
        commands: BTreeSet::new(),
        events: BTreeSet::new(),
        lookups: BTreeSet::new(),
        streams: false,
        state_version,
        optional: OptionalPart::default(),
    };
    Comparer {
        candidate: Arc::new(Scripted(manifest, Box::new(decide))),
        states_of: 1,
        compare: Aspects::Both,
        tally: Arc::default(),
        room: Arc::default(),
    }
}

fn call(state: Option<&'static str>) -> Call {
    let event = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"k"}"#;
    Call {
        event: Arc::new(Event::from_json(event).unwrap()),
        state: state.map(|text| State { version: 1, data: text.into() }),
        now: Timestamp(7),
        attempt: 1,
        key: "k".into(),
        answers: Vec::new(),
        seed: 0,
    }
}

fn decision(state: Option<&'static str>, sent: &[&str]) -> Decision {
    let message = |name: &&str| Outgoing {
        kind: MessageKind::Command,
        event_type: (*name).to_owned(),
        subject: None,
        datacontenttype: JSON.to_owned(),
        extensions: Vec::new(),
        data: "{}".into(),
    };
    let messages = sent.iter().map(message).collect();
    Decision { state: state.map(Bytes::from), messages, ..Decision::default() }
}

#[track_caller]
fn check(
    comparer: &Comparer,
    call: &Call,
    outcome: Result<Decision, Failure>,
    (failed, expected): (bool, &[&str]),
) {
    let (has_failed, found) = comparer.compare(call, outcome);
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        (has_failed, found.as_slice()),
        (failed, &*expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    );
}

fn permanent(text: &str) -> Failure {
    Failure::Permanent(text.to_owned())
}

#[test]
fn the_same_decision_is_none_that_differs() {
    let same = |_: &Call| Ok(Reply::Decided(decision(Some("b"), &["Pay"])));
    check(
        &comparer("t", 1, same),
        &call(Some("a")),
        Ok(decision(Some("b"), &["Pay"])),
        (false, &[]),
    );
    // A decision without a state leaves the state before it.
    let none = |_: &Call| Ok(Reply::Decided(decision(None, &[])));
    check(&comparer("t", 1, none), &call(Some("a")), Ok(decision(Some("a"), &[])), (false, &[]));
}

#[test]
fn each_difference_has_its_place() {
    let other = |_: &Call| Ok(Reply::Decided(decision(Some("2"), &["Pay", "Pack"])));
    let comparer = comparer("t", 1, other);
    let found = comparer.compare(&call(Some("0")), Ok(decision(Some("1"), &["Pay"]))).1;
    let places: Vec<&str> = found.iter().map(|difference| &*difference.place).collect();
    assert_eq!(places, ["sends[1]", "state"]);
}

#[test]
fn states_of_two_versions_are_compared_in_the_candidates() {
    let next = |call: &Call| {
        assert_eq!(call.state.as_ref().map(|state| state.version), Some(2));
        Ok(Reply::Decided(decision(Some("b+"), &[])))
    };
    check(&comparer("t", 2, next), &call(Some("a")), Ok(decision(Some("b"), &[])), (false, &[]));
    // The same for an instance that has just started.
    let first = |_: &Call| Ok(Reply::Decided(decision(Some("b+"), &[])));
    check(&comparer("t", 2, first), &call(None), Ok(decision(Some("b"), &[])), (false, &[]));
    let unread = |_: &Call| unreachable!("its state cannot be read");
    let why = "decision: expected \"as recorded\", found {\"fails\":\"the state of version 1 cannot be migrated to 0: it is newer\"}";
    check(&comparer("t", 0, unread), &call(Some("a")), Ok(decision(None, &[])), (true, &[why]));
}

#[test]
fn failures_are_compared_by_their_kind() {
    let fails = || comparer("t", 1, |_| Err(permanent("no")));
    let why = "decision: expected \"as recorded\", found {\"fails\":\"no\"}";
    check(&fails(), &call(None), Ok(decision(None, &[])), (true, &[why]));
    check(&fails(), &call(None), Err(permanent("never")), (false, &[]));
    let passing = Failure::Transient("later".to_owned());
    let why = "decision: expected {\"fails\":\"later\"}, found {\"fails\":\"no\"}";
    check(&fails(), &call(None), Err(passing), (false, &[why]));
    let decides = comparer("t", 1, |_| Ok(Reply::Decided(decision(None, &[]))));
    let (failed, found) = decides.compare(&call(None), Err(permanent("no")));
    assert_eq!((failed, found.len()), (false, 1));
    assert_eq!(found[0].expected, Some(json!({"fails": "no"})));
    assert_eq!(found[0].found, Some(json!({"emits": [], "sends": []})));
}

#[test]
fn it_gets_the_answers_of_the_other_and_no_more() {
    let question = |key: &str| {
        let (name, key) = ("customer".to_owned(), key.to_owned());
        Question::Lookup { name, key }
    };
    let asks = move |call: &Call| {
        assert_eq!(call.answers.len(), 1);
        Ok(Reply::Need(vec![question("k"), question("other")]))
    };
    let answers = vec![Answer { question: question("k"), value: AnswerValue::Missing }];
    let call = Call { answers, ..call(None) };
    let found = comparer("t", 1, asks).compare(&call, Ok(decision(None, &[]))).1;
    assert_eq!((found.len(), &*found[0].place), (1, "asks"));
    let shown = found[0].to_string();
    assert!(shown.contains("other") && !shown.contains("\"k\""), "{shown}");
}

#[test]
fn an_event_that_it_no_longer_takes_differs() {
    let never = comparer("u", 1, |_| unreachable!("it does not subscribe"));
    let why = "subscriptions: expected \"t\", found nothing";
    check(&never, &call(None), Ok(decision(None, &[])), (false, &[why]));
}

/// A candidate whose calls block until the sender is dropped.
fn stuck() -> (Comparer, std::sync::mpsc::Sender<()>) {
    let (open, opened) = std::sync::mpsc::channel::<()>();
    let opened = std::sync::Mutex::new(opened);
    let stuck = move |_: &Call| {
        let _ = opened.lock().unwrap().recv();
        Ok(Reply::Decided(decision(None, &[])))
    };
    (comparer("t", 1, stuck), open)
}

fn start(candidate: Arc<dyn Handler>, serving: &Manifest, tally: &Arc<Tally>) -> Shadow {
    let terms = ShadowTerms::default();
    Shadow::start(candidate, serving, terms, Arc::clone(tally)).unwrap()
}

#[test]
fn it_compares_what_its_terms_say() {
    let other = |_: &Call| Ok(Reply::Decided(decision(Some("2"), &["Pay", "Pack"])));
    for (compare, expected) in [
        (Aspects::Effects, &["sends[1]"][..]),
        (Aspects::State, &["state"]),
        (Aspects::Both, &["sends[1]", "state"]),
    ] {
        let comparer = Comparer { compare, ..comparer("t", 1, other) };
        let found = comparer.compare(&call(Some("0")), Ok(decision(Some("1"), &["Pay"]))).1;
        let places: Vec<&str> = found.iter().map(|difference| &*difference.place).collect();
        assert_eq!(places, expected);
    }
}

#[test]
fn a_shadow_that_is_behind_can_hold_decisions_back() {
    let (Comparer { candidate, tally, .. }, open) = stuck();
    let manifest = candidate.manifest().clone();
    // No test takes so long: a decision that waits gets room.
    let terms = ShadowTerms { wait: Duration::from_secs(3_600), ..ShadowTerms::default() };
    let shadow = Shadow::start(candidate, &manifest, terms, Arc::clone(&tally)).unwrap();
    let offered = WAITING_MAX + 10;
    let waiting = std::thread::spawn(move || {
        let reply = Ok(Reply::Decided(decision(None, &[])));
        (0..offered).for_each(|_| shadow.offer(&call(None), &reply));
    });
    drop(open);
    waiting.join().unwrap();
    while tally.counts().calls < offered as u64 {
        std::thread::yield_now();
    }
    assert_eq!(tally.counts().skipped, 0);
}

/// The limit in bytes counts the decision and all its inputs, also if few decisions wait.
#[test]
fn what_waits_for_a_shadow_is_bounded_in_bytes() {
    const LARGE: usize = 3 << 20;
    let large = || Bytes::from(vec![b'x'; LARGE]);
    let with_answer = |value| {
        let question = Question::Stream("s".to_owned());
        Call { answers: vec![Answer { question, value }], ..call(None) }
    };
    let found = AnswerValue::Found { content_type: JSON.to_owned(), data: large() };
    let event = Arc::new(Event { data: large(), ..Event::clone(&call(None).event) });
    let state = State { version: 1, data: large() };
    let mut message = decision(None, &["Pay"]);
    message.messages[0].data = large();
    let timer = TimerChange::Set { name: "t".into(), due: Due::After(1), data: large() };
    let why = String::from_utf8(large().to_vec()).unwrap();
    let nothing = || Ok(decision(None, &[]));
    for (what, call, outcome) in [
        ("message", call(None), Ok(message)),
        ("next state", call(None), Ok(Decision { state: Some(large()), ..Decision::default() })),
        ("timer", call(None), Ok(Decision { timers: vec![timer], ..Decision::default() })),
        ("failure", call(None), Err(Failure::Permanent(why))),
        ("answer", with_answer(found), nothing()),
        ("stream", with_answer(AnswerValue::Events(vec![Arc::clone(&event)])), nothing()),
        ("event", Call { event, ..call(None) }, nothing()),
        ("state", Call { state: Some(state), ..call(None) }, nothing()),
    ] {
        let (Comparer { candidate, tally, .. }, open) = stuck();
        let manifest = candidate.manifest().clone();
        let shadow = start(candidate, &manifest, &tally);
        let reply = outcome.map(Reply::Decided);
        for _ in 0..20 {
            shadow.offer(&call, &reply);
        }
        let taken = 20 - tally.counts().skipped;
        assert_eq!(taken, (WAITING_BYTES_MAX / LARGE) as u64, "{what}");
        drop(open);
    }
}

#[test]
fn a_shadow_that_is_behind_skips_and_delays_no_call() {
    let (Comparer { candidate, tally, .. }, open) = stuck();
    let serving = comparer("t", 1, |_| Ok(Reply::Decided(decision(None, &[])))).candidate;
    let shadow = start(candidate, serving.manifest(), &tally);
    let served = Served::new(serving, WaysBack::default());
    served.observe(Some(shadow));
    let offered = WAITING_MAX as u64 + 50;
    for _ in 0..offered {
        served.handle(&call(None)).unwrap();
    }
    let skipped = tally.counts().skipped;
    assert!((49..=50).contains(&skipped), "{skipped}: it may have taken one");
    drop(open);
    served.observe(None);
    while tally.counts().calls < offered - skipped {
        std::thread::yield_now();
    }
    served.handle(&call(None)).unwrap();
    assert_eq!(tally.counts().calls + skipped, offered, "the thread has ended");
}
