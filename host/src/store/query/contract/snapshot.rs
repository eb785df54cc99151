//! What replay reads.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use sagabox_engine::model::{
    DeadLetter, DeadLetterId, DecisionRecord, Event, Hops, LogEntry, Message, Position, State,
    Timestamp, reserved,
};
use sagabox_engine::pure::identity;
use sagabox_engine::seams::store::contract::{
    append, appends, dead_letter, decision, entry, event, message, plugin,
};
use sagabox_engine::seams::store::{Append, Batch};

use super::{Subject, Urls};
use crate::store::connect::snapshot;
use crate::store::query::Snapshot;
use crate::store::query::rows::RecordedDecision;

async fn opened(subject: &Subject) -> Box<dyn Snapshot> {
    snapshot(&subject.url).await.unwrap()
}

/// All that one snapshot has.
async fn decisions(
    snapshot: &mut dyn Snapshot,
    plugin: &str,
    key: Option<&str>,
    since: u64,
) -> Vec<RecordedDecision> {
    let mut found = Vec::new();
    let mut each = |decision| {
        found.push(decision);
        ControlFlow::Continue(())
    };
    snapshot.decisions(plugin, key, Timestamp(since), &mut each).await.unwrap();
    found
}

fn places(decisions: &[RecordedDecision]) -> Vec<(u64, &str)> {
    decisions.iter().map(|one| (one.record.position.0, one.record.key.as_str())).collect()
}

pub(super) async fn decisions_come_in_order_with_their_inputs(urls: Urls<'_>) {
    let subject = Subject::new(urls, "decisions").await;
    let state = Some(State { version: 7, data: Bytes::from_static(b"\xff\x00") });
    let whole = DecisionRecord {
        previous: Some(Position(3)),
        attempt: 4,
        state: state.clone(),
        summary: r#"{"complete":true}"#.to_owned(),
        ..decision(2, "b")
    };
    let other = DecisionRecord { plugin: "other".into(), ..decision(2, "a") };
    let decided = vec![decision(9, "b"), whole.clone(), decision(2, "a"), other, decision(3, "b")];
    // The event of the last one is gone.
    subject.commit(Batch { decisions: decided, ..appends(1..=3) }).await;
    let mut snapshot = opened(&subject).await;
    let all = decisions(&mut *snapshot, "orders", None, 0).await;
    assert_eq!(places(&all), [(2, "a"), (2, "b"), (3, "b"), (9, "b")]);
    assert_eq!(all[1].record, whole);
    assert_eq!(all[0].record, decision(2, "a"));
    let texts: Vec<Option<String>> = all.iter().map(|one| one.event.clone()).collect();
    let text = |id| Some(event(id).to_json());
    assert_eq!(texts, [text(2), text(2), text(3), None]);
    assert_eq!(all.iter().map(|one| one.hops.0).collect::<Vec<_>>(), [2, 2, 3, 0]);
    let one = decisions(&mut *snapshot, "orders", Some("b"), 0).await;
    assert_eq!(places(&one), [(2, "b"), (3, "b"), (9, "b")]);
    // Older ones come without their events: they lead to the state before the first.
    let late = decisions(&mut *snapshot, "orders", Some("b"), 3).await;
    assert_eq!(places(&late), places(&one));
    assert_eq!(
        late.iter().map(|one| one.event.is_some()).collect::<Vec<_>>(),
        [false, true, false]
    );
    assert!(decisions(&mut *snapshot, "unknown", None, 0).await.is_empty());
    assert!(decisions(&mut *snapshot, "orders", Some("unknown"), 0).await.is_empty());
}

pub(super) async fn decisions_end_where_they_are_stopped(urls: Urls<'_>) {
    let subject = Subject::new(urls, "stopped").await;
    let decided = (1..=5).map(|place| decision(place, "a")).collect();
    subject.commit(Batch { decisions: decided, ..Batch::default() }).await;
    let mut snapshot = opened(&subject).await;
    let mut count = 0;
    let mut each = |_: RecordedDecision| {
        count += 1;
        if count == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    snapshot.decisions("orders", None, Timestamp(0), &mut each).await.unwrap();
    assert_eq!(count, 2);
    // The snapshot is as good as before.
    assert_eq!(decisions(&mut *snapshot, "orders", None, 0).await.len(), 5);
}

pub(super) async fn the_log_comes_in_order(urls: Urls<'_>) {
    let subject = Subject::new(urls, "log").await;
    subject.commit(appends([1, 2, 5, 9])).await;
    let mut snapshot = opened(&subject).await;
    for (stops_at, expected) in [(9, vec![1, 2, 5, 9]), (100, vec![1, 2, 5, 9]), (2, vec![1, 2])] {
        let mut found = Vec::new();
        let mut each = |one: LogEntry| {
            let is_last = one.position.0 == stops_at;
            found.push(one);
            if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        snapshot.log(&mut each).await.unwrap();
        assert_eq!(found, expected.into_iter().map(entry).collect::<Vec<_>>());
    }
}

/// An event that this plugin has sent.
fn own(id: u64, event_type: &str) -> Arc<Event> {
    let (source, event_type) = (identity::source(&plugin()), event_type.to_owned());
    Arc::new(Event { source, event_type, ..Event::clone(&event(id)) })
}

pub(super) async fn messages_are_found_wherever_they_went(urls: Urls<'_>) {
    let subject = Subject::new(urls, "messages").await;
    let emitted = |place, event, hops| Append { event, hops, ..append(place, place) };
    let left =
        |sequence, event| Arc::new(Message { event, ..Message::clone(&message(sequence, "m", 1)) });
    let quoting = Event { data: own(22, "x").to_json().into(), ..Event::clone(&event(22)) };
    let batch = Batch {
        messages: vec![left(1, own(1, "left"))],
        appends: vec![
            emitted(2, own(2, "stayed"), Hops(1)),
            // A sender that says it is the plugin, and the host's own events for the plugin.
            emitted(3, own(3, "forged"), Hops::OUTSIDE),
            emitted(4, own(4, reserved::TIMER_FIRED), Hops(1)),
            // Another's event that has one of the plugin's in its data.
            emitted(5, Arc::new(quoting), Hops(1)),
        ],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let mut snapshot = opened(&subject).await;
    let messages = snapshot.messages("orders").await.unwrap();
    let found: Vec<Option<&str>> =
        [1, 2, 3, 4, 22].map(|id| messages.get(&format!("e-{id}"))).to_vec();
    let texts = [own(1, "left").to_json(), own(2, "stayed").to_json()];
    assert_eq!(found, [Some(texts[0].as_str()), Some(texts[1].as_str()), None, None, None]);
    assert_eq!(snapshot.messages("unknown").await.unwrap().get("e-1"), None);
}

pub(super) async fn edited_events_are_found_by_their_dead_letters(urls: Urls<'_>) {
    let subject = Subject::new(urls, "edited").await;
    let edited = DeadLetter { edited: Some(event(4)), ..dead_letter(2, Some("a"), 2) };
    let other = DeadLetter { plugin: "other".into(), ..edited.clone() };
    let other = DeadLetter { id: DeadLetterId(3), ..other };
    let dead_letters = [dead_letter(1, Some("a"), 1), edited, other].map(Arc::new).to_vec();
    subject.commit(Batch { dead_letters, ..Batch::default() }).await;
    let found = opened(&subject).await.edited("orders").await.unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(DeadLetterId(2), event(4).to_json())]);
}

pub(super) async fn a_stream_ends_before_its_position(urls: Urls<'_>) {
    let subject = Subject::new(urls, "stream").await;
    subject.commit(appends(1..=14)).await;
    let mut snapshot = opened(&subject).await;
    for (subject, before, expected) in [
        ("s-2", 15, vec![event(2), event(8), event(14)]),
        ("s-2", 14, vec![event(2), event(8)]),
        ("s-2", 2, vec![]),
        ("unknown", 15, vec![]),
    ] {
        assert_eq!(snapshot.stream(subject, before).await.unwrap(), expected);
    }
}

pub(super) async fn a_snapshot_does_not_see_what_comes_later(urls: Urls<'_>) {
    let subject = Subject::new(urls, "moment").await;
    let decided = |place| Batch { decisions: vec![decision(place, "a")], ..appends([place]) };
    subject.commit(decided(1)).await;
    let mut before = opened(&subject).await;
    subject.commit(decided(2)).await;
    assert_eq!(places(&decisions(&mut *before, "orders", None, 0).await), [(1, "a")]);
    assert_eq!(before.stream("s-2", 100).await.unwrap(), []);
    let mut after = opened(&subject).await;
    assert_eq!(decisions(&mut *after, "orders", None, 0).await.len(), 2);
    assert_eq!(after.stream("s-2", 100).await.unwrap(), [event(2)]);
}

pub(super) async fn a_store_that_is_not_there_is_not_made(urls: Urls<'_>) {
    let url = urls("nowhere");
    for _ in 0..2 {
        assert!(snapshot(&url).await.is_err());
    }
}
