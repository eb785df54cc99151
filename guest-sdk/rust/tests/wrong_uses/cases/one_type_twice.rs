//~ two handlers take the same event type; one event type has one handler

use sagabox_sdk::prelude::*;

events! {
    Paid { order_id: String }
    Sent { order_id: String }
}

#[one_of]
enum Progress {
    Paid(Paid),
    Sent(Sent),
}

struct Orders;

#[saga()]
impl Orders {
    #[on(key = "/orderId")]
    fn progress(_: Progress, _: &mut Ctx<Self>) -> Result {
        Ok(())
    }

    #[on(key = "/orderId")]
    fn sent(_: Sent, _: &mut Ctx<Self>) -> Result {
        Ok(())
    }
}

fn main() {}
