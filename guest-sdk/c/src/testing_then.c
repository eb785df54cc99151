/* The test harness: what must follow. */
#ifndef __wasm__

#include <stdio.h>

#include "testing.h"

static void print_messages(const char *title, const sb_raws *messages, size_t seen) {
  for (size_t i = seen; i < messages->count; i++) {
    const sb_raw *raw = &messages->at[i];
    fprintf(stderr, "  %s: %s %.*s\n", title, raw->type.ptr, (int)raw->data.len,
            (const char *)raw->data.ptr);
  }
}

/* Nothing is left that no `then` has looked at. */
void sb_test_settle(sb_test *t, sb_place place) {
  (void)place;
  if (!t->any) return;
  t->any = false;
  if (t->last.failed && !t->looked) sb_test_fail(t->place, "the handler failed: %s", t->last.reason.ptr);
  if (t->last.failed) return;
  if (t->commands_seen < t->last.commands.count || t->events_seen < t->last.events.count) {
    print_messages("sent", &t->last.commands, t->commands_seen);
    print_messages("emitted", &t->last.events, t->events_seen);
    sb_test_fail(t->place, "more is sent than the test expects");
  }
}

static void must_decide(sb_test *t, sb_place place) {
  if (t->last.failed) sb_test_fail(place, "the handler failed: %s", t->last.reason.ptr);
}

const sb_raw *sb_next_command(sb_test *t) {
  bool any = t->commands_seen < t->last.commands.count;
  return any ? &t->last.commands.at[t->commands_seen++] : NULL;
}

const sb_raw *sb_next_event(sb_test *t) {
  bool any = t->events_seen < t->last.events.count;
  return any ? &t->last.events.at[t->events_seen++] : NULL;
}

void sb_then_message(sb_test *t, sb_place place, bool is_command, const sb_message *message,
                     const void *value) {
  must_decide(t, place);
  const char *type = sb_message_type(message);
  sb_text expected = sb_test_json(t, place, message->data, value);
  const sb_raw *sent = is_command ? sb_next_command(t) : sb_next_event(t);
  if (!sent) {
    sb_test_fail(place, "expected: %s %s\n  but nothing more was %s", type, expected.ptr,
                 is_command ? "sent" : "emitted");
  }
  sb_text data = {(const char *)sent->data.ptr, sent->data.len};
  if (!sb_text_is(sent->type, type) || !sb_text_equal(data, expected)) {
    sb_test_fail(place, "expected: %s %s\n  sent:     %s %.*s", type, expected.ptr, sent->type.ptr,
                 (int)data.len, data.ptr);
  }
}

void sb_then_nothing_at(sb_test *t, sb_place place) {
  must_decide(t, place);
  if (t->commands_seen < t->last.commands.count || t->events_seen < t->last.events.count) {
    print_messages("sent", &t->last.commands, t->commands_seen);
    print_messages("emitted", &t->last.events, t->events_seen);
    sb_test_fail(place, "more is sent than the test expects");
  }
}

void sb_then_fails_at(sb_test *t, sb_place place, bool transient, const char *reason) {
  t->looked = true;
  if (!t->last.failed) sb_test_fail(place, "expected the failure `%s`, but the handler decided", reason);
  if (!strstr(t->last.reason.ptr, reason)) {
    sb_test_fail(place, "expected the failure `%s`, not `%s`", reason, t->last.reason.ptr);
  }
  if (t->last.transient != transient) {
    sb_test_fail(place, "the failure is %s", t->last.transient ? "transient" : "permanent");
  }
}

void sb_then_complete_at(sb_test *t, sb_place place, bool complete) {
  must_decide(t, place);
  if (t->last.complete != complete) {
    sb_test_fail(place, "the process is %scomplete", complete ? "not " : "");
  }
}

static void describe_timers(const sb_test *t) {
  for (size_t i = 0; i < t->last.timers.count; i++) {
    const sb_timer_change *change = &t->last.timers.at[i];
    const char *how = change->tag ? "cancelled" : change->timer.due.tag == SB_DUE_AFTER ? "after" : "at";
    fprintf(stderr, "  timer: %s %s %llu ms %.*s\n", change->timer.name.ptr, how,
            (unsigned long long)change->timer.due.ms, (int)change->timer.data.len,
            (const char *)change->timer.data.ptr);
  }
}

static void then_due(sb_test *t, sb_place place, uint8_t due, uint64_t ms, const sb_message *timer,
                     const void *value) {
  must_decide(t, place);
  sb_text expected = SB_TEXT("");
  if (timer->data) expected = sb_test_json(t, place, timer->data, value);
  for (size_t i = 0; i < t->last.timers.count; i++) {
    const sb_timer_change *change = &t->last.timers.at[i];
    sb_text data = {(const char *)change->timer.data.ptr, change->timer.data.len};
    bool same = !change->tag && sb_text_is(change->timer.name, sb_message_type(timer)) &&
                change->timer.due.tag == due && change->timer.due.ms == ms && sb_text_equal(data, expected);
    if (same) return;
  }
  describe_timers(t);
  sb_test_fail(place, "the timer `%s` is not set so: %s %llu ms %s", sb_message_type(timer),
               due == SB_DUE_AFTER ? "after" : "at", (unsigned long long)ms, expected.ptr);
}

void sb_then_timer(sb_test *t, sb_place place, sb_duration after, const sb_message *timer,
                   const void *value) {
  then_due(t, place, SB_DUE_AFTER, (uint64_t)after, timer, value);
}

void sb_then_timer_at(sb_test *t, sb_place place, const char *time, const sb_message *timer,
                      const void *value) {
  sb_time at = {0, 0};
  if (!sb_time_parse(sb_text_of(time), &at)) sb_test_fail(place, "`%s` is no RFC 3339 time", time);
  then_due(t, place, SB_DUE_AT, (uint64_t)at.ms + (at.ns > 0), timer, value);
}

void sb_then_cancels_timer(sb_test *t, sb_place place, const sb_message *timer) {
  must_decide(t, place);
  for (size_t i = 0; i < t->last.timers.count; i++) {
    const sb_timer_change *change = &t->last.timers.at[i];
    if (change->tag && sb_text_is(change->timer.name, sb_message_type(timer))) return;
  }
  describe_timers(t);
  sb_test_fail(place, "the timer `%s` is not cancelled", sb_message_type(timer));
}

void sb_then_key_at(sb_test *t, sb_place place, bool claimed, const char *key) {
  must_decide(t, place);
  for (size_t i = 0; i < t->last.keys.count; i++) {
    const sb_key_change *change = &t->last.keys.at[i];
    if ((change->tag == 0) == claimed && sb_text_is(change->key, key)) return;
  }
  sb_test_fail(place, "the key `%s` is not %s", key, claimed ? "claimed" : "released");
}

const void *sb_the_state(sb_test *t, sb_place place, const sb_type *type) {
  must_decide(t, place);
  if (!t->has_state) sb_test_fail(place, "the instance has no state");
  const char *p = (const char *)t->state.data.ptr;
  sb_reader reader = {p, p + t->state.data.len, &t->memory, false, 0, {NULL, 0}, {NULL, 0}};
  void *value = sb_alloc(&t->memory, type->size);
  if (!sb_read_document(&reader, type, value)) {
    sb_test_fail(place, "the state is no %s: %s", type->name, sb_reader_problem(&reader).ptr);
  }
  return value;
}

void sb_then_state_is_at(sb_test *t, sb_place place, const char *json) {
  must_decide(t, place);
  if (!t->has_state) sb_test_fail(place, "the instance has no state");
  sb_text state = {(const char *)t->state.data.ptr, t->state.data.len};
  if (!sb_text_is(state, json)) {
    sb_test_fail(place, "expected the state %s\n  it is %.*s", json, (int)state.len, state.ptr);
  }
}

void sb_check(sb_test *t, sb_place place, bool holds, const char *condition) {
  (void)t;
  if (!holds) sb_test_fail(place, "this does not hold: %s", condition);
}

#endif
