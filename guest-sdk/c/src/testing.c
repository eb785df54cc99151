/* The test harness: runs the tests, knows what is given, and lets things happen. */
#ifndef __wasm__

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include "testing.h"

/* A handler that asks this often in one call asks for ever. */
#define SB_ROUNDS_MAX 16
/* Timers that set each other anew without end are stopped after so many. */
#define SB_FIRED_MAX 10000
#define SB_TESTS_MAX 1000
#define SB_NOW_AT_FIRST UINT64_C(1800000000000)

static struct {
  const char *name;
  void (*run)(sb_test *t);
} tests[SB_TESTS_MAX];
static size_t test_count;
static jmp_buf after_failure;

void sb_test_register(const char *name, void (*test)(sb_test *t)) {
  if (test_count == SB_TESTS_MAX) {
    fprintf(stderr, "a file has at most %d tests\n", SB_TESTS_MAX);
    exit(2);
  }
  tests[test_count].name = name;
  tests[test_count++].run = test;
}

/* Of the failure; printed by the runner. */
static char message[4096];

void sb_test_fail(sb_place place, const char *format, ...) {
  int len = snprintf(message, sizeof message, "%s:%d: ", place.file, place.line);
  va_list list;
  va_start(list, format);
  if (len > 0 && (size_t)len < sizeof message) {
    vsnprintf(message + len, sizeof message - (size_t)len, format, list);
  }
  va_end(list);
  longjmp(after_failure, 1);
}

static void begin(sb_test *t, const sb_plugin *plugin) {
  memset(t, 0, sizeof *t);
  t->plugin = plugin;
  t->memory.arena = &t->arena;
  t->memory.plugin = plugin;
  t->key = SB_TEXT("key");
  t->source = SB_TEXT("test");
  t->configuration = SB_TEXT("{}");
  t->now = SB_NOW_AT_FIRST;
  t->attempt = 1;
}

/* Whether the test failed. Its message is left then. */
static bool fails(const sb_plugin *plugin, void (*run)(sb_test *t)) {
  sb_test *t = (sb_test *)malloc(sizeof *t);
  if (!t) abort();
  begin(t, plugin);
  int failed = setjmp(after_failure);
  if (!failed) {
    message[0] = 0;
    sb_ctx ctx = t->memory;
    sb_describe(&ctx);
    run(t);
    sb_test_settle(t, t->place);
  }
  sb_arena_free(&t->arena);
  free(t);
  return failed;
}

const char *sb_test_failure_of(sb_test *t, void (*run)(sb_test *t)) {
  jmp_buf outer;
  memcpy(&outer, &after_failure, sizeof outer);
  bool failed = fails(t->plugin, run);
  memcpy(&after_failure, &outer, sizeof outer);
  return failed ? sb_copy(&t->memory, message, strlen(message)).ptr : "";
}

int sb_test_run(const sb_plugin *plugin, int argc, char **argv) {
  int failed = 0, run = 0;
  for (size_t i = 0; i < test_count; i++) {
    if (argc > 1 && !strstr(tests[i].name, argv[1])) continue;
    bool fails_now = fails(plugin, tests[i].run);
    if (fails_now) fprintf(stderr, "%s\n", message);
    printf("%s %s\n", fails_now ? "FAILED" : "ok    ", tests[i].name);
    failed += fails_now;
    run++;
  }
  printf("%d passed, %d failed\n", run - failed, failed);
  return failed || !run ? 1 : 0;
}

sb_ctx *sb_test_memory(sb_test *t) { return &t->memory; }

/* ---- given ------------------------------------------------------------------------------ */

sb_text sb_test_json(sb_test *t, sb_place place, const sb_type *type, const void *value) {
  sb_buffer buffer = {&t->memory, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
  if (!sb_write_value(&buffer, type, value)) {
    sb_test_fail(place, "%s cannot be written as JSON: %s", type->name, sb_buffer_problem(&buffer).ptr);
  }
  return sb_buffer_text(&buffer);
}

static sb_text own(sb_test *t, const char *text) { return sb_copy(&t->memory, text, strlen(text)); }

static sb_time moment(sb_place place, const char *text) {
  sb_time time = {0, 0};
  if (!sb_time_parse(sb_text_of(text), &time)) sb_test_fail(place, "`%s` is no RFC 3339 time", text);
  return time;
}

void sb_given_key(sb_test *t, const char *key) { t->key = own(t, key); }
void sb_given_source(sb_test *t, const char *source) { t->source = own(t, source); }
void sb_given_configuration(sb_test *t, const char *json) { t->configuration = own(t, json); }
void sb_given_attempt(sb_test *t, uint32_t attempt) { t->attempt = attempt; }
void sb_given_subject(sb_test *t, const char *subject) { t->subject = sb_text_some(own(t, subject)); }

void sb_given_now_at(sb_test *t, sb_place place, const char *time) {
  t->now = (uint64_t)moment(place, time).ms;
}

void sb_given_event_time_at(sb_test *t, sb_place place, const char *time) {
  moment(place, time);
  t->event_time = sb_text_some(own(t, time));
}

void sb_given_state(sb_test *t, sb_place place, const sb_type *type, const void *value) {
  const sb_row *row = sb_row_of(t->plugin, SB_ROW_STATE_);
  if (!row) sb_test_fail(place, "only a process manager has a state");
  t->has_state = true;
  t->state.version = row->version ? row->version : 1;
  t->state.data = sb_bytes_of(sb_test_json(t, place, type, value));
}

static sb_answer *new_answer(sb_test *t) {
  t->answers = (sb_answer *)sb_grow(&t->memory, t->answers, t->answer_count, &t->answer_capacity,
                                    sizeof *t->answers);
  sb_answer *answer = &t->answers[t->answer_count++];
  memset(answer, 0, sizeof *answer);
  return answer;
}

static sb_answer *new_lookup(sb_test *t, const char *lookup, const char *key) {
  sb_answer *answer = new_answer(t);
  answer->question.tag = SB_QUESTION_LOOKUP;
  answer->question.is.lookup.name = own(t, lookup);
  answer->question.is.lookup.key = own(t, key);
  return answer;
}

void sb_given_answer(sb_test *t, sb_place place, const char *lookup, const char *key, const sb_type *type,
                     const void *value) {
  sb_answer *answer = new_lookup(t, lookup, key);
  answer->value.tag = SB_ANSWER_FOUND;
  answer->value.is.found.content_type = SB_TEXT("application/json");
  answer->value.is.found.data = sb_bytes_of(sb_test_json(t, place, type, value));
}

void sb_given_missing(sb_test *t, const char *lookup, const char *key) {
  new_lookup(t, lookup, key)->value.tag = SB_ANSWER_MISSING;
}

static sb_event event_of(sb_test *t, const char *type, sb_bytes data) {
  sb_event event;
  memset(&event, 0, sizeof event);
  event.id = SB_TEXT("event");
  event.source = t->source;
  event.type = own(t, type);
  event.subject = t->subject;
  event.time = t->event_time;
  event.datacontenttype = SB_TEXT("application/json");
  event.data = data;
  return event;
}

static sb_event typed_event(sb_test *t, sb_place place, const sb_message *message, const void *value) {
  sb_bytes data = sb_bytes_of(sb_test_json(t, place, message->data, value));
  sb_event event = event_of(t, sb_message_type(message), data);
  sb_json subject;
  sb_json json = {(const char *)data.ptr, data.len};
  for (const sb_member *member = message->data->members(); message->subject && member->name; member++) {
    if (strcmp(member->name, message->subject) != 0) continue;
    sb_text pointer = sb_format(&t->memory, "/%s", sb_json_name(&t->memory, member).ptr);
    event.subject.some = sb_json_find(json, pointer.ptr, &subject) &&
                         sb_json_text(&t->memory, subject, &event.subject.value);
  }
  return event;
}

void sb_given_in_stream(sb_test *t, sb_place place, const char *subject, const sb_message *message,
                        const void *value) {
  sb_answer *stream = NULL;
  for (size_t i = 0; i < t->answer_count; i++) {
    sb_answer *answer = &t->answers[i];
    if (answer->question.tag == SB_QUESTION_STREAM && sb_text_is(answer->question.is.stream, subject)) {
      stream = answer;
    }
  }
  if (!stream) {
    stream = new_answer(t);
    stream->question.tag = SB_QUESTION_STREAM;
    stream->question.is.stream = own(t, subject);
    stream->value.tag = SB_ANSWER_EVENTS;
  }
  sb_events *events = &stream->value.is.events;
  events->at = (sb_event *)sb_grow_list(&t->memory, events->at, events->count, sizeof *events->at);
  events->at[events->count++] = typed_event(t, place, message, value);
}

/* ---- when ------------------------------------------------------------------------------- */

/* Answers the questions of the last round. A question without an answer is a mistake of the test. */
static void answer_questions(sb_test *t, sb_place place, sb_answers *answers, const sb_questions *open) {
  for (size_t i = 0; i < open->count; i++) {
    const sb_question *asked = &open->at[i];
    sb_answer answer;
    memset(&answer, 0, sizeof answer);
    answer.question = *asked;
    answer.value.tag = asked->tag == SB_QUESTION_STREAM ? SB_ANSWER_EVENTS : SB_ANSWER_MISSING;
    bool known = asked->tag == SB_QUESTION_STREAM;
    for (size_t k = 0; k < t->answer_count; k++) {
      const sb_question *other = &t->answers[k].question;
      bool same = other->tag == asked->tag &&
                  (asked->tag == SB_QUESTION_STREAM
                       ? sb_text_equal(other->is.stream, asked->is.stream)
                       : sb_text_equal(other->is.lookup.name, asked->is.lookup.name) &&
                             sb_text_equal(other->is.lookup.key, asked->is.lookup.key));
      if (!same) continue;
      answer = t->answers[k];
      known = true;
    }
    if (!known) {
      sb_test_fail(place, "the handler asks the lookup `%s` for `%s`, and the test gives no answer",
                   asked->is.lookup.name.ptr, asked->is.lookup.key.ptr);
    }
    answers->at = (sb_answer *)sb_grow_list(&t->memory, answers->at, answers->count, sizeof answer);
    answers->at[answers->count++] = answer;
  }
}

/* ---- mistakes of the program ------------------------------------------------------------ */

static jmp_buf after_panic;
static char panicked[1024];

static void catch_panic(const char *text) {
  snprintf(panicked, sizeof panicked, "%s", text);
  longjmp(after_panic, 1);
}

#ifdef __GLIBC__
/* What `assert` calls: in a handler, it is a failure as in the host. */
void __assert_fail(const char *expression, const char *file, unsigned line, const char *function) {
  (void)function;
  sb_panic_at(file, (int)line, "assertion failed: %s", expression);
}
#endif

/* Calls the handler. A panic is a permanent failure with its text, as in the host. */
static void call_handler(sb_test *t) {
  if (setjmp(after_panic)) {
    t->last.failed = true;
    t->last.transient = false;
    t->last.questions.count = 0;
    t->last.reason = sb_copy(&t->memory, panicked, strlen(panicked));
  } else {
    sb_panic_hook = catch_panic;
    sb_decide(&t->last, t->has_state ? &t->state : NULL);
  }
  sb_panic_hook = NULL;
}

/* Asks the plugin as the host does: again and again, until it has all answers. */
static void decide(sb_test *t, sb_place place, const sb_event *event) {
  sb_event *kept = (sb_event *)sb_alloc(&t->memory, sizeof *kept);
  sb_context *context = (sb_context *)sb_alloc(&t->memory, sizeof *context);
  *kept = *event;
  context->now = t->now;
  context->attempt = t->attempt;
  context->key = t->key;
  context->configuration = t->configuration;
  context->seed[3] = 1;
  for (int round = 0; round < SB_ROUNDS_MAX; round++) {
    memset(&t->last, 0, sizeof t->last);
    t->last.arena = &t->arena;
    t->last.plugin = t->plugin;
    t->last.event = kept;
    t->last.context = context;
    call_handler(t);
    if (!t->last.questions.count) return;
    answer_questions(t, place, &context->answers, &t->last.questions);
  }
  sb_test_fail(place, "the handler asks more than %d times", SB_ROUNDS_MAX);
}

static void remove_timer(sb_test *t, sb_text name) {
  for (size_t i = 0; i < t->timer_count; i++) {
    if (!sb_text_equal(t->timers[i].name, name)) continue;
    t->timers[i] = t->timers[--t->timer_count];
    return;
  }
}

static void apply_timers(sb_test *t) {
  for (size_t i = 0; i < t->last.timers.count; i++) {
    const sb_timer_change *change = &t->last.timers.at[i];
    remove_timer(t, change->timer.name);
    if (change->tag) continue;
    t->timers = (sb_set_timer_state *)sb_grow(&t->memory, t->timers, t->timer_count, &t->timer_capacity,
                                              sizeof *t->timers);
    sb_set_timer_state *timer = &t->timers[t->timer_count++];
    timer->name = change->timer.name;
    timer->due = change->timer.due.ms + (change->timer.due.tag == SB_DUE_AFTER ? t->now : 0);
    timer->data = change->timer.data;
  }
}

static void apply(sb_test *t) {
  if (t->last.failed) return;
  if (t->last.state.ptr) {
    const sb_row *row = sb_row_of(t->plugin, SB_ROW_STATE_);
    t->has_state = true;
    t->state.version = row->version ? row->version : 1;
    t->state.data = t->last.state;
  }
  apply_timers(t);
  t->complete = t->last.complete;
  if (t->complete) t->timer_count = 0;
}

static void happen(sb_test *t, sb_place place, const sb_event *event) {
  sb_test_settle(t, place);
  t->any = true;
  t->looked = false;
  t->place = place;
  t->commands_seen = t->events_seen = 0;
  decide(t, place, event);
  apply(t);
}

/* A host could not know which instance the event is for. */
static void check_key(sb_test *t, sb_place place, const sb_event *event) {
  sb_json data = {(const char *)event->data.ptr, event->data.len}, unused;
  for (const sb_row *row = t->plugin->rows; row->kind != SB_ROW_END_; row++) {
    const char *type = row->message ? sb_message_type(row->message) : row->name;
    if (!row->key || *row->key != '/' || row->kind == SB_ROW_FIELD_ || !sb_text_is(event->type, type)) continue;
    if (!sb_json_find(data, row->key, &unused)) {
      sb_test_fail(place, "the key \"%s\" of `%s` leads to nothing in %.*s", row->key, type, (int)data.len, data.ptr);
    }
  }
}

void sb_when(sb_test *t, sb_place place, const sb_message *message, const void *value) {
  sb_event event = typed_event(t, place, message, value);
  check_key(t, place, &event);
  happen(t, place, &event);
}

void sb_given_event(sb_test *t, sb_place place, const sb_message *message, const void *value) {
  sb_when(t, place, message, value);
  if (t->last.failed) sb_test_fail(place, "the handler failed: %s", t->last.reason.ptr);
  t->any = false;
}

void sb_when_raw_at(sb_test *t, sb_place place, const char *type, sb_text data) {
  sb_event event = event_of(t, type, sb_bytes_of(sb_copy(&t->memory, data.ptr, data.len)));
  happen(t, place, &event);
}

static sb_event reserved(sb_test *t, const char *type, sb_bytes data) {
  sb_event event = event_of(t, type, data);
  event.source = SB_TEXT("/sagabox/test");
  event.subject.some = event.time.some = false;
  return event;
}

static sb_event fired(sb_test *t, sb_text name, sb_bytes data) {
  sb_event event = reserved(t, "sagabox.timer.fired", data);
  event.subject = sb_text_some(name);
  return event;
}

void sb_when_timer(sb_test *t, sb_place place, const sb_message *message, const void *value) {
  sb_bytes data = {(const uint8_t *)"", 0};
  if (message->data) data = sb_bytes_of(sb_test_json(t, place, message->data, value));
  sb_text name = own(t, sb_message_type(message));
  remove_timer(t, name);
  sb_event event = fired(t, name, data);
  happen(t, place, &event);
}

/* The timer that is due first, by its time and name; NULL if none is due until then. */
static const sb_set_timer_state *next_timer(const sb_test *t, uint64_t until) {
  const sb_set_timer_state *first = NULL;
  for (size_t i = 0; i < t->timer_count; i++) {
    const sb_set_timer_state *timer = &t->timers[i];
    bool earlier = !first || timer->due < first->due ||
                   (timer->due == first->due && sb_text_compare(timer->name, first->name) < 0);
    if (timer->due <= until && earlier) first = timer;
  }
  return first;
}

/* Puts what an earlier timer sent before what the last one sent. */
static void gather(sb_test *t, const sb_ctx *before) {
  sb_raws commands = before->commands, events = before->events;
  for (size_t i = 0; i < t->last.commands.count; i++) {
    commands.at = (sb_raw *)sb_grow_list(&t->memory, commands.at, commands.count, sizeof *commands.at);
    commands.at[commands.count++] = t->last.commands.at[i];
  }
  for (size_t i = 0; i < t->last.events.count; i++) {
    events.at = (sb_raw *)sb_grow_list(&t->memory, events.at, events.count, sizeof *events.at);
    events.at[events.count++] = t->last.events.at[i];
  }
  t->last.commands = commands;
  t->last.events = events;
}

void sb_when_time_passes_at(sb_test *t, sb_place place, sb_duration duration) {
  sb_test_settle(t, place);
  uint64_t until = t->now + (uint64_t)duration;
  sb_ctx all;
  memset(&all, 0, sizeof all);
  bool complete = t->complete;
  for (int count = 0; count < SB_FIRED_MAX; count++) {
    const sb_set_timer_state *timer = next_timer(t, until);
    if (!timer) {
      t->now = until;
      t->any = true;
      t->looked = false;
      t->place = place;
      t->commands_seen = t->events_seen = 0;
      all.complete = complete;
      t->last = all;
      return;
    }
    sb_event event = fired(t, timer->name, timer->data);
    if (timer->due > t->now) t->now = timer->due;
    remove_timer(t, event.subject.value);
    t->any = false;
    happen(t, place, &event);
    gather(t, &all);
    all = t->last;
    if (all.failed) return;
    complete = all.complete;
  }
  sb_test_fail(place, "more than %d timers fire in this time", SB_FIRED_MAX);
}

void sb_when_undeliverable(sb_test *t, sb_place place, const char *reason, const sb_message *message,
                           const void *value) {
  sb_text data = sb_test_json(t, place, message->data, value), why;
  sb_buffer quoted = {&t->memory, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
  if (!sb_write_string(&quoted, sb_text_of(reason))) sb_test_fail(place, "the reason is not UTF-8");
  why = sb_buffer_text(&quoted);
  const char *type = sb_message_type(message);
  sb_text text = sb_format(&t->memory,
                           "{\"id\":\"command\",\"type\":\"%s\",\"reason\":%s,\"attempts\":1,"
                           "\"command\":{\"id\":\"command\",\"type\":\"%s\",\"data\":%s}}",
                           type, why.ptr, type, data.ptr);
  sb_event event = reserved(t, "sagabox.command.undeliverable", sb_bytes_of(text));
  happen(t, place, &event);
}

void sb_when_cancelled_at(sb_test *t, sb_place place, const char *by, const char *reason) {
  sb_buffer buffer = {&t->memory, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
  sb_puts(&buffer, "{\"by\":");
  bool fine = sb_write_string(&buffer, sb_text_of(by));
  sb_puts(&buffer, ",\"reason\":");
  fine = fine && sb_write_string(&buffer, sb_text_of(reason));
  sb_puts(&buffer, "}");
  if (!fine) sb_test_fail(place, "a text is not UTF-8");
  sb_event event = reserved(t, "sagabox.instance.cancelled", sb_bytes_of(sb_buffer_text(&buffer)));
  happen(t, place, &event);
}

void sb_when_migrated_at(sb_test *t, sb_place place, uint32_t from, uint32_t to, const char *state) {
  sb_test_settle(t, place);
  sb_event *event = (sb_event *)sb_alloc(&t->memory, sizeof *event);
  sb_context *context = (sb_context *)sb_alloc(&t->memory, sizeof *context);
  memset(&t->last, 0, sizeof t->last);
  t->last.arena = &t->arena;
  t->last.plugin = t->plugin;
  t->last.event = event;
  t->last.context = context;
  t->any = true;
  t->looked = false;
  t->place = place;
  t->commands_seen = t->events_seen = 0;
  sb_state before = {from, sb_bytes_of(own(t, state))};
  sb_bytes after = {NULL, 0};
  if (setjmp(after_panic)) {
    t->last.failed = true;
    t->last.reason = sb_copy(&t->memory, panicked, strlen(panicked));
  } else {
    sb_panic_hook = catch_panic;
    if (sb_convert(&t->last, &before, to, &after)) {
      t->has_state = true;
      t->state.version = to;
      t->state.data = after;
    }
  }
  sb_panic_hook = NULL;
}

#endif
