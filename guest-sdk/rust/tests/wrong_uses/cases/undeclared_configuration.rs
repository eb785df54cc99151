//~ `Orders` does not declare a configuration
//~ add `config = MyConfig` to the attribute at the plugin's `impl`

use sagabox_sdk::prelude::*;

events! { Paid { order_id: String } }

struct Orders;

#[saga()]
impl Orders {
    #[on(key = "/orderId")]
    fn paid(_: Paid, ctx: &mut Ctx<Self>) -> Result {
        let _ = ctx.config()?;
        Ok(())
    }
}

fn main() {}
