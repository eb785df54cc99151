use sagabox_sdk::testing::given;
use shipment::*;

fn item(product: &str, quantity: u32) -> ProductItem {
    ProductItem { product_id: product.into(), quantity }
}

fn paid() -> PaymentCompleted {
    let product_items = vec![item("shoes", 2), item("hat", 1)];
    PaymentCompleted { order_id: "o-1".into(), product_items }
}

#[test]
fn an_order_in_stock_is_sent() {
    given::<Shipment>()
        .answer("stock", "shoes", Stock { available: 2 })
        .answer("stock", "hat", Stock { available: 9 })
        .when(paid())
        .sends([SendPackage { order_id: "o-1".into(), product_items: paid().product_items }]);
}

#[test]
fn what_is_missing_is_said() {
    given::<Shipment>()
        .answer("stock", "shoes", Stock { available: 1 })
        .missing("stock", "hat")
        .when(paid())
        .sends([OutOfStock { order_id: "o-1".into(), product_items: paid().product_items }]);
    given::<Shipment>()
        .answer("stock", "shoes", Stock { available: 1 })
        .answer("stock", "hat", Stock { available: 1 })
        .when(paid())
        .sends([OutOfStock { order_id: "o-1".into(), product_items: vec![item("shoes", 2)] }]);
}
