// expected: error: pointer type mismatch ('sb_result (*)(const OrderPlaced *, sb_ctx *)'
#include <sagabox.h>
#define ORDER_ID(F) F(sb_text, order_id)
SB_EVENT(OrderPaid, ORDER_ID);
SB_EVENT(OrderPlaced, ORDER_ID);
static sb_result placed(const OrderPlaced *event, sb_ctx *ctx) {
  (void)event, (void)ctx;
  return SB_OK;
}
SB_SAGA(orders, "orders", "0.1.0", "Orders", SB_ON(OrderPaid, placed, .key = "/orderId"));
