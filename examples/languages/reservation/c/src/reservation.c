/* The reservation of an order: the stock is reserved when the order is placed, shipped when it is paid,
 * and released when it is not paid in time. */
#include <sagabox.h>

#define ORDER_PLACED(F)   \
  F(sb_text, order_id)    \
  F(sb_text, customer_id) \
  F(sb_text, sku)         \
  F(uint32_t, quantity)
SB_EVENT(OrderPlaced, ORDER_PLACED);

#define ORDER_ID(F) F(sb_text, order_id)
SB_EVENT(OrderPaid, ORDER_ID);
SB_EVENT(OrderShipped, ORDER_ID);

#define RESERVATION_LAPSED(F) \
  F(sb_text, customer_id)     \
  F(sb_text, order_id)
SB_EVENT(ReservationLapsed, RESERVATION_LAPSED, .subject = "customer_id");

#define STOCK_OF_ORDER(F) \
  F(sb_text, order_id)    \
  F(sb_text, sku)         \
  F(uint32_t, quantity)
SB_COMMAND(ReserveStock, STOCK_OF_ORDER, .subject = "order_id");
SB_COMMAND(ReleaseStock, STOCK_OF_ORDER, .subject = "order_id");
SB_COMMAND(ShipOrder, ORDER_ID, .subject = "order_id");

#define REJECT_ORDER(F) \
  F(sb_text, order_id)  \
  F(sb_text, reason)
SB_COMMAND(RejectOrder, REJECT_ORDER, .subject = "order_id");

/* The answer of the lookup `stock`. While the stock is counted, the number is not reliable. */
#define STOCK(F)         \
  F(uint32_t, available) \
  F(bool, counting)
SB_STRUCT(Stock, STOCK);

/* The order was not paid in time. */
SB_BARE_TIMER(Deadline, "deadline");

#define STATUS(V)           \
  V(RESERVED, "reserved")   \
  V(PAID, "paid")
SB_ENUM(Status, STATUS);

/* The state of a process: one for each order. */
#define ORDER(F)          \
  F(sb_text, order_id)    \
  F(sb_text, customer_id) \
  F(sb_text, sku)         \
  F(uint32_t, quantity)   \
  F(Status, status)
SB_STRUCT(Order, ORDER);

static sb_result reject(const Order *order, sb_text reason, sb_ctx *ctx) {
  sb_complete(ctx);
  SB_SEND(ctx, RejectOrder, .order_id = order->order_id, .reason = reason);
  return SB_OK;
}

static sb_result release(const Order *order, sb_ctx *ctx) {
  sb_complete(ctx);
  SB_SEND(ctx, ReleaseStock, .order_id = order->order_id, .sku = order->sku, .quantity = order->quantity);
  return SB_OK;
}

/* A customer who let a reservation lapse before has an hour, others have a day. */
static bool time_to_pay(sb_text customer_id, sb_duration *out, sb_ctx *ctx) {
  sb_events past;
  *out = SB_HOURS(24);
  if (!sb_stream(ctx, customer_id, &past)) return false;
  for (size_t i = 0; i < past.count; i++) {
    if (sb_text_is(past.at[i].type, "ReservationLapsed")) *out = SB_HOURS(1);
  }
  return true;
}

static sb_result placed(Order *order, const OrderPlaced *event, sb_ctx *ctx) {
  if (event->quantity == 0) return sb_fail(ctx, "order %s has no quantity", event->order_id.ptr);
  const Stock *stock;
  SB_TRY(SB_LOOKUP(ctx, "stock", event->sku, Stock, &stock));
  if (stock && stock->counting) return sb_fail_transient(ctx, "the stock of %s is being counted", event->sku.ptr);
  *order = (Order){event->order_id, event->customer_id, event->sku, event->quantity, RESERVED};
  if (!stock || stock->available < order->quantity) return reject(order, SB_TEXT("sold out"), ctx);
  sb_duration patience;
  SB_TRY(time_to_pay(order->customer_id, &patience, ctx));
  SB_SEND(ctx, ReserveStock, .order_id = order->order_id, .sku = order->sku, .quantity = order->quantity);
  SB_SET_TIMER(ctx, patience, Deadline, 0);
  return SB_OK;
}

static sb_result paid(Order *order, const OrderPaid *event, sb_ctx *ctx) {
  order->status = PAID;
  SB_CANCEL_TIMER(ctx, Deadline);
  SB_SEND(ctx, ShipOrder, .order_id = event->order_id);
  return SB_OK;
}

static sb_result shipped(Order *order, const OrderShipped *event, sb_ctx *ctx) {
  (void)order, (void)event;
  sb_complete(ctx);
  return SB_OK;
}

static sb_result too_late(Order *order, const Deadline *timer, sb_ctx *ctx) {
  (void)timer;
  SB_EMIT(ctx, ReservationLapsed, .customer_id = order->customer_id, .order_id = order->order_id);
  return release(order, ctx);
}

static sb_result undeliverable(Order *order, const sb_undeliverable *command, sb_ctx *ctx) {
  const ReserveStock *reserve;
  if (!SB_READ_COMMAND(ctx, command, ReserveStock, &reserve)) return SB_OK;
  return reject(order, command->reason, ctx);
}

static sb_result cancelled(Order *order, const sb_cancelled *request, sb_ctx *ctx) {
  (void)request;
  return release(order, ctx);
}

/* Version 1 of the state had `paid` in place of `status`. */
#define ORDER_V1(F)       \
  F(sb_text, order_id)    \
  F(sb_text, customer_id) \
  F(sb_text, sku)         \
  F(uint32_t, quantity)   \
  F(bool, paid)
SB_STRUCT(OrderV1, ORDER_V1);

static sb_result migrate(uint32_t from, uint32_t to, sb_json state, sb_json *out, sb_ctx *ctx) {
  if (from == 1 && to == 2) {
    const OrderV1 *old;
    SB_TRY(SB_READ(ctx, state, OrderV1, &old));
    Order order = {old->order_id, old->customer_id, old->sku, old->quantity, old->paid ? PAID : RESERVED};
    return SB_WRITE(ctx, Order, &order, out) ? SB_OK : SB_STOP;
  }
  if (from == 2 && to == 1) {
    const Order *order;
    SB_TRY(SB_READ(ctx, state, Order, &order));
    OrderV1 old = {order->order_id, order->customer_id, order->sku, order->quantity, order->status == PAID};
    return SB_WRITE(ctx, OrderV1, &old, out) ? SB_OK : SB_STOP;
  }
  return sb_fail(ctx, "no migration from version %u to %u", (unsigned)from, (unsigned)to);
}

SB_PROCESS_MANAGER(reservation, "reservation", "0.1.0",
                   "Reserves the stock of an order until it is paid, and releases it otherwise",
                   SB_STATE(Order, .version = 2, .migrate = migrate),
                   SB_START(Order, OrderPlaced, placed, .key = "/orderId"),
                   SB_HANDLE(Order, OrderPaid, paid, .key = "/orderId", .hold = SB_MINUTES(10)),
                   SB_HANDLE(Order, OrderShipped, shipped, .key = "/orderId"),
                   SB_ON_TIMER(Order, Deadline, too_late),
                   SB_ON_UNDELIVERABLE(Order, undeliverable),
                   SB_ON_CANCEL(Order, cancelled),
                   SB_SENDS(ReserveStock), SB_SENDS(ReleaseStock), SB_SENDS(ShipOrder), SB_SENDS(RejectOrder),
                   SB_EMITS(ReservationLapsed),
                   SB_ASKS("stock"), SB_ASKS_STREAMS);
