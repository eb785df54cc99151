//! What is due next: timers, and the next attempts.

use sagabox_engine::model::Sequence;
use sagabox_engine::seams::store::contract::{lane, plugin, timer, wait};
use sagabox_engine::seams::store::{Batch, TimerRow};

use super::{ALL, Subject, Urls, looks_briefly, pages};
use crate::store::query::rows::{TimerFilter, WaitFilter};

fn of_other(row: TimerRow) -> TimerRow {
    let timer = sagabox_engine::model::TimerRef { plugin: "other".into(), ..row.timer };
    TimerRow { timer, ..row }
}

async fn timers(subject: &Subject, filter: &TimerFilter) -> Vec<Vec<String>> {
    let page = async |after| {
        let filter = TimerFilter { after, ..filter.clone() };
        subject.queries().timers(&filter).await.unwrap()
    };
    let named = |row: &crate::store::query::rows::DueTimer| {
        format!("{} {} {} {}", row.due.0, row.plugin, row.key, row.name)
    };
    pages(page).await.iter().map(|page| page.iter().map(named).collect()).collect()
}

pub(super) async fn timers_are_listed_by_their_time(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "due timers").await;
    let all = || TimerFilter { limit: ALL, ..TimerFilter::default() };
    let of_orders = || TimerFilter { plugin: Some(plugin().to_string()), ..all() };
    assert_eq!(timers(&subject, &all()).await, [[""; 0]]);
    let fired = timer("a", "fired", 1);
    let set = [
        timer("b", "late", 9),
        fired.clone(),
        timer("b", "t", 5),
        timer("a", "t", 5),
        timer("a", "s", 5),
        of_other(timer("a", "t", 5)),
        of_other(timer("z", "t", 2)),
    ];
    subject.commit(Batch { timers_set: set.to_vec(), ..Batch::default() }).await;
    subject.commit(Batch { timers_fired: vec![fired.timer], ..Batch::default() }).await;
    subject.restart().await;
    let expected = [
        "2 other z t",
        "5 orders a s",
        "5 orders a t",
        "5 orders b t",
        "5 other a t",
        "9 orders b late",
    ];
    assert_eq!(timers(&subject, &all()).await, [expected]);
    for limit in 1..=6 {
        let listed = timers(&subject, &TimerFilter { limit, ..all() }).await;
        assert_eq!(listed.concat(), expected, "{limit} a page");
    }
    let first = subject.queries().timers(&all()).await.unwrap().rows.remove(0);
    assert_eq!((first.set_by.0, first.due.0), (1, 2));
    let expected = ["5 orders a s", "5 orders a t", "5 orders b t", "9 orders b late"];
    assert_eq!(timers(&subject, &of_orders()).await, [expected]);
    let text = |text: &str| Some(text.to_owned());
    let time = |time| Some(sagabox_engine::model::Timestamp(time));
    for (filter, expected) in [
        (
            TimerFilter { name: text("t"), ..all() },
            "2 other z t,5 orders a t,5 orders b t,5 other a t",
        ),
        (TimerFilter { name: text("fired"), ..all() }, ""),
        (TimerFilter { key: text("b"), ..all() }, "5 orders b t,9 orders b late"),
        (TimerFilter { key: text("b"), ..of_orders() }, "5 orders b t,9 orders b late"),
        (TimerFilter { key: text("b"), name: text("late"), ..of_orders() }, "9 orders b late"),
        (TimerFilter { key: text("b"), due_after: time(6), ..of_orders() }, "9 orders b late"),
        (TimerFilter { key: text("b"), due_before: time(9), ..of_orders() }, "5 orders b t"),
        (TimerFilter { due_before: time(5), ..all() }, "2 other z t"),
        (TimerFilter { due_after: time(6), ..all() }, "9 orders b late"),
        (
            TimerFilter { due_after: time(5), due_before: time(6), ..of_orders() },
            "5 orders a s,5 orders a t,5 orders b t",
        ),
        (TimerFilter { due_after: time(3), due_before: time(5), ..all() }, ""),
    ] {
        for limit in [ALL, 1, 2] {
            let found = timers(&subject, &TimerFilter { limit, ..filter.clone() }).await;
            assert_eq!(found.concat().join(","), expected, "{filter:?}");
        }
    }
    // However little time there is, each page gets further.
    subject.reopen(looks_briefly(true)).await;
    let listed = timers(&subject, &of_orders()).await;
    assert_eq!((listed.len(), listed.concat()), (3, expected.map(str::to_owned).to_vec()));
}

pub(super) async fn waits_are_listed_events_before_messages(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "listed waits").await;
    let batch = Batch {
        waits: vec![
            (plugin(), "b".into(), wait(3)),
            (plugin(), "a".into(), wait(2)),
            ("other".into(), "a".into(), wait(4)),
        ],
        message_waits: vec![(lane("m"), wait(3)), (lane("n"), wait(2))],
        ..Batch::default()
    };
    subject.commit(batch).await;
    subject.restart().await;
    let listed = async |filter: WaitFilter| {
        let page = async |after| {
            let filter = WaitFilter { after, ..filter.clone() };
            subject.queries().waits(&filter).await.unwrap()
        };
        let pages = pages(page).await;
        let named = |row: crate::store::query::rows::WaitRow| {
            format!("{} {} {} {}", row.plugin, row.sink.unwrap_or_default(), row.key, row.place)
        };
        pages.into_iter().flatten().map(named).collect::<Vec<_>>()
    };
    let all = WaitFilter { limit: ALL, ..WaitFilter::default() };
    let sink = lane("m").sink.to_string();
    let of_sink = [format!("orders {sink} n 2"), format!("orders {sink} m 3")];
    let mut expected = ["orders  a 2", "orders  b 3", "other  a 4"].map(str::to_owned).to_vec();
    expected.extend(of_sink.clone());
    assert_eq!(listed(all.clone()).await, expected);
    for limit in 1..=5 {
        assert_eq!(listed(WaitFilter { limit, ..all.clone() }).await, expected, "{limit} a page");
    }
    let text = |text: &str| Some(text.to_owned());
    let of_other = WaitFilter { plugin: text("other"), ..all.clone() };
    assert_eq!(listed(of_other).await, ["other  a 4"]);
    assert_eq!(listed(WaitFilter { sink: text(&sink), ..all.clone() }).await, of_sink);
    assert_eq!(listed(WaitFilter { sink: text("none"), ..all.clone() }).await, [""; 0]);
    let rows = subject.queries().waits(&all).await.unwrap().rows;
    let expected = wait(2);
    let found = (rows[0].attempt, rows[0].since, rows[0].until, rows[0].reason.as_str());
    assert_eq!(found, (expected.attempt, expected.since, expected.until, &*expected.reason));
    let gone = Batch {
        message_waits_removed: vec![(lane("m").sink, Sequence(3))],
        waits_removed: vec![(plugin(), "a".into())],
        ..Batch::default()
    };
    subject.commit(gone).await;
    assert_eq!(subject.queries().waits(&all).await.unwrap().rows.len(), 3);
}
