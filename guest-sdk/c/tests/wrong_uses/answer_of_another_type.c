// expected: error: pointer type mismatch ('const Price **'
#include <sagabox.h>
#define SKU(F) F(sb_text, sku)
SB_EVENT(OrderPaid, SKU);
SB_STRUCT(Stock, SKU);
SB_STRUCT(Price, SKU);
static sb_result paid(const OrderPaid *event, sb_ctx *ctx) {
  const Price *price;
  SB_TRY(SB_LOOKUP(ctx, "stock", event->sku, Stock, &price));
  return SB_OK;
}
SB_SAGA(orders, "orders", "0.1.0", "Orders", SB_ON(OrderPaid, paid, .key = "/sku"), SB_ASKS("stock"));
