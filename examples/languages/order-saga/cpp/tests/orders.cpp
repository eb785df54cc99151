#include "../src/order_saga.cpp"

#include <sagabox_test.h>

namespace {

const sb_text id = SB_TEXT("o-1");

ProductItem_list items(sb_test *t) {
  ProductItem_list list{};
  ProductItem_list_push(sb_test_memory(t), &list, ProductItem{SB_TEXT("shoes"), 2});
  return list;
}

SB_TEST(a_finalized_cart_becomes_an_order) {
  sb_decimal price = sb_decimal_new(995, 1);
  SB_WHEN(t, CartFinalized, .cart_id = SB_TEXT("c-1"), .client_id = SB_TEXT("ann"),
          .product_items = items(t), .total_price = price);
  SB_THEN_SENDS(t, InitializeOrder, .cart_id = SB_TEXT("c-1"), .client_id = SB_TEXT("ann"),
                .product_items = items(t), .total_price = price);
}

SB_TEST(a_completed_payment_sends_the_package) {
  SB_WHEN(t, PaymentCompleted, .order_id = id, .product_items = items(t));
  SB_THEN_SENDS(t, SendPackage, .order_id = id, .product_items = items(t));
}

SB_TEST(a_failed_payment_is_compensated_by_cancelling) {
  SB_WHEN(t, PaymentFailed, .order_id = id);
  SB_THEN_SENDS(t, CancelOrder, .order_id = id, .reason = SB_TEXT("payment failed"));
}

}  // namespace

SB_TEST_MAIN(order_saga)
