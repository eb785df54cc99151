//! Lists of instances by their fields.

use sagabox_engine::model::{InstanceStatus, Key, PluginName};
use sagabox_engine::seams::store::contract::{finished, instance, plugin};
use sagabox_engine::seams::store::{Batch, FieldsRow};

use super::{ALL, Subject, Urls, looks_briefly, pages};
use crate::store::query::condition::Condition;
use crate::store::query::rows::{FieldOrder, InstanceFilter, Page};

/// Keys, and what their instances have; `g` has decided under a version without fields.
const FIELDS: [(&str, &str); 6] = [
    ("a", r#"{"due":"2026-01-02","paid":10}"#),
    ("b", r#"{"due":"2026-01-01","paid":10.0}"#),
    ("c", r#"{"paid":12345678901234567890123.5,"due":"2026-01-02"}"#),
    ("d", "{}"),
    ("e", r#"{"due":7,"paid":-3e400}"#),
    ("f", r#"{"due":"ä","paid":"ten"}"#),
];

fn row(key: &str, values: &str) -> FieldsRow {
    FieldsRow { plugin: plugin(), key: key.into(), values: values.to_owned() }
}

async fn filled(subject: &Subject) {
    let keys = FIELDS.iter().map(|(key, _)| *key).chain(["g"]);
    let own = keys.map(|key| (plugin(), instance(key, 1)));
    let over = finished("f", InstanceStatus::Completed, 1);
    let other = PluginName::from("other");
    let foreign = FieldsRow { plugin: other.clone(), ..row("a", r#"{"due":"2026-01-03"}"#) };
    let mut fields: Vec<_> = FIELDS.iter().map(|(key, values)| row(key, values)).collect();
    fields.push(foreign);
    let instances = own.chain([over, (other, instance("a", 1))]).collect();
    subject.commit(Batch { instances, fields, ..Batch::default() }).await;
}

fn all() -> InstanceFilter {
    InstanceFilter { plugin: plugin().to_string(), limit: ALL, ..InstanceFilter::default() }
}

fn by(order: &str) -> InstanceFilter {
    let is_descending = order.starts_with('-');
    let field = order.trim_start_matches('-').to_owned();
    InstanceFilter { field_order: Some(FieldOrder { field, is_descending }), ..all() }
}

fn selected(condition: &str) -> InstanceFilter {
    InstanceFilter { condition: Some(Condition::parse(condition).unwrap()), ..all() }
}

async fn listed(subject: &Subject, filter: InstanceFilter) -> Vec<Vec<String>> {
    let list = async |after: Option<String>| {
        let filter = InstanceFilter { after, ..filter.clone() };
        let Page { rows, next } = subject.queries().instances(&filter).await.unwrap();
        Page { rows: rows.into_iter().map(|row| row.key.to_string()).collect(), next }
    };
    pages(list).await
}

#[track_caller]
fn is(found: &[Vec<String>], expected: &str) {
    assert_eq!(found.concat().concat(), expected);
}

pub(super) async fn instances_are_listed_in_the_order_of_a_field(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "field order").await;
    filled(&subject).await;
    subject.restart().await;
    let orders =
        [("due", "ebacfdg"), ("-due", "fcabedg"), ("paid", "eabcfdg"), ("-paid", "fcbaedg")];
    for (order, expected) in orders {
        for limit in [ALL, 7, 1, 2, 3, 5] {
            let found = listed(&subject, InstanceFilter { limit, ..by(order) }).await;
            is(&found, expected);
            assert_eq!(found.len(), 7_usize.div_ceil(limit as usize), "{order}, {limit} at a time");
        }
    }
    // No instance has it, and none is lost.
    is(&listed(&subject, by("-none")).await, "abcdefg");
    let row = &subject.queries().instances(&by("due")).await.unwrap().rows[2];
    assert_eq!(row.fields.as_ref().unwrap().get(), FIELDS[0].1);
    let last = &subject.queries().instances(&by("due")).await.unwrap().rows[6];
    assert!(last.fields.is_none());
    let elsewhere = InstanceFilter { after: Some("a".to_owned()), ..by("due") };
    assert!(subject.queries().instances(&elsewhere).await.is_err());
}

pub(super) async fn instances_are_selected_by_their_fields(urls: Urls<'_>) {
    let subject = Subject::new(urls, "selected").await;
    filled(&subject).await;
    for (condition, expected) in [
        ("paid = 10", "ab"),
        ("paid >= 12345678901234567890123.4 or paid < 0", "ce"),
        ("due < \"2026-01-02\"", "b"),
        ("due > \"z\"", "f"),
        ("due = null", "dg"),
        ("not (due = null or paid = 10)", "cef"),
        ("paid = 11", ""),
        ("paid = 10 and due = \"2026-01-01\"", "b"),
        ("10 <= paid and 11 > paid and not due = 7", "ab"),
        ("paid > 11 and paid < 10", ""),
        ("due != 7 and paid = -3e400", ""),
    ] {
        for limit in [ALL, 1] {
            let filter = InstanceFilter { limit, ..selected(condition) };
            is(&listed(&subject, filter).await, expected);
        }
        for order in ["due", "-due", "paid", "-paid"] {
            let all = listed(&subject, by(order)).await.concat();
            let expected: String = all.into_iter().filter(|key| expected.contains(key)).collect();
            for limit in [ALL, 1] {
                let field_order = by(order).field_order;
                let filter = InstanceFilter { field_order, limit, ..selected(condition) };
                is(&listed(&subject, filter).await, &expected);
            }
        }
        let counted = subject.queries().count_instances(&selected(condition)).await.unwrap();
        assert_eq!(counted.counts.values().sum::<u64>(), expected.len() as u64, "{condition}");
        assert_eq!(counted.next, None);
    }
    let both = InstanceFilter { field_order: by("-due").field_order, ..selected("paid > 0") };
    is(&listed(&subject, both).await, "cab");
    let running =
        InstanceFilter { status: Some(InstanceStatus::Running), ..selected("due > \"\"") };
    is(&listed(&subject, running).await, "abc");
    // It says that there are more.
    let first = InstanceFilter { limit: 2, ..selected("due != null") };
    let counted = subject.queries().count_instances(&first).await.unwrap();
    assert_eq!((counted.counts["running"], counted.next.as_deref()), (2, Some("b")));
}

/// However few rows one question looks at, all pages together have what is asked for.
pub(super) async fn a_list_by_fields_ends_in_time_and_says_how_far_it_came(urls: Urls<'_>) {
    // An index of the field would find them at once if it said `=`.
    const TEN: &str = "paid >= 10 and paid <= 10";
    let mut subject = Subject::with(urls, "brief fields", looks_briefly(false)).await;
    filled(&subject).await;
    for is_over in [false, true] {
        subject.reopen(looks_briefly(is_over)).await;
        let filter = InstanceFilter { field_order: by("-due").field_order, ..selected(TEN) };
        let found = listed(&subject, filter).await;
        is(&found, "ab");
        assert_eq!(found.len() > 1, is_over);
        let (mut count, mut after, mut calls) = (0, None, 0);
        loop {
            let filter = InstanceFilter { after, ..selected(TEN) };
            let counted = subject.queries().count_instances(&filter).await.unwrap();
            count += counted.counts.get("running").copied().unwrap_or_default();
            after = counted.next;
            calls += 1;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((count, calls > 1), (2, is_over));
    }
}

/// What is written follows the last decision, and goes with its instance.
pub(super) async fn fields_are_those_of_the_last_decision(urls: Urls<'_>) {
    let subject = Subject::new(urls, "rewritten").await;
    filled(&subject).await;
    let changed = vec![row("a", r#"{"paid":10,"new":true}"#), row("d", r#"{"due":"2026"}"#)];
    subject.commit(Batch { fields: changed, ..Batch::default() }).await;
    is(&listed(&subject, by("due")).await, "edbcfag");
    is(&listed(&subject, by("new")).await, "abcdefg");
    let detail = subject.queries().instance("orders", "a", None, 1).await.unwrap().unwrap();
    assert_eq!(detail.fields.unwrap().get(), r#"{"paid":10,"new":true}"#);
    let gone = |key: &str| (plugin(), Key::from(key));
    let batch = Batch {
        instances_removed: vec![gone("a"), gone("b"), gone("f"), gone("g")],
        // It begins anew, in the same commit.
        instances: vec![(plugin(), instance("b", 2)), (plugin(), instance("a", 2))],
        fields: vec![row("b", r#"{"due":"1999"}"#)],
        ..Batch::default()
    };
    subject.commit(batch).await;
    is(&listed(&subject, by("due")).await, "ebdca");
    is(&listed(&subject, by("paid")).await, "ecabd");
    let detail = subject.queries().instance("orders", "a", None, 1).await.unwrap().unwrap();
    assert!(detail.fields.is_none());
}
