/* The enricher of the conformance suite. */
#include <sagabox.h>

#define CONFIRMED(F) F(sb_text, id) F(sb_text, customer)
SB_EVENT(Confirmed, CONFIRMED);
#define HIDDEN(F) F(sb_text, id)
SB_EVENT(Hidden, HIDDEN);
#define ITEM_ADDED(F) F(sb_text, sku)
SB_EVENT(ItemAdded, ITEM_ADDED);
#define PUBLISHED(F) F(sb_text, id) F(sb_text_opt, name) F(sb_text_list, items)
SB_EVENT(Published, PUBLISHED, .subject = "id");
#define CUSTOMER(F) F(sb_text, name)
SB_STRUCT(Customer, CUSTOMER);

static sb_result confirmed(const Confirmed *event, sb_ctx *ctx) {
  const Customer *customer;
  sb_events past;
  Published published = {.id = event->id};
  /* Both questions are asked at once. */
  bool answered = sb_stream(ctx, event->id, &past);
  SB_TRY(SB_LOOKUP(ctx, "customers", event->customer, Customer, &customer) && answered);
  if (customer) published.name = sb_text_some(customer->name);
  for (size_t i = 0; i < past.count; i++) {
    const ItemAdded *added;
    if (SB_READ_EVENT(ctx, &past.at[i], ItemAdded, &added)) sb_text_list_push(ctx, &published.items, added->sku);
  }
  SB_EMIT_THIS(ctx, Published, &published);
  return SB_OK;
}

static sb_result hidden(const Hidden *event, sb_ctx *ctx) {
  (void)event, (void)ctx;
  return SB_OK;
}

SB_ENRICHER(conformance_enricher, "conformance-enricher", "1.0.0", "The enricher of the conformance suite",
            SB_ON(Confirmed, confirmed, .key = "/id"),
            SB_ON(Hidden, hidden, .key = "/id"),
            SB_EMITS(Published),
            SB_ASKS("customers"), SB_ASKS_STREAMS);
