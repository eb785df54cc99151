#include "../src/order_saga.c"

#include <sagabox_test.h>

#define ID SB_TEXT("o-1")

static ProductItem_list items(sb_test *t) {
  ProductItem_list list = {0};
  ProductItem shoes = {.product_id = SB_TEXT("shoes"), .quantity = 2};
  ProductItem_list_push(sb_test_memory(t), &list, shoes);
  return list;
}

SB_TEST(a_finalized_cart_becomes_an_order) {
  sb_decimal price = sb_decimal_new(995, 1);
  SB_WHEN(t, CartFinalized, .cart_id = SB_TEXT("c-1"), .client_id = SB_TEXT("ann"),
          .product_items = items(t), .total_price = price);
  SB_THEN_SENDS(t, InitializeOrder, .cart_id = SB_TEXT("c-1"), .client_id = SB_TEXT("ann"),
                .product_items = items(t), .total_price = price);
}

SB_TEST(an_order_is_paid_before_it_is_sent) {
  sb_decimal price = sb_decimal_new(995, 1);
  SB_WHEN(t, OrderInitialized, .order_id = ID, .total_price = price);
  SB_THEN_SENDS(t, RequestPayment, .order_id = ID, .total_price = price);
  SB_WHEN(t, PaymentCompleted, .order_id = ID, .product_items = items(t));
  SB_THEN_SENDS(t, SendPackage, .order_id = ID, .product_items = items(t));
}

SB_TEST(a_failed_payment_is_compensated_by_cancelling) {
  SB_WHEN(t, PaymentFailed, .order_id = ID);
  SB_THEN_SENDS(t, CancelOrder, .order_id = ID, .reason = SB_TEXT("payment failed"));
}

SB_TEST(an_order_without_its_items_is_refused) {
  sb_when_raw(t, "PaymentCompleted", SB_TEXT("{\"orderId\":\"o-1\"}"));
  sb_then_fails(t, "the data of `PaymentCompleted` does not fit: the member `productItems` is missing");
}

SB_TEST_MAIN(order_saga)
