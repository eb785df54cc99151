//~ `Orders` does not declare that it emits `Closed`
//~ add `Closed` to `emits(…)` at the plugin's `impl`

use sagabox_sdk::prelude::*;

events! {
    Paid { order_id: String }
    Closed { order_id: String }
}

struct Orders;

#[reactor()]
impl Orders {
    #[on(key = "/orderId")]
    fn paid(event: Paid, ctx: &mut Ctx<Self>) -> Result {
        ctx.emit(Closed { order_id: event.order_id })
    }
}

fn main() {}
