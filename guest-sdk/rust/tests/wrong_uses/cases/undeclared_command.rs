//~ `Orders` does not declare that it sends `Cancel`
//~ add `Cancel` to `sends(…)` at the plugin's `impl`

use sagabox_sdk::prelude::*;

events! { Paid { order_id: String } }
commands! {
    Send { order_id: String }
    Cancel { order_id: String }
}

struct Orders;

// Exactly one is declared: the compiler must not take it for the one that is meant.
#[saga(sends(Send))]
impl Orders {
    #[on(key = "/orderId")]
    fn paid(event: Paid, ctx: &mut Ctx<Self>) -> Result {
        ctx.send(Cancel { order_id: event.order_id })
    }
}

fn main() {}
