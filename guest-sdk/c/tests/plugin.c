/* One process manager with everything in it: starts, timers, claims, questions, failures, compensation,
 * migration, raw messages; and the harness itself. */
#include "../src/testing.h"

#include <stdio.h>

#include <sagabox_test.h>

#define ORDER_ID(F) F(sb_text, order_id)
SB_EVENT(OrderPlaced, ORDER_ID);
SB_EVENT(OrderPaid, ORDER_ID, .named = "order paid");
SB_EVENT(OrderClosed, ORDER_ID, .subject = "order_id");
SB_COMMAND(ShipOrder, ORDER_ID, .subject = "order_id");
#define NUMBERED(F) F(int64_t, number) F(sb_text, note)
SB_COMMAND(Numbered, NUMBERED, .subject = "number");
#define CANCEL(F) F(sb_text, order_id) F(sb_text, reason)
SB_COMMAND(CancelOrder, CANCEL, .subject = "order_id");
SB_COMMAND(Undeclared, ORDER_ID);
#define PARCEL(F) F(sb_text, parcel)
SB_EVENT(ParcelLost, PARCEL);
#define ASKED(F) F(sb_text, order_id) F(sb_text_list, skus)
SB_EVENT(StockAsked, ASKED);
#define HOW(F) F(sb_text, order_id) F(sb_text, how)
SB_EVENT(Broken, HOW);
#define STOCK(F) F(int64_t, available) F(sb_text_opt, substitute)
SB_STRUCT(Stock, STOCK);
#define REMINDER(F) F(uint32_t, times)
SB_TIMER(Reminder, "reminder", REMINDER);
SB_BARE_TIMER(Deadline, "deadline");
SB_BARE_TIMER(Unhandled, "unhandled");
#define STATE(F) F(sb_text, order_id) F(int64_t, steps) F(sb_text_list, notes) F(sb_time_opt, last)
SB_STRUCT(Order, STATE);
#define OLD_STATE(F) F(sb_text, order_id) F(int64_t, total)
SB_STRUCT(OldOrder, OLD_STATE);

static sb_result placed(Order *order, const OrderPlaced *event, sb_ctx *ctx) {
  order->order_id = event->order_id;
  SB_SET_TIMER(ctx, SB_HOURS(1), Reminder, .times = 1);
  SB_SET_TIMER_AT(ctx, sb_time_add(sb_now(ctx), SB_HOURS(24)), Deadline, 0);
  sb_claim(ctx, SB_TEXT("p-1"));
  return SB_OK;
}

static sb_result paid(Order *order, const OrderPaid *event, sb_ctx *ctx) {
  (void)event;
  SB_CANCEL_TIMER(ctx, Deadline);
  SB_SEND(ctx, ShipOrder, .order_id = order->order_id);
  sb_add_extension(ctx, "tenant", SB_TEXT("acme"));
  SB_EMIT(ctx, OrderClosed, .order_id = order->order_id);
  sb_complete(ctx);
  return SB_OK;
}

static sb_result lost(Order *order, const ParcelLost *event, sb_ctx *ctx) {
  order->steps++;
  order->last = sb_time_some(sb_now(ctx));
  sb_release(ctx, event->parcel);
  return SB_OK;
}

static sb_result asked(Order *order, const StockAsked *event, sb_ctx *ctx) {
  const Stock *stock;
  sb_events past;
  order->steps++;
  bool answered = sb_stream(ctx, event->order_id, &past);
  for (size_t i = 0; i < event->skus.count; i++) {
    answered = SB_LOOKUP(ctx, "stock", event->skus.at[i], Stock, &stock) && answered;
  }
  SB_TRY(answered);
  for (size_t i = 0; i < event->skus.count; i++) {
    SB_TRY(SB_LOOKUP(ctx, "stock", event->skus.at[i], Stock, &stock));
    SB_SEND(ctx, Numbered, .number = stock ? stock->available : -1, .note = event->skus.at[i]);
  }
  for (size_t i = 0; i < past.count; i++) {
    const ParcelLost *parcel;
    if (SB_READ_EVENT(ctx, &past.at[i], ParcelLost, &parcel)) sb_text_list_push(ctx, &order->notes, parcel->parcel);
  }
  return SB_OK;
}

static sb_result broken(Order *order, const Broken *event, sb_ctx *ctx) {
  order->steps++;
  if (sb_text_is(event->how, "permanent")) return sb_fail(ctx, "refused %s", event->order_id.ptr);
  if (sb_text_is(event->how, "transient")) return sb_fail_transient(ctx, "later, attempt %u", sb_attempt(ctx));
  if (sb_text_is(event->how, "stops")) return SB_STOP;
  if (sb_text_is(event->how, "panic")) sb_panic("panicked for %s", event->order_id.ptr);
  assert(!sb_text_is(event->how, "assert"));
  if (sb_text_is(event->how, "undeclared")) SB_SEND(ctx, Undeclared, .order_id = order->order_id);
  if (sb_text_is(event->how, "unset")) SB_SEND(ctx, ShipOrder, .order_id = {NULL, 0});
  if (sb_text_is(event->how, "timer")) SB_SET_TIMER(ctx, 1, Unhandled, 0);
  if (sb_text_is(event->how, "negative")) SB_SET_TIMER(ctx, -1, Deadline, 0);
  if (sb_text_is(event->how, "past")) SB_SET_TIMER_AT(ctx, ((sb_time){-1, 999999}), Deadline, 0);
  if (sb_text_is(event->how, "part")) SB_SET_TIMER_AT(ctx, ((sb_time){sb_now(ctx).ms, 1}), Deadline, 0);
  if (sb_text_is(event->how, "subject")) SB_SEND(ctx, Numbered, .number = -7, .note = SB_TEXT(""));
  return SB_OK;
}

static sb_result raw(Order *order, const sb_event *event, sb_ctx *ctx) {
  (void)order;
  sb_raw message = {.type = SB_TEXT("Passed"), .subject = event->subject, .datacontenttype = SB_TEXT("text/plain"), .data = event->data};
  sb_emit_raw(ctx, message);
  return SB_OK;
}

static sb_result remind(Order *order, const Reminder *timer, sb_ctx *ctx) {
  SB_SEND(ctx, Numbered, .number = timer->times, .note = order->order_id);
  SB_SET_TIMER(ctx, SB_HOURS(1), Reminder, .times = timer->times + 1);
  return SB_OK;
}

static sb_result too_late(Order *order, const Deadline *timer, sb_ctx *ctx) {
  (void)timer;
  sb_complete(ctx);
  SB_SEND(ctx, CancelOrder, .order_id = order->order_id, .reason = SB_TEXT("too late"));
  return SB_OK;
}

static sb_result undeliverable(Order *order, const sb_undeliverable *command, sb_ctx *ctx) {
  const ShipOrder *ship;
  if (SB_READ_COMMAND(ctx, command, ShipOrder, &ship)) {
    SB_SEND(ctx, CancelOrder, .order_id = ship->order_id, .reason = sb_format(ctx, "%s after %u", command->reason.ptr, command->attempts));
  }
  order->steps++;
  return SB_OK;
}

static sb_result cancelled(Order *order, const sb_cancelled *by, sb_ctx *ctx) {
  sb_complete(ctx);
  SB_SEND(ctx, CancelOrder, .order_id = order->order_id, .reason = sb_format(ctx, "%s: %s", by->by.ptr, by->reason.ptr));
  return SB_OK;
}

static sb_result migrate(uint32_t from, uint32_t to, sb_json state, sb_json *out, sb_ctx *ctx) {
  if (from == 1 && to == 2) {
    const OldOrder *old;
    SB_TRY(SB_READ(ctx, state, OldOrder, &old));
    if (old->total < 0) sb_panic("negative");
    Order order = {.order_id = old->order_id, .steps = old->total};
    SB_TRY(SB_WRITE(ctx, Order, &order, out));
    return SB_OK;
  }
  if (from == 2 && to == 1) {
    const Order *order;
    SB_TRY(SB_READ(ctx, state, Order, &order));
    OldOrder old = {.order_id = order->order_id, .total = order->steps};
    SB_TRY(SB_WRITE(ctx, OldOrder, &old, out));
    return SB_OK;
  }
  return sb_fail(ctx, "no migration from version %u to %u", from, to);
}

SB_PROCESS_MANAGER(orders, "orders", "1.2.3", "Everything",
                   SB_STATE(Order, .version = 2, .migrate = migrate),
                   SB_START(Order, OrderPlaced, placed, .key = "/orderId"),
                   SB_HANDLE(Order, OrderPaid, paid, .key = "/orderId", .source = "/shop", .hold = SB_MINUTES(10)),
                   SB_HANDLE(Order, ParcelLost, lost, .key = "/parcel", .source_prefix = "/post/", .absent_fails = true),
                   SB_START_OR_HANDLE(Order, StockAsked, asked, .key = "/orderId"),
                   SB_HANDLE(Order, Broken, broken, .key = "/orderId"),
                   SB_HANDLE_RAW(Order, "Anything", raw, .key = "tenant"),
                   SB_ON_TIMER(Order, Reminder, remind),
                   SB_ON_TIMER(Order, Deadline, too_late),
                   SB_ON_UNDELIVERABLE(Order, undeliverable),
                   SB_ON_CANCEL(Order, cancelled),
                   SB_SENDS(ShipOrder), SB_SENDS(Numbered), SB_SENDS(CancelOrder),
                   SB_EMITS(OrderClosed), SB_EMITS_RAW("Passed"),
                   SB_ASKS("stock"), SB_ASKS_STREAMS);

#define ID SB_TEXT("o-1")

static void given_order(sb_test *t) {
  sb_given_now(t, "2026-03-01T12:00:00Z");
  SB_GIVEN_EVENT(t, OrderPlaced, .order_id = ID);
}

SB_TEST(a_start_writes_the_state_and_sets_timers) {
  sb_given_now(t, "2026-03-01T12:00:00Z");
  SB_WHEN(t, OrderPlaced, .order_id = ID);
  sb_then_state_is(t, "{\"orderId\":\"o-1\",\"steps\":0,\"notes\":[]}");
  SB_THEN_TIMER(t, SB_HOURS(1), Reminder, .times = 1);
  SB_THEN_TIMER_AT(t, "2026-03-02T12:00:00Z", Deadline, 0);
  sb_then_claims(t, "p-1");
  sb_then_goes_on(t);
}

SB_TEST(timers_fire_in_their_order_until_the_process_is_complete) {
  given_order(t);
  sb_when_time_passes(t, SB_MINUTES(150));
  SB_THEN_SENDS(t, Numbered, .number = 1, .note = ID);
  SB_THEN_SENDS(t, Numbered, .number = 2, .note = ID);
  sb_when_time_passes(t, SB_HOURS(100));
  for (int64_t times = 3; times <= 23; times++) SB_THEN_SENDS(t, Numbered, .number = times, .note = ID);
  SB_THEN_SENDS(t, CancelOrder, .order_id = ID, .reason = SB_TEXT("too late"));
  sb_then_completes(t);
}

SB_TEST(a_message_has_its_subject_and_extensions) {
  given_order(t);
  sb_given_source(t, "/shop");
  SB_WHEN(t, OrderPaid, .order_id = ID);
  SB_THEN_CANCELS_TIMER(t, Deadline);
  const sb_raw *command = sb_next_command(t);
  SB_CHECK(t, command && sb_text_is(command->subject.value, "o-1"));
  SB_CHECK(t, command->extensions.count == 1 && sb_text_is(command->extensions.at[0].name, "tenant"));
  SB_THEN_EMITS(t, OrderClosed, .order_id = ID);
  sb_then_completes(t);
}

SB_TEST(keys_are_released_and_the_time_is_noted) {
  given_order(t);
  SB_WHEN(t, ParcelLost, .parcel = SB_TEXT("p-1"));
  sb_then_releases(t, "p-1");
  sb_then_state_is(t, "{\"orderId\":\"o-1\",\"steps\":1,\"notes\":[],\"last\":\"2026-03-01T12:00:00Z\"}");
}

SB_TEST(questions_are_asked_again_until_all_are_answered) {
  given_order(t);
  SB_GIVEN_ANSWER(t, "stock", "mug", Stock, .available = 3);
  sb_given_missing(t, "stock", "hat");
  SB_GIVEN_IN_STREAM(t, "o-1", ParcelLost, .parcel = SB_TEXT("p-7"));
  SB_GIVEN_IN_STREAM(t, "o-1", OrderPlaced, .order_id = ID);
  sb_text skus[] = {SB_TEXT("mug"), SB_TEXT("hat")};
  SB_WHEN(t, StockAsked, .order_id = ID, .skus = {skus, 2, 0});
  SB_THEN_SENDS(t, Numbered, .number = 3, .note = SB_TEXT("mug"));
  SB_THEN_SENDS(t, Numbered, .number = -1, .note = SB_TEXT("hat"));
  const Order *order = SB_THE_STATE(t, Order);
  SB_CHECK(t, order->steps == 1 && order->notes.count == 1 && sb_text_is(order->notes.at[0], "p-7"));
}

SB_TEST(failures_say_what_and_where) {
  given_order(t);
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("permanent"));
  sb_then_fails(t, "refused o-1 (");
  sb_then_fails(t, "plugin.c:");
  sb_given_attempt(t, 3);
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("transient"));
  sb_then_fails_for_now(t, "later, attempt 3");
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("stops"));
  sb_then_fails(t, "the handler stopped without a question and without a failure");
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("none"));
  sb_then_state_is(t, "{\"orderId\":\"o-1\",\"steps\":1,\"notes\":[]}");
}

SB_TEST(a_panic_is_a_failure_as_in_the_host) {
  given_order(t);
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("panic"));
  sb_then_fails(t, "panicked for o-1");
  sb_then_fails(t, "plugin.c:");
#ifdef __GLIBC__
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("assert"));
  sb_then_fails(t, "assertion failed: !sb_text_is(event->how, \"assert\")");
#endif
  sb_when_migrated(t, 1, 2, "{\"orderId\":\"o-1\",\"total\":-1}");
  sb_then_fails(t, "negative");
}

SB_TEST(a_failure_takes_effect_also_if_the_handler_does_not_look) {
  given_order(t);
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("undeclared"));
  sb_then_fails(t, "the plugin sends `Undeclared`, and does not declare SB_SENDS");
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("unset"));
  sb_then_fails(t, "`ShipOrder` cannot be sent: the member `orderId` is not set");
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("timer"));
  sb_then_fails(t, "the plugin has no SB_ON_TIMER for the timer `unhandled`");
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("negative"));
  sb_then_fails(t, "the timer `deadline` cannot be set: -1 ms is negative");
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("past"));
  sb_then_fails(t, "the timer `deadline` cannot be set: 1969-12-31T23:59:59.999999999Z is before 1970");
  sb_given_now(t, "2026-03-01T12:00:00Z");
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("part"));
  SB_THEN_TIMER_AT(t, "2026-03-01T12:00:00.001Z", Deadline, 0);
  SB_THEN_TIMER_AT(t, "2026-03-01T12:00:00.0001Z", Deadline, 0);
}

SB_TEST(a_subject_can_be_a_number) {
  given_order(t);
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("subject"));
  const sb_raw *command = sb_next_command(t);
  SB_CHECK(t, command && command->subject.some && sb_text_is(command->subject.value, "-7"));
}

SB_TEST(raw_events_and_messages_keep_their_bytes) {
  given_order(t);
  sb_given_subject(t, "s");
  sb_when_raw(t, "Anything", SB_TEXT("\xFF\0\xFE"));
  const sb_raw *event = sb_next_event(t);
  SB_CHECK(t, event && event->data.len == 3 && memcmp(event->data.ptr, "\xFF\0\xFE", 3) == 0);
  SB_CHECK(t, sb_text_is(event->datacontenttype, "text/plain") && sb_text_is(event->subject.value, "s"));
}

SB_TEST(commands_that_cannot_be_delivered_come_back) {
  given_order(t);
  SB_WHEN_UNDELIVERABLE(t, "gone \"410\"", ShipOrder, .order_id = ID);
  SB_THEN_SENDS(t, CancelOrder, .order_id = ID, .reason = SB_TEXT("gone \"410\" after 1"));
  SB_WHEN_UNDELIVERABLE(t, "gone", CancelOrder, .order_id = ID, .reason = SB_TEXT("r"));
  sb_then_nothing(t);
  sb_when_cancelled(t, "ada", "a \"test\"");
  SB_THEN_SENDS(t, CancelOrder, .order_id = ID, .reason = SB_TEXT("ada: a \"test\""));
  sb_then_completes(t);
}

SB_TEST(states_are_migrated_in_both_directions) {
  sb_when_migrated(t, 1, 2, "{\"orderId\":\"o-1\",\"total\":7}");
  sb_then_state_is(t, "{\"orderId\":\"o-1\",\"steps\":7,\"notes\":[]}");
  sb_when_migrated(t, 2, 1, "{\"orderId\":\"o-1\",\"steps\":7,\"notes\":[]}");
  sb_then_state_is(t, "{\"orderId\":\"o-1\",\"total\":7}");
  sb_when_migrated(t, 2, 2, "{\"orderId\":\"o-1\",\"steps\":7,\"notes\":[],\"colour\":\"red\"}");
  sb_then_fails(t, "the stored state does not fit: the member `colour` is not known here");
  sb_when_migrated(t, 2, 2, "{\"orderId\":\"o-1\",\"notes\":[]}");
  sb_then_fails(t, "the member `steps` is missing");
  sb_when_migrated(t, 3, 2, "{}");
  sb_then_fails(t, "no migration from version 3 to 2");
}

SB_TEST(what_no_handler_takes_is_a_failure_that_names_it) {
  given_order(t);
  sb_when_raw(t, "Other", SB_TEXT("{}"));
  sb_then_fails(t, "the plugin has no handler for `Other`");
  SB_WHEN_TIMER(t, Unhandled, 0);
  sb_then_fails(t, "the plugin has no handler for the timer `unhandled`");
}

SB_TEST(the_seed_gives_the_same_numbers_in_every_retry) {
  uint32_t seed[4] = {1, 2, 3, 4};
  sb_context context;
  memset(&context, 0, sizeof context);
  memcpy(context.seed, seed, sizeof seed);
  sb_ctx one = *sb_test_memory(t), other = one;
  one.context = other.context = &context;
  sb_text id = sb_new_id(&one);
  SB_CHECK(t, id.len == 32 && sb_text_equal(id, sb_new_id(&other)) && !sb_text_equal(id, sb_new_id(&one)));
}

SB_TEST(the_manifest_is_the_table) {
  sb_ctx ctx = *sb_test_memory(t);
  const sb_manifest *manifest = sb_describe(&ctx);
  SB_CHECK(t, manifest->subscriptions.count == 9 && manifest->state_version == 2 && manifest->streams);
  const sb_subscription *paid_order = &manifest->subscriptions.at[1];
  SB_CHECK(t, sb_text_is(paid_order->type, "order paid") && paid_order->source.tag == 1 && paid_order->absent.tag == 1);
  SB_CHECK(t, paid_order->absent.hold == 600000 && paid_order->key.tag == 2 && paid_order->effect == 2);
  SB_CHECK(t, manifest->subscriptions.at[2].absent.tag == 2 && manifest->subscriptions.at[2].source.tag == 2);
  SB_CHECK(t, manifest->subscriptions.at[5].key.tag == 1 && sb_text_is(manifest->subscriptions.at[5].key.text, "tenant"));
  SB_CHECK(t, manifest->fields.count == 3 && sb_text_is(manifest->fields.at[0].text, "/orderId"));
  SB_CHECK(t, sb_text_is(manifest->summary.value, "orderId {orderId}, steps {steps}, last {last}"));
  SB_CHECK(t, manifest->schemas.count == 9 && manifest->lookups.count == 1);
}

/* ---- the harness fails where it has to -------------------------------------------------- */

static void sends_more(sb_test *t) {
  given_order(t);
  sb_when_time_passes(t, SB_HOURS(1));
  sb_then_goes_on(t);
  sb_when_time_passes(t, SB_HOURS(1));
}

static void sends_another(sb_test *t) {
  given_order(t);
  sb_when_time_passes(t, SB_HOURS(1));
  SB_THEN_SENDS(t, Numbered, .number = 2, .note = ID);
}

static void fails_unseen(sb_test *t) {
  given_order(t);
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("permanent"));
  SB_WHEN(t, ParcelLost, .parcel = SB_TEXT("p-1"));
}

static void fails_otherwise(sb_test *t) {
  given_order(t);
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("permanent"));
  sb_then_fails_for_now(t, "refused");
}

static void does_not_fail(sb_test *t) {
  given_order(t);
  SB_WHEN(t, Broken, .order_id = ID, .how = SB_TEXT("none"));
  sb_then_fails(t, "refused");
}

static void sets_another_timer(sb_test *t) {
  SB_WHEN(t, OrderPlaced, .order_id = ID);
  SB_THEN_TIMER(t, SB_HOURS(2), Reminder, .times = 1);
}

static void has_no_handler(sb_test *t) {
  SB_WHEN(t, ShipOrder, .order_id = ID);
  SB_WHEN(t, OrderPlaced, .order_id = ID);
}

static void has_no_answer(sb_test *t) {
  sb_text skus[] = {SB_TEXT("mug")};
  SB_WHEN(t, StockAsked, .order_id = ID, .skus = {skus, 1, 0});
}

static void is_not_complete(sb_test *t) {
  SB_WHEN(t, OrderPlaced, .order_id = ID);
  sb_then_completes(t);
}

static void claims_nothing(sb_test *t) {
  SB_WHEN(t, OrderPlaced, .order_id = ID);
  sb_then_claims(t, "p-2");
}

static void has_another_state(sb_test *t) {
  SB_WHEN(t, OrderPlaced, .order_id = ID);
  sb_then_state_is(t, "{}");
}

SB_TEST(a_wrong_expectation_fails) {
  static const struct {
    void (*run)(sb_test *t);
    const char *message;
  } cases[] = {{sends_more, "more is sent than the test expects"},
               {sends_another, "expected: Numbered {\"number\":2"},
               {fails_unseen, "the handler failed: refused o-1"},
               {fails_otherwise, "the failure is permanent"},
               {does_not_fail, "but the handler decided"},
               {sets_another_timer, "the timer `reminder` is not set so: after 7200000 ms"},
               {has_no_handler, "the handler failed: the plugin has no handler for `ShipOrder`"},
               {has_no_answer, "the handler asks the lookup `stock` for `mug`, and the test gives no answer"},
               {is_not_complete, "the process is not complete"},
               {claims_nothing, "the key `p-2` is not claimed"},
               {has_another_state, "expected the state {}"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *message = sb_test_failure_of(t, cases[i].run);
    if (!strstr(message, cases[i].message)) fprintf(stderr, "expected: %s\n  found: %s\n", cases[i].message, message);
    SB_CHECK(t, strstr(message, cases[i].message));
  }
}

SB_TEST_MAIN(orders)
