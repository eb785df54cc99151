// The order saga in C++: each step of an order leads to the command for the next.
#include <sagabox.h>

#define PRODUCT_ITEM(F)  \
  F(sb_text, product_id) \
  F(uint32_t, quantity)
SB_STRUCT(ProductItem, PRODUCT_ITEM);

#define CART(F)                      \
  F(sb_text, cart_id)                \
  F(sb_text, client_id)              \
  F(ProductItem_list, product_items) \
  F(sb_decimal, total_price)
SB_EVENT(CartFinalized, CART);
SB_COMMAND(InitializeOrder, CART, .subject = "cart_id");

#define PRICED_ORDER(F) \
  F(sb_text, order_id)  \
  F(sb_decimal, total_price)
SB_EVENT(OrderInitialized, PRICED_ORDER);
SB_COMMAND(RequestPayment, PRICED_ORDER, .subject = "order_id");

#define PACKED_ORDER(F) \
  F(sb_text, order_id)  \
  F(ProductItem_list, product_items)
SB_EVENT(PaymentCompleted, PACKED_ORDER);
SB_COMMAND(SendPackage, PACKED_ORDER, .subject = "order_id");

#define ORDER(F) F(sb_text, order_id)
SB_EVENT(PaymentFailed, ORDER);

#define CANCEL_ORDER(F) \
  F(sb_text, order_id)  \
  F(sb_text, reason)
SB_COMMAND(CancelOrder, CANCEL_ORDER, .subject = "order_id");

namespace {

sb_result cart_finalized(const CartFinalized *event, sb_ctx *ctx) {
  InitializeOrder command{event->cart_id, event->client_id, event->product_items, event->total_price};
  SB_SEND_THIS(ctx, InitializeOrder, &command);
  return SB_OK;
}

sb_result order_initialized(const OrderInitialized *event, sb_ctx *ctx) {
  SB_SEND(ctx, RequestPayment, .order_id = event->order_id, .total_price = event->total_price);
  return SB_OK;
}

sb_result payment_completed(const PaymentCompleted *event, sb_ctx *ctx) {
  SB_SEND(ctx, SendPackage, .order_id = event->order_id, .product_items = event->product_items);
  return SB_OK;
}

sb_result payment_failed(const PaymentFailed *event, sb_ctx *ctx) {
  SB_SEND(ctx, CancelOrder, .order_id = event->order_id, .reason = SB_TEXT("payment failed"));
  return SB_OK;
}

}  // namespace

SB_SAGA(order_saga, "order-saga", "0.1.0",
        "Takes an order from the cart to the package, and cancels it when the payment fails",
        SB_ON(CartFinalized, cart_finalized, .key = "/cartId"),
        SB_ON(OrderInitialized, order_initialized, .key = "/orderId"),
        SB_ON(PaymentCompleted, payment_completed, .key = "/orderId"),
        SB_ON(PaymentFailed, payment_failed, .key = "/orderId"),
        SB_SENDS(InitializeOrder),
        SB_SENDS(RequestPayment),
        SB_SENDS(SendPackage),
        SB_SENDS(CancelOrder));
