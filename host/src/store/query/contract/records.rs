//! What a store keeps of the plugins that serve.

use std::sync::Arc;

use super::{Subject, Urls};
use crate::store::query::PluginRecords;
use sagabox_engine::model::Position;
use sagabox_engine::seams::store::Page;
use sagabox_engine::seams::store::contract::appends;

fn records(subject: &Subject) -> Arc<dyn PluginRecords> {
    Arc::clone(&subject.store().plugin_records)
}

pub(super) async fn the_file_that_serves_is_noted(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "serving").await;
    assert_eq!(records(&subject).served_last("orders").await.unwrap(), None);
    for noted in [Some("abc"), Some("abc"), Some("def"), None, None, Some("abc")] {
        records(&subject).note_serving("orders", noted).await.unwrap();
        subject.restart().await;
        let found = records(&subject).served_last("orders").await.unwrap();
        assert_eq!(found.as_deref(), noted);
        assert_eq!(records(&subject).served_last("other").await.unwrap(), None);
    }
}

/// Before and after there are events; streams are the same.
pub(super) async fn streams_can_be_indexed_at_any_time(urls: Urls<'_>) {
    let subject = Subject::new(urls, "indexed").await;
    let stream = async || {
        let page = Page { rows: 10, bytes: usize::MAX };
        let engine = &subject.store().engine;
        let read = engine.read_stream("s-2", Position(0), Position(100), page).await.unwrap();
        read.entries.iter().map(|entry| entry.position.0).collect::<Vec<_>>()
    };
    subject.commit(appends(1..=9)).await;
    let before = stream().await;
    assert_eq!(before, [2, 8]);
    for _ in 0..2 {
        records(&subject).index_subjects().await.unwrap();
        assert_eq!(stream().await, before);
    }
    subject.commit(appends(10..=14)).await;
    assert_eq!(stream().await, [2, 8, 14]);
}
