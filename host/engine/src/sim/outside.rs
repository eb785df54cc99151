//! What the engine of a simulated world meets outside: a sink and a lookup that fail by a seed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use super::plan::Plan;
use crate::lock;
use crate::model::{AnswerValue, Message, PluginName};
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::transport::faulty::{
    DeliveryFault, DeliveryFaultRates, DeliveryFaults, DrawnDeliveryFaults,
};

/// A sink that fails, is slow, and sometimes reports a failure although it took the message.
pub(crate) struct Sink {
    drawn: DrawnDeliveryFaults,
    refused: BTreeSet<String>,
    poisoned: BTreeSet<String>,
    cured: Arc<AtomicBool>,
}

impl Sink {
    pub(super) fn new(seed: u64, plan: &Plan, cured: Arc<AtomicBool>) -> Self {
        let rates = DeliveryFaultRates {
            lost: 8,
            misreported: 5,
            unavailable: 2,
            delay_max: Duration::from_millis(3),
        };
        let (poisoned, refused) = (plan.poisoned.clone(), plan.refused.clone());
        Self { drawn: DrawnDeliveryFaults::new(rates, seed), refused, poisoned, cured }
    }
}

impl DeliveryFaults for Sink {
    fn delay(&self) -> Duration {
        self.drawn.delay()
    }

    fn fault(&self, message: &Message) -> Option<DeliveryFault> {
        let is_bad =
            self.poisoned.contains(&message.event.event_type) || is_refused(&self.refused, message);
        match is_bad && !self.cured.load(Ordering::Relaxed) {
            true => Some(DeliveryFault::Refused("planted: for good".to_owned())),
            false => self.drawn.fault(message),
        }
    }
}

/// Whether the sink refuses this message until it is cured.
pub(crate) fn is_refused(orders: &BTreeSet<String>, message: &Message) -> bool {
    message.event.event_type == "notify" && orders.contains(message.key.as_str())
}

/// A lookup that is slow, fails from time to time, and is sometimes down for a while.
pub(super) struct Customers(Mutex<(StdRng, Option<Instant>)>);

impl Customers {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new((StdRng::seed_from_u64(seed), None)))
    }
}

#[async_trait]
impl Lookup for Customers {
    async fn ask(&self, _: &PluginName, _: &str, _: &str) -> Result<AnswerValue, Unanswered> {
        let (roll, is_down) = {
            let (random, down_until) = &mut *lock(&self.0);
            let roll: u32 = random.random_range(0..1_000);
            if roll < 5 {
                let outage = Duration::from_millis(random.random_range(0..5_000));
                *down_until = Some(Instant::now() + outage);
            }
            (roll, down_until.is_some_and(|until| Instant::now() < until))
        };
        tokio::time::sleep(Duration::from_micros(u64::from(roll) * 5)).await;
        let reason = "planted".to_owned();
        match roll {
            _ if is_down => Err(Unanswered::Unavailable { reason, retry_after: None }),
            0..50 => Err(Unanswered::Transient { reason, retry_after: None }),
            _ => Ok(AnswerValue::Missing),
        }
    }
}
