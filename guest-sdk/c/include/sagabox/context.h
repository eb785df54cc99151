/* What a handler can know and decide.
 *
 * A function that can fail returns false and notes the failure in the context; the failure takes effect
 * also if the handler does not look at the result. So a handler has to check only what it depends on. */
#ifndef SAGABOX_CONTEXT_H
#define SAGABOX_CONTEXT_H

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what is known ---------------------------------------------------------------------- */

/* The host's clock: the same in every call for this event, and in every replay. */
sb_time sb_now(const sb_ctx *ctx);
/* When the event happened, by its sender. False if that is not known. */
bool sb_event_time(const sb_ctx *ctx, sb_time *out);
/* The event as it came. */
const sb_event *sb_current_event(const sb_ctx *ctx);
/* The correlation key by which the event came; of a process manager, the key of the instance. */
sb_text sb_key(const sb_ctx *ctx);
/* 1 for the first attempt. */
uint32_t sb_attempt(const sb_ctx *ctx);
/* Four numbers that differ from event to event, and are the same in every retry of one event. */
const uint32_t *sb_seed(const sb_ctx *ctx);
/* Numbers that look random, and are the same in every retry of one event. */
uint64_t sb_random(sb_ctx *ctx);
/* 32 hexadecimal digits that look random, for a new id. */
sb_text sb_new_id(sb_ctx *ctx);
/* The value of an extension attribute. False if the event has none of this name. */
bool sb_extension_of(const sb_event *event, const char *name, sb_text *out);

/* The data of an event as T. False if the event is of another type, or if its data does not fit;
 * then the failure is noted: `if (SB_READ_EVENT(ctx, event, ItemAdded, &added)) …` */
#define SB_READ_EVENT(ctx, event, T, out) \
  sb_read_event(ctx, event, &sb_message_##T, (const void **)SB_OUT_(T, out))
bool sb_read_event(sb_ctx *ctx, const sb_event *event, const sb_message *message, const void **out);
/* The same for a command that could not be delivered. */
#define SB_READ_COMMAND(ctx, command, T, out) \
  sb_read_command(ctx, command, &sb_message_##T, (const void **)SB_OUT_(T, out))
bool sb_read_command(sb_ctx *ctx, const sb_undeliverable *command, const sb_message *message,
                     const void **out);

/* The plugin's section of the host's configuration. */
#define SB_CONFIG(ctx, T, out) sb_config(ctx, &sb_type_##T, (const void **)SB_OUT_(T, out))
bool sb_config(sb_ctx *ctx, const sb_type *type, const void **out);

/* ---- questions -------------------------------------------------------------------------- */

/* What a lookup knows under a key: a T, or NULL if it knows nothing.
 *
 * False if the host has to answer first: leave the handler then, and the host calls it again from
 * its beginning. Nothing that it has decided until then takes effect. To ask several questions at
 * once, ask them all before the handler leaves. */
#define SB_LOOKUP(ctx, name, key, T, out) \
  sb_lookup(ctx, name, key, &sb_type_##T, (const void **)SB_OUT_(T, out))
bool sb_lookup(sb_ctx *ctx, const char *name, sb_text key, const sb_type *type, const void **out);
/* The same, with the answer as it came: `*found` is false if the lookup knows nothing. */
bool sb_lookup_raw(sb_ctx *ctx, const char *name, sb_text key, bool *found, sb_text *content_type,
                   sb_bytes *data);
/* The events of a subject before this one, in the order of the log. False as for SB_LOOKUP. */
bool sb_stream(sb_ctx *ctx, sb_text subject, sb_events *out);

/* ---- decisions -------------------------------------------------------------------------- */

/* Sends a command, or emits an event: `SB_SEND(ctx, ShipOrder, .order_id = id)`. */
#define SB_SEND(ctx, T, ...) sb_send(ctx, &sb_message_##T, SB_VALUE_(T, __VA_ARGS__))
#define SB_EMIT(ctx, T, ...) sb_emit(ctx, &sb_message_##T, SB_VALUE_(T, __VA_ARGS__))
/* The same for a message that is a variable already: `SB_SEND_THIS(ctx, ShipOrder, &command)`. */
#define SB_SEND_THIS(ctx, T, value) sb_send(ctx, &sb_message_##T, SB_POINTER_(T, value))
#define SB_EMIT_THIS(ctx, T, value) sb_emit(ctx, &sb_message_##T, SB_POINTER_(T, value))
bool sb_send(sb_ctx *ctx, const sb_message *message, const void *value);
bool sb_emit(sb_ctx *ctx, const sb_message *message, const void *value);
/* Sends bytes of any content type. */
bool sb_send_raw(sb_ctx *ctx, sb_raw message);
bool sb_emit_raw(sb_ctx *ctx, sb_raw message);
/* Adds an extension attribute to the message that was sent or emitted last. */
bool sb_add_extension(sb_ctx *ctx, const char *name, sb_text value);

/* Sets a timer, or sets it again: `SB_SET_TIMER(ctx, SB_HOURS(24), Reminder, .times = 1)`. */
#define SB_SET_TIMER(ctx, after, T, ...) \
  sb_set_timer(ctx, after, &sb_message_##T, SB_VALUE_(T, __VA_ARGS__))
#define SB_SET_TIMER_AT(ctx, at, T, ...) \
  sb_set_timer_at(ctx, at, &sb_message_##T, SB_VALUE_(T, __VA_ARGS__))
#define SB_CANCEL_TIMER(ctx, T) sb_cancel_timer(ctx, &sb_message_##T)
bool sb_set_timer(sb_ctx *ctx, sb_duration after, const sb_message *timer, const void *value);
bool sb_set_timer_at(sb_ctx *ctx, sb_time at, const sb_message *timer, const void *value);
bool sb_cancel_timer(sb_ctx *ctx, const sb_message *timer);

/* Events with this key reach the instance too, from now on; or no longer. */
bool sb_claim(sb_ctx *ctx, sb_text key);
bool sb_release(sb_ctx *ctx, sb_text key);
/* The process is complete: its timers are cancelled, and events that still come for it are ignored. */
bool sb_complete(sb_ctx *ctx);

/* ---- failures and the log --------------------------------------------------------------- */

/* A permanent failure: the event becomes a dead letter. `return sb_fail(ctx, "no order %s", id.ptr);`
 * The reason contains the file and the line. */
#define sb_fail(ctx, ...) sb_fail_at(ctx, false, __FILE__, __LINE__, __VA_ARGS__)
/* A transient failure: the host retries. */
#define sb_fail_transient(ctx, ...) sb_fail_at(ctx, true, __FILE__, __LINE__, __VA_ARGS__)
sb_result sb_fail_at(sb_ctx *ctx, bool transient, const char *file, int line, const char *format,
                     ...) SB_FORMAT_(5, 6);

typedef enum sb_level { SB_TRACE, SB_DEBUG, SB_INFO, SB_WARN, SB_ERROR } sb_level;

/* Writes a line to the host's log, which adds the plugin, the key and the event. What a plugin
 * prints to stdout is logged at the level info, to stderr at warn. */
void sb_log(sb_level level, const char *format, ...) SB_FORMAT_(2, 3);

#ifdef __cplusplus
}

/* The address of a value, for as long as the whole expression. */
template <typename T>
inline const T *sb_address_of_value(const T &value) {
  return &value;
}
#define SB_VALUE_(T, ...) sb_address_of_value<T>(T{__VA_ARGS__})
#else
#define SB_VALUE_(T, ...) (&(const T){__VA_ARGS__})
#endif

#endif
