//~ mismatched types
//~ Result<Order,

use sagabox_sdk::prelude::*;

events! { Paid { order_id: String } }

#[data]
struct Order {}

struct Orders;

#[process_manager(state = Order)]
impl Orders {
    #[on(start, key = "/orderId")]
    fn paid(_: Paid, _: &mut Ctx<Self>) -> Result {
        Ok(())
    }
}

fn main() {}
