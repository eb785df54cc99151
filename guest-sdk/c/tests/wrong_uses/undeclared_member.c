// expected: error: field designator 'name' does not refer to any field in type 'const ShipOrder'
#include <sagabox.h>
#define ORDER_ID(F) F(sb_text, order_id)
SB_EVENT(OrderPaid, ORDER_ID);
SB_COMMAND(ShipOrder, ORDER_ID);
static sb_result paid(const OrderPaid *event, sb_ctx *ctx) {
  SB_SEND(ctx, ShipOrder, .name = event->order_id);
  return SB_OK;
}
SB_SAGA(orders, "orders", "0.1.0", "Orders", SB_ON(OrderPaid, paid, .key = "/orderId"), SB_SENDS(ShipOrder));
