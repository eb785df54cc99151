//! Saved views.

use sagabox_engine::model::Timestamp;

use super::{Subject, Urls};
use crate::store::query::views::View;

fn view(owner: &str, name: &str, filter: &str) -> View {
    View {
        name: name.to_owned(),
        plugin: "orders".to_owned(),
        filter: filter.to_owned(),
        owner: owner.to_owned(),
        saved_by: format!("{owner}'s name"),
        saved_at: Timestamp(filter.len() as u64),
    }
}

pub(super) async fn views_are_kept_until_they_are_deleted(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "views").await;
    let saved = [view("b", "stuck", "{}"), view("a", "stuck", "{ }"), view("a", "ä", "{}")];
    let mut ids = Vec::new();
    for view in &saved {
        ids.push(subject.store().view_records.save_view(view, 3).await.unwrap().unwrap());
    }
    subject.restart().await;
    // One more is too many, unless it is there already.
    let records = std::sync::Arc::clone(&subject.store().view_records);
    assert_eq!(records.save_view(&view("c", "new", "{}"), 3).await.unwrap(), None);
    let again = view("a", "stuck", "{\"status\":\"running\"}");
    assert_eq!(records.save_view(&again, 3).await.unwrap(), Some(ids[1]));
    let found = records.views().await.unwrap();
    let expected = [(ids[0], &saved[0]), (ids[1], &again), (ids[2], &saved[2])];
    assert_eq!(found.iter().map(|row| (row.id, &row.view)).collect::<Vec<_>>(), expected);
    assert!(records.delete_view(ids[0]).await.unwrap());
    assert!(!records.delete_view(ids[0]).await.unwrap());
    // The id of one that is gone is not given again.
    let new = records.save_view(&view("c", "new", "{}"), 3).await.unwrap().unwrap();
    assert!(!ids.contains(&new));
    assert_eq!(records.views().await.unwrap().len(), 3);
}
