//! Fields that are filled beside decisions.

use std::sync::Arc;

use sagabox_engine::model::{Instance, InstanceStatus};
use sagabox_engine::seams::store::contract::{instance, plugin};
use sagabox_engine::seams::store::{Batch, FieldsRow};

use super::{Subject, Urls};
use crate::store::query::StatePage;
use crate::store::query::rows::FilledFields;

fn decided(key: &str, version: u64) -> Arc<Instance> {
    Arc::new(Instance { version, ..Instance::clone(&instance(key, 1)) })
}

pub(super) async fn states_of_all_instances_come_in_portions(urls: Urls<'_>) {
    let subject = Subject::new(urls, "all states").await;
    let none = Arc::new(Instance { state: None, ..Instance::clone(&instance("c", 1)) });
    let status = InstanceStatus::Completed;
    let over = Arc::new(Instance { status, ..Instance::clone(&instance("b", 1)) });
    let instances = vec![
        (plugin(), decided("a", 3)),
        (plugin(), over),
        (plugin(), none),
        (plugin(), decided("d", 1)),
    ];
    subject.commit(Batch { instances, ..Batch::default() }).await;
    let states = async |after: &str, states| {
        let page = StatePage { states, bytes: usize::MAX };
        let found = subject.queries().states("orders", after, page).await.unwrap();
        found.into_iter().map(|row| (row.key, row.version)).collect::<Vec<_>>()
    };
    let all = [("a".to_owned(), 3), ("b".to_owned(), 1), ("d".to_owned(), 1)];
    assert_eq!(states("", 10).await, all);
    assert_eq!(states("", 2).await, all[..2]);
    assert_eq!(states("b", 2).await, all[2..]);
    assert!(states("d", 2).await.is_empty());
}

/// A decision that came meanwhile knows better.
pub(super) async fn only_instances_that_have_not_decided_are_filled(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "filled").await;
    let instances = vec![(plugin(), decided("a", 3)), (plugin(), decided("b", 3))];
    let own = r#"{"own":true}"#.to_owned();
    let fields = vec![FieldsRow { plugin: plugin(), key: "b".into(), values: own.clone() }];
    subject.commit(Batch { instances, fields, ..Batch::default() }).await;
    let filled = |key: &str, version| FilledFields {
        key: key.to_owned(),
        version,
        values: r#"{"due":1}"#.to_owned(),
    };
    let records = Arc::clone(&subject.store().plugin_records);
    let rows = vec![filled("a", 3), filled("b", 2), filled("gone", 1)];
    records.fill_fields("orders", rows).await.unwrap();
    drop(records);
    subject.restart().await;
    let fields = async |key: &str| {
        let detail = subject.queries().instance("orders", key, None, 1).await.unwrap();
        detail.and_then(|detail| detail.fields).map(|fields| fields.get().to_owned())
    };
    assert_eq!(fields("a").await.as_deref(), Some(r#"{"due":1}"#));
    assert_eq!(fields("b").await, Some(own));
    assert_eq!(fields("gone").await, None);
}

pub(super) async fn whose_fields_are_filled_is_noted(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "fields noted").await;
    for digest in ["abc", "abc", "def"] {
        subject.store().plugin_records.note_fields_filled("orders", digest).await.unwrap();
        subject.restart().await;
        let records = &subject.store().plugin_records;
        assert_eq!(records.fields_filled("orders").await.unwrap().as_deref(), Some(digest));
        assert_eq!(records.fields_filled("other").await.unwrap(), None);
    }
}
