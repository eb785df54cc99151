//! Instances: lists, one with its history, and the states for a candidate.

use std::sync::Arc;

use bytes::Bytes;
use sagabox_engine::model::{
    DecisionRecord, Hops, Instance, InstanceCounts, InstanceStatus, Key, PluginName, Position,
    State, Timer, Timestamp,
};
use sagabox_engine::seams::store::Batch;
use sagabox_engine::seams::store::contract::{
    append, appends, claim, dead_letter, decision, event, finished, instance, plugin,
    plugin_progress, timer, wait,
};

use super::{ALL, Subject, Urls, looks_briefly, pages};
use crate::store::query::rows::{
    Age, CountedPage, EventName, HistoryRow, InstanceDetail, InstanceFilter, Page, RecordedDecision,
};
use crate::store::query::{QueryLimits, StatePage};

/// Keys that sort by their bytes, and not as a language or a number would.
const KEYS: [&str; 7] = ["10", "9", "B", "a", "a b", "b", "ä"];

fn rows(instances: impl IntoIterator<Item = (PluginName, Arc<Instance>)>) -> Batch {
    Batch { instances: instances.into_iter().collect(), ..Batch::default() }
}

async fn listed(subject: &Subject, status: Option<InstanceStatus>, limit: u32) -> Vec<Vec<String>> {
    let list = async |after: Option<String>| {
        let plugin = "orders".to_owned();
        let is_by_key = true;
        let none = InstanceFilter::default();
        let filter = InstanceFilter { plugin, status, is_by_key, after, limit, ..none };
        let Page { rows, next } = subject.queries().instances(&filter).await.unwrap();
        Page { rows: rows.into_iter().map(|row| row.key.to_string()).collect(), next }
    };
    pages(list).await
}

pub(super) async fn instances_are_listed_by_key_in_pages(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "instances").await;
    let own = KEYS.iter().rev().map(|key| (plugin(), instance(key, 7)));
    let other = (PluginName::from("other"), instance("c", 7));
    subject.commit(rows(own.chain([other]))).await;
    subject.restart().await;
    assert_eq!(listed(&subject, None, ALL).await, [KEYS]);
    // The last page is full, and is known to be the last.
    assert_eq!(listed(&subject, None, 7).await, [KEYS]);
    assert_eq!(listed(&subject, None, 4).await, [&KEYS[..4], &KEYS[4..]]);
    assert_eq!(listed(&subject, None, 6).await, [&KEYS[..6], &KEYS[6..]]);
    let orders = "orders".to_owned();
    let all = InstanceFilter { plugin: orders, limit: 1, ..InstanceFilter::default() };
    let page = subject.queries().instances(&all).await.unwrap();
    let row = &page.rows[0];
    let times = (row.started_at, row.updated_at);
    assert_eq!(
        (row.status, row.version, times),
        (InstanceStatus::Running, 1, (Timestamp(1), Timestamp(7)))
    );
    let after = InstanceFilter { after: Some("zzz".to_owned()), ..all.clone() };
    let unknown = InstanceFilter { plugin: "unknown".to_owned(), ..all };
    for (filter, expected) in [(after, vec!["ä"]), (unknown, vec![])] {
        let Page { rows, next } = subject.queries().instances(&filter).await.unwrap();
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!((keys, next), (expected, None), "{filter:?}");
    }
}

/// However few rows one question looks at, all pages together have what matches.
pub(super) async fn a_list_of_instances_ends_in_time_and_says_how_far_it_came(urls: Urls<'_>) {
    let mut subject = Subject::with(urls, "brief instances", looks_briefly(false)).await;
    let row = |number: u64| match number % 7 {
        0 => finished(&format!("k-{number:02}"), InstanceStatus::Ended, number),
        _ => (plugin(), instance(&format!("k-{number:02}"), number)),
    };
    subject.commit(rows((1..=20).map(row))).await;
    for (is_over, count) in [(false, 1), (true, 7)] {
        subject.reopen(looks_briefly(is_over)).await;
        let pages = listed(&subject, Some(InstanceStatus::Ended), 10).await;
        assert_eq!((pages.concat(), pages.len()), (vec!["k-07".into(), "k-14".into()], count));
    }
}

pub(super) async fn instances_are_counted_by_status(urls: Urls<'_>) {
    let subject = Subject::new(urls, "counted").await;
    let running = ["a", "b", "c"].map(|key| (plugin(), instance(key, 1)));
    let over = ["d", "e"].map(|key| finished(key, InstanceStatus::Completed, 1));
    // The engine counts them, and says so with the commit.
    let mut progress = plugin_progress("orders", 1);
    progress.counters.instances = InstanceCounts { running: 3, completed: 2, ended: 0 };
    let plugins = vec![progress];
    subject.commit(Batch { plugins, ..rows(running.into_iter().chain(over)) }).await;
    let expected = [("completed", 2), ("running", 3)];
    let counts = subject.queries().instance_counts("orders").await.unwrap();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), expected);
    let counted = async |filter: InstanceFilter| {
        let filter = InstanceFilter { plugin: plugin().to_string(), ..filter };
        let CountedPage { counts, next } =
            subject.queries().count_instances(&filter).await.unwrap();
        assert_eq!(next, None);
        counts.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(counted(InstanceFilter::default()).await, expected);
    let status = Some(InstanceStatus::Completed);
    let age = Age { started_before: Some(Timestamp(2)), ..Age::default() };
    for age in [Age::default(), age] {
        let filter = InstanceFilter { status, age, ..InstanceFilter::default() };
        assert_eq!(counted(filter).await, expected[..1]);
        let filter = InstanceFilter { age, ..InstanceFilter::default() };
        assert_eq!(counted(filter).await, expected);
    }
    assert!(subject.queries().instance_counts("unknown").await.unwrap().is_empty());
    assert!(subject.queries().has_instances("orders").await.unwrap());
    assert!(!subject.queries().has_instances("unknown").await.unwrap());
}

async fn detail(subject: &Subject, key: &str, after: Option<u64>, limit: u32) -> InstanceDetail {
    let found = subject.queries().instance("orders", key, after, limit).await.unwrap();
    found.unwrap_or_else(|| panic!("nothing is known of `{key}`"))
}

fn positions(history: &[HistoryRow]) -> Vec<u64> {
    history.iter().map(|row| row.position.0).collect()
}

pub(super) async fn an_instance_has_all_that_is_its_own(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "detail").await;
    // No parser makes a number of this: what is JSON is shown as it is.
    let state = State { version: 3, data: Bytes::from_static(b"{\"n\": 1e400, \"n\":2}") };
    let shown = Instance { state: Some(state), ..Instance::clone(&instance("a", 9)) };
    let summary = r#"{"keys":[{"claim":"i"}],"complete":true}"#.to_owned();
    let batch = Batch {
        instances: vec![(plugin(), Arc::new(shown)), (plugin(), instance("b", 1))],
        claims: vec![claim("i", "a", true), claim("h", "a", true), claim("z", "b", true)],
        timers_set: vec![timer("a", "t", 5), timer("b", "u", 6)],
        waits: vec![(plugin(), "a".into(), wait(4))],
        decisions: vec![DecisionRecord { summary, attempt: 3, ..decision(1, "a") }],
        ..appends([1])
    };
    subject.commit(batch).await;
    subject.restart().await;
    let found = detail(&subject, "a", None, ALL).await;
    assert_eq!((found.plugin.as_str(), found.key.as_str()), ("orders", "a"));
    assert_eq!((found.status, found.state_version), (Some(InstanceStatus::Running), Some(3)));
    assert_eq!(found.state.unwrap().get(), "{\"n\": 1e400, \"n\":2}");
    assert_eq!(found.keys, [Key::from("h"), Key::from("i")]);
    let timer = Timer { due: Timestamp(5), set_by: Position(1) };
    assert_eq!(found.timers.into_iter().collect::<Vec<_>>(), [("t".into(), timer)]);
    assert!(!found.parked);
    let waits = found.wait.unwrap();
    let expected = wait(4);
    assert_eq!((waits.position, waits.attempt, waits.reason), (Position(4), 3, expected.reason));
    assert_eq!((waits.since, waits.until), (expected.since, expected.until));
    let row = &found.history[0];
    assert_eq!((row.position, row.decided_at, row.attempt), (Position(1), Timestamp(1), 3));
    assert_eq!((row.plugin_version.as_str(), row.summary.complete), ("1.0.0", true));
    let event = event(1);
    let name = EventName { id: event.id.clone(), event_type: event.event_type.clone() };
    assert_eq!((row.event.as_ref(), found.next), (Some(&name), None));

    // An open dead letter parks its key; a message's does not, nor one that is resolved.
    let parked = Arc::new(dead_letter(1, Some("b"), 1));
    subject.commit(Batch { dead_letters: vec![parked], ..Batch::default() }).await;
    assert!(detail(&subject, "b", None, ALL).await.parked);
    assert!(!detail(&subject, "a", None, ALL).await.parked);
    for (plugin, key) in [("orders", "unknown"), ("unknown", "a")] {
        assert!(subject.queries().instance(plugin, key, None, ALL).await.unwrap().is_none());
    }
    // A claimed key is no instance.
    assert!(subject.queries().instance("orders", "i", None, ALL).await.unwrap().is_none());
}

pub(super) async fn a_state_that_is_no_json_is_a_string(urls: Urls<'_>) {
    let subject = Subject::new(urls, "strings").await;
    let with = |key: &str, data: &'static [u8]| {
        let state = Some(State { version: 1, data: Bytes::from_static(data) });
        (plugin(), Arc::new(Instance { state, ..Instance::clone(&instance(key, 1)) }))
    };
    let none = Arc::new(Instance { state: None, ..Instance::clone(&instance("none", 1)) });
    let states = [with("text", b"it's \"x\""), with("bytes", b"\xfe"), (plugin(), none)];
    subject.commit(rows(states)).await;
    for (key, expected) in
        [("text", Some(r#""it's \"x\"""#)), ("bytes", Some("\"\u{fffd}\"")), ("none", None)]
    {
        let found = detail(&subject, key, None, 1).await;
        assert_eq!(found.state.as_ref().map(|state| state.get()), expected);
        assert_eq!(found.state_version, expected.map(|_| 1));
    }
}

/// Not by position: a held event is decided after later ones.
pub(super) async fn a_history_follows_the_decisions_of_its_instance(urls: Urls<'_>) {
    let subject = Subject::new(urls, "history").await;
    let decided = |place, key, previous: Option<u64>| DecisionRecord {
        previous: previous.map(Position),
        ..decision(place, key)
    };
    let newest = Instance { decided: Position(9), ..Instance::clone(&instance("a", 1)) };
    let batch = Batch {
        instances: vec![(plugin(), Arc::new(newest))],
        decisions: vec![
            // The one before the first was removed.
            decided(2, "a", Some(1)),
            decided(7, "a", Some(2)),
            decided(3, "a", Some(7)),
            decided(9, "a", Some(3)),
            decided(9, "b", None),
            decided(8, "b", None),
        ],
        // The event of the last one is gone.
        ..appends([2, 3, 7])
    };
    subject.commit(batch).await;
    let whole = detail(&subject, "a", None, ALL).await;
    assert_eq!((positions(&whole.history), whole.next), (vec![9, 3, 7, 2], None));
    let has_event: Vec<bool> = whole.history.iter().map(|row| row.event.is_some()).collect();
    assert_eq!(has_event, [false, true, true, true]);
    for (after, limit, expected, next) in [
        (None, 2, vec![9, 3], Some(3)),
        (Some(3), 2, vec![7, 2], None),
        (Some(3), 1, vec![7], Some(7)),
        (Some(2), 2, vec![], None),
        (Some(5), 2, vec![], None),
    ] {
        let page = detail(&subject, "a", after, limit).await;
        let found = (positions(&page.history), page.next.map(|next| next.0));
        assert_eq!(found, (expected, next), "after {after:?}, {limit} at most");
    }
}

pub(super) async fn decisions_come_with_their_inputs_along_the_chain(urls: Urls<'_>) {
    let subject = Subject::new(urls, "decisions of one").await;
    let state = |n: u64| Some(State { version: 2, data: Bytes::from(n.to_string()) });
    let decided =
        |place: u64, key: &str| DecisionRecord { state: state(place), ..decision(place, key) };
    let last = Instance { decided: Position(4), ..Instance::clone(&instance("a", 4)) };
    let batch = Batch {
        instances: vec![(plugin(), Arc::new(last))],
        // The chain of `a` goes by way of 3, 2 and 1; another key decides the same events.
        decisions: vec![
            decided(1, "a"),
            decided(2, "a"),
            decided(2, "b"),
            decided(3, "a"),
            decided(4, "a"),
        ],
        ..appends([1, 2, 4])
    };
    subject.commit(batch).await;
    let of = |row: &RecordedDecision| (row.record.position.0, row.event.is_some(), row.hops);
    let read = async |after, limit| {
        subject.queries().decisions("orders", "a", after, limit).await.unwrap()
    };
    let all = read(None, 10).await;
    let expected =
        [(4, true, Hops(0)), (3, false, Hops(0)), (2, true, Hops(2)), (1, true, Hops(1))];
    assert_eq!((all.rows.iter().map(of).collect::<Vec<_>>(), all.next), (expected.to_vec(), None));
    assert_eq!(all.rows[1].record.state, state(3));
    let first = read(None, 2).await;
    assert_eq!((first.rows.len(), first.next), (2, Some(3)));
    let rest = read(first.next, 2).await;
    assert_eq!(
        (rest.rows.iter().map(of).collect::<Vec<_>>(), rest.next),
        (expected[2..].to_vec(), None)
    );
    let one = subject.queries().decision("orders", "a", 2).await.unwrap().unwrap();
    assert_eq!((of(&one), one.record.state), ((2, true, Hops(2)), state(2)));
    assert!(subject.queries().decision("orders", "b", 1).await.unwrap().is_none());
    assert!(subject.queries().decisions("orders", "z", None, 9).await.unwrap().rows.is_empty());
}

pub(super) async fn a_page_of_history_is_bounded_in_bytes(urls: Urls<'_>) {
    let limits = QueryLimits { page_bytes: 100, ..QueryLimits::default() };
    let subject = Subject::with(urls, "history bytes", limits).await;
    let decided = |place, bytes: usize| {
        let summary = format!(r#"{{"ended":{{"by":"{}","reason":""}}}}"#, "x".repeat(bytes - 31));
        assert_eq!(summary.len(), bytes);
        DecisionRecord { summary, ..decision(place, "a") }
    };
    let newest = Instance { decided: Position(4), ..Instance::clone(&instance("a", 1)) };
    let batch = Batch {
        instances: vec![(plugin(), Arc::new(newest))],
        decisions: [(1, 40), (2, 40), (3, 40), (4, 500)].map(|(at, n)| decided(at, n)).to_vec(),
        ..Batch::default()
    };
    subject.commit(batch).await;
    let history = async |after: Option<u64>| {
        let page = detail(&subject, "a", after, ALL).await;
        Page { rows: positions(&page.history), next: page.next.map(|next| next.0) }
    };
    // The first comes however large it is.
    assert_eq!(pages(history).await, [vec![4], vec![3, 2], vec![1]]);
}

pub(super) async fn a_stateless_key_has_the_history_that_is_recent(urls: Urls<'_>) {
    let limits = QueryLimits { scanned_decisions: 5, ..QueryLimits::default() };
    let subject = Subject::with(urls, "stateless", limits).await;
    let decisions = (1..=8).map(|place| match place {
        1 | 4 | 6 | 7 => decision(place, "a"),
        _ => decision(place, "b"),
    });
    let batch = Batch { decisions: decisions.collect(), ..appends(1..=8) };
    subject.commit(batch).await;
    let page = detail(&subject, "a", None, ALL).await;
    assert_eq!((page.status, page.state.is_some(), page.state_version), (None, false, None));
    // Five decisions were looked through.
    assert_eq!((positions(&page.history), page.next), (vec![7, 6, 4], None));
    let page = detail(&subject, "a", None, 2).await;
    assert_eq!((positions(&page.history), page.next), (vec![7, 6], Some(Position(6))));
    let page = detail(&subject, "a", Some(6), 2).await;
    assert_eq!((positions(&page.history), page.next), (vec![4, 1], None));
    // Nothing was decided under it, but something waits.
    let batch = Batch { waits: vec![(plugin(), "w".into(), wait(9))], ..Batch::default() };
    subject.commit(batch).await;
    assert_eq!(positions(&detail(&subject, "w", None, 2).await.history), Vec::<u64>::new());
}

pub(super) async fn live_states_come_in_portions(urls: Urls<'_>) {
    let subject = Subject::new(urls, "states").await;
    let running = ["c", "a", "d"].map(|key| (plugin(), instance(key, 1)));
    let none = Arc::new(Instance { state: None, ..Instance::clone(&instance("e", 1)) });
    let others = [
        (PluginName::from("other"), instance("a2", 1)),
        finished("b", InstanceStatus::Completed, 1),
        (plugin(), none),
    ];
    subject.commit(rows(running.into_iter().chain(others))).await;
    let live = async |after: &str, states, bytes| {
        let page = StatePage { states, bytes };
        let found = subject.queries().live_states("orders", after, page).await.unwrap();
        let state = instance("a", 1).state.clone().unwrap();
        assert!(found.iter().all(|(_, found)| *found == state));
        found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(live("", 10, usize::MAX).await, ["a", "c", "d"]);
    assert_eq!(live("", 2, usize::MAX).await, ["a", "c"]);
    assert_eq!(live("a", 2, usize::MAX).await, ["c", "d"]);
    // A key of one byte and a state of seven: the state that fills the page ends it.
    assert_eq!(live("", 10, 0).await, ["a"]);
    assert_eq!(live("", 10, 8).await, ["a"]);
    assert_eq!(live("", 10, 9).await, ["a", "c"]);
    assert_eq!(live("d", 10, 9).await, Vec::<String>::new());
    // Nothing else is a state of an instance.
    subject.commit(Batch { appends: vec![append(1, 1)], ..Batch::default() }).await;
    assert_eq!(live("", 10, usize::MAX).await.len(), 3);
}
