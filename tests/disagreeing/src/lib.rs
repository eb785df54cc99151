//! Sends events that `mistaken` takes, each with one disagreement about the data: a field that was
//! renamed, a number that became a string, and a value that an enum no longer has.

use sagabox_sdk::prelude::*;

#[event(type = "accusation", subject = order_id)]
pub struct Accusation {
    pub order_id: String,
}

/// `mistaken` knows the field as `orderId`, and `what` as a text.
#[event(type = "mistake", subject = order_number)]
pub struct Mistake {
    pub order_number: String,
    pub what: u32,
}

#[event(type = "alibi", subject = order_id)]
pub struct Alibi {
    pub order_id: String,
    pub by: Way,
}

#[data]
pub enum Way {
    Mail,
    Phone,
    Telegram,
}

pub struct Disagreeing;

#[reactor(emits(Mistake, Alibi))]
impl Disagreeing {
    #[on(key = subject)]
    fn accusation(event: Accusation, ctx: &mut Ctx<Self>) -> Result {
        ctx.emit(Mistake { order_number: event.order_id.clone(), what: 7 })?;
        ctx.emit(Alibi { order_id: event.order_id, by: Way::Telegram })
    }
}
