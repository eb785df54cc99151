//~ not an option of this role; there are name, sends(…), emits(…), lookups(…), streams, config, unhandled

use sagabox_sdk::prelude::*;

events! { Paid { order_id: String } }

struct Orders;

#[saga(emits(Paid))]
impl Orders {
    #[on(key = "/orderId", start)]
    fn paid(_: Paid, _: &mut Ctx<Self>) -> Result {
        Ok(())
    }
}

fn main() {}
