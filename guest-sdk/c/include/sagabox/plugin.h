/* The table that says what a plugin is: its name, what it handles, and what it sends.
 *
 * A program declares one plugin for each role that it plays. Each declaration also exports the
 * functions that the host calls. */
#ifndef SAGABOX_PLUGIN_H
#define SAGABOX_PLUGIN_H

#include "data.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a handler returns. */
typedef enum sb_result {
  /* The decision takes effect, if nothing failed and no question is open. */
  SB_OK,
  /* The handler stops: a question has to be answered first, or something failed. What it is, is
   * noted in the context. */
  SB_STOP
} sb_result;

/* Leaves the handler if the expression is false: `SB_TRY(SB_LOOKUP(ctx, "stock", sku, Stock, &stock));` */
#define SB_TRY(expression)          \
  do {                              \
    if (!(expression)) return SB_STOP; \
  } while (0)

/* ---- what arrives and what leaves ------------------------------------------------------- */

typedef struct sb_extension {
  sb_text name;
  sb_text value;
} sb_extension;

typedef struct sb_extensions {
  sb_extension *at;
  size_t count;
} sb_extensions;

/* An event as it came: its CloudEvents attributes, and its data byte for byte. */
typedef struct sb_event {
  sb_text id;
  sb_text source;
  sb_text type;
  sb_text_opt subject;
  sb_text_opt time; /* RFC 3339, as the sender wrote it */
  sb_text datacontenttype;
  sb_text_opt dataschema;
  sb_extensions extensions;
  sb_bytes data;
} sb_event;

typedef struct sb_events {
  sb_event *at;
  size_t count;
} sb_events;

/* A command or an emitted event with data of any kind. */
typedef struct sb_raw {
  sb_text type;
  sb_text_opt subject;
  sb_text datacontenttype; /* `application/json` if it is not set */
  sb_extensions extensions;
  sb_bytes data;
} sb_raw;

/* A command of the instance that became a dead letter. */
typedef struct sb_undeliverable {
  sb_text id;
  sb_text type;
  sb_text reason;
  uint32_t attempts;
  sb_json command; /* the command as it was sent: a CloudEvent as JSON */
} sb_undeliverable;

/* An operator's request to cancel the instance. */
typedef struct sb_cancelled {
  sb_text by;
  sb_text reason;
} sb_cancelled;

/* ---- the table -------------------------------------------------------------------------- */

typedef enum sb_role { SB_ROLE_SAGA_, SB_ROLE_PROCESS_MANAGER_, SB_ROLE_REACTOR_, SB_ROLE_ENRICHER_ } sb_role;

typedef enum sb_row_kind {
  SB_ROW_END_,
  SB_ROW_ON_,
  SB_ROW_START_,
  SB_ROW_START_OR_HANDLE_,
  SB_ROW_HANDLE_,
  SB_ROW_TIMER_,
  SB_ROW_UNDELIVERABLE_,
  SB_ROW_CANCEL_,
  SB_ROW_SENDS_,
  SB_ROW_EMITS_,
  SB_ROW_LOOKUP_,
  SB_ROW_STREAMS_,
  SB_ROW_STATE_,
  SB_ROW_CONFIGURATION_,
  SB_ROW_FIELD_,
  SB_ROW_SUMMARY_,
  SB_ROW_IGNORE_UNHANDLED_
} sb_row_kind;

typedef void (*sb_any_function)(void);
/* Converts a state of the version `from` to the version `to`. */
typedef sb_result (*sb_migrate)(uint32_t from, uint32_t to, sb_json state, sb_json *out, sb_ctx *ctx);

typedef struct sb_row {
  sb_row_kind kind;
  const char *name;          /* an event type without a struct, a lookup, a field, a summary */
  const sb_message *message; /* NULL: the handler takes the event as it came */
  const sb_type *data;       /* the state that the handler takes; a state; a configuration */
  sb_any_function call;

  /* Where the correlation key of the event is: a JSON Pointer into its data (`/orderId`), or the
   * name of an attribute (`subject`, `source`, an extension). A field's place in the state. */
  const char *key;
  /* Takes only the events of this sender, or of senders that begin so. */
  const char *source;
  const char *source_prefix;
  /* If no instance has claimed the key: the event waits so long for one, */
  sb_duration hold;
  /* or becomes a dead letter. Otherwise it is ignored. */
  bool absent_fails;

  /* The version of the state, 1 if it is not set, and how other versions are converted. */
  uint32_t version;
  sb_migrate migrate;
} sb_row;

typedef struct sb_plugin {
  sb_role role;
  const char *name;
  const char *version;
  const char *description;
  const sb_row *rows;
  const char *file;
} sb_plugin;

/* Checks the parameters of a function at compile time, and gives it the type of the table. */
#define SB_FUNCTION_(function, ...) ((sb_any_function)(1 ? (function) : (sb_result(*)(__VA_ARGS__))0))

/* `fn(const Event *event, sb_ctx *ctx)` handles an event. */
#define SB_ON(Event, function, ...)                                                \
  {.kind = SB_ROW_ON_, .message = &sb_message_##Event,                             \
   .call = SB_FUNCTION_(function, const Event *, sb_ctx *), __VA_ARGS__}
/* `fn(const sb_event *event, sb_ctx *ctx)` handles an event type as it came. */
#define SB_ON_RAW(event_type, function, ...)                                       \
  {.kind = SB_ROW_ON_, .name = event_type,                                         \
   .call = SB_FUNCTION_(function, const sb_event *, sb_ctx *), __VA_ARGS__}

#define SB_STATE_ROW_(row, State, Event, function, ...)                            \
  {.kind = row, .message = &sb_message_##Event, .data = &sb_type_##State,          \
   .call = SB_FUNCTION_(function, State *, const Event *, sb_ctx *), __VA_ARGS__}
#define SB_STATE_RAW_ROW_(row, State, event_type, function, ...)                   \
  {.kind = row, .name = event_type, .data = &sb_type_##State,                      \
   .call = SB_FUNCTION_(function, State *, const sb_event *, sb_ctx *), __VA_ARGS__}

/* Of process managers: `fn(State *state, const Event *event, sb_ctx *ctx)`.
 * SB_START starts the instance of the event's key, with a zeroed state. An instance that exists ignores it. */
#define SB_START(State, Event, ...) SB_STATE_ROW_(SB_ROW_START_, State, Event, __VA_ARGS__)
#define SB_START_RAW(State, type, ...) SB_STATE_RAW_ROW_(SB_ROW_START_, State, type, __VA_ARGS__)
/* Starts the instance with a zeroed state, or continues the one that exists. */
#define SB_START_OR_HANDLE(State, Event, ...) \
  SB_STATE_ROW_(SB_ROW_START_OR_HANDLE_, State, Event, __VA_ARGS__)
#define SB_START_OR_HANDLE_RAW(State, type, ...) \
  SB_STATE_RAW_ROW_(SB_ROW_START_OR_HANDLE_, State, type, __VA_ARGS__)
/* Continues each instance that has claimed the key. */
#define SB_HANDLE(State, Event, ...) SB_STATE_ROW_(SB_ROW_HANDLE_, State, Event, __VA_ARGS__)
#define SB_HANDLE_RAW(State, type, ...) SB_STATE_RAW_ROW_(SB_ROW_HANDLE_, State, type, __VA_ARGS__)

/* `fn(State *state, const Timer *timer, sb_ctx *ctx)` is called when the timer is due. */
#define SB_ON_TIMER(State, Timer, function)                                        \
  {.kind = SB_ROW_TIMER_, .message = &sb_message_##Timer, .data = &sb_type_##State, \
   .call = SB_FUNCTION_(function, State *, const Timer *, sb_ctx *)}
/* `fn(State *state, const sb_undeliverable *command, sb_ctx *ctx)` compensates a command of the
 * instance that could not be delivered, also when the instance is complete. */
#define SB_ON_UNDELIVERABLE(State, function)                                       \
  {.kind = SB_ROW_UNDELIVERABLE_, .data = &sb_type_##State,                        \
   .call = SB_FUNCTION_(function, State *, const sb_undeliverable *, sb_ctx *)}
/* `fn(State *state, const sb_cancelled *cancelled, sb_ctx *ctx)`: an operator cancels the instance. */
#define SB_ON_CANCEL(State, function)                                              \
  {.kind = SB_ROW_CANCEL_, .data = &sb_type_##State,                               \
   .call = SB_FUNCTION_(function, State *, const sb_cancelled *, sb_ctx *)}

/* The plugin may send this command, or emit this event. */
#define SB_SENDS(Command) {.kind = SB_ROW_SENDS_, .message = &sb_message_##Command}
#define SB_EMITS(Event) {.kind = SB_ROW_EMITS_, .message = &sb_message_##Event}
/* The same for messages that `sb_send_raw` and `sb_emit_raw` send. */
#define SB_SENDS_RAW(command_type) {.kind = SB_ROW_SENDS_, .name = command_type}
#define SB_EMITS_RAW(event_type) {.kind = SB_ROW_EMITS_, .name = event_type}
/* The plugin asks this lookup, or streams of the log. */
#define SB_ASKS(lookup) {.kind = SB_ROW_LOOKUP_, .name = lookup}
#define SB_ASKS_STREAMS {.kind = SB_ROW_STREAMS_}
/* The state of a process manager: `SB_STATE(Order, .version = 2, .migrate = migrate)`. */
#define SB_STATE(State, ...) {.kind = SB_ROW_STATE_, .data = &sb_type_##State, __VA_ARGS__}
/* The plugin's section of the host's configuration. */
#define SB_CONFIGURATION(Settings) {.kind = SB_ROW_CONFIGURATION_, .data = &sb_type_##Settings}
/* A field by which instances are listed, `SB_FIELD("city", "/address/city")`, and the line that
 * describes an instance, `SB_SUMMARY("order {id}: {total}")`. Without these rows, the fields are
 * the members of the state that are one value. */
#define SB_FIELD(field, pointer) {.kind = SB_ROW_FIELD_, .name = field, .key = pointer}
#define SB_SUMMARY(text) {.kind = SB_ROW_SUMMARY_, .name = text}
/* An event or a timer without a handler is ignored. Without this row, it becomes a dead letter. */
#define SB_IGNORE_UNHANDLED {.kind = SB_ROW_IGNORE_UNHANDLED_}

#ifdef __cplusplus
}
#define SB_EXTERN_C_ extern "C"
#else
#define SB_EXTERN_C_ extern
#endif

#define SB_PLUGIN_(role, identifier, name, version, description, ...)                        \
  static const sb_row identifier##_rows[] = {__VA_ARGS__, {.kind = SB_ROW_END_}};            \
  SB_EXTERN_C_ const sb_plugin identifier;                                                   \
  const sb_plugin identifier = {role, name, version, description, identifier##_rows, __FILE__}

#ifdef __wasm__
SB_EXTERN_C_ void *sb_wasm_describe_(const sb_plugin *plugin);
SB_EXTERN_C_ void *sb_wasm_decide_(const sb_plugin *plugin, void *call);
SB_EXTERN_C_ void *sb_wasm_step_(const sb_plugin *plugin, void *call);
SB_EXTERN_C_ void *sb_wasm_migrate_(const sb_plugin *plugin, uint32_t version, uint8_t *data,
                                    size_t len, uint32_t to);
#define SB_EXPORT_(interface, function) \
  __attribute__((export_name("sagabox:plugin/" interface "@0.1.0#" function)))
#define SB_EXPORT_DECIDE_(identifier, interface, function)                                       \
  ;                                                                                              \
  SB_EXPORT_(interface, "describe") void *sb_export_describe_##identifier(void) {                \
    return sb_wasm_describe_(&identifier);                                                       \
  }                                                                                              \
  SB_EXPORT_(interface, function) void *sb_export_decide_##identifier(void *call) {              \
    return sb_wasm_decide_(&identifier, call);                                                   \
  }                                                                                              \
  SB_EXTERN_C_ const sb_plugin identifier
#define SB_EXPORT_STEP_(identifier)                                                              \
  ;                                                                                              \
  SB_EXPORT_("process-manager-handler", "describe")                                              \
  void *sb_export_describe_##identifier(void) { return sb_wasm_describe_(&identifier); }         \
  SB_EXPORT_("process-manager-handler", "handle")                                                \
  void *sb_export_handle_##identifier(void *call) { return sb_wasm_step_(&identifier, call); }   \
  SB_EXPORT_("process-manager-handler", "migrate")                                               \
  void *sb_export_migrate_##identifier(uint32_t version, uint8_t *data, size_t len,              \
                                       uint32_t to) {                                            \
    return sb_wasm_migrate_(&identifier, version, data, len, to);                                \
  }                                                                                              \
  SB_EXTERN_C_ const sb_plugin identifier
#else
#define SB_EXPORT_DECIDE_(identifier, interface, function)
#define SB_EXPORT_STEP_(identifier)
#endif

/* A coordinator without state: an event comes in, commands go out. */
#define SB_SAGA(identifier, name, version, description, ...)                                     \
  SB_PLUGIN_(SB_ROLE_SAGA_, identifier, name, version, description, __VA_ARGS__)                 \
  SB_EXPORT_DECIDE_(identifier, "saga-handler", "handle")
/* A state machine over many events, with an instance for each correlation key. */
#define SB_PROCESS_MANAGER(identifier, name, version, description, ...)                          \
  SB_PLUGIN_(SB_ROLE_PROCESS_MANAGER_, identifier, name, version, description, __VA_ARGS__)      \
  SB_EXPORT_STEP_(identifier)
/* A participant in a choreography: it reacts to events with commands and events. */
#define SB_REACTOR(identifier, name, version, description, ...)                                  \
  SB_PLUGIN_(SB_ROLE_REACTOR_, identifier, name, version, description, __VA_ARGS__)              \
  SB_EXPORT_DECIDE_(identifier, "reactor-handler", "handle")
/* It turns internal events into events that leave the host. */
#define SB_ENRICHER(identifier, name, version, description, ...)                                 \
  SB_PLUGIN_(SB_ROLE_ENRICHER_, identifier, name, version, description, __VA_ARGS__)             \
  SB_EXPORT_DECIDE_(identifier, "enricher-handler", "enrich")

#endif
