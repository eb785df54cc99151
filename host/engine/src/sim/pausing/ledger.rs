//! What must not begin, and what began. The operator notes a control when the engine has answered
//! that it is set, and removes the note before it asks for the end of the control. So everything
//! that begins while there is a note is a mistake. Everything runs on one thread: the order of the
//! notes is that of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::plugin::{PACK, PLUGIN};
use crate::lock;
use crate::model::{Key, Limit, Message, PluginName, SinkName, Target};
use crate::pure::retry::READ_RETRY;

/// How early a message may be.
const EARLY: Duration = Duration::from_millis(100);
/// How long one read takes.
const READ: Duration = Duration::from_millis(10);

#[derive(Default)]
pub(super) struct Ledger(Mutex<Books>);

#[derive(Default)]
struct Books {
    /// The targets that are certainly paused.
    paused: BTreeSet<Target>,
    /// Limits that are certainly set, and when the messages that they limit began since.
    limits: BTreeMap<Target, (Limit, Vec<Instant>)>,
    /// Messages that are being delivered or are leased, by (type, key).
    under_way: BTreeMap<(String, Key), usize>,
    arrived: Vec<Arc<Message>>,
    decisions: usize,
    mistakes: Vec<String>,
}

fn sink_of(message_type: &str) -> SinkName {
    match message_type {
        PACK => SinkName::from("queue:Pack"),
        _ => SinkName::from("sink"),
    }
}

impl Ledger {
    pub(super) fn is_paused(&self, target: Target) {
        lock(&self.0).paused.insert(target);
    }

    pub(super) fn may_be_resumed(&self, target: &Target) {
        lock(&self.0).paused.remove(target);
    }

    pub(super) fn is_limited(&self, limit: Limit) {
        lock(&self.0).limits.insert(limit.target.clone(), (limit, Vec::new()));
    }

    pub(super) fn may_be_unlimited(&self, target: &Target) {
        lock(&self.0).limits.remove(target);
    }

    /// The engine ends: monotonic time starts again, and with it the paces.
    pub(super) fn a_run_ended(&self) {
        let mut books = lock(&self.0);
        books.limits.values_mut().for_each(|(_, begun)| begun.clear());
        books.under_way.clear();
    }

    pub(super) fn decides(&self, key: &Key) {
        let plugin = PluginName::from(PLUGIN);
        let mut books = lock(&self.0);
        books.decisions += 1;
        let of_key = Target::Key { plugin: plugin.clone(), key: key.clone() };
        for target in [Target::Plugin { plugin }, of_key] {
            if books.paused.contains(&target) {
                books.mistakes.push(format!("{key} decides although {target} is paused"));
            }
        }
    }

    pub(super) fn is_door_paused(&self) -> bool {
        lock(&self.0).paused.contains(&Target::Ingest)
    }

    /// Fails, because an event is accepted that was offered while the door was paused.
    pub(super) fn accepted_in_vain(&self) {
        let mistake = "an event is accepted although the door is paused";
        lock(&self.0).mistakes.push(mistake.to_owned());
    }

    /// A delivery or a lease begins.
    pub(super) fn delivers(&self, message: &Message) {
        let message_type = message.event.event_type.clone();
        let (sink, key) = (sink_of(&message_type), message.key.clone());
        let targets = [Target::Sink { sink }, Target::Type { message_type: message_type.clone() }];
        let mut books = lock(&self.0);
        *books.under_way.entry((message_type.clone(), key.clone())).or_default() += 1;
        for target in targets {
            if books.paused.contains(&target) {
                let what = format!("{message_type} of {key}");
                books.mistakes.push(format!("{what} is delivered although {target} is paused"));
            }
            books.check_limit(&target, &message_type, &key);
        }
    }

    pub(super) fn delivery_ended(&self, message: &Message) {
        let mut books = lock(&self.0);
        let of = (message.event.event_type.clone(), message.key.clone());
        if let Some(count) = books.under_way.get_mut(&of) {
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn arrives(&self, message: &Arc<Message>) {
        lock(&self.0).arrived.push(Arc::clone(message));
    }

    pub(super) fn arrived(&self) -> Vec<Arc<Message>> {
        lock(&self.0).arrived.clone()
    }

    pub(super) fn decisions(&self) -> usize {
        lock(&self.0).decisions
    }

    pub(super) fn mistakes(&self) -> Vec<String> {
        lock(&self.0).mistakes.clone()
    }
}

impl Books {
    fn check_limit(&mut self, target: &Target, message_type: &str, key: &Key) {
        let is_of = |other: &str| match target {
            Target::Sink { sink } => sink_of(other) == *sink,
            _ => other == message_type,
        };
        let of = |all: bool| {
            let own = self.under_way.iter();
            let own = own.filter(|((other, of), _)| is_of(other) && (all || of == key));
            own.map(|(_, count)| *count).sum::<usize>()
        };
        let (all, of_key) = (of(true), of(false));
        let Some((limit, begun)) = self.limits.get_mut(target) else { return };
        let too_many = |max: Option<u32>, count| max.is_some_and(|max| count > max as usize);
        if too_many(limit.in_flight, all) {
            self.mistakes.push(format!("{all} of {target} are in flight: {limit:?}"));
        }
        if too_many(limit.concurrency, of_key) {
            self.mistakes.push(format!("{of_key} of {target} and {key} are in flight: {limit:?}"));
        }
        let Some(rate) = limit.per_second else { return };
        let now = Instant::now();
        begun.push(now);
        for (index, from) in begun.iter().enumerate() {
            let count = begun.len() - index;
            // A relay whose read of its outbox failed starts what it has taken later.
            let time = (now - *from + EARLY + READ_RETRY + READ).as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let is_too_fast = count as f64 > 1.0 + rate.to_per_second() * time + 1e-6;
            if is_too_fast {
                self.mistakes.push(format!("{count} of {target} within {time} s: {limit:?}"));
                break;
            }
        }
    }
}
