//! Dead letters: filters, pages, and what one row says.

use std::sync::Arc;

use sagabox_engine::model::{
    DeadLetter, DeadLetterId, DeadLetterStatus, Event, MessageKind, Sequence,
};
use sagabox_engine::model::{DeadLetterSubject, SinkName, Timestamp};
use sagabox_engine::seams::store::Batch;
use sagabox_engine::seams::store::contract::{dead_letter, event, sink, undelivered};

use super::{ALL, Subject, Urls, looks_briefly, pages};
use crate::store::query::QueryLimits;
use crate::store::query::rows::{
    CauseFilter, CauseRow, Counted, DeadLetterFilter, DeadLetterKind, LoggedLine, Page,
};

fn dead_letters(dead_letters: impl IntoIterator<Item = DeadLetter>) -> Batch {
    let dead_letters = dead_letters.into_iter().map(Arc::new).collect();
    Batch { dead_letters, ..Batch::default() }
}

/// Page by page, of the rows and of the ids alone, which must agree but for the bytes.
async fn listed(subject: &Subject, filter: &DeadLetterFilter) -> Vec<Vec<u64>> {
    let rows = async |after: Option<u64>| {
        let filter = DeadLetterFilter { after: after.unwrap_or(filter.after), ..filter.clone() };
        let Page { rows, next } = subject.queries().dead_letters(&filter).await.unwrap();
        Page { rows: rows.iter().map(|row| row.id.0).collect(), next }
    };
    let ids = async |after: Option<u64>| {
        let filter = DeadLetterFilter { after: after.unwrap_or(filter.after), ..filter.clone() };
        subject.queries().dead_letter_ids(&filter).await.unwrap()
    };
    let (listed, ids): (Vec<Vec<u64>>, Vec<Vec<u64>>) = (pages(rows).await, pages(ids).await);
    assert_eq!(listed.concat(), ids.concat(), "{filter:?}");
    listed
}

fn all() -> DeadLetterFilter {
    DeadLetterFilter { limit: ALL, ..DeadLetterFilter::default() }
}

pub(super) async fn each_filter_holds(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "filters").await;
    let other = Event { event_type: "other".to_owned(), ..Event::clone(&event(1)) };
    let to_other = DeadLetterSubject::Message {
        sink: SinkName::from("other"),
        sequence: Sequence(9),
        kind: MessageKind::Command,
    };
    subject
        .commit(dead_letters([
            dead_letter(1, Some("a"), 1),
            dead_letter(2, Some("b"), 2),
            DeadLetter { plugin: "other".into(), ..dead_letter(3, Some("a"), 3) },
            DeadLetter { plugin_version: "2.0.0".into(), ..dead_letter(4, None, 4) },
            DeadLetter { status: DeadLetterStatus::Skipped, ..dead_letter(5, Some("a"), 5) },
            DeadLetter { reason: "100% 'of_it'".to_owned(), ..dead_letter(6, Some("a b"), 6) },
            DeadLetter { event: Arc::new(other), ..dead_letter(7, Some("A"), 7) },
            undelivered(8, 1, "a"),
            DeadLetter { subject: to_other, ..dead_letter(9, Some("a"), 9) },
        ]))
        .await;
    subject.restart().await;
    let text = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (all(), vec![1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (DeadLetterFilter { plugin: text("other"), ..all() }, vec![3]),
        (DeadLetterFilter { plugin_version: text("2.0.0"), ..all() }, vec![4]),
        (DeadLetterFilter { status: Some(DeadLetterStatus::Skipped), ..all() }, vec![5]),
        (DeadLetterFilter { status: Some(DeadLetterStatus::Redriven), ..all() }, vec![]),
        (DeadLetterFilter { sink: text("other"), ..all() }, vec![9]),
        (DeadLetterFilter { sink: text(sink().as_str()), ..all() }, vec![8]),
        (DeadLetterFilter { key: text("a"), ..all() }, vec![1, 3, 5, 8, 9]),
        (DeadLetterFilter { key: text("A"), ..all() }, vec![7]),
        (DeadLetterFilter { event_type: text("other"), ..all() }, vec![7]),
        // As it is: no pattern, and case counts.
        (DeadLetterFilter { reason_contains: text("% 'of_"), ..all() }, vec![6]),
        (DeadLetterFilter { reason_contains: text("100_"), ..all() }, vec![]),
        (DeadLetterFilter { reason_contains: text("Quoted"), ..all() }, vec![]),
        (DeadLetterFilter { reason_contains: text("quoted"), after: 7, ..all() }, vec![8, 9]),
        (DeadLetterFilter { after: 8, ..all() }, vec![9]),
        (DeadLetterFilter { after: 9, ..all() }, vec![]),
        // Everything that is given must hold.
        (DeadLetterFilter { plugin: text("orders"), key: text("a"), ..all() }, vec![1, 5, 8, 9]),
        (DeadLetterFilter { plugin: text("other"), key: text("b"), ..all() }, vec![]),
        (DeadLetterFilter { ids: Some(vec![9, 2, 2, 77]), ..all() }, vec![2, 9]),
        (DeadLetterFilter { ids: Some(vec![9, 2]), key: text("a"), ..all() }, vec![9]),
        (DeadLetterFilter { ids: Some(vec![9, 2]), after: 2, ..all() }, vec![9]),
        (DeadLetterFilter { ids: Some(vec![]), ..all() }, vec![]),
        // A name that the store does not know.
        (DeadLetterFilter { plugin: text("unknown"), ..all() }, vec![]),
        (DeadLetterFilter { sink: text("unknown"), ..all() }, vec![]),
    ] {
        assert_eq!(listed(&subject, &filter).await, [expected], "{filter:?}");
    }
}

/// All came at one time: their order is that of their ids.
pub(super) async fn open_dead_letters_are_counted(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "counted-dead letters").await;
    let of_other = DeadLetter { plugin: "other".into(), ..dead_letter(3, Some("a"), 3) };
    let skipped = DeadLetter { status: DeadLetterStatus::Skipped, ..dead_letter(4, Some("a"), 4) };
    let why = DeadLetter { reason: "100% 'of_it'".to_owned(), ..dead_letter(5, Some("b"), 5) };
    let all_dead_letters =
        [dead_letter(1, Some("a"), 1), dead_letter(2, None, 2), of_other, skipped, why];
    subject.commit(dead_letters(all_dead_letters)).await;
    subject.commit(dead_letters([undelivered(6, 1, "a")])).await;
    let text = |text: &str| Some(text.to_owned());
    for (filter, count) in [
        (all(), 5),
        (DeadLetterFilter { plugin: text("orders"), ..all() }, 4),
        (DeadLetterFilter { key: text("a"), ..all() }, 3),
        (DeadLetterFilter { sink: text(sink().as_str()), ..all() }, 1),
        (DeadLetterFilter { plugin_version: text("2.0.0"), ..all() }, 0),
        (DeadLetterFilter { event_type: text(&event(1).event_type), ..all() }, 5),
        (DeadLetterFilter { reason_contains: text("100%"), ..all() }, 1),
    ] {
        let counted = subject.queries().count_open_dead_letters(&filter).await.unwrap();
        assert_eq!(counted, Counted { count, is_exact: true }, "{filter:?}");
    }
    subject.reopen(looks_briefly(true)).await;
    let filter = DeadLetterFilter { reason_contains: text("quoted"), ..all() };
    let counted = subject.queries().count_open_dead_letters(&filter).await.unwrap();
    assert!(!counted.is_exact && counted.count < 5, "{counted:?}");
}

pub(super) async fn dead_letters_are_listed_by_id_in_pages(urls: Urls<'_>) {
    let subject = Subject::new(urls, "dead letters").await;
    let with = |id| DeadLetter { at: Timestamp(1), ..dead_letter(id, Some("a"), 1) };
    subject.commit(dead_letters([12, 3, 1, 10, 2].map(with))).await;
    subject.commit(dead_letters([with(4)])).await;
    for (limit, expected) in [
        (6, vec![vec![1, 2, 3, 4, 10, 12]]),
        (5, vec![vec![1, 2, 3, 4, 10], vec![12]]),
        (2, vec![vec![1, 2], vec![3, 4], vec![10, 12]]),
    ] {
        assert_eq!(listed(&subject, &DeadLetterFilter { limit, ..all() }).await, expected);
    }
    let ids = Some(vec![12, 4, 1]);
    let some = DeadLetterFilter { ids, limit: 2, ..all() };
    assert_eq!(listed(&subject, &some).await, [vec![1, 4], vec![12]]);
}

/// A dead letter whose event has this many bytes of data.
fn large(id: u64, bytes: usize) -> DeadLetter {
    // No parser makes a number of this.
    let data = format!(r#"[1e400, "{}"]"#, "x".repeat(bytes));
    let event = Event { data: data.into(), ..Event::clone(&event(1)) };
    DeadLetter { event: Arc::new(event), ..dead_letter(id, Some(&format!("k-{id}")), id) }
}

pub(super) async fn a_page_of_dead_letters_is_bounded_in_bytes(urls: Urls<'_>) {
    let limits = QueryLimits { page_bytes: 4 << 20, ..QueryLimits::default() };
    let subject = Subject::with(urls, "dead letter bytes", limits).await;
    let mib = 1 << 20;
    let sizes = [1, 2, 3 * mib, mib / 2, 3 * mib, 3 * mib, 9 * mib, 1, 1, 1, 1];
    subject.commit(dead_letters((1..).zip(sizes).map(|(id, bytes)| large(id, bytes)))).await;
    let three = DeadLetterFilter { limit: 3, ..all() };
    let expected: [&[u64]; 6] = [&[1, 2, 3], &[4, 5], &[6], &[7], &[8, 9, 10], &[11]];
    assert_eq!(listed(&subject, &three).await, expected);
    let some = DeadLetterFilter { ids: Some(vec![9, 5, 6]), ..three.clone() };
    assert_eq!(listed(&subject, &some).await, [vec![5], vec![6, 9]]);
    let none = DeadLetterFilter { key: Some("k-12".to_owned()), ..three };
    assert_eq!(listed(&subject, &none).await, [Vec::<u64>::new()]);
    // An edited event counts, too.
    let edited = large(5, 1);
    let edited = DeadLetter { edited: Some(large(5, 4 * mib).event), ..edited };
    subject.commit(dead_letters([edited])).await;
    let some = DeadLetterFilter { ids: Some(vec![4, 5]), ..all() };
    assert_eq!(listed(&subject, &some).await, [vec![4], vec![5]]);
}

/// However few rows one question looks at, all pages together have what matches.
pub(super) async fn a_list_of_dead_letters_ends_in_time_and_says_how_far_it_came(urls: Urls<'_>) {
    let mut subject = Subject::with(urls, "brief dead letters", looks_briefly(false)).await;
    subject.commit(dead_letters((1..=20).map(|id| large(id, 1)))).await;
    for (is_over, count) in [(false, 1), (true, 7)] {
        subject.reopen(looks_briefly(is_over)).await;
        let key = Some("k-19".to_owned());
        let filter = DeadLetterFilter { key, limit: 10, ..all() };
        let pages = listed(&subject, &filter).await;
        assert_eq!((pages.concat(), pages.len()), (vec![19], count));
        // Ids are found by themselves: there is nothing to look through.
        let filter = DeadLetterFilter { ids: Some(vec![19, 20]), ..filter };
        assert_eq!(listed(&subject, &filter).await, [[19]]);
    }
}

pub(super) async fn a_dead_letter_has_all_that_is_known_of_it(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "dead letter").await;
    let resolved = DeadLetter {
        status: DeadLetterStatus::Redriven,
        resolved_by: Some("ada".to_owned()),
        resolved_reason: Some("fixed".to_owned()),
        edited: Some(event(4)),
        ..dead_letter(1, None, 7)
    };
    subject.commit(dead_letters([resolved.clone(), undelivered(2, 5, "m")])).await;
    subject.restart().await;
    let page = subject.queries().dead_letters(&all()).await.unwrap();
    let [event, message] = &page.rows[..] else { panic!("two dead letters: {page:?}") };
    assert_eq!((event.id, event.kind), (DeadLetterId(1), DeadLetterKind::Event));
    assert_eq!((&event.plugin, &event.key), (&resolved.plugin, &None));
    assert_eq!((event.position, &event.sink), (resolved.position, &None));
    assert_eq!((&event.reason, event.attempts), (&resolved.reason, resolved.attempts));
    let line = |level: &str, text: &str| LoggedLine { level: level.into(), text: text.into() };
    let log = [line("warn", "it's \"logged\"\u{1b}\u{0}"), line("info", "two")];
    assert_eq!(event.log.as_deref(), Some(&log[..]));
    assert_eq!((event.plugin_version.as_str(), event.at), ("1.0.0", resolved.at));
    assert_eq!(event.status, DeadLetterStatus::Redriven);
    assert_eq!(event.resolved_by.as_deref(), Some("ada"));
    assert_eq!(event.resolved_reason.as_deref(), Some("fixed"));
    assert_eq!(event.event.get(), resolved.event.to_json());
    let edited = resolved.edited.unwrap().to_json();
    assert_eq!(event.edited.as_ref().map(|json| json.get()), Some(edited.as_str()));
    assert_eq!((message.kind, &message.sink), (DeadLetterKind::Message, &Some(sink())));
    assert_eq!((message.key.clone(), message.edited.is_some()), (Some("m".into()), false));
    assert_eq!((&message.resolved_by, &message.resolved_reason), (&None, &None));
}

/// A dead letter of a plugin's version that failed for a reason.
fn failed(id: u64, version: &str, reason: &str) -> DeadLetter {
    let key = format!("key-{id}");
    DeadLetter {
        plugin_version: version.into(),
        reason: reason.to_owned(),
        at: Timestamp(id * 10),
        ..dead_letter(id, Some(&key), id)
    }
}

fn of_causes() -> Batch {
    let open = |id: u64| failed(id, "1.0.0", &format!("order key-{id} has no item {id}"));
    dead_letters([
        open(1),
        open(2),
        DeadLetter { status: DeadLetterStatus::Skipped, ..open(3) },
        open(4),
        failed(5, "1.0.0", "no stock"),
        failed(6, "1.1.0", "no stock"),
        DeadLetter { plugin: "other".into(), ..failed(7, "1.0.0", "no stock") },
        DeadLetter {
            plugin_version: "".into(),
            reason: "refused".to_owned(),
            ..undelivered(8, 1, "a")
        },
    ])
}

async fn causes(subject: &Subject, filter: &CauseFilter) -> (Vec<Vec<CauseRow>>, bool) {
    let mut exact = true;
    let mut rows = Vec::new();
    let mut after = Some(filter.after);
    while let Some(begin) = after {
        let filter = CauseFilter { after: begin, ..filter.clone() };
        let page = subject.queries().causes(&filter).await.unwrap();
        exact &= page.is_exact;
        rows.push(page.causes.rows);
        after = page.causes.next;
    }
    (rows, exact)
}

pub(super) async fn open_dead_letters_are_grouped_by_cause(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "causes").await;
    let none = CauseFilter { limit: ALL, ..CauseFilter::default() };
    assert_eq!(causes(&subject, &none).await, (vec![Vec::new()], true));
    subject.commit(of_causes()).await;
    subject.restart().await;
    let (listed, is_exact) = causes(&subject, &CauseFilter { limit: 2, ..none.clone() }).await;
    assert!(is_exact);
    assert_eq!(listed.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    let plugin = dead_letter(1, None, 1).plugin.to_string();
    let first = CauseRow {
        plugin: plugin.clone(),
        plugin_version: "1.0.0".to_owned(),
        sink: None,
        cause: "order … has no item …".to_owned(),
        dead_letters: 3,
        oldest: Timestamp(10),
        newest: Timestamp(40),
        example: DeadLetterId(4),
    };
    assert_eq!(listed[0][0], first);
    let others: Vec<(&str, &str, Option<&str>, &str)> = listed
        .iter()
        .flatten()
        .skip(1)
        .map(|row| (&*row.plugin, &*row.plugin_version, row.sink.as_deref(), &*row.cause))
        .collect();
    let sink = sink().to_string();
    let mut expected = vec![
        (&*plugin, "", Some(&*sink), "refused"),
        (&*plugin, "1.0.0", None, "no stock"),
        (&*plugin, "1.1.0", None, "no stock"),
        ("other", "1.0.0", None, "no stock"),
    ];
    expected.sort_unstable();
    assert_eq!(others, expected);
    let of_other = CauseFilter { plugin: Some("other".to_owned()), ..none.clone() };
    assert_eq!(causes(&subject, &of_other).await.0[0].len(), 1);

    subject.reopen(QueryLimits { counted_dead_letters: 6, ..QueryLimits::default() }).await;
    let (rows, is_exact) = causes(&subject, &none).await;
    let counted: u64 = rows.iter().flatten().map(|row| row.dead_letters).sum();
    assert_eq!((is_exact, counted), (false, 6));
    assert!(causes(&subject, &of_other).await.1);
}

/// Whether the list is answered by the index or by a look at all dead letters, it is the same.
pub(super) async fn dead_letters_of_a_cause_are_listed(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "dead letters of a cause").await;
    subject.commit(of_causes()).await;
    let text = |text: &str| Some(text.to_owned());
    let cause = |cause: &str| DeadLetterFilter { cause: text(cause), ..all() };
    let of_item = cause("order … has no item …");
    assert_eq!(listed(&subject, &of_item).await.concat(), [1, 2, 3, 4]);
    let open = DeadLetterFilter {
        plugin: Some(dead_letter(1, None, 1).plugin.to_string()),
        plugin_version: text("1.0.0"),
        status: Some(DeadLetterStatus::Open),
        ..of_item
    };
    assert_eq!(listed(&subject, &open).await.concat(), [1, 2, 4]);
    assert_eq!(
        listed(&subject, &DeadLetterFilter { after: 1, ..open.clone() }).await.concat(),
        [2, 4]
    );
    assert_eq!(listed(&subject, &DeadLetterFilter { limit: 1, ..open.clone() }).await.len(), 3);
    assert_eq!(
        listed(&subject, &DeadLetterFilter { key: text("key-2"), ..open.clone() }).await.concat(),
        [2]
    );
    assert_eq!(
        listed(&subject, &DeadLetterFilter { sink: text("none"), ..open }).await.concat(),
        [] as [u64; 0]
    );
    subject.reopen(looks_briefly(true)).await;
    let refused = DeadLetterFilter {
        plugin: Some(dead_letter(1, None, 1).plugin.to_string()),
        plugin_version: text(""),
        status: Some(DeadLetterStatus::Open),
        ..cause("refused")
    };
    assert_eq!(listed(&subject, &refused).await, [[8]], "found at once");
}
