//! Lists of instances by status and age.

use std::sync::Arc;

use sagabox_engine::model::{Instance, InstanceStatus, Timestamp};
use sagabox_engine::seams::store::Batch;
use sagabox_engine::seams::store::contract::{instance, plugin};

use super::{ALL, Subject, Urls, looks_briefly, pages};
use crate::store::query::QueryLimits;
use crate::store::query::rows::{Age, InstanceFilter, Page};

const RUNNING: InstanceStatus = InstanceStatus::Running;
const COMPLETED: InstanceStatus = InstanceStatus::Completed;
const ENDED: InstanceStatus = InstanceStatus::Ended;

/// Key, status, when it was started, and when it was last changed.
type Row = (&'static str, InstanceStatus, u64, u64);

const ROWS: [Row; 9] = [
    ("a", RUNNING, 7, 9),
    ("b", COMPLETED, 1, 6),
    ("c", RUNNING, 2, 9),
    ("d", ENDED, 2, 5),
    ("e", RUNNING, 2, 2),
    // The clock was set back.
    ("f", RUNNING, 8, 3),
    ("g", COMPLETED, 4, 5),
    ("h", ENDED, 6, 8),
    ("i", RUNNING, 5, 7),
];

async fn filled(urls: Urls<'_>, name: &str, limits: QueryLimits) -> Subject {
    let subject = Subject::with(urls, name, limits).await;
    let row = |(key, status, started_at, updated_at): Row| {
        let (started_at, updated_at) = (Timestamp(started_at), Timestamp(updated_at));
        let own = Instance::clone(&instance(key, 1));
        (plugin(), Arc::new(Instance { status, started_at, updated_at, ..own }))
    };
    // Each has run before, and one is reopened.
    let before = ROWS.map(|(key, _, started, _)| match key {
        "i" => row((key, COMPLETED, started, started)),
        _ => row((key, RUNNING, started, started)),
    });
    let other = ("other".into(), instance("a", 1));
    let instances = before.into_iter().chain([other]).collect();
    subject.commit(Batch { instances, ..Batch::default() }).await;
    subject.commit(Batch { instances: ROWS.map(row).to_vec(), ..Batch::default() }).await;
    subject
}

async fn listed(subject: &Subject, filter: &InstanceFilter) -> Vec<Vec<String>> {
    let list = async |after: Option<String>| {
        let filter = InstanceFilter { after, ..filter.clone() };
        let Page { rows, next } = subject.queries().instances(&filter).await.unwrap();
        Page { rows: rows.into_iter().map(|row| row.key.to_string()).collect(), next }
    };
    pages(list).await
}

/// Those that run, by their start, then the others by their last change.
fn expected(filter: &InstanceFilter) -> Vec<&'static str> {
    let is_meant = |row: &&Row| {
        let (_, status, started, updated) = **row;
        let Age { started_before, started_after, updated_before, updated_after } = filter.age;
        filter.status.is_none_or(|own| own == status)
            && started_before.is_none_or(|time| started < time.0)
            && started_after.is_none_or(|time| started >= time.0)
            && updated_before.is_none_or(|time| started.max(updated) < time.0)
            && updated_after.is_none_or(|time| updated >= time.0)
    };
    let mut rows: Vec<&Row> = ROWS.iter().filter(is_meant).collect();
    rows.sort_by_key(|(key, status, started, updated)| match status.is_running() {
        true => (false, *started, *key),
        false => (true, *updated, *key),
    });
    rows.into_iter().map(|row| row.0).collect()
}

fn filters() -> Vec<InstanceFilter> {
    let times = [None, Some(Timestamp(2)), Some(Timestamp(5)), Some(Timestamp(8))];
    let mut ages = Vec::new();
    for time in times {
        for other in times {
            let none = Age::default();
            ages.extend([
                Age { started_before: time, started_after: other, ..none },
                Age { updated_before: time, updated_after: other, ..none },
                Age { started_before: time, updated_after: other, ..none },
                Age { updated_before: time, started_after: other, ..none },
            ]);
        }
    }
    let filter = |age, status| InstanceFilter {
        plugin: plugin().to_string(),
        status,
        age,
        limit: ALL,
        ..InstanceFilter::default()
    };
    let of_age = |age: Age| {
        [Some(RUNNING), Some(COMPLETED), Some(ENDED), None].map(|status| filter(age, status))
    };
    // Without either they are in the order of their keys.
    let all = ages.into_iter().flat_map(of_age);
    all.filter(|filter| filter.status.is_some() || filter.age.is_given()).collect()
}

pub(super) async fn instances_are_listed_by_age(urls: Urls<'_>) {
    let mut subject = filled(urls, "ages", QueryLimits::default()).await;
    subject.restart().await;
    for filter in filters() {
        let expected = expected(&filter);
        for limit in [ALL, 1, 2] {
            let filter = InstanceFilter { limit, ..filter.clone() };
            assert_eq!(listed(&subject, &filter).await.concat(), expected, "{filter:?}");
        }
        let mut by_key = expected.clone();
        by_key.sort_unstable();
        let filter = InstanceFilter { is_by_key: true, ..filter };
        assert_eq!(listed(&subject, &filter).await.concat(), by_key, "{filter:?}");
    }
    let elsewhere = InstanceFilter {
        status: Some(ENDED),
        after: Some("running:1:a".to_owned()),
        ..filters().remove(0)
    };
    assert!(subject.queries().instances(&elsewhere).await.is_err());
}

pub(super) async fn a_list_by_age_ends_in_time_and_says_how_far_it_came(urls: Urls<'_>) {
    let subject = filled(urls, "brief ages", looks_briefly(true)).await;
    let mut pages = 0;
    for filter in filters() {
        let found = listed(&subject, &filter).await;
        assert_eq!(found.concat(), expected(&filter), "{filter:?}");
        pages = pages.max(found.len());
    }
    // Five that run, three at a time, and four that do not.
    assert_eq!(pages, 4);
}
