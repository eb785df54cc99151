//! The reactor of the conformance suite: see the README of the suite.

use sagabox_sdk::prelude::*;

#[data]
pub struct Stock {
    available: i64,
    #[serde(default)]
    substitute: Option<String>,
}

events! {
    Check { id: String, skus: Vec<String> }
    Substitute { id: String, sku: String }
    History { id: String }
    Added { id: String, count: i64 }
    Announce { id: String, text: String }
    OutOfStock(subject = id) { id: String, sku: String }
    Counted(subject = id) { id: String, types: Vec<String>, sum: i64 }
}

#[event(raw)]
pub struct Announced;

commands! {
    Reserve(subject = id) { id: String, sku: String, available: i64 }
}

pub struct Conformance;

#[reactor(sends(Reserve), emits(OutOfStock, Counted, Announced), lookups("stock"), streams)]
impl Conformance {
    #[on(key = "/id")]
    fn check(event: Check, ctx: &mut Ctx<Self>) -> Result {
        let Check { id, skus } = event;
        let stocks: Vec<Option<Stock>> = ctx.lookups("stock", &skus)?;
        for (sku, stock) in skus.into_iter().zip(stocks) {
            let id = id.clone();
            match stock {
                Some(stock) => ctx.send(Reserve { id, sku, available: stock.available })?,
                None => ctx.emit(OutOfStock { id, sku })?,
            }
        }
        Ok(())
    }

    #[on(key = "/id")]
    fn substitute(event: Substitute, ctx: &mut Ctx<Self>) -> Result {
        let Substitute { id, mut sku } = event;
        loop {
            let stock: Option<Stock> = ctx.lookup("stock", &sku)?;
            let Some(stock) = stock else {
                return Err(Error::permanent(format!("no stock of {sku}")));
            };
            match stock.substitute {
                Some(other) => sku = other,
                None => return ctx.send(Reserve { id, sku, available: stock.available }),
            }
        }
    }

    #[on(key = "/id")]
    fn history(event: History, ctx: &mut Ctx<Self>) -> Result {
        let (mut types, mut sum) = (Vec::new(), 0);
        for earlier in ctx.stream(&event.id)? {
            sum += earlier.parse::<Added>()?.map_or(0, |added| added.count);
            types.push(earlier.event_type);
        }
        ctx.emit(Counted { id: event.id, types, sum })
    }

    #[on(key = "/id")]
    fn announce(event: Announce, ctx: &mut Ctx<Self>) -> Result {
        let message = RawMessage::new("text/plain", event.text).subject(event.id);
        ctx.emit_raw::<Announced>(message.extension("language", "en"));
        Ok(())
    }
}
