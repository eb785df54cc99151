//! The enricher of the conformance suite: see the README of the suite.

use sagabox_sdk::prelude::*;

#[data]
pub struct Customer {
    name: String,
}

events! {
    Confirmed { id: String, customer: String }
    Hidden { id: String }
    ItemAdded { sku: String }
}

#[event(subject = id)]
pub struct Published {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    items: Vec<String>,
}

pub struct Conformance;

#[enricher(emits(Published), lookups("customers"), streams)]
impl Conformance {
    #[on(key = "/id")]
    fn confirmed(event: Confirmed, ctx: &mut Ctx<Self>) -> Result {
        let mut items = Vec::new();
        for earlier in ctx.stream(&event.id)? {
            items.extend(earlier.parse::<ItemAdded>()?.map(|added| added.sku));
        }
        let customer: Option<Customer> = ctx.lookup("customers", event.customer)?;
        let name = customer.map(|customer| customer.name);
        ctx.emit(Published { id: event.id, name, items })
    }

    #[on(key = "/id")]
    fn hidden(_: Hidden, _: &mut Ctx<Self>) -> Result {
        Ok(())
    }
}
