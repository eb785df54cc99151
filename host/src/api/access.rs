//! Who asks: the tokens in memory, and the check of a request's credentials.
//!
//! A request has a token, or comes from this machine and the configuration serves it without one.
//! The store is read once, when the host starts: a request costs a hash and a look into a map.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, header};
use sagabox_engine::model::Timestamp;
use sagabox_engine::seams::store::ReadError;
use tokio::sync::mpsc;

use super::caller::Caller;
use super::problem::Problem;
use super::refusals;
use crate::access::{AuditEntry, Digest, Role, Secret, Token};
use crate::store::query::access::AccessRecords;

/// The name of the token that the first start creates.
const FIRST: &str = "admin";
/// The time of a token's last use is exact to this.
const USE_STEP: Duration = Duration::from_mins(1);
/// A proxy adds one of them. What it forwards does not come from this machine.
const FORWARDED: [HeaderName; 3] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];

pub(super) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessSettings {
    /// Whether requests from this machine need no token.
    pub local_without_token: bool,
    /// Whether a proxy with TLS stands before the host; then it names the client's address.
    pub behind_proxy: bool,
    /// How long audit entries are kept; none: for ever.
    pub audit: Option<Duration>,
}

impl Default for AccessSettings {
    fn default() -> Self {
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        Self { local_without_token: false, behind_proxy: false, audit: Some(year) }
    }
}

/// A token in memory.
#[derive(Debug)]
pub(super) struct Live {
    pub token: Token,
    used_at: AtomicU64,
}

pub struct Access {
    tokens: RwLock<HashMap<Digest, Arc<Live>>>,
    pub(super) records: Arc<dyn AccessRecords>,
    pub(super) settings: AccessSettings,
    pub(super) clock: Clock,
    refusals: mpsc::Sender<AuditEntry>,
}

impl Access {
    /// # Errors
    /// If the tokens cannot be read.
    pub async fn open(
        records: Arc<dyn AccessRecords>,
        settings: AccessSettings,
        clock: Clock,
    ) -> Result<Arc<Self>, ReadError> {
        let tokens = records.tokens().await?;
        let live = |(digest, token): (Digest, Token)| (digest, Arc::new(Live::new(token)));
        let tokens = RwLock::new(tokens.into_iter().map(live).collect());
        let refusals = refusals::keep(Arc::clone(&records));
        Ok(Arc::new(Self { tokens, records, settings, clock, refusals }))
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
        let found =
            self.read().iter().find(|(_, live)| live.token.id == id).map(|(digest, live)| {
                (*digest, Token { revoked_at: Some(at), ..live.as_of_now() })
            });
        if let Some((digest, token)) = found {
            self.put(digest, token);
        }
        Ok(true)
    }

    /// All tokens, in the order of their ids.
    pub(super) fn list(&self) -> Vec<Token> {
        let mut tokens: Vec<Token> = self.read().values().map(|live| live.as_of_now()).collect();
        tokens.sort_by_key(|token| token.id);
        tokens
    }

    /// Who asks.
    pub(super) fn identify(
        &self,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Result<Caller, Problem> {
        let origin = self.origin(headers, peer);
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (credentials, second) = (given.next(), given.next());
        if second.is_some() {
            return Err(Problem::unauthorized("the request has several Authorization headers"));
        }
        let Some(credentials) = credentials else {
            return match self.is_local(headers, peer) {
                true => Ok(Caller::local(origin)),
                false => Err(Problem::unauthorized(
                    "the request has no token; send `Authorization: Bearer sbx_…`",
                )),
            };
        };
        // What was given is not repeated: it is, or resembles, a secret.
        let secret = credentials.to_str().ok().and_then(bearer).and_then(Secret::parse);
        let secret = secret.ok_or_else(|| {
            Problem::unauthorized("the Authorization header is not `Bearer` and a token of Sagabox")
        })?;
        let unknown = || Problem::unauthorized("the token is not known to this host");
        let live = self.read().get(&secret.digest()).cloned().ok_or_else(unknown)?;
        let now = (self.clock)();
        if !live.token.is_valid(now) {
            let why = if live.token.revoked_at.is_some() { "was revoked" } else { "has expired" };
            let name = &live.token.name;
            return Err(Problem::unauthorized(format!("the token `{name}` {why}")));
        }
        live.note_use(now);
        Ok(Caller::with(live, origin))
    }

    fn is_local(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> bool {
        self.settings.local_without_token
            && peer.is_some_and(|peer| peer.to_canonical().is_loopback())
            && !FORWARDED.iter().any(|name| headers.contains_key(name))
    }

    /// Where a request comes from. Only a proxy that is configured is believed.
    pub(super) fn origin(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> IpAddr {
        let peer = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.to_canonical());
        if !self.settings.behind_proxy {
            return peer;
        }
        // The last address is the one that the proxy has added.
        let forwarded = headers.get_all(&FORWARDED[1]).iter().next_back();
        let last = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next());
        last.and_then(|last| last.trim().parse().ok()).unwrap_or(peer)
    }

    /// Notes a refusal in the audit log, soon. Of many, the first are enough.
    pub(super) fn note_refusal(&self, entry: AuditEntry) {
        if self.refusals.try_send(entry).is_err() {
            tracing::debug!("a refusal is not in the audit log: too many at a time");
        }
    }

    /// Writes when tokens were used last, and removes audit entries that are too old.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn tidy(&self) -> Result<(), ReadError> {
        /// Some milliseconds of work for the store.
        const EXPIRED_MAX: u32 = 1000;
        let used = self.read().values().filter_map(|live| live.unnoted_use()).collect::<Vec<_>>();
        if !used.is_empty() {
            self.records.note_uses(&used).await?;
            for token in self.list() {
                let digest =
                    self.read().iter().find(|(_, l)| l.token.id == token.id).map(|(d, _)| *d);
                if let Some(digest) = digest {
                    self.put(digest, token);
                }
            }
        }
        if let Some(age) = self.settings.audit {
            let before = (self.clock)().before(age);
            self.records.expire_audit(before, EXPIRED_MAX).await?;
        }
        Ok(())
    }

    fn put(&self, digest: Digest, token: Token) {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(digest, Arc::new(Live::new(token)));
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Digest, Arc<Live>>> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    fn new(token: Token) -> Self {
        let used_at = AtomicU64::new(token.last_used_at.map_or(0, |at| at.0));
        Self { token, used_at }
    }

    fn note_use(&self, now: Timestamp) {
        let step = u64::try_from(USE_STEP.as_millis()).unwrap_or(u64::MAX);
        if self.used_at.load(Ordering::Relaxed).saturating_add(step) <= now.0 {
            self.used_at.store(now.0, Ordering::Relaxed);
        }
    }

    fn as_of_now(&self) -> Token {
        let used = self.used_at.load(Ordering::Relaxed);
        Token { last_used_at: (used > 0).then_some(Timestamp(used)), ..self.token.clone() }
    }

    fn unnoted_use(&self) -> Option<(u64, Timestamp)> {
        let used = self.as_of_now().last_used_at;
        used.filter(|_| used != self.token.last_used_at).map(|at| (self.token.id, at))
    }
}

/// The token after the scheme, whose case does not matter.
fn bearer(credentials: &str) -> Option<&str> {
    let (scheme, token) = credentials.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
