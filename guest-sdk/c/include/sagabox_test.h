/* Native tests of a plugin: given, when, then; without WebAssembly and without a host.
 *
 *     #include "../src/orders.c"
 *     #include <sagabox_test.h>
 *
 *     SB_TEST(a_placed_order_is_to_be_paid) {
 *       SB_WHEN(t, OrderPlaced, .order_id = SB_TEXT("o-1"), .total_price = sb_decimal_new(9950, 2));
 *       SB_THEN_SENDS(t, RequestPayment, .order_id = SB_TEXT("o-1"), .total_price = sb_decimal_new(9950, 2));
 *     }
 *
 *     SB_TEST_MAIN(orders)
 *
 * Each test has an instance that does not exist yet, a clock and no timers. A test says of every
 * message what is expected: a message that no `then` expects fails the test at the next `when` or at
 * its end. The same holds for a failure. `SB_GIVEN_EVENT` is a `when` whose messages do not matter. */
#ifndef SAGABOX_TEST_H
#define SAGABOX_TEST_H

#include "sagabox.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sb_test sb_test;

typedef struct sb_place {
  const char *file;
  int line;
} sb_place;
#define SB_HERE_ (SB_LITERAL(sb_place){__FILE__, __LINE__})

/* A test; the file's tests run in their order. */
#define SB_TEST(name)                                                             \
  static void name(sb_test *t);                                                   \
  __attribute__((constructor)) static void sb_register_##name(void) {             \
    sb_test_register(#name, name);                                                \
  }                                                                               \
  static void name(sb_test *t)
/* Runs the tests for this plugin. The program's first argument, if any, is part of the names to run. */
#define SB_TEST_MAIN(plugin) \
  int main(int argc, char **argv) { return sb_test_run(&plugin, argc, argv); }

void sb_test_register(const char *name, void (*test)(sb_test *t));
int sb_test_run(const sb_plugin *plugin, int argc, char **argv);
/* For texts and lists that a test makes. */
sb_ctx *sb_test_memory(sb_test *t);

/* ---- given: what is so ------------------------------------------------------------------ */

/* An event that the plugin has handled; what it sent is not looked at. */
#define SB_GIVEN_EVENT(t, T, ...) \
  sb_given_event(t, SB_HERE_, &sb_message_##T, SB_VALUE_(T, __VA_ARGS__))
/* A state that the instance has, instead of the events that led to it. */
#define SB_GIVEN_STATE(t, T, ...) sb_given_state(t, SB_HERE_, &sb_type_##T, SB_VALUE_(T, __VA_ARGS__))
/* What a lookup knows under a key, and that it knows nothing. */
#define SB_GIVEN_ANSWER(t, lookup, key, T, ...) \
  sb_given_answer(t, SB_HERE_, lookup, key, &sb_type_##T, SB_VALUE_(T, __VA_ARGS__))
void sb_given_missing(sb_test *t, const char *lookup, const char *key);
/* One more event of the stream of a subject. */
#define SB_GIVEN_IN_STREAM(t, subject, T, ...) \
  sb_given_in_stream(t, SB_HERE_, subject, &sb_message_##T, SB_VALUE_(T, __VA_ARGS__))
/* The plugin's section of the host's configuration, as JSON. */
void sb_given_configuration(sb_test *t, const char *json);
void sb_given_key(sb_test *t, const char *key);
/* The source, and the attributes `time` and `subject`, of the events that follow. */
void sb_given_source(sb_test *t, const char *source);
#define sb_given_event_time(t, time) sb_given_event_time_at(t, SB_HERE_, time)
void sb_given_event_time_at(sb_test *t, sb_place place, const char *time);
void sb_given_subject(sb_test *t, const char *subject);
/* The host's clock: `sb_given_now(t, "2026-03-01T12:00:00Z")`. No timer fires. */
#define sb_given_now(t, time) sb_given_now_at(t, SB_HERE_, time)
void sb_given_now_at(sb_test *t, sb_place place, const char *time);
/* The number of the attempt for the events that follow. */
void sb_given_attempt(sb_test *t, uint32_t attempt);

void sb_given_event(sb_test *t, sb_place place, const sb_message *message, const void *value);
void sb_given_state(sb_test *t, sb_place place, const sb_type *type, const void *value);
void sb_given_answer(sb_test *t, sb_place place, const char *lookup, const char *key, const sb_type *type,
                     const void *value);
void sb_given_in_stream(sb_test *t, sb_place place, const char *subject, const sb_message *message,
                        const void *value);

/* ---- when: what happens ----------------------------------------------------------------- */

/* An event arrives. */
#define SB_WHEN(t, T, ...) sb_when(t, SB_HERE_, &sb_message_##T, SB_VALUE_(T, __VA_ARGS__))
/* An event arrives with this JSON, or these bytes, as its data. */
#define sb_when_raw(t, type, data) sb_when_raw_at(t, SB_HERE_, type, data)
/* A timer fires, whether it is set or not. */
#define SB_WHEN_TIMER(t, T, ...) sb_when_timer(t, SB_HERE_, &sb_message_##T, SB_VALUE_(T, __VA_ARGS__))
/* Time passes. The timers that become due fire one after the other, each at its time. */
#define sb_when_time_passes(t, duration) sb_when_time_passes_at(t, SB_HERE_, duration)
/* A command of the instance could not be delivered. */
#define SB_WHEN_UNDELIVERABLE(t, reason, T, ...) \
  sb_when_undeliverable(t, SB_HERE_, reason, &sb_message_##T, SB_VALUE_(T, __VA_ARGS__))
/* An operator cancels the instance. */
#define sb_when_cancelled(t, by, reason) sb_when_cancelled_at(t, SB_HERE_, by, reason)
/* The state is converted from the version `from` to `to`. */
#define sb_when_migrated(t, from, to, state) sb_when_migrated_at(t, SB_HERE_, from, to, state)

void sb_when(sb_test *t, sb_place place, const sb_message *message, const void *value);
void sb_when_raw_at(sb_test *t, sb_place place, const char *type, sb_text data);
void sb_when_timer(sb_test *t, sb_place place, const sb_message *message, const void *value);
void sb_when_time_passes_at(sb_test *t, sb_place place, sb_duration duration);
void sb_when_undeliverable(sb_test *t, sb_place place, const char *reason, const sb_message *message,
                           const void *value);
void sb_when_cancelled_at(sb_test *t, sb_place place, const char *by, const char *reason);
void sb_when_migrated_at(sb_test *t, sb_place place, uint32_t from, uint32_t to, const char *state);

/* ---- then: what must follow ------------------------------------------------------------- */

/* The next command, or the next event that is emitted, is this. */
#define SB_THEN_SENDS(t, T, ...) sb_then_message(t, SB_HERE_, true, &sb_message_##T, SB_VALUE_(T, __VA_ARGS__))
#define SB_THEN_EMITS(t, T, ...) sb_then_message(t, SB_HERE_, false, &sb_message_##T, SB_VALUE_(T, __VA_ARGS__))
/* The next command or event as it is: NULL if there is none. It counts as expected. */
const sb_raw *sb_next_command(sb_test *t);
const sb_raw *sb_next_event(sb_test *t);
/* Nothing more is sent and emitted. */
#define sb_then_nothing(t) sb_then_nothing_at(t, SB_HERE_)
/* The handler fails for a reason that contains this text, permanently or for now. */
#define sb_then_fails(t, reason) sb_then_fails_at(t, SB_HERE_, false, reason)
#define sb_then_fails_for_now(t, reason) sb_then_fails_at(t, SB_HERE_, true, reason)
/* The process is complete, or not. */
#define sb_then_completes(t) sb_then_complete_at(t, SB_HERE_, true)
#define sb_then_goes_on(t) sb_then_complete_at(t, SB_HERE_, false)
/* The event sets this timer, or cancels it. */
#define SB_THEN_TIMER(t, after, T, ...) \
  sb_then_timer(t, SB_HERE_, after, &sb_message_##T, SB_VALUE_(T, __VA_ARGS__))
#define SB_THEN_TIMER_AT(t, time, T, ...) \
  sb_then_timer_at(t, SB_HERE_, time, &sb_message_##T, SB_VALUE_(T, __VA_ARGS__))
#define SB_THEN_CANCELS_TIMER(t, T) sb_then_cancels_timer(t, SB_HERE_, &sb_message_##T)
/* The event claims, or releases, this key. */
#define sb_then_claims(t, key) sb_then_key_at(t, SB_HERE_, true, key)
#define sb_then_releases(t, key) sb_then_key_at(t, SB_HERE_, false, key)
/* The state after the event, as a T: `const Order *order = SB_THE_STATE(t, Order);` */
#define SB_THE_STATE(t, T) ((const T *)sb_the_state(t, SB_HERE_, &sb_type_##T))
/* The state as JSON is exactly this text. */
#define sb_then_state_is(t, json) sb_then_state_is_at(t, SB_HERE_, json)
/* Any other condition. */
#define SB_CHECK(t, condition) sb_check(t, SB_HERE_, condition, #condition)

void sb_then_message(sb_test *t, sb_place place, bool is_command, const sb_message *message,
                     const void *value);
void sb_then_nothing_at(sb_test *t, sb_place place);
void sb_then_fails_at(sb_test *t, sb_place place, bool transient, const char *reason);
void sb_then_complete_at(sb_test *t, sb_place place, bool complete);
void sb_then_timer(sb_test *t, sb_place place, sb_duration after, const sb_message *timer, const void *value);
void sb_then_timer_at(sb_test *t, sb_place place, const char *time, const sb_message *timer,
                      const void *value);
void sb_then_cancels_timer(sb_test *t, sb_place place, const sb_message *timer);
void sb_then_key_at(sb_test *t, sb_place place, bool claimed, const char *key);
const void *sb_the_state(sb_test *t, sb_place place, const sb_type *type);
void sb_then_state_is_at(sb_test *t, sb_place place, const char *json);
void sb_check(sb_test *t, sb_place place, bool holds, const char *condition);

#ifdef __cplusplus
}
#endif
#endif
