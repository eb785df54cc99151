//! What a store keeps of tokens, and of what was done with them.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use sagabox_engine::model::Timestamp;

use super::{Subject, Urls};
use crate::access::{
    AuditEntry, AuditFilter, Digest, Fingerprint, Holder, Person, Rate, Role, Session, Token,
};
use crate::store::query::access::{AccessRecords, Idempotent, KeptAnswer};

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
        rate: Some(Rate { per_second: NonZeroU32::MAX, burst: NonZeroU32::new(5) }),
        certificates: BTreeSet::from([Fingerprint::of(b"a certificate")]),
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
    let bare = Token { rate: None, certificates: BTreeSet::new(), ..bare };
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

pub(super) async fn sessions_are_kept_until_they_end_expire_or_are_not_used(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "sessions").await;
    let person = Person {
        issuer: "https://id.example".to_owned(),
        subject: "7".to_owned(),
        name: "ada".to_owned(),
        roles: BTreeSet::from([Role::Operator]),
        payloads: true,
        plugins: BTreeSet::from(["orders".to_owned()]),
    };
    let session = |holder: Holder, expires: u64, used: u64| Session {
        id: 0,
        holder,
        origin: "127.0.0.1".to_owned(),
        created_at: Timestamp(1),
        expires_at: Timestamp(expires),
        last_used_at: Timestamp(used),
    };
    let all = [
        session(Holder::Token(3), 100, 1),
        session(Holder::Person(person), 100, 2),
        session(Holder::Token(4), 20, 15),
        session(Holder::Token(5), 100, 3),
    ];
    let mut ids = Vec::new();
    for (number, session) in (1..).zip(&all) {
        ids.push(records(&subject).add_session(Digest([number; 32]), session).await.unwrap());
    }
    records(&subject).add_session(Digest([1; 32]), &all[0]).await.unwrap_err();
    assert!(records(&subject).end_session(ids[3]).await.unwrap());
    assert!(!records(&subject).end_session(ids[3]).await.unwrap());
    records(&subject).note_session_uses(&[(ids[1], Timestamp(12))]).await.unwrap();
    subject.restart().await;
    let kept = async || {
        let kept = records(&subject).sessions().await.unwrap();
        kept.into_iter().map(|(digest, session)| (digest.0[0], session)).collect::<Vec<_>>()
    };
    let used = Session { last_used_at: Timestamp(12), ..all[1].clone() };
    let with_id = |at: usize, session: &Session| Session { id: ids[at], ..session.clone() };
    let second = (2, with_id(1, &used));
    let third = (3, with_id(2, &all[2]));
    assert_eq!(kept().await, [(1, with_id(0, &all[0])), second.clone(), third.clone()]);
    records(&subject).expire_sessions(Timestamp(19), Timestamp(1)).await.unwrap();
    assert_eq!(kept().await, [second.clone(), third]);
    records(&subject).expire_sessions(Timestamp(20), Timestamp(11)).await.unwrap();
    assert_eq!(kept().await, [second]);
}

pub(super) async fn a_key_is_taken_once_and_keeps_its_answer(urls: Urls<'_>) {
    let mut subject = Subject::new(urls, "idempotency").await;
    let (one, other) = (Digest([1; 32]), Digest([2; 32]));
    let begin = async |subject: &Subject, caller: &str, key: &str, request, at| {
        let begun = records(subject).begin_idempotent(caller, key, request, Timestamp(at)).await;
        begun.unwrap()
    };
    let known = |answer| Idempotent::Known { request: one, at: Timestamp(5), answer };
    assert_eq!(begin(&subject, "a", "k", one, 5).await, Idempotent::New);
    assert_eq!(begin(&subject, "a", "k", other, 6).await, known(None));
    assert_eq!(begin(&subject, "b", "k", other, 6).await, Idempotent::New);
    records(&subject).release_idempotent("b", "k").await.unwrap();
    assert_eq!(begin(&subject, "b", "k", other, 7).await, Idempotent::New);
    let answer = KeptAnswer {
        status: 202,
        content_type: Some("application/json".to_owned()),
        body: Some("{}".into()),
    };
    records(&subject).finish_idempotent("a", "k", &answer).await.unwrap();
    // It has an answer.
    records(&subject).release_idempotent("a", "k").await.unwrap();
    let secret = KeptAnswer { status: 200, content_type: None, body: None };
    records(&subject).finish_idempotent("b", "k", &secret).await.unwrap();
    subject.restart().await;
    assert_eq!(begin(&subject, "a", "k", one, 8).await, known(Some(answer)));
    let expected = Idempotent::Known { request: other, at: Timestamp(7), answer: Some(secret) };
    assert_eq!(begin(&subject, "b", "k", one, 8).await, expected);
    records(&subject).expire_idempotent(Timestamp(7), 10).await.unwrap();
    assert_eq!(begin(&subject, "a", "k", one, 9).await, Idempotent::New);
    assert_eq!(begin(&subject, "b", "k", one, 9).await, expected);
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
