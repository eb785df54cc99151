use cart_forwarder::*;
use sagabox_sdk::prelude::Decimal;
use sagabox_sdk::testing::{Given, given};

fn money(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn opened() -> Given<CartForwarder> {
    given::<CartForwarder>().in_stream("c-1", ShoppingCartOpened { client_id: "ann".into() })
}

fn added(product: &str, quantity: u32, unit_price: &str) -> ProductItemAdded {
    ProductItemAdded { product_id: product.into(), quantity, unit_price: money(unit_price) }
}

fn confirmed() -> CartConfirmed {
    CartConfirmed { cart_id: "c-1".into(), confirmed_at: "2026-01-31T12:00:00Z".into() }
}

fn finalized(items: Vec<ProductItem>, total_price: &str) -> ShoppingCartFinalized {
    ShoppingCartFinalized {
        cart_id: "c-1".into(),
        client_id: "ann".into(),
        product_items: items,
        total_price: money(total_price),
        confirmed_at: "2026-01-31T12:00:00Z".into(),
    }
}

#[test]
fn the_cart_is_folded_from_its_own_stream() {
    let item = |product: &str, quantity, unit_price| ProductItem {
        product_id: product.into(),
        quantity,
        unit_price: money(unit_price),
    };
    opened()
        .in_stream("c-1", added("shoes", 2, "49.95"))
        .in_stream("c-1", added("hat", 3, "0.1"))
        .in_stream("c-1", added("hat", 1, "0.1"))
        .in_stream("c-1", ProductItemRemoved { product_id: "hat".into(), quantity: 1 })
        .in_stream("c-1", added("socks", 1, "5.0"))
        .in_stream("c-1", ProductItemRemoved { product_id: "socks".into(), quantity: 1 })
        .when(confirmed())
        .sends([finalized(vec![item("shoes", 2, "49.95"), item("hat", 3, "0.1")], "100.2")]);
}

#[test]
fn a_cart_that_was_never_opened_is_refused() {
    given::<CartForwarder>().when(confirmed()).fails("never opened");
}
