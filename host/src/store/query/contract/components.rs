//! Components that are kept with their decisions.

use std::collections::{BTreeMap, BTreeSet};

use sagabox_engine::model::{Position, Timestamp};
use sagabox_engine::seams::store::contract::{appends, decision, plugin_progress};
use sagabox_engine::seams::store::{Batch, Expire};

use super::{Subject, Urls};
use crate::store::connect::snapshot;
use crate::store::query::component::{ComponentUse, PackedComponent};

fn component(content: &str) -> PackedComponent {
    let signature = (content == "signed").then(|| "signature".to_owned());
    PackedComponent::pack(format!("{content}.wasm"), content.as_bytes(), signature)
}

fn of(component: &PackedComponent, plugins: &[(&str, &str)], at: u64) -> ComponentUse {
    let pair = |(plugin, version): &(&str, &str)| ((*plugin).to_owned(), (*version).to_owned());
    let plugins = plugins.iter().map(pair).collect();
    ComponentUse { digest: component.digest.clone(), plugins, at: Timestamp(at) }
}

/// Keeps a component as a version of the plugin `orders`.
async fn keep(subject: &Subject, content: &str, version: &str, at: u64) -> PackedComponent {
    let component = component(content);
    let records = &subject.store().plugin_records;
    let begun = of(&component, &[("orders", version)], at);
    assert!(records.begin_use(&begun, Some(component.clone())).await.unwrap());
    component
}

async fn end_all_but(subject: &Subject, in_use: &[&PackedComponent]) {
    let digests: BTreeSet<_> = in_use.iter().map(|component| component.digest.clone()).collect();
    let in_use = BTreeMap::from([("orders".to_owned(), digests)]);
    subject.store().plugin_records.end_other_uses(&in_use).await.unwrap();
}

async fn kept(subject: &Subject) -> Vec<(String, String, bool)> {
    let kept = subject.queries().kept_components().await.unwrap();
    kept.into_iter().map(|own| (own.plugin, own.version, own.is_active)).collect()
}

fn row(version: &str, is_active: bool) -> (String, String, bool) {
    ("orders".to_owned(), version.to_owned(), is_active)
}

pub(super) async fn components_are_kept_and_found_again(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "components").await;
    let (one, both) = (component("one"), component("signed"));
    let records = || &subject.store().plugin_records;
    let of_one = of(&one, &[("orders", "1.0.0")], 5);
    let is_known = records().begin_use(&of_one, None).await.unwrap();
    assert!(!is_known, "it is neither kept nor given");
    assert!(records().begin_use(&of_one, Some(one.clone())).await.unwrap());
    let of_both = of(&both, &[("orders", "1.1.0"), ("billing", "0.1.0")], 7);
    assert!(records().begin_use(&of_both, Some(both.clone())).await.unwrap());
    // A start of the host: nothing is new.
    assert!(
        records().begin_use(&ComponentUse { at: Timestamp(99), ..of_one }, None).await.unwrap()
    );
    subject.restart().await;
    let all =
        [("billing".to_owned(), "0.1.0".to_owned(), true), row("1.0.0", true), row("1.1.0", true)];
    assert_eq!(kept(&subject).await, all);
    let first = &subject.queries().kept_components().await.unwrap()[1];
    assert_eq!((first.since, first.bytes, &*first.file), (Timestamp(5), 3, "one.wasm"));
    let mut snapshot = snapshot(&subject.url).await.unwrap();
    assert_eq!(snapshot.kept("billing").await.unwrap().len(), 1);
    assert_eq!(snapshot.kept("unknown").await.unwrap(), []);
    let found = snapshot.component(&both.digest).await.unwrap().unwrap();
    assert_eq!(
        (found.unpack().unwrap(), found.signature.as_deref()),
        (b"signed".to_vec(), Some("signature"))
    );
    assert_eq!(snapshot.component(&one.digest).await.unwrap(), Some(one));
    assert_eq!(snapshot.component("none").await.unwrap(), None);
}

pub(super) async fn a_component_goes_with_its_last_decision(urls: Urls<'_>) {
    let subject = Subject::new(urls, "components go").await;
    let progress = |settled| vec![plugin_progress("orders", settled)];
    let decided = |from: u64, to: u64| Batch {
        decisions: (from..=to).map(|place| decision(place, "a")).collect(),
        plugins: progress(to),
        ..appends(from..=to)
    };
    let expired = async |to: u64| {
        let expire = Expire {
            plugins: Vec::new(),
            seen_to: Position(0),
            history_to: Position(to),
            history_before: Timestamp(u64::MAX >> 1),
            mark: None,
            marks_removed: Vec::new(),
            rows_max: 100,
        };
        for _ in 0..3 {
            let batch = Batch { expire: Some(expire.clone()), ..Batch::default() };
            subject.commit(batch).await;
        }
    };
    keep(&subject, "one", "1.0.0", 1).await;
    subject.commit(decided(1, 3)).await;
    let two = keep(&subject, "two", "2.0.0", 2).await;
    end_all_but(&subject, &[&two]).await;
    subject.commit(decided(4, 6)).await;
    let both = [row("1.0.0", false), row("2.0.0", true)];
    assert_eq!(kept(&subject).await, both);
    expired(2).await;
    assert_eq!(kept(&subject).await, both, "a decision of it is left");
    expired(3).await;
    assert_eq!(kept(&subject).await, [row("2.0.0", true)]);
    let mut store = snapshot(&subject.url).await.unwrap();
    assert_eq!(store.component(&component("one").digest).await.unwrap(), None);
    assert!(store.component(&two.digest).await.unwrap().is_some());
    drop(store);
    // It is used again before it is gone, and keeps its place.
    end_all_but(&subject, &[]).await;
    keep(&subject, "two", "2.0.0", 3).await;
    expired(9).await;
    assert_eq!(kept(&subject).await, [row("2.0.0", true)], "it decides");
    end_all_but(&subject, &[]).await;
    expired(9).await;
    assert_eq!(kept(&subject).await, []);
}
