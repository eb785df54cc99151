//! What became of the messages that a page of decisions sent.

use sagabox_engine::model::DecisionSummary;

use super::Site;
use super::admin::unreadable;
use super::problem::Problem;
use crate::store::query::deliveries::{Deliveries, Delivery};

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
    Ok(decisions.map(of).collect())
}
