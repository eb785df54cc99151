//! Accounts: the sums of events and messages, and the names that a store knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sagabox_engine::model::{
    Counters, Cursor, DeadLetter, DeadLetterId, DeadLetterStatus, Held, Sequence, Span, Timestamp,
};
use sagabox_engine::seams::store::contract::{
    append, appends, dead_letter, decision, held, lane, message, parked, plugin, plugin_progress,
    sink, sink_progress, undelivered,
};
use sagabox_engine::seams::store::{Append, Batch, Closing, PluginProgress, SinkProgress};

use super::{Subject, Urls};
use crate::store::query::QueryLimits;
use crate::store::query::rows::{Accounts, PluginAccount, SinkAccount, UntakenAccount};

async fn accounts(subject: &Subject) -> Accounts {
    subject.queries().accounts().await.unwrap()
}

fn progress(settled: u64, ahead: &[(u64, u64)], counters: Counters) -> PluginProgress {
    let ahead = ahead.iter().map(|&(first, last)| Span { first, last }).collect();
    let cursor = Cursor { settled, ahead };
    PluginProgress { cursor, counters, ..plugin_progress("orders", 0) }
}

pub(super) async fn an_empty_store_is_balanced(urls: Urls<'_>) {
    let subject = Subject::new(urls, "empty").await;
    let found = accounts(&subject).await;
    assert_eq!((found.events, found.differing_duplicates, found.balanced), (0, 0, true));
    assert!(found.plugins.is_empty() && found.sinks.is_empty() && found.untaken.is_empty());
}

pub(super) async fn the_events_of_a_plugin_add_up(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "plugin sums").await;
    let counters = Counters {
        received: 20,
        handled: 5,
        ignored_absent: 1,
        ignored_started: 2,
        ignored_missed: 1,
        discarded: 3,
        requeued: 1,
        ..Counters::default()
    };
    let unreached = |place, key| Held { reached: Vec::new(), ..held(place, key, 9) };
    let resolved = DeadLetter { status: DeadLetterStatus::Skipped, ..dead_letter(3, Some("d"), 3) };
    let redriving =
        DeadLetter { status: DeadLetterStatus::Redriving, ..dead_letter(2, Some("c"), 2) };
    let other = DeadLetter { plugin: "other".into(), ..dead_letter(5, Some("a"), 5) };
    let batch = Batch {
        // Held by two keys is one event; held for one that has reached an instance is counted
        // as decided there.
        held: vec![unreached(1, "a"), unreached(1, "b"), unreached(2, "a"), held(3, "a", 9)],
        parked: vec![parked(4, "a"), parked(5, "a"), parked(6, "b")],
        dead_letters: [
            dead_letter(1, Some("a"), 1),
            redriving,
            resolved,
            undelivered(4, 1, "m"),
            other,
        ]
        .map(Arc::new)
        .to_vec(),
        // A duplicate leaves a gap, and is no event.
        appends: [1, 2, 3, 4, 5, 6].map(|place| append(place, place)).to_vec(),
        plugins: vec![
            progress(2, &[(4, 4)], counters),
            PluginProgress { plugin: "other".into(), ..progress(9, &[], Counters::default()) },
        ],
        ..Batch::default()
    };
    subject.commit(batch).await;
    subject.commit(Batch { appends: vec![append(7, 1)], ..Batch::default() }).await;
    subject.restart().await;
    let found = accounts(&subject).await;
    assert_eq!(found.events, 6);
    let expected = PluginAccount {
        plugin: "orders".to_owned(),
        received: 20,
        handled: 5,
        ignored: 4,
        ignored_because: BTreeMap::from([("absent", 1), ("missed", 1), ("started", 2)]),
        held: 2,
        parked: 3,
        dead: 2,
        discarded: 3,
        // 3, 5 and 6: what is settled ahead is not pending.
        pending: 3,
        balanced: true,
    };
    let names: Vec<&str> = found.plugins.iter().map(|account| account.plugin.as_str()).collect();
    assert_eq!((&found.plugins[0], names), (&expected, vec!["orders", "other"]));
    // A dead letter whose message was not delivered.
    assert_eq!((found.plugins[1].dead, found.plugins[1].balanced), (1, false));
    assert!(!found.balanced);
}

pub(super) async fn the_messages_of_a_sink_add_up(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "sink sums").await;
    let counters = Counters { received: 8, handled: 4, discarded: 1, ..Counters::default() };
    let progress = SinkProgress { counters, ..sink_progress(sink().as_str(), 8) };
    let batch = Batch {
        messages: (1..=10).map(|sequence| message(sequence, "m", sequence.div_ceil(3))).collect(),
        decisions: (1..=4).map(|place| decision(place, "m")).collect(),
        parked_messages: vec![(lane("m"), Sequence(5))],
        dead_letters: [undelivered(1, 4, "m"), undelivered(2, 6, "n")].map(Arc::new).to_vec(),
        sinks: vec![progress],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let closed = Closing {
        id: DeadLetterId(2),
        status: DeadLetterStatus::Compensated,
        by: "orders".to_owned(),
        reason: "handled".to_owned(),
    };
    subject.commit(Batch { dead_letters_closed: vec![closed], ..Batch::default() }).await;
    subject.restart().await;
    let found = accounts(&subject).await;
    let expected = SinkAccount {
        sink: sink().to_string(),
        messages: 10,
        delivered: 4,
        pending: 2,
        oldest_at: Some(Timestamp(3)),
        parked: 1,
        dead: 1,
        discarded: 1,
        compensated: 1,
        balanced: true,
    };
    assert_eq!((found.sinks, found.balanced), (vec![expected], true));
}

pub(super) async fn sums_that_do_not_add_up_are_said(urls: Urls<'_>) {
    let subject = Subject::new(urls, "unbalanced").await;
    let lost = Counters { received: 2, handled: 1, ..Counters::default() };
    subject.commit(Batch { plugins: vec![progress(2, &[], lost)], ..appends(1..=2) }).await;
    let found = accounts(&subject).await;
    assert_eq!((found.plugins[0].balanced, found.balanced), (false, false));

    // More were settled than ever were messages.
    let subject = Subject::new(urls, "unbalanced sink").await;
    let counters = Counters { received: 2, handled: 2, ..Counters::default() };
    let progress = SinkProgress { counters, ..sink_progress(sink().as_str(), 2) };
    let messages = vec![message(1, "m", 1)];
    subject.commit(Batch { messages, sinks: vec![progress], ..Batch::default() }).await;
    let found = accounts(&subject).await;
    assert_eq!((found.sinks[0].balanced, found.balanced), (false, false));
}

/// Positions 1, 3, 5 and so on to 19.
pub(super) async fn a_plugin_that_is_far_behind_is_estimated(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "behind").await;
    let odd: Vec<Append> = (0..10).map(|n| append(2 * n + 1, n)).collect();
    subject.commit(Batch { appends: odd, ..Batch::default() }).await;
    for (settled, counted_pending, expected) in
        [(0, 11, 10), (0, 10, 19), (0, 5, 19), (9, 6, 5), (19, 1, 0)]
    {
        subject.reopen(QueryLimits { counted_pending, ..QueryLimits::default() }).await;
        let plugins = vec![progress(settled, &[], Counters::default())];
        subject.commit(Batch { plugins, ..Batch::default() }).await;
        let found = accounts(&subject).await.plugins[0].pending;
        assert_eq!(found, expected, "after {settled}, {counted_pending} at most");
    }
}

pub(super) async fn untaken_types_are_named(urls: Urls<'_>) {
    let subject = Subject::new(urls, "untaken").await;
    // The samples have hops by their ids: those of senders have none.
    let batch = Batch {
        appends: vec![append(4, 4), append(8, 8)],
        untaken: BTreeSet::from(["happened".to_owned()]),
        ..Batch::default()
    };
    subject.commit(batch).await;
    let expected =
        UntakenAccount { event_type: "happened".to_owned(), events: 2, last_at: Timestamp(8) };
    assert_eq!(accounts(&subject).await.untaken, [expected]);
}

pub(super) async fn what_was_ever_there_is_known_by_name(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "names").await;
    assert!(subject.queries().plugins().await.unwrap().is_empty());
    assert!(subject.queries().sinks().await.unwrap().is_empty());
    let batch = Batch {
        plugins: vec![plugin_progress("b", 1), plugin_progress(plugin().as_str(), 1)],
        messages: vec![message(1, "m", 1)],
        // It has had progress and, so far, no message.
        sinks: vec![sink_progress("z", 0)],
        ..Batch::default()
    };
    subject.commit(batch).await;
    subject.restart().await;
    let names = |names: [&str; 2]| names.map(str::to_owned).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(subject.queries().plugins().await.unwrap(), names(["b", "orders"]));
    assert_eq!(subject.queries().sinks().await.unwrap(), names([sink().as_str(), "z"]));
}
