/* Sagabox plugins in C and C++.
 *
 * A plugin is a few types, a function for each event, and one table that names them all:
 *
 *     #include <sagabox.h>
 *
 *     #define ORDER_PLACED(F) F(sb_text, order_id) F(sb_decimal, total_price)
 *     SB_EVENT(OrderPlaced, ORDER_PLACED);
 *
 *     #define REQUEST_PAYMENT(F) F(sb_text, order_id) F(sb_decimal, total_price)
 *     SB_COMMAND(RequestPayment, REQUEST_PAYMENT, .subject = "order_id");
 *
 *     static sb_result order_placed(const OrderPlaced *event, sb_ctx *ctx) {
 *       SB_SEND(ctx, RequestPayment, .order_id = event->order_id, .total_price = event->total_price);
 *       return SB_OK;
 *     }
 *
 *     SB_SAGA(orders, "orders", "0.1.0", "Requests the payment of each order",
 *             SB_ON(OrderPlaced, order_placed, .key = "/orderId"),
 *             SB_SENDS(RequestPayment));
 *
 * The README has an overview and a tutorial. */
#ifndef SAGABOX_H
#define SAGABOX_H

#include "sagabox/base.h"
#include "sagabox/data.h"
#include "sagabox/plugin.h"
#include "sagabox/context.h"

#endif
