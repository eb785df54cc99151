//! The order saga: each step of an order leads to the command for the next.

use sagabox_sdk::prelude::*;

#[data]
pub struct ProductItem { pub product_id: String, pub quantity: u32 }

#[event(subject = cart_id)]
pub struct CartFinalized {
    pub cart_id: String, pub client_id: String, pub product_items: Vec<ProductItem>, pub total_price: f64,
}
#[event(subject = order_id)]
pub struct OrderInitialized { pub order_id: String, pub total_price: f64 }
#[event(subject = order_id)]
pub struct PaymentCompleted { pub order_id: String, pub product_items: Vec<ProductItem> }
#[event(subject = order_id)]
pub struct PaymentFailed { pub order_id: String }

#[command(subject = cart_id)]
pub struct InitializeOrder {
    pub cart_id: String, pub client_id: String, pub product_items: Vec<ProductItem>, pub total_price: f64,
}
#[command(subject = order_id)]
pub struct RequestPayment { pub order_id: String, pub total_price: f64 }
#[command(subject = order_id)]
pub struct SendPackage { pub order_id: String, pub product_items: Vec<ProductItem> }
#[command(subject = order_id)]
pub struct CancelOrder { pub order_id: String, pub reason: String }

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
