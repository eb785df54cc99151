//! The cart forwarder, an enricher: of all that happens to a cart, the outside
//! hears one event, with everything in it.

use sagabox_sdk::prelude::*;

#[event]
pub struct ShoppingCartOpened {
    pub client_id: String,
}

#[event]
pub struct ProductItemAdded {
    pub product_id: String,
    pub quantity: u32,
    pub unit_price: Decimal,
}

#[event]
pub struct ProductItemRemoved {
    pub product_id: String,
    pub quantity: u32,
}

#[event(subject = cart_id)]
pub struct CartConfirmed {
    pub cart_id: String,
    pub confirmed_at: String,
}

#[data]
pub struct ProductItem {
    pub product_id: String,
    pub quantity: u32,
    pub unit_price: Decimal,
}

#[event(subject = cart_id)]
pub struct ShoppingCartFinalized {
    pub cart_id: String,
    pub client_id: String,
    pub product_items: Vec<ProductItem>,
    pub total_price: Decimal,
    pub confirmed_at: String,
}

pub struct CartForwarder;

#[enricher(emits(ShoppingCartFinalized), streams)]
impl CartForwarder {
    #[on(key = subject)]
    fn cart_confirmed(event: CartConfirmed, ctx: &mut Ctx<Self>) -> Result {
        let mut cart = Cart::default();
        for past in ctx.stream(&event.cart_id)? {
            cart.apply(&past)?;
        }
        let client_id = cart.client_id.ok_or_else(|| {
            Error::permanent(format!("cart {} was confirmed, but never opened", event.cart_id))
        })?;
        let total_price = cart.items.iter().map(|item| item.unit_price * item.quantity).sum();
        ctx.emit(ShoppingCartFinalized {
            cart_id: event.cart_id,
            client_id,
            product_items: cart.items,
            total_price,
            confirmed_at: event.confirmed_at,
        })
    }
}

#[derive(Default)]
struct Cart {
    client_id: Option<String>,
    items: Vec<ProductItem>,
}

impl Cart {
    fn apply(&mut self, event: &RawEvent) -> Result {
        if let Some(opened) = event.parse::<ShoppingCartOpened>()? {
            self.client_id = Some(opened.client_id);
        }
        if let Some(added) = event.parse::<ProductItemAdded>()? {
            let ProductItemAdded { product_id, quantity, unit_price } = added;
            let same = |item: &&mut ProductItem| {
                item.product_id == product_id && item.unit_price == unit_price
            };
            match self.items.iter_mut().find(same) {
                Some(item) => item.quantity += quantity,
                None => self.items.push(ProductItem { product_id, quantity, unit_price }),
            }
        }
        if let Some(removed) = event.parse::<ProductItemRemoved>()? {
            let mut rest = removed.quantity;
            for item in self.items.iter_mut().filter(|i| i.product_id == removed.product_id) {
                let taken = rest.min(item.quantity);
                item.quantity -= taken;
                rest -= taken;
            }
            self.items.retain(|item| item.quantity > 0);
        }
        Ok(())
    }
}
