//! What a store keeps of tokens, and of what was done with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use sagabox_engine::model::Timestamp;

use super::{Subject, Urls};
use crate::access::{AuditEntry, AuditFilter, Digest, Role, Token};
use crate::store::query::access::AccessRecords;

fn records(subject: &Subject) -> Arc<dyn AccessRecords> {
    Arc::clone(&subject.store().access_records)
}

fn token(name: &str) -> Token {
    Token {
        id: 0,
        name: name.to_owned(),
        roles: BTreeSet::from([Role::Reader, Role::Sender]),
        payloads: true,
        plugins: BTreeSet::from(["orders".to_owned(), "a \"b\"".to_owned()]),
        types: BTreeSet::new(),
        created_at: Timestamp(5),
        created_by: "ada".to_owned(),
        expires_at: Some(Timestamp(9)),
        revoked_at: None,
        last_used_at: None,
    }
}

pub(super) async fn tokens_are_kept_with_all_that_they_permit(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "tokens").await;
    assert_eq!(records(&subject).tokens().await.unwrap(), []);
    let bare = Token { plugins: BTreeSet::new(), expires_at: None, payloads: false, ..token("b") };
    let one = records(&subject).add_token(Digest([1; 32]), &token("a")).await.unwrap();
    let other = records(&subject).add_token(Digest([2; 32]), &bare).await.unwrap();
    records(&subject).add_token(Digest([2; 32]), &bare).await.unwrap_err();
    records(&subject).note_uses(&[(other, Timestamp(7)), (99, Timestamp(8))]).await.unwrap();
    assert!(records(&subject).revoke_token(one, Timestamp(6)).await.unwrap());
    assert!(!records(&subject).revoke_token(one, Timestamp(8)).await.unwrap());
    assert!(!records(&subject).revoke_token(99, Timestamp(8)).await.unwrap());
    subject.restart().await;
    let expected = vec![
        (Digest([1; 32]), Token { id: one, revoked_at: Some(Timestamp(6)), ..token("a") }),
        (Digest([2; 32]), Token { id: other, last_used_at: Some(Timestamp(7)), ..bare }),
    ];
    assert_eq!(records(&subject).tokens().await.unwrap(), expected);
}

fn entry(at: u64, who: &str) -> AuditEntry {
    AuditEntry {
        at: Timestamp(at),
        who: who.to_owned(),
        token: (who == "ada").then_some(3),
        origin: "127.0.0.1".to_owned(),
        action: format!("POST /v1/{at}"),
        target: Some(r#"{"plugin":"orders"}"#.to_owned()),
        reason: (who == "ada").then(|| "a test".to_owned()),
        status: None,
    }
}

pub(super) async fn the_audit_log_keeps_its_order_and_each_filter_holds(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "audit").await;
    for (at, who) in [(10, "ada"), (20, "bob"), (30, "ada"), (40, "unknown")] {
        records(&subject).add_audit(&entry(at, who)).await.unwrap();
    }
    let all = AuditFilter { limit: 10, ..AuditFilter::default() };
    let first = records(&subject).audit(&all).await.unwrap().rows[0].id;
    records(&subject).complete_audit(first, 202).await.unwrap();
    records(&subject).count_audit(first, 4).await.unwrap();
    subject.restart().await;
    let times = async |filter: &AuditFilter| {
        let page = records(&subject).audit(filter).await.unwrap();
        page.rows.iter().map(|row| row.at.0).collect::<Vec<_>>()
    };
    assert_eq!(times(&all).await, [10, 20, 30, 40]);
    assert_eq!(times(&AuditFilter { who: Some("ada".into()), ..all.clone() }).await, [10, 30]);
    let action_contains = Some("v1/2".to_owned());
    assert_eq!(times(&AuditFilter { action_contains, ..all.clone() }).await, [20]);
    let (from, to) = (Some(Timestamp(20)), Some(Timestamp(40)));
    assert_eq!(times(&AuditFilter { from, to, ..all.clone() }).await, [20, 30]);
    let page = records(&subject).audit(&AuditFilter { limit: 3, ..all.clone() }).await.unwrap();
    let rest = AuditFilter { after: page.next.unwrap(), ..all.clone() };
    assert_eq!((page.rows.len(), times(&rest).await), (3, vec![40]));
    let row = &page.rows[0];
    assert_eq!((row.status, row.count, row.token), (Some(202), 5, Some(3)));
    assert_eq!(row.target.as_ref().map(|target| target.get()), Some(r#"{"plugin":"orders"}"#));
    assert_eq!(records(&subject).expire_audit(Timestamp(30), 1).await.unwrap(), 1);
    assert_eq!(records(&subject).expire_audit(Timestamp(30), 9).await.unwrap(), 1);
    assert_eq!(times(&all).await, [30, 40]);
}
