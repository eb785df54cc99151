//~ `Paid` is nothing that a handler can take
//~ put `#[event]` on the struct, or `#[one_of]` on an enum of events

use sagabox_sdk::prelude::*;

#[data]
struct Paid {
    order_id: String,
}

struct Orders;

#[saga()]
impl Orders {
    #[on(key = "/orderId")]
    fn paid(_: Paid, _: &mut Ctx<Self>) -> Result {
        Ok(())
    }
}

fn main() {}
