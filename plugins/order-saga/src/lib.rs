//! The order saga: each step of an order leads to the command for the next.

use sagabox_sdk::prelude::*;

#[data]
pub struct ProductItem {
    pub product_id: String,
    pub quantity: u32,
}

events! {
    CartFinalized { cart_id: String, client_id: String, product_items: Vec<ProductItem>, total_price: Decimal }
    OrderInitialized { order_id: String, total_price: Decimal }
    PaymentCompleted { order_id: String, product_items: Vec<ProductItem> }
    PaymentFailed { order_id: String }
}

commands! {
    InitializeOrder(subject = cart_id) {
        cart_id: String, client_id: String, product_items: Vec<ProductItem>, total_price: Decimal,
    }
    RequestPayment(subject = order_id) { order_id: String, total_price: Decimal }
    SendPackage(subject = order_id) { order_id: String, product_items: Vec<ProductItem> }
    CancelOrder(subject = order_id) { order_id: String, reason: String }
}

pub struct OrderSaga;

#[saga(sends(InitializeOrder, RequestPayment, SendPackage, CancelOrder))]
impl OrderSaga {
    #[on(key = "/cartId")]
    fn cart_finalized(event: CartFinalized, ctx: &mut Ctx<Self>) -> Result {
        let CartFinalized { cart_id, client_id, product_items, total_price } = event;
        ctx.send(InitializeOrder { cart_id, client_id, product_items, total_price })
    }

    #[on(key = "/orderId")]
    fn order_initialized(event: OrderInitialized, ctx: &mut Ctx<Self>) -> Result {
        ctx.send(RequestPayment { order_id: event.order_id, total_price: event.total_price })
    }

    #[on(key = "/orderId")]
    fn payment_completed(event: PaymentCompleted, ctx: &mut Ctx<Self>) -> Result {
        ctx.send(SendPackage { order_id: event.order_id, product_items: event.product_items })
    }

    #[on(key = "/orderId")]
    fn payment_failed(event: PaymentFailed, ctx: &mut Ctx<Self>) -> Result {
        ctx.send(CancelOrder { order_id: event.order_id, reason: "payment failed".into() })
    }
}
