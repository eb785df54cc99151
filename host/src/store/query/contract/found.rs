//! What a text names, and where an event went.

use std::sync::Arc;

use sagabox_engine::model::{
    DeadLetter, DeadLetterStatus, Event, Held, InstanceStatus, PluginName, Position, Sequence,
    Timestamp,
};
use sagabox_engine::seams::store::contract::{
    append, appends, claim, dead_letter, decision, held, instance, lane, message, parked, plugin,
    plugin_progress, sink_progress, timer, undelivered, wait,
};
use sagabox_engine::seams::store::{Append, Batch};

use super::{Subject, Urls};
use crate::store::query::deliveries::MessageState;
use crate::store::query::found::{Found, TracedKey};

async fn find(subject: &Subject, text: &str) -> Vec<Found> {
    subject.queries().find(text, 10, &|_| true).await.unwrap()
}

fn event_at(position: u64, id: &str) -> Found {
    Found::Event {
        position,
        id: id.to_owned(),
        event_type: "happened".to_owned(),
        source: "/contract".to_owned(),
        received_at: Timestamp(position),
    }
}

pub(super) async fn a_text_names_what_has_it_as_its_key_or_id(urls: Urls<'_>) {
    let subject = Subject::new(urls, "found").await;
    let batch = Batch {
        plugins: vec![plugin_progress("orders", 0), plugin_progress("other", 0)],
        instances: vec![
            (plugin(), instance("o-1", 7)),
            (PluginName::from("other"), instance("o-1", 7)),
        ],
        claims: vec![claim("item", "o-1", true), claim("item", "o-2", true)],
        messages: vec![message(1, "o-1", 2)],
        dead_letters: vec![Arc::new(dead_letter(2, Some("lost"), 3))],
        ..appends([1, 2, 3])
    };
    subject.commit(batch).await;
    let instance = |of: &str| Found::Instance {
        plugin: of.to_owned(),
        key: "o-1".to_owned(),
        status: InstanceStatus::Running,
    };
    assert_eq!(find(&subject, "o-1").await, [instance("orders"), instance("other")]);
    let claimed = |by: &str| Found::Claim {
        plugin: "orders".to_owned(),
        key: "item".to_owned(),
        instance: by.to_owned(),
    };
    assert_eq!(find(&subject, "item").await, [claimed("o-1"), claimed("o-2")]);
    let lost = Found::Key { plugin: "orders".to_owned(), key: "lost".to_owned() };
    assert_eq!(find(&subject, "lost").await, [lost]);
    let found = find(&subject, "2").await;
    assert!(
        matches!(&found[..], [Found::DeadLetter { id: 2, .. }, Found::Event { position: 2, .. }]),
        "{found:?}"
    );
    let found = find(&subject, "e-101").await;
    assert!(
        matches!(&found[..], [Found::Message { sequence: 1, cause: 2, key, .. }] if key == "o-1"),
        "{found:?}"
    );
    for nothing in ["o", "o-1 ", "O-1", "e-10", "99", "", "'", "%"] {
        assert_eq!(find(&subject, nothing).await, [], "{nothing}");
    }
    assert_eq!(subject.queries().find("item", 1, &|_| true).await.unwrap().len(), 1);
}

/// Others' things take up no room in what a caller finds.
pub(super) async fn a_caller_finds_all_that_it_sees(urls: Urls<'_>) {
    let subject = Subject::new(urls, "seen").await;
    let plugins = ["a", "b", "orders"];
    let batch = Batch {
        plugins: plugins.map(|name| plugin_progress(name, 0)).into(),
        instances: plugins.map(|name| (PluginName::from(name), instance("e-101", 7))).into(),
        messages: vec![message(1, "o-1", 2)],
        ..appends([1, 2, 101])
    };
    subject.commit(batch).await;
    let sees = |found: &Found| found.plugin() == Some("orders");
    let found = subject.queries().find("e-101", 2, &sees).await.unwrap();
    assert!(
        matches!(&found[..], [Found::Instance { .. }, Found::Message { .. }]),
        "neither the others' instances nor the event: {found:?}"
    );
    assert_eq!(subject.queries().find("e-101", 10, &|_| true).await.unwrap().len(), 5);
}

/// Of each length of a log: shorter than a span, on its edge, and of several, with gaps.
pub(super) async fn ids_are_found_at_each_length_of_a_log(urls: Urls<'_>) {
    const ODD: &str = "a \"b\"\\ \u{1}ä/'";
    let mut subject = Subject::new(urls, "indexed ids").await;
    let named = |position: u64, id: &str| {
        let event = Event { id: id.to_owned(), ..Event::clone(&append(position, 1).event) };
        Append { event: Arc::new(event), ..append(position, 1) }
    };
    let mut appends: Vec<Append> = (1..=9_000)
        .filter(|position| position % 3 != 0)
        .map(|position| named(position, &format!("id-{position}")))
        .collect();
    appends.push(named(9_001, ODD));
    // The data of another event has the text of an id in it.
    let decoy = Event {
        data: br#"{"id":"id-4000"}"#.as_slice().into(),
        ..Event::clone(&named(9_002, "decoy").event)
    };
    appends.push(Append { event: Arc::new(decoy), ..append(9_002, 1) });
    let messages: Vec<_> = (1..=5_000).map(|sequence| message(sequence, "k", 1)).collect();
    // Two spans are complete with the first commit, and others within later ones.
    for (appends, messages) in appends.chunks(5_900).zip(messages.chunks(3_000)) {
        let (appends, messages) = (appends.to_vec(), messages.to_vec());
        subject.commit(Batch { appends, messages, ..Batch::default() }).await;
    }
    for _ in 0..3 {
        for position in [1, 4_000, 4_096, 4_097, 8_191, 8_192, 8_998] {
            let id = format!("id-{position}");
            let expected = if position % 3 == 0 { vec![] } else { vec![event_at(position, &id)] };
            assert_eq!(find(&subject, &id).await, expected, "{id}");
        }
        assert_eq!(find(&subject, ODD).await, [event_at(9_001, ODD)]);
        for sequence in [1, 4_095, 4_096, 5_000] {
            let found = find(&subject, &format!("e-{}", 100 + sequence)).await;
            assert!(
                matches!(&found[..], [Found::Message { sequence: own, .. }] if *own == sequence),
                "{sequence}: {found:?}"
            );
        }
        subject.restart().await;
    }
    let ids = ["e-101", "id-1", "id-3"].map(str::to_owned);
    let messages = subject.queries().messages(&ids).await.unwrap();
    let found = ids.map(|id| messages.get(&id).is_some_and(|text| text.contains(&id)));
    assert_eq!(found, [true, true, false]);
}

pub(super) async fn an_event_says_what_became_of_it(urls: Urls<'_>) {
    let subject = Subject::new(urls, "traces").await;
    let batch = Batch {
        plugins: vec![plugin_progress("orders", 0)],
        decisions: vec![decision(1, "a"), decision(1, "b"), decision(2, "a")],
        held: vec![held(2, "h", 99)],
        parked: vec![parked(2, "p")],
        dead_letters: vec![Arc::new(dead_letter(7, Some("d"), 2))],
        ..appends([1, 2])
    };
    subject.commit(batch).await;
    let of = |key: &str, at: Option<u64>| TracedKey {
        plugin: "orders".to_owned(),
        key: key.to_owned(),
        at: at.map(Timestamp),
    };
    let first = subject.queries().trace(1).await.unwrap().unwrap();
    assert_eq!(first.decided, [of("a", Some(1)), of("b", Some(1))]);
    assert!(first.held.is_empty() && first.parked.is_empty() && first.dead_letters.is_empty());
    assert!(first.event.get().contains("\"id\":\"e-1\""), "{}", first.event);
    let second = subject.queries().trace(2).await.unwrap().unwrap();
    assert_eq!((second.held, second.parked), (vec![of("h", Some(99))], vec![of("p", None)]));
    assert_eq!((second.decided, second.dead_letters), (vec![of("a", Some(2))], vec![7]));
    assert_eq!(Position(second.position), Position(2));
    assert!(subject.queries().trace(3).await.unwrap().is_none());
}

pub(super) async fn what_waits_at_a_key_is_named(urls: Urls<'_>) {
    let subject = Subject::new(urls, "waiting").await;
    let batch = Batch {
        plugins: vec![plugin_progress("orders", 1)],
        sinks: vec![sink_progress("queue:Do", 2)],
        instances: vec![(plugin(), instance("a", 7))],
        // Of the sink's messages, the first two are settled.
        messages: (1..=4).map(|n| message(n, if n == 4 { "b" } else { "a" }, 1)).collect(),
        dead_letters: vec![
            Arc::new(dead_letter(7, Some("a"), 2)),
            Arc::new(dead_letter(8, Some("b"), 2)),
        ],
        parked: vec![parked(3, "a")],
        waits: vec![(plugin(), "a".into(), wait(2))],
        timers_set: vec![timer("a", "t", 5), timer("b", "u", 6)],
        held: vec![Held { reached: Vec::new(), ..held(2, "h", 99) }, held(2, "a", 99)],
        ..appends([1, 2, 3])
    };
    subject.commit(batch).await;
    let found = subject.queries().waiting("orders", "a").await.unwrap();
    assert_eq!((found.status, found.parked, found.behind), (Some(InstanceStatus::Running), 1, 2));
    assert_eq!(
        found.dead_letters.iter().map(|dead_letter| dead_letter.id).collect::<Vec<_>>(),
        [7]
    );
    let retry = found.retry.unwrap();
    assert_eq!((retry.place, retry.attempt, retry.until), (2, 3, Timestamp(9)));
    assert_eq!(
        found.timers.iter().map(|t| (t.name.as_str(), t.due.0)).collect::<Vec<_>>(),
        [("t", 5)]
    );
    assert!(found.held.is_empty(), "what has reached an instance does not wait: {:?}", found.held);
    let messages: Vec<_> = found.messages.iter().map(|own| (own.sequence, &*own.id)).collect();
    assert_eq!(messages, [(3, "e-103")]);
    let held = subject.queries().waiting("orders", "h").await.unwrap();
    assert_eq!(
        held.held.iter().map(|own| (own.position, own.until.0)).collect::<Vec<_>>(),
        [(2, 99)]
    );
    assert_eq!(held.status, None);
}

pub(super) async fn messages_of_a_key_say_whether_they_are_delivered(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "deliveries").await;
    let dead = |id, sequence, status| {
        let event = Arc::clone(&message(sequence, "a", 1).event);
        Arc::new(DeadLetter { status, event, ..undelivered(id, sequence, "a") })
    };
    let batch = Batch {
        sinks: vec![sink_progress("queue:Do", 4)],
        messages: (1..=9).map(|n| message(n, if n == 9 { "b" } else { "a" }, 1)).collect(),
        dead_letters: vec![
            dead(7, 1, DeadLetterStatus::Open),
            dead(8, 2, DeadLetterStatus::Skipped),
        ],
        parked_messages: vec![(lane("a"), Sequence(5))],
        message_waits: vec![(lane("a"), wait(6))],
        ..appends([1, 2, 3])
    };
    subject.commit(batch).await;
    subject.restart().await;
    let states = async |key: &str, positions: &[u64]| {
        let found = subject.queries().deliveries("orders", key, positions).await.unwrap();
        assert!(found.is_whole);
        let states = found.messages.into_iter().map(|(id, state)| match state {
            MessageState::Pending => format!("{id} pending"),
            MessageState::Retry(retry) => format!("{id} attempt {}", retry.attempt),
            MessageState::Parked => format!("{id} parked"),
            MessageState::Dead(dead_letter, status) => {
                format!("{id} {dead_letter} {}", status.as_str())
            }
        });
        states.collect::<Vec<_>>()
    };
    let open = ["e-105 parked", "e-106 attempt 3", "e-107 pending", "e-108 pending"];
    assert_eq!(states("a", &[]).await, open, "what is delivered is not there");
    let all: Vec<_> = ["e-101 7 open", "e-102 8 skipped"].into_iter().chain(open).collect();
    assert_eq!(states("a", &[3, 1]).await, all);
    assert_eq!(states("b", &[1]).await, ["e-109 pending"]);
    assert_eq!(states("c", &[1]).await, Vec::<String>::new());
}

pub(super) async fn one_instance_is_read_with_all_that_it_needs_to_continue(urls: Urls<'_>) {
    let subject = Subject::new(urls, "whole").await;
    let batch = Batch {
        instances: vec![(plugin(), instance("a", 7)), (plugin(), instance("b", 7))],
        claims: vec![claim("x", "a", true), claim("y", "b", true)],
        timers_set: vec![timer("a", "t", 5), timer("b", "u", 6)],
        ..appends([7])
    };
    subject.commit(batch).await;
    let whole = subject.queries().whole_instance("orders", "a").await.unwrap().unwrap();
    let expected = instance("a", 7);
    assert_eq!((whole.key.clone(), whole.status), (expected.key.clone(), expected.status));
    assert_eq!((whole.version, whole.started_at), (expected.version, expected.started_at));
    let state = expected.state.as_ref().unwrap();
    assert_eq!(whole.state_version, Some(state.version));
    assert_eq!(whole.state.unwrap().bytes().unwrap(), state.data);
    assert_eq!(whole.keys, ["x".into()]);
    let timers: Vec<_> = whole.timers.iter().map(|own| (own.name.as_str(), own.due.0)).collect();
    assert_eq!(timers, [("t", 5)]);
    assert!(subject.queries().whole_instance("orders", "x").await.unwrap().is_none());
    assert!(subject.queries().whole_instance("other", "a").await.unwrap().is_none());
}
