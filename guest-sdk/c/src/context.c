/* What a handler knows and decides: the context of one call. */
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

/* ---- failures --------------------------------------------------------------------------- */

/* The first failure counts: a later one usually follows from it. */
sb_result sb_fail_at(sb_ctx *ctx, bool transient, const char *file, int line, const char *format, ...) {
  if (ctx->failed) return SB_STOP;
  va_list list;
  va_start(list, format);
  sb_text reason = sb_format_list(ctx, format, list);
  va_end(list);
  if (file) reason = sb_format(ctx, "%s (%s:%d)", reason.ptr, file, line);
  ctx->failed = true;
  ctx->transient = transient;
  ctx->reason = reason;
  return SB_STOP;
}

/* A failure that is the caller's result. */
#define SB_FAILURE(ctx, ...) (sb_fail_at(ctx, false, NULL, 0, __VA_ARGS__), false)

/* ---- what is known ---------------------------------------------------------------------- */

sb_time sb_now(const sb_ctx *ctx) {
  sb_time now = {(int64_t)ctx->context->now, 0};
  return now;
}

bool sb_event_time(const sb_ctx *ctx, sb_time *out) {
  return ctx->event->time.some && sb_time_parse(ctx->event->time.value, out);
}

const sb_event *sb_current_event(const sb_ctx *ctx) { return ctx->event; }
sb_text sb_key(const sb_ctx *ctx) { return ctx->context->key; }
uint32_t sb_attempt(const sb_ctx *ctx) { return ctx->context->attempt; }
const uint32_t *sb_seed(const sb_ctx *ctx) { return ctx->context->seed; }

/* splitmix64: each step adds a constant, and the sum is mixed. */
uint64_t sb_random(sb_ctx *ctx) {
  const uint32_t *seed = ctx->context->seed;
  if (!ctx->random) {
    ctx->random = ((uint64_t)seed[0] << 32 | seed[1]) ^ ((uint64_t)seed[2] << 32 | seed[3]);
  }
  ctx->random += UINT64_C(0x9E3779B97F4A7C15);
  uint64_t mixed = ctx->random;
  mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94D049BB133111EB);
  return mixed ^ (mixed >> 31);
}

sb_text sb_new_id(sb_ctx *ctx) {
  uint64_t high = sb_random(ctx), low = sb_random(ctx);
  return sb_format(ctx, "%016llx%016llx", (unsigned long long)high, (unsigned long long)low);
}

bool sb_extension_of(const sb_event *event, const char *name, sb_text *out) {
  for (size_t i = 0; i < event->extensions.count; i++) {
    if (sb_text_is(event->extensions.at[i].name, name)) {
      *out = event->extensions.at[i].value;
      return true;
    }
  }
  return false;
}

/* ---- reading ---------------------------------------------------------------------------- */

/* Reads the data into a new value. `what` begins the reason if it does not fit. */
static bool read_data(sb_ctx *ctx, sb_bytes data, const sb_type *type, bool strict, sb_text what,
                      const void **out) {
  const char *p = (const char *)data.ptr;
  sb_reader reader = {p, p + data.len, ctx, strict, 0, {NULL, 0}, {NULL, 0}};
  void *value = sb_alloc(ctx, type->size);
  *out = value;
  if (sb_read_document(&reader, type, value)) return true;
  *out = NULL;
  return SB_FAILURE(ctx, "%s: %s", what.ptr, sb_reader_problem(&reader).ptr);
}

bool sb_read_event(sb_ctx *ctx, const sb_event *event, const sb_message *message, const void **out) {
  *out = NULL;
  if (!sb_text_is(event->type, sb_message_type(message))) return false;
  sb_text what = sb_format(ctx, "the data of `%s` does not fit", sb_message_type(message));
  return read_data(ctx, event->data, message->data, false, what, out);
}

bool sb_read_command(sb_ctx *ctx, const sb_undeliverable *command, const sb_message *message,
                     const void **out) {
  const char *type = sb_message_type(message);
  *out = NULL;
  if (!sb_text_is(command->type, type)) return false;
  sb_json data;
  if (!sb_json_find(command->command, "/data", &data)) {
    return SB_FAILURE(ctx, "the data of `%s` is not JSON", type);
  }
  sb_text what = sb_format(ctx, "the data of `%s` does not fit", type);
  return read_data(ctx, sb_bytes_of_json(data), message->data, false, what, out);
}

bool sb_config(sb_ctx *ctx, const sb_type *type, const void **out) {
  sb_text what = SB_TEXT("the plugin's configuration");
  return read_data(ctx, sb_bytes_of(ctx->context->configuration), type, true, what, out);
}

/* ---- questions -------------------------------------------------------------------------- */

static bool is_same(const sb_question *one, const sb_question *other) {
  if (one->tag != other->tag) return false;
  if (one->tag == SB_QUESTION_STREAM) return sb_text_equal(one->is.stream, other->is.stream);
  return sb_text_equal(one->is.lookup.name, other->is.lookup.name) &&
         sb_text_equal(one->is.lookup.key, other->is.lookup.key);
}

/* The answer to a question; NULL if the host has to answer first. */
static const sb_answer *answer_to(sb_ctx *ctx, sb_question question) {
  const sb_answers *answers = &ctx->context->answers;
  for (size_t i = 0; i < answers->count; i++) {
    if (is_same(&answers->at[i].question, &question)) return &answers->at[i];
  }
  sb_questions *open = &ctx->questions;
  for (size_t i = 0; i < open->count; i++) {
    if (is_same(&open->at[i], &question)) return NULL;
  }
  open->at = (sb_question *)sb_grow_list(ctx, open->at, open->count, sizeof *open->at);
  open->at[open->count++] = question;
  return NULL;
}

static bool has_row(sb_ctx *ctx, sb_row_kind kind, const char *name) {
  for (const sb_row *row = ctx->plugin->rows; row->kind != SB_ROW_END_; row++) {
    const char *own = row->message ? sb_message_type(row->message) : row->name;
    if (row->kind == kind && (!name || strcmp(own, name) == 0)) return true;
  }
  return false;
}

static bool is_text(sb_ctx *ctx, sb_text text, const char *what) {
  if (text.ptr && sb_is_utf8(text.ptr, text.len)) return true;
  return SB_FAILURE(ctx, "%s %s", what, text.ptr ? "is not UTF-8" : "is not set");
}

bool sb_lookup_raw(sb_ctx *ctx, const char *name, sb_text key, bool *found, sb_text *content_type,
                   sb_bytes *data) {
  *found = false;
  if (!is_text(ctx, key, "the key of a lookup")) return false;
  if (!has_row(ctx, SB_ROW_LOOKUP_, name)) {
    return SB_FAILURE(ctx, "the plugin asks the lookup `%s`, and does not declare SB_ASKS(\"%s\")", name,
                      name);
  }
  sb_question question;
  memset(&question, 0, sizeof question);
  question.tag = SB_QUESTION_LOOKUP;
  question.is.lookup.name = sb_text_of(name);
  question.is.lookup.key = key;
  const sb_answer *answer = answer_to(ctx, question);
  if (!answer) return false;
  if (answer->value.tag == SB_ANSWER_FOUND) {
    *found = true;
    *content_type = answer->value.is.found.content_type;
    *data = answer->value.is.found.data;
  }
  return true;
}

bool sb_lookup(sb_ctx *ctx, const char *name, sb_text key, const sb_type *type, const void **out) {
  bool found = false;
  sb_text content_type;
  sb_bytes data;
  *out = NULL;
  if (!sb_lookup_raw(ctx, name, key, &found, &content_type, &data)) return false;
  if (!found) return true;
  sb_text what = sb_format(ctx, "the answer of lookup `%s` does not fit", name);
  return read_data(ctx, data, type, false, what, out);
}

bool sb_stream(sb_ctx *ctx, sb_text subject, sb_events *out) {
  memset(out, 0, sizeof *out);
  if (!is_text(ctx, subject, "the subject of a stream")) return false;
  if (!has_row(ctx, SB_ROW_STREAMS_, NULL)) {
    return SB_FAILURE(ctx, "the plugin asks for a stream, and does not declare SB_ASKS_STREAMS");
  }
  sb_question question;
  memset(&question, 0, sizeof question);
  question.tag = SB_QUESTION_STREAM;
  question.is.stream = subject;
  const sb_answer *answer = answer_to(ctx, question);
  if (answer && answer->value.tag == SB_ANSWER_EVENTS) *out = answer->value.is.events;
  return answer != NULL;
}

/* ---- messages --------------------------------------------------------------------------- */

static bool push(sb_ctx *ctx, sb_row_kind kind, sb_raw message) {
  bool is_command = kind == SB_ROW_SENDS_;
  sb_raws *list = is_command ? &ctx->commands : &ctx->events;
  if (!has_row(ctx, kind, message.type.ptr)) {
    return SB_FAILURE(ctx, "the plugin %s `%s`, and does not declare %s", is_command ? "sends" : "emits",
                      message.type.ptr, is_command ? "SB_SENDS" : "SB_EMITS");
  }
  if (message.subject.some && !is_text(ctx, message.subject.value, "the subject of a message")) return false;
  if (!message.datacontenttype.ptr) message.datacontenttype = SB_TEXT("application/json");
  for (size_t i = 0; i < message.extensions.count; i++) {
    if (!is_text(ctx, message.extensions.at[i].value, "the value of an extension")) return false;
  }
  list->at = (sb_raw *)sb_grow_list(ctx, list->at, list->count, sizeof *list->at);
  ctx->last = &list->at[list->count++];
  *ctx->last = message;
  return true;
}

/* The member that is the subject, as text. */
static bool subject_of(sb_ctx *ctx, const sb_message *message, const void *value, sb_text_opt *out) {
  if (!message->subject) return true;
  for (const sb_member *member = message->data->members(); member->name; member++) {
    if (strcmp(member->name, message->subject) != 0) continue;
    const char *at = (const char *)value + member->offset;
    out->some = true;
    if (member->type->kind == SB_KIND_TEXT_) {
      memcpy(&out->value, at, sizeof out->value);
      return true;
    }
    sb_buffer buffer = {ctx, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
    if (!sb_write_value(&buffer, member->type, at)) break;
    out->value = sb_buffer_text(&buffer);
    return true;
  }
  return SB_FAILURE(ctx, "`%s` has no member `%s` for its subject", sb_message_type(message),
                    message->subject);
}

static bool send(sb_ctx *ctx, sb_row_kind kind, const sb_message *message, const void *value) {
  sb_raw raw;
  memset(&raw, 0, sizeof raw);
  raw.type = sb_text_of(sb_message_type(message));
  sb_buffer buffer = {ctx, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
  if (!sb_write_value(&buffer, message->data, value)) {
    return SB_FAILURE(ctx, "`%s` cannot be sent: %s", raw.type.ptr, sb_buffer_problem(&buffer).ptr);
  }
  raw.data = sb_bytes_of(sb_buffer_text(&buffer));
  return subject_of(ctx, message, value, &raw.subject) && push(ctx, kind, raw);
}

bool sb_send(sb_ctx *ctx, const sb_message *message, const void *value) {
  return send(ctx, SB_ROW_SENDS_, message, value);
}

bool sb_emit(sb_ctx *ctx, const sb_message *message, const void *value) {
  return send(ctx, SB_ROW_EMITS_, message, value);
}

bool sb_send_raw(sb_ctx *ctx, sb_raw message) {
  return is_text(ctx, message.type, "the type of a command") && push(ctx, SB_ROW_SENDS_, message);
}

bool sb_emit_raw(sb_ctx *ctx, sb_raw message) {
  return is_text(ctx, message.type, "the type of an event") && push(ctx, SB_ROW_EMITS_, message);
}

bool sb_add_extension(sb_ctx *ctx, const char *name, sb_text value) {
  if (!ctx->last) return SB_FAILURE(ctx, "the extension `%s` belongs to no message", name);
  if (!is_text(ctx, value, "the value of an extension")) return false;
  sb_extensions *own = &ctx->last->extensions;
  sb_extension *larger = (sb_extension *)sb_alloc(ctx, (own->count + 1) * sizeof *larger);
  if (own->count) memcpy(larger, own->at, own->count * sizeof *larger);
  larger[own->count].name = sb_text_of(name);
  larger[own->count].value = value;
  own->at = larger;
  own->count++;
  return true;
}

/* ---- timers, keys, completion ----------------------------------------------------------- */

static bool push_timer(sb_ctx *ctx, sb_timer_change change) {
  sb_timer_changes *list = &ctx->timers;
  if (!has_row(ctx, SB_ROW_TIMER_, change.timer.name.ptr)) {
    return SB_FAILURE(ctx, "the plugin has no SB_ON_TIMER for the timer `%s`", change.timer.name.ptr);
  }
  list->at = (sb_timer_change *)sb_grow_list(ctx, list->at, list->count, sizeof *list->at);
  list->at[list->count++] = change;
  return true;
}

static bool set_timer(sb_ctx *ctx, uint8_t due, uint64_t ms, const sb_message *timer, const void *value) {
  sb_timer_change change;
  memset(&change, 0, sizeof change);
  change.timer.name = sb_text_of(sb_message_type(timer));
  change.timer.due.tag = due;
  change.timer.due.ms = ms;
  change.timer.data.ptr = (const uint8_t *)"";
  if (timer->data) {
    sb_buffer buffer = {ctx, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
    if (!sb_write_value(&buffer, timer->data, value)) {
      return SB_FAILURE(ctx, "the timer `%s` cannot be set: %s", change.timer.name.ptr,
                        sb_buffer_problem(&buffer).ptr);
    }
    change.timer.data = sb_bytes_of(sb_buffer_text(&buffer));
  }
  return push_timer(ctx, change);
}

bool sb_set_timer(sb_ctx *ctx, sb_duration after, const sb_message *timer, const void *value) {
  if (after < 0) {
    return SB_FAILURE(ctx, "the timer `%s` cannot be set: %lld ms is negative", sb_message_type(timer), (long long)after);
  }
  return set_timer(ctx, SB_DUE_AFTER, (uint64_t)after, timer, value);
}

bool sb_set_timer_at(sb_ctx *ctx, sb_time at, const sb_message *timer, const void *value) {
  if (at.ms < 0) {
    return SB_FAILURE(ctx, "the timer `%s` cannot be set: %s is before 1970", sb_message_type(timer), sb_time_text(ctx, at).ptr);
  }
  /* A part of a millisecond counts as a whole: a timer is never early. */
  return set_timer(ctx, SB_DUE_AT, (uint64_t)at.ms + (at.ns > 0), timer, value);
}

bool sb_cancel_timer(sb_ctx *ctx, const sb_message *timer) {
  sb_timer_change change;
  memset(&change, 0, sizeof change);
  change.tag = 1;
  change.timer.name = sb_text_of(sb_message_type(timer));
  return push_timer(ctx, change);
}

static bool change_key(sb_ctx *ctx, uint8_t tag, sb_text key) {
  sb_key_changes *list = &ctx->keys;
  if (ctx->plugin->role != SB_ROLE_PROCESS_MANAGER_) {
    return SB_FAILURE(ctx, "only a process manager claims and releases keys");
  }
  if (!is_text(ctx, key, "a key")) return false;
  list->at = (sb_key_change *)sb_grow_list(ctx, list->at, list->count, sizeof *list->at);
  list->at[list->count].tag = tag;
  list->at[list->count++].key = key;
  return true;
}

bool sb_claim(sb_ctx *ctx, sb_text key) { return change_key(ctx, 0, key); }
bool sb_release(sb_ctx *ctx, sb_text key) { return change_key(ctx, 1, key); }

bool sb_complete(sb_ctx *ctx) {
  if (ctx->plugin->role != SB_ROLE_PROCESS_MANAGER_) {
    return SB_FAILURE(ctx, "only a process manager completes");
  }
  ctx->complete = true;
  return true;
}

/* ---- the log ---------------------------------------------------------------------------- */

#define SB_LINE_MAX 4096

static void log_list(sb_level level, const char *format, va_list list) {
  char line[SB_LINE_MAX];
  int len = vsnprintf(line, sizeof line, format, list);
  if (len < 0) return;
  size_t kept = (size_t)len < sizeof line ? (size_t)len : sizeof line - 1;
  /* The host takes UTF-8 alone. */
  for (size_t i = 0; !sb_is_utf8(line, kept) && i < kept; i++) {
    if ((uint8_t)line[i] >= 0x80) line[i] = '?';
  }
  sb_flush_output();
  sb_host_log(level, line, kept);
}

void sb_log(sb_level level, const char *format, ...) {
  va_list list;
  va_start(list, format);
  log_list(level, format, list);
  va_end(list);
}

void (*sb_panic_hook)(const char *text);

void sb_panic_at(const char *file, int line, const char *format, ...) {
  char message[SB_LINE_MAX / 2], text[SB_LINE_MAX];
  va_list list;
  va_start(list, format);
  vsnprintf(message, sizeof message, format, list);
  va_end(list);
  /* A mistake in a plugin's table has no line. */
  if (line) {
    snprintf(text, sizeof text, "%s:%d: %s", file, line, message);
  } else {
    snprintf(text, sizeof text, "%s: %s", file, message);
  }
  if (sb_panic_hook) sb_panic_hook(text);
  sb_log(SB_ERROR, "%s", text);
  sb_abort();
}
