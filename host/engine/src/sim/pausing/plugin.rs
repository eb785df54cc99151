//! The plugin and the sink of the world in which operators hold work back. Both report to the
//! ledger what begins.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::scripts::{manifest, subscription};
use super::ledger::Ledger;
use crate::lock;
use crate::model::{
    Absent, Correlation, Decision, Due, Effect, Event, Failure, Manifest, Message, MessageId,
    MessageKind, Outgoing, Role, Source, State, Subscription, TimerChange, reserved,
};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::transport::{DeliveryError, Transport};

pub(super) const PLUGIN: &str = "orders";
/// Message types that leave by the sink, and the one that workers lease.
pub(super) const PAY: &str = "Pay";
pub(super) const SHIP: &str = "Ship";
pub(super) const PACK: &str = "Pack";

/// A process manager: `place` starts an order, and each `step` of it is noted in its state, in
/// their order. Each decision sends a command, whose type follows from the event.
pub(super) struct Orders {
    manifest: Manifest,
    ledger: Arc<Ledger>,
    random: Mutex<StdRng>,
    /// In percent of the calls.
    failing: u32,
}

impl Orders {
    pub(super) fn handler(ledger: &Arc<Ledger>, seed: u64, failing: u32) -> Arc<dyn Handler> {
        let timer = Subscription {
            event_type: reserved::TIMER_FIRED.to_owned(),
            source: Source::Any,
            key: Correlation::Instance,
            effect: Effect::Handle,
            absent: Absent::Ignore,
        };
        let subscriptions = vec![
            subscription("place", "/order", Effect::Start, Absent::Ignore),
            subscription("step", "/order", Effect::Handle, Absent::Ignore),
            timer,
        ];
        let manifest = manifest(PLUGIN, Role::ProcessManager, subscriptions, 0);
        let manifest =
            Manifest { commands: [PAY, SHIP, PACK].map(str::to_owned).into(), ..manifest };
        let random = Mutex::new(StdRng::seed_from_u64(seed));
        Arc::new(Self { manifest, ledger: Arc::clone(ledger), random, failing })
    }
}

/// The name of an event in the state of its order.
pub(super) fn name(event: &Event) -> &str {
    match &*event.event_type {
        reserved::TIMER_FIRED => "timer",
        _ => &event.id,
    }
}

impl Handler for Orders {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        self.ledger.decides(&call.key);
        if lock(&self.random).random_range(0..100) < self.failing {
            return Err(Failure::Transient("planted".to_owned()));
        }
        let before = call.state.as_ref().map(|state| String::from_utf8_lossy(&state.data));
        let state = format!("{} {}", before.unwrap_or_default(), name(&call.event));
        let number = call.event.id.bytes().map(usize::from).sum::<usize>();
        let message = Outgoing {
            kind: MessageKind::Command,
            event_type: [PAY, SHIP, PACK][number % 3].to_owned(),
            subject: None,
            datacontenttype: "application/json".to_owned(),
            extensions: Vec::new(),
            data: "{}".into(),
        };
        let timers = match &*call.event.event_type {
            "place" => vec![TimerChange::Set {
                name: "remind".into(),
                due: Due::After(number as u64 % 7 * 300),
                data: Bytes::new(),
            }],
            _ => Vec::new(),
        };
        let (state, messages) = (Some(Bytes::from(state)), vec![message]);
        Ok(Reply::Decided(Decision { state, messages, timers, ..Decision::default() }))
    }

    fn migrate(&self, state: &State, _: u32) -> Result<Bytes, String> {
        Ok(state.data.clone())
    }
}

/// A sink that is slow, fails from time to time, and notes what arrives.
pub(super) struct Mailbox {
    pub ledger: Arc<Ledger>,
    pub random: Mutex<StdRng>,
    pub batch_max: usize,
    pub in_flight: usize,
    /// In percent of the messages.
    pub failing: u32,
}

/// Counts messages as under way until it is dropped, also by a crash.
struct UnderWay<'m>(&'m Ledger, &'m [Arc<Message>]);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.1.iter().for_each(|message| self.0.delivery_ended(message));
    }
}

#[async_trait]
impl Transport for Mailbox {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        messages.iter().for_each(|message| self.ledger.delivers(message));
        let under_way = UnderWay(&self.ledger, messages);
        let pause = lock(&self.random).random_range(0..60);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        drop(under_way);
        // No message arrives behind one that did not.
        let mut has_failed = false;
        let take = |message: &Arc<Message>| {
            let failure = lock(&self.random).random_range(0..100);
            has_failed |= failure < self.failing;
            if has_failed {
                let (reason, retry_after) = ("planted".to_owned(), None);
                return Err(match failure % 2 {
                    0 => DeliveryError::Transient { reason, retry_after },
                    _ => DeliveryError::Unavailable { reason, retry_after },
                });
            }
            self.ledger.arrives(message);
            Ok(())
        };
        messages.iter().map(take).collect()
    }

    fn batch_max(&self) -> usize {
        self.batch_max
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn is_sequential(&self) -> bool {
        true
    }
}

/// The first arrival of each message, by ordering key.
pub(super) fn first_arrivals(arrived: &[Arc<Message>]) -> BTreeMap<String, Vec<u64>> {
    let mut known: BTreeMap<MessageId, ()> = BTreeMap::new();
    let mut keys: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for message in arrived {
        if known.insert(message.id(), ()).is_none() {
            keys.entry(message.key.to_string()).or_default().push(message.sequence.0);
        }
    }
    keys
}
