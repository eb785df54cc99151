//! Shipment, a participant in a choreography: a paid order is sent if every item
//! is in stock; otherwise an event says what is missing, for others to react to.

use sagabox_sdk::prelude::*;

#[data]
pub struct ProductItem {
    pub product_id: String,
    pub quantity: u32,
}

#[event(subject = order_id)]
pub struct PaymentCompleted {
    pub order_id: String,
    pub product_items: Vec<ProductItem>,
}

#[event(subject = order_id)]
pub struct OutOfStock {
    pub order_id: String,
    /// The items of which there are too few.
    pub product_items: Vec<ProductItem>,
}

#[command(subject = order_id)]
pub struct SendPackage {
    pub order_id: String,
    pub product_items: Vec<ProductItem>,
}

/// What the lookup `stock` answers for a product.
#[data]
pub struct Stock {
    pub available: u32,
}

pub struct Shipment;

#[reactor(sends(SendPackage), emits(OutOfStock), lookups("stock"))]
impl Shipment {
    #[on(key = "/orderId")]
    fn payment_completed(event: PaymentCompleted, ctx: &mut Ctx<Self>) -> Result {
        let PaymentCompleted { order_id, product_items } = event;
        let products = product_items.iter().map(|item| &item.product_id);
        let stocks: Vec<Option<Stock>> = ctx.lookups("stock", products)?;
        let missing: Vec<ProductItem> = product_items
            .iter()
            .zip(stocks)
            .filter(|(item, stock)| stock.as_ref().is_none_or(|s| s.available < item.quantity))
            .map(|(item, _)| item.clone())
            .collect();
        if missing.is_empty() {
            return ctx.send(SendPackage { order_id, product_items });
        }
        ctx.emit(OutOfStock { order_id, product_items: missing })
    }
}
