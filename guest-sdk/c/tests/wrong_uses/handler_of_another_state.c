// expected: error: pointer type mismatch ('sb_result (*)(Cart *, const OrderPaid *, sb_ctx *)'
#include <sagabox.h>
#define ORDER_ID(F) F(sb_text, order_id)
SB_EVENT(OrderPaid, ORDER_ID);
SB_STRUCT(Order, ORDER_ID);
SB_STRUCT(Cart, ORDER_ID);
static sb_result paid(Cart *cart, const OrderPaid *event, sb_ctx *ctx) {
  (void)cart, (void)event, (void)ctx;
  return SB_OK;
}
SB_PROCESS_MANAGER(orders, "orders", "0.1.0", "Orders", SB_STATE(Order),
                   SB_START(Order, OrderPaid, paid, .key = "/orderId"));
