/* The reactor of the conformance suite: questions, streams, emitted events. */
#include <sagabox.h>

#define CHECK(F) F(sb_text, id) F(sb_text_list, skus)
SB_EVENT(Check, CHECK);
#define SUBSTITUTE(F) F(sb_text, id) F(sb_text, sku)
SB_EVENT(Substitute, SUBSTITUTE);
SB_EVENT(OutOfStock, SUBSTITUTE, .subject = "id");
#define ONLY_ID(F) F(sb_text, id)
SB_EVENT(History, ONLY_ID);
#define ANNOUNCE(F) F(sb_text, id) F(sb_text, text)
SB_EVENT(Announce, ANNOUNCE);
#define ADDED(F) F(sb_text, id) F(int64_t, count)
SB_EVENT(Added, ADDED);
#define RESERVE(F) F(sb_text, id) F(sb_text, sku) F(int64_t, available)
SB_COMMAND(Reserve, RESERVE, .subject = "id");
#define COUNTED(F) F(sb_text, id) F(sb_text_list, types) F(int64_t, sum)
SB_EVENT(Counted, COUNTED, .subject = "id");
#define STOCK(F) F(int64_t, available) F(sb_text_opt, substitute)
SB_STRUCT(Stock, STOCK);

static sb_result check(const Check *event, sb_ctx *ctx) {
  const Stock *stock;
  bool answered = true;
  for (size_t i = 0; i < event->skus.count; i++) {
    answered = SB_LOOKUP(ctx, "stock", event->skus.at[i], Stock, &stock) && answered;
  }
  SB_TRY(answered);
  for (size_t i = 0; i < event->skus.count; i++) {
    sb_text sku = event->skus.at[i];
    SB_TRY(SB_LOOKUP(ctx, "stock", sku, Stock, &stock));
    if (stock) {
      SB_SEND(ctx, Reserve, .id = event->id, .sku = sku, .available = stock->available);
    } else {
      SB_EMIT(ctx, OutOfStock, .id = event->id, .sku = sku);
    }
  }
  return SB_OK;
}

static sb_result substitute(const Substitute *event, sb_ctx *ctx) {
  const Stock *stock;
  sb_text sku = event->sku;
  for (;;) {
    SB_TRY(SB_LOOKUP(ctx, "stock", sku, Stock, &stock));
    if (!stock) return sb_fail(ctx, "no stock of %s", sku.ptr);
    if (!stock->substitute.some) break;
    sku = stock->substitute.value;
  }
  SB_SEND(ctx, Reserve, .id = event->id, .sku = sku, .available = stock->available);
  return SB_OK;
}

static sb_result history(const History *event, sb_ctx *ctx) {
  sb_events past;
  Counted counted = {.id = event->id};
  SB_TRY(sb_stream(ctx, event->id, &past));
  for (size_t i = 0; i < past.count; i++) {
    const Added *added;
    sb_text_list_push(ctx, &counted.types, past.at[i].type);
    if (SB_READ_EVENT(ctx, &past.at[i], Added, &added)) counted.sum += added->count;
  }
  SB_EMIT_THIS(ctx, Counted, &counted);
  return SB_OK;
}

static sb_result announce(const Announce *event, sb_ctx *ctx) {
  sb_raw announced = {
      .type = SB_TEXT("Announced"),
      .subject = sb_text_some(event->id),
      .datacontenttype = SB_TEXT("text/plain"),
      .data = sb_bytes_of(event->text),
  };
  sb_emit_raw(ctx, announced);
  sb_add_extension(ctx, "language", SB_TEXT("en"));
  return SB_OK;
}

SB_REACTOR(conformance_reactor, "conformance-reactor", "1.0.0", "The reactor of the conformance suite",
           SB_ON(Check, check, .key = "/id"),
           SB_ON(Substitute, substitute, .key = "/id"),
           SB_ON(History, history, .key = "/id"),
           SB_ON(Announce, announce, .key = "/id"),
           SB_SENDS(Reserve),
           SB_EMITS(OutOfStock), SB_EMITS(Counted), SB_EMITS_RAW("Announced"),
           SB_ASKS("stock"), SB_ASKS_STREAMS);
