//! The host's own queues: workers lease messages, and acknowledge or give them back.

use std::fmt::Write as _;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use sagabox_engine::model::{
    Lease, LeaseId, LeaseReport, LeaseRequest, MessageId, QueueStatus, Selection,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::dead_letters::{REASON_BYTES_MAX, short};
use super::extract::{Arguments, Filter, Written};
use super::leases::WorkerRow;
use super::paging::Paging;
use super::problem::Problem;
use super::tokens::name;
use super::{Shared, streaming};
use crate::access::NAME_BYTES_MAX;
use crate::store::query::shapes::CloudEvent;

const LEASE_MESSAGES_MAX: usize = LeaseRequest::MESSAGES_MAX;
const WAIT_MS_MAX: u64 = LeaseRequest::WAIT_MS_MAX;
const DURATION_MS_MAX: u64 = LeaseRequest::DURATION_MS_MAX;
const DURATION_MS_MIN: u64 = LeaseRequest::DURATION_MS_MIN;
/// A day. A longer wait is a case for a timer.
const DELAY_MS_MAX: u64 = 86_400_000;
/// Workers of a queue in one answer. The list of leases has all.
const WORKERS_MAX: usize = 100;
/// Of one call: more than a lease can have.
const IDS_MAX: usize = 10_000;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LeaseRequest)]
pub(crate) struct Take {
    /// The message type, which is the queue's name.
    queue: String,
    #[serde(default = "Take::usual_max")]
    #[schema(minimum = 1, maximum = 1000)]
    max: usize,
    #[serde(default = "Take::usual_ms")]
    #[schema(maximum = 60_000)]
    wait_ms: u64,
    #[serde(default = "Take::usual_ms")]
    #[schema(minimum = 100, maximum = 3_600_000)]
    duration_ms: u64,
    /// A name for operators, at most 128 bytes. The name of the token if it is absent.
    #[schema(min_length = 1, max_length = 128)]
    worker: Option<String>,
}

impl Take {
    fn usual_max() -> usize {
        100
    }

    fn usual_ms() -> u64 {
        30_000
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AcknowledgeRequest)]
pub(crate) struct Acknowledge {
    queue: String,
    lease: String,
    /// All of the lease if absent.
    ids: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GiveBackRequest)]
pub(crate) struct GiveBack {
    queue: String,
    lease: String,
    ids: Option<Vec<String>>,
    #[serde(default)]
    delay_ms: u64,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExtendRequest)]
pub(crate) struct Extend {
    queue: String,
    lease: String,
    #[schema(minimum = 100, maximum = 3_600_000)]
    duration_ms: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LeaseReport)]
pub(crate) struct LeaseReportView {
    done: usize,
    /// An earlier call did it.
    already: usize,
    /// Given back instead of acknowledged, or the other way round.
    #[schema(value_type = Vec<String>)]
    otherwise: Vec<MessageId>,
    /// The lease never contained them.
    #[schema(value_type = Vec<String>)]
    unknown: Vec<MessageId>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Queues {
    pub queues: Vec<QueueView>,
    pub next: Option<String>,
}

/// A lease and its messages.
#[derive(Debug, ToSchema)]
#[schema(as = Lease)]
#[expect(dead_code, reason = "`lease_json` writes this shape by hand")]
pub(crate) struct LeaseView {
    /// A number in a string: JavaScript would round it.
    lease: String,
    /// RFC 3339.
    expires_at: String,
    messages: Vec<LeasedView>,
}

#[derive(Debug, ToSchema)]
#[schema(as = LeasedMessage)]
#[expect(dead_code, reason = "`lease_json` writes this shape by hand")]
pub(crate) struct LeasedView {
    /// From 1.
    attempt: u32,
    #[schema(value_type = CloudEvent)]
    event: (),
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Extended {
    /// RFC 3339.
    expires_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Queue)]
pub(crate) struct QueueView {
    /// The message type.
    pub queue: String,
    pub ready: usize,
    pub leased: usize,
    /// The workers that have leased messages, the one with the oldest lease first; at most 100.
    pub workers: Vec<WorkerRow>,
    /// How many workers have leased messages.
    pub worker_count: usize,
}

pub(crate) async fn list(
    State(site): State<Shared>,
    Filter(paging): Filter<Paging>,
) -> Result<Json<Queues>, Problem> {
    let queues = site.engine.status().await.queues;
    let (queues, next) = paging.page(queues, |queue| queue.queue.clone())?;
    Ok(Json(Queues { queues: queues.into_iter().map(view).collect(), next }))
}

fn view(queue: QueueStatus) -> QueueView {
    let QueueStatus { queue, ready, leased, workers } = queue;
    let worker_count = workers.len();
    let workers = workers.into_iter().take(WORKERS_MAX).map(WorkerRow::of).collect();
    QueueView { queue, ready, leased, workers, worker_count }
}

pub(crate) async fn lease(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(take): Arguments<Take>,
) -> Result<Written<LeaseView>, Problem> {
    caller.check_type(&take.queue)?;
    let request = lease_request(&take, caller.token_name())?;
    let leasing = site.engine.lease(&take.queue, request);
    let lease = streaming::admitted(&site.access, &caller, leasing).await??;
    Ok(Written::new(lease_json(&lease)))
}

pub(crate) async fn acknowledge(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(call): Arguments<Acknowledge>,
) -> Result<Json<LeaseReportView>, Problem> {
    caller.check_type(&call.queue)?;
    let lease = lease_id(&call.lease)?;
    let selection = selection(call.ids)?;
    Ok(report(site.engine.acknowledge(&call.queue, lease, selection).await?))
}

pub(crate) async fn give_back(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(call): Arguments<GiveBack>,
) -> Result<Json<LeaseReportView>, Problem> {
    caller.check_type(&call.queue)?;
    let lease = lease_id(&call.lease)?;
    let delay = millis("delay_ms", call.delay_ms, 0..=DELAY_MS_MAX)?;
    let reason = short("reason", call.reason, REASON_BYTES_MAX)?;
    let reason = if reason.is_empty() { "given back".to_owned() } else { reason };
    let selection = selection(call.ids)?;
    Ok(report(site.engine.give_back(&call.queue, lease, selection, delay, reason).await?))
}

pub(crate) async fn extend(
    State(site): State<Shared>,
    caller: Caller,
    Arguments(call): Arguments<Extend>,
) -> Result<Json<Extended>, Problem> {
    caller.check_type(&call.queue)?;
    let lease = lease_id(&call.lease)?;
    let duration = millis("duration_ms", call.duration_ms, DURATION_MS_MIN..=DURATION_MS_MAX)?;
    let until = site.engine.extend(&call.queue, lease, duration).await?;
    Ok(Json(Extended { expires_at: until.to_rfc3339() }))
}

/// A worker without a name has that of its token.
fn lease_request(take: &Take, token: Option<&str>) -> Result<LeaseRequest, Problem> {
    if take.max == 0 || take.max > LEASE_MESSAGES_MAX {
        let detail =
            format!("max: is {}; a lease has 1 to {LEASE_MESSAGES_MAX} messages", take.max);
        return Err(Problem::unacceptable("max", detail));
    }
    Ok(LeaseRequest {
        max: take.max,
        wait: millis("wait_ms", take.wait_ms, 0..=WAIT_MS_MAX)?,
        duration: millis("duration_ms", take.duration_ms, DURATION_MS_MIN..=DURATION_MS_MAX)?,
        worker: match &take.worker {
            Some(worker) => Some(name("worker", worker.clone(), NAME_BYTES_MAX)?.into()),
            None => token.map(Into::into),
        },
    })
}

fn millis(
    name: &str,
    value: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Duration, Problem> {
    if range.contains(&value) {
        return Ok(Duration::from_millis(value));
    }
    let detail = format!("{name}: is {value}; accepted are {} to {}", range.start(), range.end());
    Err(Problem::unacceptable(name, detail))
}

fn lease_id(text: &str) -> Result<LeaseId, Problem> {
    let id = text.parse().map(LeaseId);
    id.map_err(|_| {
        Problem::unacceptable("lease", format!("lease: `{text}` is not the id of a lease"))
    })
}

fn selection(ids: Option<Vec<String>>) -> Result<Selection, Problem> {
    match ids {
        None => Ok(Selection::All),
        Some(ids) if ids.len() > IDS_MAX => {
            let detail = format!("ids: has {} elements; the maximum is {IDS_MAX}", ids.len());
            Err(Problem::unacceptable("ids", detail))
        }
        Some(ids) => Ok(Selection::Ids(ids.into_iter().map(MessageId::from).collect())),
    }
}

fn report(report: LeaseReport) -> Json<LeaseReportView> {
    let LeaseReport { done, already, otherwise, unknown } = report;
    Json(LeaseReportView { done, already, otherwise, unknown })
}

/// By hand: a lease is the host's hottest answer, and its events are JSON already.
pub(crate) fn lease_json(lease: &Lease) -> String {
    let expires_at = lease.expires_at.to_rfc3339();
    let mut json = String::with_capacity(128 + lease.messages.len() * 512);
    // The id is a string: JavaScript would round a number beyond 2^53.
    let _ = write!(json, r#"{{"lease":"{}","expires_at":"{expires_at}","messages":["#, lease.id.0);
    for (index, leased) in lease.messages.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(json, r#"{comma}{{"attempt":{},"event":"#, leased.attempt);
        json.push_str(&leased.message.event.to_json());
        json.push('}');
    }
    json.push_str("]}");
    json
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sagabox_engine::model::Leased;
    use sagabox_engine::model::{
        Event, Hops, Key, Message, MessageKind, PluginName, Position, Sequence, SinkName, Timestamp,
    };

    use super::*;

    #[track_caller]
    fn check_refused(take: Take, attribute: &str, detail: &str) {
        let problem = lease_request(&take, None).unwrap_err();
        let expected = (422, Some(attribute), detail);
        assert_eq!((problem.status, problem.attribute.as_deref(), &*problem.detail), expected);
    }

    #[test]
    fn a_lease_has_limits() {
        let usual = || serde_json::from_str::<Take>(r#"{"queue":"q"}"#).unwrap();
        assert_eq!(lease_request(&usual(), None).unwrap().max, 100);
        let zero = Take { max: 0, ..usual() };
        check_refused(zero, "max", "max: is 0; a lease has 1 to 1000 messages");
        let long = Take { wait_ms: 60_001, ..usual() };
        check_refused(long, "wait_ms", "wait_ms: is 60001; accepted are 0 to 60000");
        let short = Take { duration_ms: 1, ..usual() };
        check_refused(short, "duration_ms", "duration_ms: is 1; accepted are 100 to 3600000");
        let named = |worker: &str| Take { worker: Some(worker.to_owned()), ..usual() };
        let detail = "worker: must be a text without control characters, and not blank";
        check_refused(named(" "), "worker", detail);
        check_refused(named("a\u{1b}[2J"), "worker", detail);
        check_refused(named(&"ä".repeat(65)), "worker", "worker: has more than 128 bytes");
    }

    #[test]
    fn a_worker_without_a_name_has_that_of_its_token() {
        let worker = |worker: Option<&str>, token| {
            let take = r#"{"queue":"q"}"#;
            let take = Take {
                worker: worker.map(str::to_owned),
                ..serde_json::from_str::<Take>(take).unwrap()
            };
            lease_request(&take, token).unwrap().worker
        };
        assert_eq!(worker(Some("<b>&1"), Some("token")).as_deref(), Some("<b>&1"));
        assert_eq!(worker(None, Some("token")).as_deref(), Some("token"));
        assert_eq!(worker(None, None), None);
    }

    #[test]
    fn a_lease_is_json_with_whole_events() {
        let json = r#"{"specversion":"1.0","id":"m1","source":"s","type":"Pay","data":{"a":1}}"#;
        let message = Message {
            sink: SinkName::from("queue:Pay"),
            sequence: Sequence(1),
            kind: MessageKind::Command,
            plugin: PluginName::from("p"),
            key: Key::from("k"),
            cause: Position(1),
            instance: None,
            event: Arc::new(Event::from_json(json.as_bytes()).unwrap()),
            hops: Hops::FIRST,
        };
        let leased = Leased { message: Arc::new(message), attempt: 2 };
        let lease = Lease {
            id: LeaseId(17),
            expires_at: Timestamp(0),
            messages: vec![leased.clone(), leased],
        };
        let expected = format!(
            r#"{{"lease":"17","expires_at":"1970-01-01T00:00:00.000Z","messages":[{{"attempt":2,"event":{json}}},{{"attempt":2,"event":{json}}}]}}"#
        );
        assert_eq!(lease_json(&lease), expected);
    }

    #[test]
    fn a_lease_id_is_a_number_in_a_string() {
        assert_eq!(lease_id("18446744073709551615").unwrap(), LeaseId(u64::MAX));
        assert_eq!(&*lease_id("x").unwrap_err().detail, "lease: `x` is not the id of a lease");
    }
}
