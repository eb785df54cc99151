//! A decorator that injects faults into any transport: messages are lost, messages arrive and
//! are reported as failed, the sink refuses messages or cannot be reached, and every delivery
//! takes time. [`DeliveryFaults`] says what fails when; [`DrawnDeliveryFaults`] draws that from
//! a seed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{DeliveryError, Transport};
use crate::lock;
use crate::model::{Key, Message, PluginName};

/// Says what goes wrong. The decorator asks once for each delivery and each message, in order.
pub trait DeliveryFaults: Send + Sync + 'static {
    /// How long a delivery takes before anything arrives.
    fn delay(&self) -> Duration;

    /// What goes wrong with this message; none if nothing does.
    fn fault(&self, message: &Message) -> Option<DeliveryFault>;
}

/// How the delivery of one message fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryFault {
    /// The message does not arrive, and is reported as failed.
    Lost,
    /// The message arrives, and is reported as failed.
    Misreported,
    /// The sink cannot be reached.
    Unavailable,
    /// The sink refuses the message for good, with this reason.
    Refused(String),
}

/// How often each fault occurs, in percent of the messages.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryFaultRates {
    /// Messages that do not arrive.
    pub lost: u32,
    /// Messages that arrive and are reported as failed.
    pub misreported: u32,
    /// Messages for which the sink cannot be reached.
    pub unavailable: u32,
    /// The longest time that a delivery takes.
    pub delay_max: Duration,
}

/// Draws the faults from a seed, one after the other.
pub struct DrawnDeliveryFaults {
    rates: DeliveryFaultRates,
    random: Mutex<StdRng>,
}

impl DrawnDeliveryFaults {
    /// The same rates and seed give the same faults, if they are asked for in the same order.
    #[must_use]
    pub fn new(rates: DeliveryFaultRates, seed: u64) -> Self {
        Self { rates, random: Mutex::new(StdRng::seed_from_u64(seed)) }
    }

    fn below(&self, limit: u64) -> u64 {
        lock(&self.random).random_range(0..limit)
    }
}

impl DeliveryFaults for DrawnDeliveryFaults {
    fn delay(&self) -> Duration {
        let max = u64::try_from(self.rates.delay_max.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.below(max.saturating_add(1)))
    }

    fn fault(&self, _: &Message) -> Option<DeliveryFault> {
        let DeliveryFaultRates { lost, misreported, unavailable, .. } = self.rates;
        let roll = u32::try_from(self.below(100)).unwrap_or_default();
        match roll {
            roll if roll < lost => Some(DeliveryFault::Lost),
            roll if roll < lost + misreported => Some(DeliveryFault::Misreported),
            roll if roll < lost + misreported + unavailable => Some(DeliveryFault::Unavailable),
            _ => None,
        }
    }
}

/// A transport that fails as [`DeliveryFaults`] say.
pub struct FaultyTransport<T, F = DrawnDeliveryFaults> {
    inner: T,
    faults: F,
    is_sequential: bool,
}

impl<T: Transport, F: DeliveryFaults> FaultyTransport<T, F> {
    /// Injects faults into `inner`. Its batches keep the order of each key.
    pub fn new(inner: T, faults: F) -> Self {
        Self { inner, faults, is_sequential: false }
    }

    /// Injects faults into `inner`. Its batches end at the first failure.
    pub fn sequential(inner: T, faults: F) -> Self {
        Self { inner, faults, is_sequential: true }
    }

    async fn deliver_one(&self, message: &Arc<Message>) -> Result<(), DeliveryError> {
        let reason = || "planted".to_owned();
        let failed = || DeliveryError::Transient { reason: reason(), retry_after: None };
        match self.faults.fault(message) {
            Some(DeliveryFault::Lost) => Err(failed()),
            Some(DeliveryFault::Unavailable) => {
                Err(DeliveryError::Unavailable { reason: reason(), retry_after: None })
            }
            Some(DeliveryFault::Refused(reason)) => Err(DeliveryError::Permanent(reason)),
            fault => {
                let mut results = self.inner.deliver(std::slice::from_ref(message)).await;
                let result = results.pop().expect("one message has one result");
                match fault {
                    Some(DeliveryFault::Misreported) => result.and(Err(failed())),
                    _ => result,
                }
            }
        }
    }
}

#[async_trait]
impl<T: Transport, F: DeliveryFaults> Transport for FaultyTransport<T, F> {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        tokio::time::sleep(self.faults.delay()).await;
        let mut results = Vec::with_capacity(messages.len());
        let mut stopped: BTreeSet<(&PluginName, &Key)> = BTreeSet::new();
        for message in messages {
            let key = (&message.plugin, &message.key);
            let is_stopped = stopped.contains(&key) || self.is_sequential && !stopped.is_empty();
            let result = if is_stopped {
                let reason = "the message before it was not delivered".to_owned();
                Err(DeliveryError::Transient { reason, retry_after: None })
            } else {
                self.deliver_one(message).await
            };
            if result.is_err() {
                stopped.insert(key);
            }
            results.push(result);
        }
        results
    }

    fn batch_max(&self) -> usize {
        self.inner.batch_max()
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    fn is_sequential(&self) -> bool {
        self.is_sequential
    }
}
