//! Every directory under `examples/` is executed, and what its `expected.json` says must hold.

use sagabox_tests::example;

macro_rules! examples {
    ($($test:ident = $name:literal,)*) => {
        const TESTED: &[&str] = &[$($name),*];
        $(
            #[tokio::test]
            async fn $test() {
                example::run($name).await;
            }
        )*
    };
}

examples! {
    cart_forwarder_does_what_its_readme_says = "cart-forwarder",
    group_checkout_does_what_its_readme_says = "group-checkout",
    order_management_does_what_its_readme_says = "order-management",
    order_saga_does_what_its_readme_says = "order-saga",
    shipment_does_what_its_readme_says = "shipment",
}

#[test]
fn no_example_is_left_untested() {
    assert_eq!(example::names(), TESTED);
}
