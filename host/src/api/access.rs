//! Who asks: the check of a request's credentials.
//!
//! A request has a token, or the cookie of a session, or a client certificate that stands for a
//! token; or it comes from this machine and the configuration serves it without any of them.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, header};
use sagabox_engine::model::Timestamp;
use sagabox_engine::seams::store::ReadError;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::authorize::{Peer, action};
use super::caller::Caller;
use super::cookies::Cookie;
use super::idempotency;
use super::live::{Live, LiveSession, Tokens};
use super::login::oidc::{OidcSettings, Provider};
use super::problem::Problem;
use super::refusals;
use crate::access::{Aging, AuditEntry, Digest, Holder, Rate, Role, Secret, Session, Token};
use crate::io::locks::lock;
use crate::store::query::access::AccessRecords;

/// The name of the token that the first start creates.
const FIRST: &str = "admin";
/// Sessions at a time. A person has one in each browser.
const SESSIONS_MAX: usize = 10_000;
/// Of them, sessions of one token or person. Beyond, the one that was used least recently ends, so
/// that no token keeps other people from signing in.
const SESSIONS_OF_HOLDER_MAX: usize = 100;
/// A proxy adds one of them. What it forwards does not come from this machine.
pub(crate) const FORWARDED: [HeaderName; 3] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];

pub(super) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessSettings {
    /// Whether requests from this machine need no token.
    pub local_without_token: bool,
    /// Whether a proxy with TLS stands before the host; then it names the client's address.
    pub behind_proxy: bool,
    /// Whether browsers reach the host by TLS alone, so that cookies can be bound to it.
    pub is_secure: bool,
    /// How long audit entries are kept; none: for ever.
    pub audit: Option<Duration>,
    /// Of tokens that have none of their own, and of people; none: as much as they like.
    pub rate: Option<Rate>,
    pub login: LoginSettings,
}

/// How people sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginSettings {
    /// How long a session lasts.
    pub session: Duration,
    /// A session ends after so much time without a request.
    pub idle: Duration,
    /// None: with a token alone.
    pub oidc: Option<OidcSettings>,
}

impl Default for AccessSettings {
    fn default() -> Self {
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        Self {
            local_without_token: false,
            behind_proxy: false,
            is_secure: false,
            audit: Some(year),
            rate: None,
            login: LoginSettings {
                // A working day, and the lunch in it.
                session: Duration::from_hours(12),
                idle: Duration::from_hours(2),
                oidc: None,
            },
        }
    }
}

pub struct Access {
    tokens: RwLock<Tokens>,
    sessions: RwLock<HashMap<Digest, Arc<LiveSession>>>,
    pub(super) records: Arc<dyn AccessRecords>,
    settings: RwLock<Arc<AccessSettings>>,
    pub(super) clock: Clock,
    /// How old records are.
    aging: Mutex<Aging>,
    /// What was begun before it was begun by another process.
    pub(super) opened_at: Timestamp,
    /// Set if people can sign in by an identity provider.
    provider: RwLock<Option<Arc<Provider>>>,
    refusals: mpsc::Sender<AuditEntry>,
    /// Notifies what waits for long: its caller may have lost the permission.
    looks: Notify,
}

impl Access {
    /// # Errors
    /// If the tokens or the sessions cannot be read, or the secret for the identity provider.
    pub async fn open(
        records: Arc<dyn AccessRecords>,
        settings: AccessSettings,
        clock: Clock,
    ) -> anyhow::Result<Arc<Self>> {
        let (now, rate) = (clock(), settings.rate);
        let mut tokens = Tokens::default();
        for (digest, token) in records.tokens().await? {
            tokens.put(digest, Live::new(token, rate), now);
        }
        let sessions = records.sessions().await?;
        let live = |(digest, session)| (digest, Arc::new(LiveSession::new(session, rate)));
        let sessions = RwLock::new(sessions.into_iter().map(live).collect());
        let provider = settings.login.oidc.clone().map(Provider::open).transpose()?;
        let (provider, settings) =
            (RwLock::new(provider.map(Arc::new)), RwLock::new(Arc::new(settings)));
        let refusals = refusals::keep(Arc::clone(&records));
        let tokens = RwLock::new(tokens);
        Ok(Arc::new(Self {
            tokens,
            sessions,
            records,
            settings,
            clock,
            aging: Mutex::new(Aging::new(Instant::now(), now)),
            opened_at: now,
            provider,
            refusals,
            looks: Notify::new(),
        }))
    }

    /// Whether an administrator can use this host.
    pub fn has_administrator(&self) -> bool {
        let now = (self.clock)();
        let is_admin = |token: &Token| token.is_valid(now) && token.roles.contains(&Role::Admin);
        self.list().iter().any(is_admin)
    }

    /// Creates the administrator's token of a new store.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn add_first(&self, secret: &Secret) -> Result<(), ReadError> {
        let token = Token {
            id: 0,
            name: FIRST.to_owned(),
            roles: BTreeSet::from([Role::Admin]),
            payloads: true,
            plugins: BTreeSet::new(),
            types: BTreeSet::new(),
            rate: None,
            certificates: BTreeSet::new(),
            created_at: (self.clock)(),
            created_by: "the host".to_owned(),
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        };
        self.add(secret, token).await.map(|_| ())
    }

    pub(super) async fn add(&self, secret: &Secret, token: Token) -> Result<Token, ReadError> {
        let digest = secret.digest();
        let id = self.records.add_token(digest, &token).await?;
        let token = Token { id, ..token };
        self.put(digest, token.clone());
        Ok(token)
    }

    /// False if no token with this id can be revoked.
    pub(super) async fn revoke(&self, id: u64) -> Result<bool, ReadError> {
        let at = (self.clock)();
        if !self.records.revoke_token(id, at).await? {
            return Ok(false);
        }
        let found = {
            let tokens = self.tokens();
            tokens.digest_of(id).zip(tokens.by_id(id))
        };
        if let Some((digest, live)) = found {
            self.put(digest, Token { revoked_at: Some(at), ..live.as_of_now() });
        }
        Ok(true)
    }

    /// All tokens, in the order of their ids.
    pub(super) fn list(&self) -> Vec<Token> {
        let mut tokens: Vec<Token> = self.tokens().all().map(|live| live.as_of_now()).collect();
        tokens.sort_by_key(|token| token.id);
        tokens
    }

    /// The token of this secret.
    pub(super) fn token(&self, secret: &Secret) -> Result<Arc<Live>, Problem> {
        let unknown = || Problem::unauthorized("the token is not known to this host");
        let live = self.tokens().by_digest(secret.digest()).ok_or_else(unknown)?;
        self.check_valid(&live)?;
        Ok(live)
    }

    fn check_valid(&self, live: &Live) -> Result<(), Problem> {
        let token = &live.token;
        if token.is_valid((self.clock)()) {
            return Ok(());
        }
        let why = if token.revoked_at.is_some() { "was revoked" } else { "has expired" };
        Err(Problem::unauthorized(format!("the token `{}` {why}", token.name)))
    }

    /// Who asks.
    pub(super) fn identify(
        &self,
        headers: &HeaderMap,
        peer: Option<Peer>,
    ) -> Result<Caller, Problem> {
        let origin = self.origin(headers, peer.map(|peer| peer.address));
        let certificate = peer.and_then(|peer| peer.certificate);
        let now = (self.clock)();
        let caller = |live: Arc<Live>| {
            live.note_use(now);
            Caller::with(live, origin)
        };
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (credentials, second) = (given.next(), given.next());
        if second.is_some() {
            return Err(Problem::unauthorized("the request has several Authorization headers"));
        }
        if let Some(credentials) = credentials {
            // What was given is not repeated: it is, or resembles, a secret.
            let secret = credentials.to_str().ok().and_then(bearer).and_then(Secret::parse);
            let secret = secret.ok_or_else(|| {
                Problem::unauthorized(
                    "the Authorization header is not `Bearer` and a token of Sagabox",
                )
            })?;
            let live = self.token(&secret)?;
            let bound = &live.token.certificates;
            if !bound.is_empty() && !certificate.is_some_and(|own| bound.contains(&own)) {
                return Err(Problem::unauthorized(format!(
                    "the token `{}` is bound to client certificates, and the connection has none of them",
                    live.token.name
                )));
            }
            return Ok(caller(live));
        }
        let by_session = self.by_session(headers, origin);
        if let Some(Ok(caller)) = by_session {
            return Ok(caller);
        }
        if let Some(live) = certificate.and_then(|own| self.tokens().by_certificate(own)) {
            self.check_valid(&live)?;
            return Ok(caller(live));
        }
        match (self.is_local(headers, peer.map(|peer| peer.address)), by_session) {
            (true, _) => Ok(Caller::local(origin)),
            (false, Some(ended)) => ended,
            (false, None) => Err(Problem::unauthorized(
                "the request has no token; send `Authorization: Bearer sbx_…`",
            )),
        }
    }

    /// Lets all that waits look at its caller again, each second. One timer for all of them, because
    /// starting a timer for each request that waits would cost more than the rest of the request.
    pub(crate) async fn look_again(&self) {
        const LOOK: Duration = Duration::from_secs(1);
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            self.looks.notify_waiters();
        }
    }

    /// Resolves when it is time to ask [`Access::admits`] again.
    pub(super) async fn next_look(&self) {
        self.looks.notified().await;
    }

    /// Whether a caller may still ask who was identified before.
    pub(super) fn admits(&self, caller: &Caller) -> bool {
        let now = (self.clock)();
        match (caller.session(), caller.token()) {
            (Some(id), _) => {
                let (tokens, idle) = (self.tokens(), self.settings().login.idle);
                self.sessions().values().any(|own| {
                    let holder = own.holder(&tokens);
                    own.session.id == id
                        && own.is_valid(now, idle)
                        && holder.is_some_and(|holder| holder.token.is_valid(now))
                })
            }
            (None, Some(id)) => {
                self.tokens().by_id(id).is_some_and(|live| live.token.is_valid(now))
            }
            (None, None) => true,
        }
    }

    /// The caller of a session's cookie. None without a cookie.
    fn by_session(&self, headers: &HeaderMap, origin: IpAddr) -> Option<Result<Caller, Problem>> {
        let value = Cookie::Session.of(headers, self.settings().is_secure)?;
        let ended = || Problem::unauthorized("the session has ended; sign in again at /login");
        let found = Secret::parse_session(value).and_then(|secret| self.session(&secret));
        Some(found.ok_or_else(ended).and_then(|session| {
            let live = session.holder(&self.tokens()).ok_or_else(ended)?;
            self.check_valid(&live)?;
            session.note_use((self.clock)());
            Ok(Caller::in_session(live, session.session.id, origin))
        }))
    }

    /// A session that is valid.
    pub(super) fn session(&self, secret: &Secret) -> Option<Arc<LiveSession>> {
        let found = self.sessions().get(&secret.digest()).cloned();
        found.filter(|session| session.is_valid((self.clock)(), self.settings().login.idle))
    }

    /// The secret of a new session.
    pub(super) async fn begin_session(&self, session: Session) -> Result<Secret, Problem> {
        let unwritten =
            |error: ReadError| Problem::unavailable(format!("write the session: {error}"));
        while let Some(oldest) = self.surplus_session(&session.holder) {
            self.end_session(oldest).await.map_err(unwritten)?;
        }
        if self.sessions().len() >= SESSIONS_MAX {
            let detail = format!("{SESSIONS_MAX} sessions are open; an administrator can end some");
            return Err(Problem::unavailable(detail));
        }
        let secret = Secret::for_session().map_err(|error| Problem::internal(error.to_string()))?;
        let digest = secret.digest();
        let id = self.records.add_session(digest, &session).await.map_err(unwritten)?;
        let live = LiveSession::new(Session { id, ..session }, self.settings().rate);
        self.sessions_mut().insert(digest, Arc::new(live));
        Ok(secret)
    }

    /// The session of a holder that ends when another one begins; none if there is room.
    fn surplus_session(&self, holder: &Holder) -> Option<u64> {
        let sessions = self.sessions();
        let own = sessions.values().filter(|live| live.session.holder.is_same(holder));
        let own: Vec<Session> = own.map(|live| live.as_of_now()).collect();
        let oldest = own.iter().min_by_key(|session| (session.last_used_at, session.id))?;
        (own.len() >= SESSIONS_OF_HOLDER_MAX).then_some(oldest.id)
    }

    /// Ends a session. False if none with this id is open.
    pub(super) async fn end_session(&self, id: u64) -> Result<bool, ReadError> {
        // The store comes first: a session that ended must not come back with a restart.
        let is_ended = self.records.end_session(id).await?;
        self.sessions_mut().retain(|_, live| live.session.id != id);
        Ok(is_ended)
    }

    /// The open sessions with their holders, in the order of their ids.
    pub(super) fn list_sessions(&self) -> Vec<(Session, Arc<Live>)> {
        let (now, tokens) = ((self.clock)(), self.tokens());
        let open = |live: &Arc<LiveSession>| {
            let holder = live.holder(&tokens).filter(|holder| holder.token.is_valid(now))?;
            live.is_valid(now, self.settings().login.idle).then(|| (live.as_of_now(), holder))
        };
        let mut sessions: Vec<_> = self.sessions().values().filter_map(open).collect();
        sessions.sort_by_key(|(session, _)| session.id);
        sessions
    }

    /// Takes over what can change while the host runs: rates, logins and how long entries of the
    /// audit log are kept.
    ///
    /// # Errors
    /// If the secret for the identity provider cannot be read. Then nothing has changed.
    pub fn reload(&self, new: &AccessSettings) -> anyhow::Result<()> {
        let old = self.settings();
        let provider = new.login.oidc.clone().map(Provider::open).transpose()?;
        let settings = AccessSettings {
            audit: new.audit,
            rate: new.rate,
            login: new.login.clone(),
            ..(*old).clone()
        };
        // The same provider goes on, with the logins that are under way.
        let is_same = provider.as_ref() == self.provider().as_deref();
        if !is_same {
            *self.provider.write().unwrap_or_else(PoisonError::into_inner) = provider.map(Arc::new);
        }
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        if new.rate != old.rate {
            // One lock for both: a token that is revoked meanwhile must not come back.
            let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
            tokens.set_rate(new.rate, (self.clock)());
            drop(tokens);
            for live in self.sessions_mut().values_mut() {
                *live = Arc::new(LiveSession::new(live.as_of_now(), new.rate));
            }
        }
        Ok(())
    }

    pub(super) fn settings(&self) -> Arc<AccessSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn provider(&self) -> Option<Arc<Provider>> {
        self.provider.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_local(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> bool {
        self.settings().local_without_token
            && peer.is_some_and(|peer| peer.to_canonical().is_loopback())
            && !FORWARDED.iter().any(|name| headers.contains_key(name))
    }

    /// Where a request comes from. Only a proxy that is configured is believed.
    pub(super) fn origin(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> IpAddr {
        let peer = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.to_canonical());
        if !self.settings().behind_proxy {
            return peer;
        }
        // The last address is the one that the proxy has added.
        let forwarded = headers.get_all(&FORWARDED[1]).iter().next_back();
        let last = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next());
        last.and_then(|last| last.trim().parse().ok()).unwrap_or(peer)
    }

    /// Notes a request that the guard has refused. Who has sent it was not looked at.
    pub(super) fn note_guarded(
        &self,
        request: &axum::http::request::Parts,
        peer: Option<Peer>,
        problem: &Problem,
    ) {
        if problem.status != axum::http::StatusCode::FORBIDDEN {
            return;
        }
        let origin = self.origin(&request.headers, peer.map(|peer| peer.address));
        self.note_refusal(AuditEntry {
            at: (self.clock)(),
            who: refusals::UNKNOWN.to_owned(),
            token: None,
            origin: origin.to_string(),
            action: action(&request.method, &request.uri),
            target: None,
            reason: None,
            status: Some(problem.status),
        });
    }

    /// Notes a refusal in the audit log, soon. Of many, the first are enough.
    pub(super) fn note_refusal(&self, entry: AuditEntry) {
        if self.refusals.try_send(entry).is_err() {
            tracing::debug!("a refusal is not in the audit log: too many at a time");
        }
    }

    /// Writes when tokens and sessions were used last, and removes what is too old.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn tidy(&self) -> Result<(), ReadError> {
        /// Some milliseconds of work for the store.
        const EXPIRED_MAX: u32 = 1000;
        let (now, idle) = ((self.clock)(), self.settings().login.idle);
        let used: Vec<_> = self.tokens().all().filter_map(|live| live.unnoted_use()).collect();
        if !used.is_empty() {
            self.records.note_uses(&used).await?;
        }
        let used: Vec<_> = self.sessions().values().filter_map(|live| live.unnoted_use()).collect();
        if !used.is_empty() {
            self.records.note_session_uses(&used).await?;
        }
        self.sessions_mut().retain(|_, live| live.is_valid(now, idle));
        self.records.expire_sessions(now, now.before(idle)).await?;
        let kept_since = {
            let mut aging = lock(&self.aging);
            aging.advance(Instant::now(), now);
            aging.older_than(idempotency::AGE)
        };
        if let Some(before) = kept_since {
            self.records.expire_idempotent(before, EXPIRED_MAX).await?;
        }
        if let Some(before) = self.records_from() {
            self.records.expire_audit(before, EXPIRED_MAX).await?;
        }
        Ok(())
    }

    /// The time before which records of what operators did are too old; none if they are kept for
    /// ever, or if no date is known to be right.
    pub fn records_from(&self) -> Option<Timestamp> {
        let age = self.settings().audit?;
        lock(&self.aging).older_than(age)
    }

    fn put(&self, digest: Digest, token: Token) {
        let live = Live::new(token, self.settings().rate);
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.put(digest, live, (self.clock)());
    }

    fn tokens(&self) -> std::sync::RwLockReadGuard<'_, Tokens> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Digest, Arc<LiveSession>>> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions_mut(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Digest, Arc<LiveSession>>> {
        self.sessions.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token after the scheme, whose case does not matter.
fn bearer(credentials: &str) -> Option<&str> {
    let (scheme, token) = credentials.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::access::AuditFilter;
    use crate::store::connect::connect;
    use crate::store::query::access::Idempotent;

    /// In both directions: neither the audit log nor the keys of requests can be made again.
    #[tokio::test]
    async fn a_wall_clock_that_is_set_removes_no_records() {
        const START: u64 = 1_800_000_000_000;
        const YEARS: u64 = 1_000 * 24 * 60 * 60 * 1_000;
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("a.db").display());
        let records = connect(&url).await.unwrap().access_records;
        let wall = Arc::new(AtomicU64::new(START));
        let clock = Arc::clone(&wall);
        let clock: Clock = Arc::new(move || Timestamp(clock.load(Ordering::Relaxed)));
        let settings =
            AccessSettings { audit: Some(Duration::from_hours(24)), ..AccessSettings::default() };
        let access = Access::open(Arc::clone(&records), settings, clock).await.unwrap();
        let entry = AuditEntry {
            at: Timestamp(START),
            who: "ada".to_owned(),
            token: None,
            origin: "127.0.0.1".to_owned(),
            action: "POST /v1/pauses".to_owned(),
            target: None,
            reason: None,
            status: Some(200),
        };
        records.add_audit(&entry).await.unwrap();
        let digest = Digest([1; 32]);
        records.begin_idempotent("ada", "k", digest, Timestamp(START)).await.unwrap();
        for set in [START, START + YEARS, START, START - YEARS, START + 2 * YEARS] {
            wall.store(set, Ordering::Relaxed);
            access.tidy().await.unwrap();
            let all = AuditFilter { limit: 9, ..AuditFilter::default() };
            assert_eq!(records.audit(&all).await.unwrap().rows.len(), 1, "at {set}");
            assert_eq!(access.records_from(), None);
            let known = records.begin_idempotent("ada", "k", digest, Timestamp(START)).await;
            assert!(matches!(known, Ok(Idempotent::Known { .. })), "at {set}");
        }
    }
}
