/* Closes an order that is shipped. */
#include <sagabox.h>

#define ORDER_SHIPPED(F) F(sb_text, orderId) F(sb_text, carrier)
SB_EVENT(OrderShipped, ORDER_SHIPPED);
#define CLOSE_ORDER(F) F(sb_text, orderId) F(sb_text, carrier)
SB_COMMAND(CloseOrder, CLOSE_ORDER, .subject = "orderId");

static sb_result shipped(const OrderShipped *event, sb_ctx *ctx) {
  SB_SEND(ctx, CloseOrder, .orderId = event->orderId, .carrier = event->carrier);
  return SB_OK;
}

SB_REACTOR(closing, "closing", "1.0.0", "Closes an order that is shipped",
           SB_ON(OrderShipped, shipped, .key = "/orderId"),
           SB_SENDS(CloseOrder));
