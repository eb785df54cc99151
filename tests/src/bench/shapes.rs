//! The events of the scenarios, as requests that are ready to be sent.

use serde_json::{Value, json};

use super::http::{Request, post};
use crate::client::{BATCH, STRUCTURED};
use crate::events::{cart_finalized, event};

pub const EVENTS: &str = "/v1/events";

/// Stateless: the plugin `order-saga` sends one `InitializeOrder` for each cart.
pub const SAGA: Shape = Shape {
    plugin: "order-saga",
    queues: &["InitializeOrder"],
    has_state: false,
    event: saga_event,
};

/// Two events for each instance, each of which writes its state, and has one command:
/// the plugin `group-checkout`, with groups of one guest. The first also sets a timer,
/// the second also clears it.
pub const PROCESS_MANAGER: Shape = Shape {
    plugin: "group-checkout",
    queues: &["CheckoutGuestAccount", "CompleteGroupCheckout"],
    has_state: true,
    event: process_event,
};

/// What is sent, and where its commands come out. Each event has exactly one.
#[derive(Clone, Copy)]
pub struct Shape {
    pub plugin: &'static str,
    pub queues: &'static [&'static str],
    pub has_state: bool,
    /// The `n`th event of a run.
    pub event: fn(&str, usize) -> Value,
}

impl Shape {
    /// The first `count` events of a run, so many in a request.
    pub fn batches(&self, run: &str, count: usize, batch: usize) -> Vec<Request> {
        batches((0..count).map(|n| (self.event)(run, n)), batch)
    }

    /// The first `count` events of a run, each in a request of its own.
    pub fn singles(&self, run: &str, count: usize) -> Vec<Request> {
        let events = (0..count).map(|n| (self.event)(run, n));
        events.map(|event| post(EVENTS, STRUCTURED, event.to_string().as_bytes())).collect()
    }
}

pub fn batches(events: impl Iterator<Item = Value>, batch: usize) -> Vec<Request> {
    let events: Vec<String> = events.map(|event| event.to_string()).collect();
    events
        .chunks(batch)
        .map(|events| post(EVENTS, BATCH, format!("[{}]", events.join(",")).as_bytes()))
        .collect()
}

fn saga_event(run: &str, n: usize) -> Value {
    cart_finalized(&format!("{run}-{n}"), &format!("{run}-{n}"))
}

/// Instances are started in groups of a thousand, so that at any time many live.
fn process_event(run: &str, n: usize) -> Value {
    const STARTED_TOGETHER: usize = 1_000;
    let (group, within) = (n / (2 * STARTED_TOGETHER), n % (2 * STARTED_TOGETHER));
    let instance = group * STARTED_TOGETHER + within % STARTED_TOGETHER;
    match within < STARTED_TOGETHER {
        true => checkout_initiated(run, instance),
        false => checkout_completed(run, instance),
    }
}

pub fn checkout_initiated(run: &str, instance: usize) -> Value {
    let group = format!("{run}-{instance}");
    let data = json!({"groupCheckoutId": group, "guestStayIds": ["stay-1"]});
    event(&format!("{group}-initiated"), "GroupCheckoutInitiated", &group, &data)
}

pub fn checkout_completed(run: &str, instance: usize) -> Value {
    let group = format!("{run}-{instance}");
    let data = json!({"groupCheckoutId": group, "guestStayId": "stay-1"});
    event(&format!("{group}-completed"), "GuestCheckoutCompleted", &group, &data)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_instance_is_completed_after_it_was_started() {
        let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for n in 0..6_000 {
            let event = process_event("r", n);
            let types = seen.entry(event["subject"].to_string()).or_default();
            types.push(event["type"].as_str().unwrap().to_owned());
        }
        assert_eq!(seen.len(), 3_000);
        let pair = ["GroupCheckoutInitiated", "GuestCheckoutCompleted"];
        assert!(seen.values().all(|types| *types == pair));
    }
}
