/* What the two files of the test harness share. */
#ifndef SAGABOX_TESTING_H
#define SAGABOX_TESTING_H

#include "internal.h"
#include "sagabox_test.h"

typedef struct sb_set_timer_state {
  sb_text name;
  uint64_t due;
  sb_bytes data;
} sb_set_timer_state;

struct sb_test {
  const sb_plugin *plugin;
  sb_arena arena; /* lives as long as the test */
  sb_ctx memory;

  /* given */
  sb_text key, source, configuration;
  sb_text_opt event_time, subject;
  uint64_t now;
  uint32_t attempt;
  sb_answer *answers;
  size_t answer_count, answer_capacity;

  /* the instance */
  bool has_state;
  sb_state state;
  sb_set_timer_state *timers;
  size_t timer_count, timer_capacity;
  bool complete;

  /* what the last `when` led to */
  bool any;         /* there was one */
  bool looked;      /* a `then` has looked at the failure */
  sb_place place;   /* of the `when` */
  sb_ctx last;
  size_t commands_seen, events_seen;
};

/* Ends the test. */
__attribute__((noreturn)) void sb_test_fail(sb_place place, const char *format, ...) SB_FORMAT_(2, 3);
/* The message with which a test fails; empty if it passes. Runs it with a test of its own. */
const char *sb_test_failure_of(sb_test *t, void (*run)(sb_test *t));
/* The JSON of a value of the test. */
sb_text sb_test_json(sb_test *t, sb_place place, const sb_type *type, const void *value);
/* Nothing of the last `when` is unexpected. */
void sb_test_settle(sb_test *t, sb_place place);

#endif
