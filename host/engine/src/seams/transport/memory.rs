//! The transport in memory, for the simulator and for tests. It keeps what arrives.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;

use super::{DeliveryError, Transport};
use crate::lock;
use crate::model::Message;

/// Cheap to clone; all clones are one receiver.
#[derive(Clone)]
pub struct MemoryTransport(Arc<Receiver>);

struct Receiver {
    batch_max: usize,
    in_flight: usize,
    is_away: AtomicBool,
    arrived: Mutex<Vec<Arc<Message>>>,
}

impl MemoryTransport {
    /// A receiver at which nothing has arrived. The arguments are what [`Transport::batch_max`]
    /// and [`Transport::in_flight`] return.
    #[must_use]
    pub fn new(batch_max: usize, in_flight: usize) -> Self {
        let (is_away, arrived) = (AtomicBool::new(false), Mutex::default());
        Self(Arc::new(Receiver { batch_max, in_flight, is_away, arrived }))
    }

    /// What has arrived, in order, repetitions included.
    #[must_use]
    pub fn arrived(&self) -> Vec<Arc<Message>> {
        self.lock().clone()
    }

    /// While the receiver is away, nothing arrives and each delivery reports that the sink is
    /// unavailable.
    pub fn set_away(&self, is_away: bool) {
        self.0.is_away.store(is_away, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Message>>> {
        lock(&self.0.arrived)
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        if self.0.is_away.load(Ordering::Relaxed) {
            let reason = "the receiver is away".to_owned();
            let error = DeliveryError::Unavailable { reason, retry_after: None };
            return vec![Err(error); messages.len()];
        }
        self.lock().extend(messages.iter().cloned());
        vec![Ok(()); messages.len()]
    }

    fn batch_max(&self) -> usize {
        self.0.batch_max
    }

    fn in_flight(&self) -> usize {
        self.0.in_flight
    }

    fn is_sequential(&self) -> bool {
        true
    }
}
