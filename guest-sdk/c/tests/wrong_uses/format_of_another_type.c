// expected: error: format specifies type 'char *' but the argument has type 'sb_text'
#include <sagabox.h>
#define ORDER_ID(F) F(sb_text, order_id)
SB_EVENT(OrderPaid, ORDER_ID);
static sb_result paid(const OrderPaid *event, sb_ctx *ctx) { return sb_fail(ctx, "no order %s", event->order_id); }
SB_SAGA(orders, "orders", "0.1.0", "Orders", SB_ON(OrderPaid, paid, .key = "/orderId"));
