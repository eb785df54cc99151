//! The group checkout: every guest's stay is checked out; when each has an
//! outcome, or the deadline has passed, the result is reported once.

use std::collections::BTreeMap;

use sagabox_sdk::prelude::*;

#[timer]
pub struct Deadline;

#[event(subject = group_checkout_id)]
pub struct GroupCheckoutInitiated {
    pub group_checkout_id: String,
    pub guest_stay_ids: Vec<String>,
}

#[event(subject = group_checkout_id)]
pub struct GuestCheckoutCompleted {
    pub guest_stay_id: String,
    pub group_checkout_id: String,
}

#[event(subject = group_checkout_id)]
pub struct GuestCheckoutFailed {
    pub guest_stay_id: String,
    pub group_checkout_id: String,
}

#[command(subject = guest_stay_id)]
pub struct CheckoutGuestAccount {
    pub guest_stay_id: String,
    pub group_checkout_id: String,
}

#[command(subject = group_checkout_id)]
pub struct CompleteGroupCheckout {
    pub group_checkout_id: String,
}

#[command(subject = group_checkout_id)]
pub struct NotifyGroupCheckoutFailure {
    pub group_checkout_id: String,
    pub failed_guest_ids: Vec<String>,
    pub timed_out_guest_ids: Vec<String>,
}

/// The plugin's section in `sagabox.toml`.
#[config]
pub struct Configuration {
    /// How long it waits for the guests' outcomes; a day if nothing is said.
    #[serde(default)]
    pub deadline_seconds: Option<u64>,
}

#[data]
#[derive(Copy, Eq)]
pub enum Outcome {
    Pending,
    Completed,
    Failed,
}

#[data]
pub struct Checkout {
    group_checkout_id: String,
    /// By stay: each guest is counted once, however often its event comes.
    stays: BTreeMap<String, Outcome>,
}

pub struct GroupCheckout;

#[process_manager(
    state = Checkout,
    config = Configuration,
    sends(CheckoutGuestAccount, CompleteGroupCheckout, NotifyGroupCheckoutFailure)
)]
impl GroupCheckout {
    #[on(start, key = "/groupCheckoutId")]
    fn initiated(event: GroupCheckoutInitiated, ctx: &mut Ctx<Self>) -> Result<Checkout> {
        let stays = event.guest_stay_ids.into_iter().map(|stay| (stay, Outcome::Pending)).collect();
        let state = Checkout { group_checkout_id: event.group_checkout_id, stays };
        for guest_stay_id in state.stays.keys().cloned() {
            let group_checkout_id = state.group_checkout_id.clone();
            ctx.send(CheckoutGuestAccount { guest_stay_id, group_checkout_id })?;
        }
        let deadline = ctx.config()?.deadline_seconds.map_or(days(1), seconds);
        ctx.set_timer(Deadline, deadline)?;
        conclude_if_all_have_an_outcome(&state, ctx)?;
        Ok(state)
    }

    #[on(key = "/groupCheckoutId", absent = hold("1h"))]
    fn completed(
        state: &mut Checkout,
        event: GuestCheckoutCompleted,
        ctx: &mut Ctx<Self>,
    ) -> Result {
        record(state, &event.guest_stay_id, Outcome::Completed, ctx)
    }

    #[on(key = "/groupCheckoutId", absent = hold("1h"))]
    fn failed(state: &mut Checkout, event: GuestCheckoutFailed, ctx: &mut Ctx<Self>) -> Result {
        record(state, &event.guest_stay_id, Outcome::Failed, ctx)
    }

    #[on_timer]
    fn deadline(state: &mut Checkout, _: Deadline, ctx: &mut Ctx<Self>) -> Result {
        conclude(state, ctx)
    }

    #[on_cancel]
    fn cancelled(state: &mut Checkout, ctx: &mut Ctx<Self>) -> Result {
        conclude(state, ctx)
    }
}

/// The first outcome of a stay counts. A stay that is not of this group is ignored.
fn record(
    state: &mut Checkout,
    stay: &str,
    outcome: Outcome,
    ctx: &mut Ctx<GroupCheckout>,
) -> Result {
    if let Some(known) = state.stays.get_mut(stay)
        && *known == Outcome::Pending
    {
        *known = outcome;
        conclude_if_all_have_an_outcome(state, ctx)?;
    }
    Ok(())
}

fn conclude_if_all_have_an_outcome(state: &Checkout, ctx: &mut Ctx<GroupCheckout>) -> Result {
    if state.stays.values().any(|outcome| *outcome == Outcome::Pending) {
        return Ok(());
    }
    conclude(state, ctx)
}

fn conclude(state: &Checkout, ctx: &mut Ctx<GroupCheckout>) -> Result {
    let with = |wanted| {
        let stays = state.stays.iter().filter(move |(_, outcome)| **outcome == wanted);
        stays.map(|(stay, _)| stay.clone()).collect::<Vec<_>>()
    };
    let group_checkout_id = state.group_checkout_id.clone();
    let (failed_guest_ids, timed_out_guest_ids) = (with(Outcome::Failed), with(Outcome::Pending));
    ctx.complete();
    if failed_guest_ids.is_empty() && timed_out_guest_ids.is_empty() {
        return ctx.send(CompleteGroupCheckout { group_checkout_id });
    }
    ctx.send(NotifyGroupCheckoutFailure {
        group_checkout_id,
        failed_guest_ids,
        timed_out_guest_ids,
    })
}
