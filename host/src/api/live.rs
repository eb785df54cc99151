//! Tokens and sessions in memory. The store is read once, when the host starts: a request costs a
//! hash and a look into a map, and its rate is a number that changes without a lock.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use sagabox_engine::model::Timestamp;

use super::problem::Problem;
use crate::access::{Digest, Fingerprint, Holder, PERSON, Person, Rate, Session, Token};

/// The time of a last use is exact to this.
const USE_STEP: Duration = Duration::from_mins(1);

/// A token in memory, or a person in the form of one.
#[derive(Debug)]
pub(super) struct Live {
    pub token: Token,
    /// Set for a person: the identity provider, and its name for the person.
    person: Option<(String, String)>,
    uses: Uses,
    bucket: Option<DefaultDirectRateLimiter>,
}

/// A session in memory.
#[derive(Debug)]
pub(super) struct LiveSession {
    pub session: Session,
    /// Of a person. What a token permits is looked up for each request.
    person: Option<Arc<Live>>,
    uses: Uses,
}

/// When something was used last, and the time that the store has.
#[derive(Debug)]
struct Uses {
    at: AtomicU64,
    stored: AtomicU64,
}

/// All tokens by what a request can have of them.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    by_digest: HashMap<Digest, Arc<Live>>,
    by_id: HashMap<u64, Digest>,
    /// Of valid tokens.
    by_certificate: HashMap<Fingerprint, Digest>,
}

impl Live {
    /// `rate` is the one of the configuration.
    pub(super) fn new(token: Token, rate: Option<Rate>) -> Self {
        let bucket = token.rate.or(rate).map(bucket);
        let uses = Uses::new(token.last_used_at);
        Self { token, person: None, uses, bucket }
    }

    fn of(person: &Person, created_at: Timestamp, rate: Option<Rate>) -> Self {
        let token = Token {
            id: 0,
            name: format!("{PERSON}{}", person.name),
            roles: person.roles.clone(),
            payloads: person.payloads,
            plugins: person.plugins.clone(),
            types: BTreeSet::new(),
            rate: None,
            certificates: BTreeSet::new(),
            created_at,
            created_by: person.issuer.clone(),
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        };
        let identity = (person.issuer.clone(), person.subject.clone());
        Self { person: Some(identity), ..Self::new(token, rate) }
    }

    pub(super) fn is_person(&self) -> bool {
        self.person.is_some()
    }

    /// Stays the same, and belongs to no other holder, also after a restart.
    pub(super) fn identity(&self) -> String {
        match &self.person {
            Some((issuer, subject)) => format!("{PERSON}{issuer}#{subject}"),
            None => format!("token:{}", self.token.id),
        }
    }

    /// Takes the cost of a request from the bucket.
    pub(super) fn charge(&self, cost: u32) -> Result<(), Problem> {
        let (Some(bucket), Some(cost)) = (&self.bucket, NonZeroU32::new(cost)) else {
            return Ok(());
        };
        let until = match bucket.check_n(cost) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(until)) => until,
            // More than the bucket holds: it takes all that it holds, or it could never come.
            Err(capacity) => match bucket.check_n(NonZeroU32::new(capacity.0).unwrap_or(cost)) {
                Ok(Err(until)) => until,
                Ok(Ok(())) | Err(_) => return Ok(()),
            },
        };
        let wait = until.wait_time_from(bucket.clock().now());
        let detail = format!("`{}` has used up its rate of requests and events", self.token.name);
        Err(Problem::rate_limited(detail, wait))
    }

    pub(super) fn note_use(&self, now: Timestamp) {
        self.uses.note(now);
    }

    pub(super) fn as_of_now(&self) -> Token {
        let used = self.uses.at.load(Ordering::Relaxed);
        Token { last_used_at: (used > 0).then_some(Timestamp(used)), ..self.token.clone() }
    }

    /// A use that the store does not have yet. Afterwards it counts as stored.
    pub(super) fn unnoted_use(&self) -> Option<(u64, Timestamp)> {
        self.uses.unnoted().map(|at| (self.token.id, at))
    }
}

fn bucket(rate: Rate) -> DefaultDirectRateLimiter {
    let quota = Quota::per_second(rate.per_second);
    RateLimiter::direct(quota.allow_burst(rate.burst.unwrap_or(rate.per_second)))
}

impl LiveSession {
    pub(super) fn new(session: Session, rate: Option<Rate>) -> Self {
        let person = match &session.holder {
            Holder::Token(_) => None,
            Holder::Person(person) => Some(Arc::new(Live::of(person, session.created_at, rate))),
        };
        let uses = Uses::new(Some(session.last_used_at));
        Self { session, person, uses }
    }

    /// Whose session it is. None if its token is gone.
    pub(super) fn holder(&self, tokens: &Tokens) -> Option<Arc<Live>> {
        match &self.session.holder {
            Holder::Token(id) => tokens.by_id(*id),
            Holder::Person(_) => self.person.clone(),
        }
    }

    pub(super) fn is_valid(&self, now: Timestamp, idle: Duration) -> bool {
        self.as_of_now().is_valid(now, idle)
    }

    pub(super) fn note_use(&self, now: Timestamp) {
        self.uses.note(now);
    }

    pub(super) fn as_of_now(&self) -> Session {
        let last_used_at = Timestamp(self.uses.at.load(Ordering::Relaxed));
        Session { last_used_at, ..self.session.clone() }
    }

    pub(super) fn unnoted_use(&self) -> Option<(u64, Timestamp)> {
        self.uses.unnoted().map(|at| (self.session.id, at))
    }
}

impl Uses {
    fn new(at: Option<Timestamp>) -> Self {
        let at = at.map_or(0, |at| at.0);
        Self { at: AtomicU64::new(at), stored: AtomicU64::new(at) }
    }

    fn note(&self, now: Timestamp) {
        let step = u64::try_from(USE_STEP.as_millis()).unwrap_or(u64::MAX);
        if self.at.load(Ordering::Relaxed).saturating_add(step) <= now.0 {
            self.at.store(now.0, Ordering::Relaxed);
        }
    }

    fn unnoted(&self) -> Option<Timestamp> {
        let at = self.at.load(Ordering::Relaxed);
        (self.stored.swap(at, Ordering::Relaxed) != at).then_some(Timestamp(at))
    }
}

impl Tokens {
    pub(super) fn put(&mut self, digest: Digest, live: Live, now: Timestamp) {
        for certificate in &live.token.certificates {
            match live.token.is_valid(now) {
                true => self.by_certificate.insert(*certificate, digest),
                false => self.by_certificate.remove(certificate),
            };
        }
        self.by_id.insert(live.token.id, digest);
        self.by_digest.insert(digest, Arc::new(live));
    }

    pub(super) fn by_digest(&self, digest: Digest) -> Option<Arc<Live>> {
        self.by_digest.get(&digest).cloned()
    }

    pub(super) fn by_id(&self, id: u64) -> Option<Arc<Live>> {
        self.by_id.get(&id).and_then(|digest| self.by_digest.get(digest)).cloned()
    }

    pub(super) fn digest_of(&self, id: u64) -> Option<Digest> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn by_certificate(&self, certificate: Fingerprint) -> Option<Arc<Live>> {
        self.by_certificate.get(&certificate).and_then(|digest| self.by_digest(*digest))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Live>> {
        self.by_digest.values()
    }

    /// Another rate of the configuration. Tokens with a rate of their own keep their buckets; the
    /// others get full ones.
    pub(super) fn set_rate(&mut self, rate: Option<Rate>, now: Timestamp) {
        let others = self.by_digest.iter().filter(|(_, live)| live.token.rate.is_none());
        let others: Vec<_> =
            others.map(|(digest, live)| (*digest, Live::new(live.as_of_now(), rate))).collect();
        for (digest, live) in others {
            self.put(digest, live, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(rate: Option<Rate>) -> Token {
        Token {
            id: 3,
            name: "t".to_owned(),
            roles: BTreeSet::new(),
            payloads: false,
            plugins: BTreeSet::new(),
            types: BTreeSet::new(),
            rate,
            certificates: BTreeSet::new(),
            created_at: Timestamp(0),
            created_by: "a".to_owned(),
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        }
    }

    fn rate(per_second: u32, burst: u32) -> Rate {
        let one = |number| NonZeroU32::new(number).unwrap();
        Rate { per_second: one(per_second), burst: Some(one(burst)) }
    }

    #[test]
    fn a_bucket_of_a_token_is_used_up_and_says_when_to_come_again() {
        let live = Live::new(token(Some(rate(1, 3))), None);
        live.charge(2).unwrap();
        live.charge(1).unwrap();
        let refused = live.charge(1).unwrap_err();
        assert_eq!(refused.status, 429);
        assert!(refused.retry_after.unwrap() <= Duration::from_secs(1), "{refused:?}");
        // What is larger than the bucket waits for all of it, and is not refused for ever.
        let full = Live::new(token(None), Some(rate(1, 3)));
        full.charge(1000).unwrap();
        full.charge(1).unwrap_err();
        Live::new(token(None), None).charge(u32::MAX).unwrap();
    }

    #[test]
    fn another_rate_of_the_configuration_refills_no_bucket_of_a_token() {
        let (mut tokens, own, other) = (Tokens::default(), Digest([1; 32]), Digest([2; 32]));
        tokens.put(own, Live::new(token(Some(rate(1, 1))), None), Timestamp(5));
        let by_configuration = Token { id: 4, ..token(None) };
        tokens.put(other, Live::new(by_configuration, Some(rate(1, 1))), Timestamp(5));
        let charge = |tokens: &Tokens, of| tokens.by_digest(of).unwrap().charge(1).is_ok();
        assert!(charge(&tokens, own) && charge(&tokens, other));
        tokens.set_rate(Some(rate(1, 2)), Timestamp(6));
        assert!(!charge(&tokens, own), "its own rate is used up");
        assert!(charge(&tokens, other) && charge(&tokens, other) && !charge(&tokens, other));
    }

    #[test]
    fn a_use_is_stored_once_and_exact_to_a_minute() {
        let live = Live::new(token(None), None);
        assert_eq!(live.unnoted_use(), None);
        live.note_use(Timestamp(70_000));
        live.note_use(Timestamp(80_000));
        assert_eq!(live.unnoted_use(), Some((3, Timestamp(70_000))));
        assert_eq!(live.unnoted_use(), None);
        live.note_use(Timestamp(130_000));
        assert_eq!(live.unnoted_use(), Some((3, Timestamp(130_000))));
    }

    #[test]
    fn a_certificate_stands_for_its_token_while_that_is_valid() {
        let certificate = Fingerprint::of(b"c");
        let bound = Token { certificates: BTreeSet::from([certificate]), ..token(None) };
        let (mut tokens, digest) = (Tokens::default(), Digest([1; 32]));
        tokens.put(digest, Live::new(bound.clone(), None), Timestamp(5));
        assert_eq!(tokens.by_certificate(certificate).unwrap().token.id, 3);
        assert_eq!(tokens.digest_of(3), Some(digest));
        let revoked = Token { revoked_at: Some(Timestamp(6)), ..bound };
        tokens.put(digest, Live::new(revoked, None), Timestamp(6));
        assert!(tokens.by_certificate(certificate).is_none());
        assert!(tokens.by_id(3).unwrap().token.revoked_at.is_some());
    }
}
