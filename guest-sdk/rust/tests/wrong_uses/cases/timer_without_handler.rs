//~ cannot find type `Deadlin` in this scope
//~ `Orders` has no handler for the timer `Reminder`
//~ add `#[on_timer] fn …(state, timer: Reminder, ctx)` to the plugin's `impl`

use sagabox_sdk::prelude::*;

events! { Paid { order_id: String } }

#[timer]
struct Deadline;

#[timer]
struct Reminder;

#[data]
struct Order {}

struct Orders;

#[process_manager(state = Order)]
impl Orders {
    #[on(start, key = "/orderId")]
    fn paid(_: Paid, ctx: &mut Ctx<Self>) -> Result<Order> {
        ctx.set_timer(Reminder, hours(1))?;
        Ok(Order {})
    }

    #[on_timer]
    fn late(_: &mut Order, _: Deadline, ctx: &mut Ctx<Self>) -> Result {
        ctx.cancel_timer::<Deadlin>();
        Ok(())
    }
}

fn main() {}
