use order_saga::*;
use sagabox_sdk::prelude::Decimal;
use sagabox_sdk::testing::given;

fn price() -> Decimal {
    Decimal::new(995, 1)
}

fn items() -> Vec<ProductItem> {
    vec![ProductItem { product_id: "shoes".into(), quantity: 2 }]
}

#[test]
fn a_finalized_cart_becomes_an_order() {
    given::<OrderSaga>()
        .when(CartFinalized {
            cart_id: "c-1".into(),
            client_id: "ann".into(),
            product_items: items(),
            total_price: price(),
        })
        .sends([InitializeOrder {
            cart_id: "c-1".into(),
            client_id: "ann".into(),
            product_items: items(),
            total_price: price(),
        }]);
}

#[test]
fn an_order_is_paid_before_it_is_sent() {
    given::<OrderSaga>()
        .when(OrderInitialized { order_id: "o-1".into(), total_price: price() })
        .sends([RequestPayment { order_id: "o-1".into(), total_price: price() }]);
    given::<OrderSaga>()
        .when(PaymentCompleted { order_id: "o-1".into(), product_items: items() })
        .sends([SendPackage { order_id: "o-1".into(), product_items: items() }]);
}

#[test]
fn a_failed_payment_is_compensated_by_cancelling() {
    given::<OrderSaga>()
        .when(PaymentFailed { order_id: "o-1".into() })
        .sends([CancelOrder { order_id: "o-1".into(), reason: "payment failed".into() }]);
}
