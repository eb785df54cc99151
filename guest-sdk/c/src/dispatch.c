/* Finds the handler of an event, and calls it. */
#include "internal.h"

#define SB_FIRED "sagabox.timer.fired"
#define SB_UNDELIVERED "sagabox.command.undeliverable"
#define SB_CANCELLED "sagabox.instance.cancelled"

const char *sb_message_type(const sb_message *message) {
  return message->named ? message->named : message->type;
}

const sb_row *sb_row_of(const sb_plugin *plugin, sb_row_kind kind) {
  for (const sb_row *row = plugin->rows; row->kind != SB_ROW_END_; row++) {
    if (row->kind == kind) return row;
  }
  return NULL;
}

static bool takes(const sb_row *row, const sb_event *event) {
  switch (row->kind) {
    case SB_ROW_ON_:
    case SB_ROW_START_:
    case SB_ROW_START_OR_HANDLE_:
    case SB_ROW_HANDLE_:
      return sb_text_is(event->type, row->message ? sb_message_type(row->message) : row->name);
    case SB_ROW_TIMER_:
      return sb_text_is(event->type, SB_FIRED) && event->subject.some &&
             sb_text_is(event->subject.value, sb_message_type(row->message));
    case SB_ROW_UNDELIVERABLE_: return sb_text_is(event->type, SB_UNDELIVERED);
    case SB_ROW_CANCEL_: return sb_text_is(event->type, SB_CANCELLED);
    default: return false;
  }
}

static const sb_row *handler_of(sb_ctx *ctx) {
  for (const sb_row *row = ctx->plugin->rows; row->kind != SB_ROW_END_; row++) {
    if (takes(row, ctx->event)) return row;
  }
  if (sb_row_of(ctx->plugin, SB_ROW_IGNORE_UNHANDLED_)) return NULL;
  const sb_event *event = ctx->event;
  if (sb_text_is(event->type, SB_FIRED) && event->subject.some) {
    sb_fail_at(ctx, false, NULL, 0, "the plugin has no handler for the timer `%s`", event->subject.value.ptr);
  } else {
    sb_fail_at(ctx, false, NULL, 0, "the plugin has no handler for `%s`", event->type.ptr);
  }
  return NULL;
}

/* ---- what the handler gets -------------------------------------------------------------- */

#define SB_UNDELIVERABLE_MEMBERS(F)                                        \
  F(sb_text, id) F(sb_text, type) F(sb_text, reason) F(uint32_t, attempts) \
  F(sb_json, command)
#define SB_CANCELLED_MEMBERS(F) F(sb_text_opt, by) F(sb_text_opt, reason)
SB_STRUCT(undelivered, SB_UNDELIVERABLE_MEMBERS);
SB_STRUCT(cancelled, SB_CANCELLED_MEMBERS);

static const void *of_host(sb_ctx *ctx, const sb_type *type) {
  const void *value = NULL;
  sb_json data = {(const char *)ctx->event->data.ptr, ctx->event->data.len};
  sb_read(ctx, data, type, &value);
  return value;
}

static const void *undeliverable_of(sb_ctx *ctx) {
  const undelivered *read = (const undelivered *)of_host(ctx, &sb_type_undelivered);
  if (!read) return NULL;
  sb_undeliverable *command = (sb_undeliverable *)sb_alloc(ctx, sizeof *command);
  command->id = read->id;
  command->type = read->type;
  command->reason = read->reason;
  command->attempts = read->attempts;
  command->command = read->command;
  return command;
}

static const void *cancelled_of(sb_ctx *ctx) {
  const cancelled *read = (const cancelled *)of_host(ctx, &sb_type_cancelled);
  if (!read) return NULL;
  sb_cancelled *own = (sb_cancelled *)sb_alloc(ctx, sizeof *own);
  own->by = read->by.some ? read->by.value : SB_TEXT("");
  own->reason = read->reason.some ? read->reason.value : SB_TEXT("");
  return own;
}

static const void *timer_of(sb_ctx *ctx, const sb_message *timer) {
  if (!timer->data) return "";
  const void *value = NULL;
  const char *p = (const char *)ctx->event->data.ptr;
  sb_reader reader = {p, p + ctx->event->data.len, ctx, false, 0, {NULL, 0}, {NULL, 0}};
  void *read = sb_alloc(ctx, timer->data->size);
  if (sb_read_document(&reader, timer->data, read)) {
    value = read;
  } else {
    sb_fail_at(ctx, false, NULL, 0, "the data of the timer `%s` does not fit: %s", sb_message_type(timer),
               sb_reader_problem(&reader).ptr);
  }
  return value;
}

static const void *input_of(sb_ctx *ctx, const sb_row *row) {
  const void *value = NULL;
  switch (row->kind) {
    case SB_ROW_UNDELIVERABLE_: return undeliverable_of(ctx);
    case SB_ROW_CANCEL_: return cancelled_of(ctx);
    case SB_ROW_TIMER_: return timer_of(ctx, row->message);
    default:
      if (!row->message) return ctx->event;
      sb_read_event(ctx, ctx->event, row->message, &value);
      return value;
  }
}

/* ---- the state -------------------------------------------------------------------------- */

/* Reads a state. Strictly, it refuses what this version would drop. */
static void *read_state(sb_ctx *ctx, const sb_type *type, sb_bytes data, bool strict) {
  const char *p = (const char *)data.ptr;
  sb_reader reader = {p, p + data.len, ctx, strict, 0, {NULL, 0}, {NULL, 0}};
  void *value = sb_alloc(ctx, type->size);
  if (sb_read_document(&reader, type, value)) return value;
  sb_fail_at(ctx, false, NULL, 0, "the stored state does not fit: %s", sb_reader_problem(&reader).ptr);
  return NULL;
}

static bool write_state(sb_ctx *ctx, const sb_type *type, const void *value, sb_bytes *out) {
  sb_buffer buffer = {ctx, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
  if (!sb_write_value(&buffer, type, value)) {
    sb_fail_at(ctx, false, NULL, 0, "the state cannot be stored: %s", sb_buffer_problem(&buffer).ptr);
    return false;
  }
  *out = sb_bytes_of(sb_buffer_text(&buffer));
  return true;
}

static sb_result step(sb_ctx *ctx, const sb_row *row, const void *input, const sb_state *state) {
  const sb_type *type = row->data;
  bool may_start = row->kind == SB_ROW_START_ || row->kind == SB_ROW_START_OR_HANDLE_;
  if (!state && !may_start) return sb_fail_at(ctx, false, NULL, 0, "the host gave no state");
  void *value = state ? read_state(ctx, type, state->data, false) : sb_alloc(ctx, type->size);
  if (!value) return SB_STOP;
  sb_result (*call)(void *, const void *, sb_ctx *) =
      (sb_result(*)(void *, const void *, sb_ctx *))row->call;
  sb_result result = call(value, input, ctx);
  if (result == SB_OK && !ctx->failed && !ctx->questions.count) {
    write_state(ctx, type, value, &ctx->state);
  }
  return result;
}

void sb_decide(sb_ctx *ctx, const sb_state *state) {
  const sb_row *row = handler_of(ctx);
  if (!row) return;
  const void *input = input_of(ctx, row);
  if (!input) return;
  sb_result result;
  if (ctx->plugin->role == SB_ROLE_PROCESS_MANAGER_) {
    result = step(ctx, row, input, state);
  } else {
    sb_result (*call)(const void *, sb_ctx *) = (sb_result(*)(const void *, sb_ctx *))row->call;
    result = call(input, ctx);
  }
  if (result != SB_OK && !ctx->failed && !ctx->questions.count) {
    sb_fail_at(ctx, false, NULL, 0, "the handler stopped without a question and without a failure");
  }
}

bool sb_convert(sb_ctx *ctx, const sb_state *state, uint32_t to, sb_bytes *out) {
  const sb_row *row = sb_row_of(ctx->plugin, SB_ROW_STATE_);
  uint32_t own = row->version ? row->version : 1;
  sb_bytes data = state->data;
  if (state->version != to) {
    if (!row->migrate) {
      sb_fail_at(ctx, false, NULL, 0, "the plugin has no migration from version %u to %u",
                 (unsigned)state->version, (unsigned)to);
      return false;
    }
    sb_json before = {(const char *)data.ptr, data.len}, after = {NULL, 0};
    if (row->migrate(state->version, to, before, &after, ctx) != SB_OK || ctx->failed) {
      if (!ctx->failed) sb_fail_at(ctx, false, NULL, 0, "the migration stopped without a reason");
      return false;
    }
    data = sb_bytes_of_json(after);
  }
  if (to != own) {
    *out = data;
    return true;
  }
  void *value = read_state(ctx, row->data, data, true);
  return value && write_state(ctx, row->data, value, out);
}
