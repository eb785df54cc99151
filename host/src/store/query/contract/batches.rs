//! Batches: what becomes items, the sums, the statuses of a batch, and what is removed.

use std::num::NonZeroU32;
use std::sync::Arc;

use sagabox_engine::model::{
    BatchAction, BatchId, DeadLetter, DeadLetterStatus, Instance, InstanceStatus, ItemNote,
    ItemOutcome, Position, Timestamp,
};
use sagabox_engine::seams::store::contract::{
    appends, dead_letter, instance, plugin, plugin_progress,
};
use sagabox_engine::seams::store::{Batch, Expire};

use super::{ALL, Subject, Urls};
use crate::store::query::batches::{
    BatchFilter, BatchRecords, BatchStatus, Change, ItemCounts, ItemFilter, NewBatch, Selected,
    Start,
};

fn records(subject: &Subject) -> &dyn BatchRecords {
    &*subject.store().batch_records
}

fn new(action: BatchAction, plugin: Option<&str>) -> NewBatch {
    NewBatch {
        action,
        selection: r#"{"key":"a"}"#.to_owned(),
        plugin: plugin.map(str::to_owned),
        by: "ada".to_owned(),
        counted: 3,
        is_exact: false,
        created_at: Timestamp(5),
    }
}

fn start() -> Start {
    Start {
        by: "bob".to_owned(),
        reason: "repaired".to_owned(),
        rate_per_second: NonZeroU32::new(7).unwrap(),
        ignore_failures: true,
        at: Timestamp(6),
    }
}

async fn add(subject: &Subject, action: BatchAction) -> BatchId {
    records(subject).add_batch(&new(action, Some("orders"))).await.unwrap()
}

async fn status(subject: &Subject, id: BatchId) -> BatchStatus {
    records(subject).batch(id).await.unwrap().unwrap().status
}

async fn items(subject: &Subject, batch: BatchId) -> Vec<u64> {
    let filter = ItemFilter { batch, outcome: None, after: 0, limit: ALL };
    let page = records(subject).batch_items(&filter).await.unwrap();
    page.rows.into_iter().map(|row| row.item).collect()
}

async fn commit_dead_letters(
    subject: &Subject,
    dead_letters: impl IntoIterator<Item = DeadLetter>,
) {
    let dead_letters = dead_letters.into_iter().map(Arc::new).collect();
    subject.commit(Batch { dead_letters, ..Batch::default() }).await;
}

pub(super) async fn a_batch_is_kept_as_it_was_made_and_started(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "kept-batches").await;
    let id = add(&subject, BatchAction::Redrive).await;
    subject.restart().await;
    let draft = records(&subject).batch(id).await.unwrap().unwrap();
    assert_eq!((draft.status, draft.action), (BatchStatus::Draft, BatchAction::Redrive));
    assert_eq!((draft.counted, draft.is_exact, draft.by.as_str()), (3, false, "ada"));
    assert_eq!((draft.selection.get(), draft.started_at), (r#"{"key":"a"}"#, None));
    assert!(records(&subject).start_batch(id, &start()).await.unwrap());
    assert!(!records(&subject).start_batch(id, &start()).await.unwrap(), "it is no draft");
    let started = records(&subject).batch(id).await.unwrap().unwrap();
    assert_eq!(started.status, BatchStatus::Preparing);
    assert_eq!((started.by.as_str(), started.reason.as_str()), ("bob", "repaired"));
    assert_eq!((started.rate_per_second.get(), started.ignore_failures), (7, true));
    assert_eq!(started.started_at, Some(Timestamp(6)));
    assert!(records(&subject).batch(BatchId(99)).await.unwrap().is_none());
}

pub(super) async fn batches_are_listed_newest_first(urls: Urls<'_>) {
    let subject = Subject::new(urls, "batches").await;
    for of in [Some("orders"), Some("other"), None, Some("orders")] {
        records(&subject).add_batch(&new(BatchAction::Skip, of)).await.unwrap();
    }
    records(&subject).start_batch(BatchId(4), &start()).await.unwrap();
    let listed = async |filter: BatchFilter| {
        let page = records(&subject).batches(&filter).await.unwrap();
        (page.rows.iter().map(|row| row.id.0).collect::<Vec<_>>(), page.next)
    };
    let all = || BatchFilter { limit: ALL, ..BatchFilter::default() };
    assert_eq!(listed(all()).await, (vec![4, 3, 2, 1], None));
    assert_eq!(listed(BatchFilter { limit: 2, ..all() }).await, (vec![4, 3], Some(3)));
    assert_eq!(listed(BatchFilter { before: Some(3), ..all() }).await, (vec![2, 1], None));
    let status = Some(BatchStatus::Draft);
    assert_eq!(listed(BatchFilter { status, ..all() }).await.0, [3, 2, 1]);
    let plugin = Some("orders".to_owned());
    assert_eq!(listed(BatchFilter { plugin, ..all() }).await.0, [4, 1]);
    let plugins = Some(vec!["other".to_owned()]);
    assert_eq!(listed(BatchFilter { plugins, ..all() }).await.0, [2]);
    let under_way = records(&subject).batches_under_way().await.unwrap();
    assert_eq!(under_way.iter().map(|row| row.id.0).collect::<Vec<_>>(), [4]);
}

/// A dead letter that is no longer open, or that came after the start, is none of them.
pub(super) async fn open_dead_letters_from_before_the_start_become_items(urls: Urls<'_>) {
    let subject = Subject::new(urls, "dead letter-items").await;
    let skipped = DeadLetter { status: DeadLetterStatus::Skipped, ..dead_letter(2, Some("a"), 2) };
    commit_dead_letters(&subject, [dead_letter(1, Some("a"), 1), skipped, dead_letter(3, None, 3)])
        .await;
    let id = add(&subject, BatchAction::Redrive).await;
    records(&subject).start_batch(id, &start()).await.unwrap();
    commit_dead_letters(&subject, [dead_letter(4, Some("a"), 4)]).await;
    let selected = |ids: &[u64]| Selected::DeadLetters(ids.to_vec());
    records(&subject).add_items(id, &selected(&[1, 2]), Some("2")).await.unwrap();
    assert_eq!(status(&subject, id).await, BatchStatus::Preparing);
    // As after a crash that left no answer.
    records(&subject).add_items(id, &selected(&[1, 2]), Some("2")).await.unwrap();
    records(&subject).add_items(id, &selected(&[3, 4]), None).await.unwrap();
    assert_eq!(status(&subject, id).await, BatchStatus::Running);
    assert_eq!(items(&subject, id).await, [1, 3]);
    let counts = records(&subject).batch(id).await.unwrap().unwrap().counts;
    assert_eq!(counts, ItemCounts { pending: 2, ..ItemCounts::default() });
}

pub(super) async fn running_instances_from_before_the_start_become_items(urls: Urls<'_>) {
    let subject = Subject::new(urls, "instance-items").await;
    let begun = |key: &str, started: u64, status| {
        let own = Instance::clone(&instance(key, started));
        let own = Instance { started: Position(started), status, ..own };
        (plugin(), Arc::new(own))
    };
    let running = InstanceStatus::Running;
    let instances = vec![
        begun("a", 1, running),
        begun("b", 2, InstanceStatus::Completed),
        begun("c", 3, running),
        begun("d", 9, running),
    ];
    subject.commit(Batch { instances, ..appends(1..=3) }).await;
    let id = add(&subject, BatchAction::End).await;
    records(&subject).start_batch(id, &start()).await.unwrap();
    let selected = |keys: &[&str]| {
        Selected::Instances(plugin(), keys.iter().map(|key| (*key).into()).collect())
    };
    records(&subject).add_items(id, &selected(&["a", "b"]), Some("b")).await.unwrap();
    records(&subject).add_items(id, &selected(&["c", "d"]), None).await.unwrap();
    let pending = ItemOutcome::Pending;
    let found = records(&subject).with_outcome(id, pending, 0, 9).await.unwrap();
    let found = found.iter().map(|item| (item.item, item.key.as_ref().unwrap().as_str()));
    assert_eq!(found.collect::<Vec<_>>(), [(1, "a"), (2, "c")]);
    assert_eq!(records(&subject).with_outcome(id, pending, 1, 9).await.unwrap().len(), 1);
}

/// Retention may have removed every event since the instances began.
pub(super) async fn an_empty_log_keeps_no_instance_from_a_batch(urls: Urls<'_>) {
    let subject = Subject::new(urls, "instance-items-without-log").await;
    let own = Instance::clone(&instance("a", 2));
    let own = Instance { started: Position(2), status: InstanceStatus::Running, ..own };
    let instances = vec![(plugin(), Arc::new(own))];
    let plugins = vec![plugin_progress(plugin().as_str(), 3)];
    subject.commit(Batch { instances, plugins, ..appends(1..=3) }).await;
    let expire = Some(Expire {
        plugins: vec![plugin()],
        seen_to: Position(0),
        history_to: Position(3),
        history_before: Timestamp(100),
        mark: None,
        marks_removed: Vec::new(),
        rows_max: 100,
    });
    subject.commit(Batch { expire, ..Batch::default() }).await;
    for position in 1..=3 {
        let event = subject.store().queries.trace(position).await.unwrap();
        assert!(event.is_none(), "retention has removed the log");
    }
    let id = add(&subject, BatchAction::End).await;
    records(&subject).start_batch(id, &start()).await.unwrap();
    let selected = Selected::Instances(plugin(), vec!["a".into()]);
    records(&subject).add_items(id, &selected, None).await.unwrap();
    assert_eq!(items(&subject, id).await, [1]);
}

pub(super) async fn the_sums_of_a_batch_are_those_of_its_items(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "batch-sums").await;
    commit_dead_letters(&subject, (1..=5).map(|id| dead_letter(id, Some("a"), id))).await;
    let id = add(&subject, BatchAction::Redrive).await;
    records(&subject).start_batch(id, &start()).await.unwrap();
    let selected = Selected::DeadLetters((1..=5).collect());
    records(&subject).add_items(id, &selected, None).await.unwrap();
    let written = |id: u64, status| DeadLetter {
        status,
        batch: Some(BatchId(1)),
        ..dead_letter(id, Some("a"), id)
    };
    let redriving = DeadLetterStatus::Redriving;
    let dead_letters = [1, 2, 3].map(|id| written(id, redriving));
    commit_dead_letters(&subject, dead_letters).await;
    let (done, failed) = (DeadLetterStatus::Redriven, DeadLetterStatus::Open);
    commit_dead_letters(&subject, [written(1, done), written(2, failed)]).await;
    let note = ItemNote { item: 4, outcome: ItemOutcome::Changed, reason: "gone".to_owned() };
    records(&subject).note(id, &[note]).await.unwrap();
    subject.restart().await;
    let row = records(&subject).batch(id).await.unwrap().unwrap();
    let one = ItemCounts { pending: 1, in_progress: 1, done: 1, failed: 1, changed: 1, refused: 0 };
    assert_eq!((row.counts, row.counts.sum()), (one, 5));
    let outcome = Some(ItemOutcome::Failed);
    let filter = ItemFilter { batch: id, outcome, after: 0, limit: ALL };
    let failed = records(&subject).batch_items(&filter).await.unwrap().rows;
    assert_eq!((failed[0].item, failed[0].reason.as_deref()), (2, Some("it's 'quoted'")));
    let limited = ItemFilter { batch: id, outcome: None, after: 1, limit: 2 };
    let page = records(&subject).batch_items(&limited).await.unwrap();
    assert_eq!((page.rows.len(), page.next), (2, Some(3)));
}

pub(super) async fn a_status_changes_only_from_the_ones_that_are_named(urls: Urls<'_>) {
    let subject = Subject::new(urls, "batch-status").await;
    let id = add(&subject, BatchAction::Redrive).await;
    let change = |to| Change { to, note: Some("why".to_owned()), finished_at: None };
    let records = records(&subject);
    let paused = change(BatchStatus::Paused);
    let under_way = [BatchStatus::Preparing, BatchStatus::Running];
    assert!(!records.change_batch(id, &under_way, &paused).await.unwrap());
    records.start_batch(id, &start()).await.unwrap();
    assert!(records.change_batch(id, &under_way, &paused).await.unwrap());
    assert_eq!(records.batch(id).await.unwrap().unwrap().note.as_deref(), Some("why"));
    // Its items were not written down yet.
    assert!(records.resume_batch(id, &start()).await.unwrap());
    assert_eq!(status(&subject, id).await, BatchStatus::Preparing);
    records.add_items(id, &Selected::DeadLetters(Vec::new()), None).await.unwrap();
    records.remark(id, Some("a plugin is missing")).await.unwrap();
    assert!(!records.resume_batch(id, &start()).await.unwrap(), "it runs");
    assert!(records.change_batch(id, &under_way, &paused).await.unwrap());
    assert!(records.resume_batch(id, &start()).await.unwrap());
    let row = records.batch(id).await.unwrap().unwrap();
    assert_eq!((row.status, row.note, row.remark), (BatchStatus::Running, None, None));
}

pub(super) async fn old_batches_go_with_their_items(urls: Urls<'_>) {
    let subject = Subject::new(urls, "old-batches").await;
    commit_dead_letters(&subject, (1..=3).map(|id| dead_letter(id, Some("a"), id))).await;
    let old = add(&subject, BatchAction::Redrive).await;
    let open = add(&subject, BatchAction::Redrive).await;
    let records = records(&subject);
    for id in [old, open] {
        records.start_batch(id, &start()).await.unwrap();
        records.add_items(id, &Selected::DeadLetters(vec![1, 2, 3]), None).await.unwrap();
    }
    let finished_at = Some(Timestamp(10));
    let change = Change { to: BatchStatus::Cancelled, note: None, finished_at };
    records.change_batch(old, &[BatchStatus::Running], &change).await.unwrap();
    assert_eq!(records.expire_batches(Timestamp(10), 2).await.unwrap(), 0, "it is not older");
    assert_eq!(records.expire_batches(Timestamp(11), 2).await.unwrap(), 2);
    assert!(records.batch(old).await.unwrap().is_some(), "an item is left");
    assert_eq!(
        records.expire_batches(Timestamp(11), 2).await.unwrap(),
        2,
        "the rest and the batch"
    );
    assert!(records.batch(old).await.unwrap().is_none());
    assert_eq!(items(&subject, open).await, [1, 2, 3]);
}

pub(super) async fn old_drafts_go(urls: Urls<'_>) {
    let subject = Subject::new(urls, "old-drafts").await;
    let started = add(&subject, BatchAction::Redrive).await;
    for _ in 0..3 {
        add(&subject, BatchAction::Redrive).await;
    }
    let records = records(&subject);
    records.start_batch(started, &start()).await.unwrap();
    let made = Timestamp(5);
    assert_eq!(records.expire_batches(made, 2).await.unwrap(), 0, "they are not older");
    assert_eq!(records.expire_batches(Timestamp(made.0 + 1), 2).await.unwrap(), 2);
    assert_eq!(records.expire_batches(Timestamp(made.0 + 1), 2).await.unwrap(), 1);
    let left = BatchFilter { limit: ALL, ..BatchFilter::default() };
    let left = records.batches(&left).await.unwrap().rows;
    assert_eq!(left.iter().map(|row| row.id).collect::<Vec<_>>(), [started]);
}
