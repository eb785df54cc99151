//! What became of the messages that a page of decisions sent.

use std::collections::{BTreeMap, BTreeSet};

use sagabox_engine::model::{DecisionSummary, LeaseFilter, LeasedMessage};

use super::Site;
use super::admin::unreadable;
use super::problem::Problem;
use crate::store::query::deliveries::{Deliveries, Delivery, DeliveryStatus};

/// Leased messages of one key: as many as the store says are pending.
const MESSAGES_MAX: usize = 1_000;

/// The messages of each of these decisions of a key, in the order in which they left.
pub(super) async fn of_decisions<'s>(
    site: &Site,
    (plugin, key): (&str, &str),
    decisions: impl Iterator<Item = (u64, &'s DecisionSummary)> + Clone,
) -> Result<Vec<Vec<Delivery>>, Problem> {
    let have_messages = |(_, summary): &(u64, &DecisionSummary)| !summary.messages.is_empty();
    let positions: Vec<u64> =
        decisions.clone().filter(have_messages).map(|(position, _)| position).collect();
    let known = match positions.is_empty() {
        true => Deliveries::default(),
        false => site.queries.deliveries(plugin, key, &positions).await.map_err(unreadable)?,
    };
    let of = |(_, summary): (u64, &DecisionSummary)| {
        summary.messages.iter().map(|message| Delivery::of(message, &known)).collect()
    };
    let mut sent: Vec<Vec<Delivery>> = decisions.map(of).collect();
    add_leases(site, (plugin, key), &mut sent).await;
    Ok(sent)
}

/// Says which of the pending messages workers have leased.
async fn add_leases(site: &Site, of: (&str, &str), sent: &mut [Vec<Delivery>]) {
    let is_pending = |delivery: &&mut Delivery| delivery.status == DeliveryStatus::Pending;
    let pending = || sent.iter().flatten().filter(|own| own.status == DeliveryStatus::Pending);
    let queues: BTreeSet<String> =
        pending().filter_map(Delivery::queue).map(str::to_owned).collect();
    let mut leases = BTreeMap::new();
    for queue in &queues {
        let found = leases_of(site, of, queue).await.into_iter();
        leases.extend(found.map(|lease| (lease.leased.message.event.id.clone(), lease)));
    }
    for delivery in sent.iter_mut().flatten().filter(is_pending) {
        if let Some(lease) = leases.get(&delivery.id) {
            *delivery = std::mem::take(delivery).leased(lease);
        }
    }
}

/// The messages of a key that workers have leased from a queue.
pub(super) async fn leases_of(
    site: &Site,
    (plugin, key): (&str, &str),
    queue: &str,
) -> Vec<LeasedMessage> {
    let (plugin, key) = (Some(plugin.into()), Some(key.into()));
    let filter = LeaseFilter { worker: None, plugin, key };
    site.engine.leases(Some(queue), &filter, None, MESSAGES_MAX).await
}
