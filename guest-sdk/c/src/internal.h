/* What the SDK's files share. The structs that cross the border have the layout of the component
 * model's canonical ABI on wasm32, so nothing is converted there. `wasm.c` checks their sizes. */
#ifndef SAGABOX_INTERNAL_H
#define SAGABOX_INTERNAL_H

#include <stdarg.h>

#include "sagabox.h"

/* ---- memory ----------------------------------------------------------------------------- */

typedef struct sb_chunk sb_chunk;

typedef struct sb_arena {
  sb_chunk *chunks;
  char *next, *end;
} sb_arena;

void *sb_arena_alloc(sb_arena *arena, size_t size, size_t align);
void sb_arena_reset(sb_arena *arena);
void sb_arena_free(sb_arena *arena);

/* As `sb_grow`, for the lists of the border, which have no capacity: it is the power of two that
 * holds the elements. Only for lists that have grown so from the beginning. */
void *sb_grow_list(sb_ctx *ctx, void *at, size_t count, size_t size);

/* ---- the border ------------------------------------------------------------------------- */

typedef struct sb_lookup_key {
  sb_text name;
  sb_text key;
} sb_lookup_key;

enum { SB_QUESTION_LOOKUP, SB_QUESTION_STREAM };

typedef struct sb_question {
  uint8_t tag;
  union {
    sb_lookup_key lookup;
    sb_text stream;
  } is;
} sb_question;

typedef struct sb_questions {
  sb_question *at;
  size_t count;
} sb_questions;

enum { SB_ANSWER_FOUND, SB_ANSWER_MISSING, SB_ANSWER_EVENTS };

typedef struct sb_answer {
  sb_question question;
  struct {
    uint8_t tag;
    union {
      struct {
        sb_text content_type;
        sb_bytes data;
      } found;
      sb_events events;
    } is;
  } value;
} sb_answer;

typedef struct sb_answers {
  sb_answer *at;
  size_t count;
} sb_answers;

typedef struct sb_context {
  uint64_t now;
  uint32_t attempt;
  sb_text key;
  sb_answers answers;
  sb_text configuration;
  uint32_t seed[4];
} sb_context;

typedef struct sb_state {
  uint32_t version;
  sb_bytes data;
} sb_state;

typedef struct sb_raws {
  sb_raw *at;
  size_t count;
} sb_raws;

enum { SB_DUE_AFTER, SB_DUE_AT };

typedef struct sb_timer_change {
  uint8_t tag; /* 0: set, 1: cancel, of which the name is used */
  struct {
    sb_text name;
    struct {
      uint8_t tag;
      uint64_t ms;
    } due;
    sb_bytes data;
  } timer;
} sb_timer_change;

typedef struct sb_timer_changes {
  sb_timer_change *at;
  size_t count;
} sb_timer_changes;

typedef struct sb_key_change {
  uint8_t tag; /* 0: claim, 1: release */
  sb_text key;
} sb_key_change;

typedef struct sb_key_changes {
  sb_key_change *at;
  size_t count;
} sb_key_changes;

typedef struct sb_optional_bytes {
  uint8_t some;
  sb_bytes value;
} sb_optional_bytes;

typedef struct sb_subscription {
  sb_text type;
  struct {
    uint8_t tag; /* any, exactly, prefix */
    sb_text text;
  } source;
  struct {
    uint8_t tag; /* subject, attribute, pointer, instance */
    sb_text text;
  } key;
  uint8_t effect; /* start, start-or-handle, handle */
  struct {
    uint8_t tag; /* ignore, hold, fail */
    uint64_t hold;
  } absent;
} sb_subscription;

typedef struct sb_subscriptions {
  sb_subscription *at;
  size_t count;
} sb_subscriptions;

typedef struct sb_names {
  sb_text *at;
  size_t count;
} sb_names;

/* A name and a text: a schema with its type, a field with its pointer. */
typedef struct sb_pair {
  sb_text name;
  sb_text text;
} sb_pair;

typedef struct sb_pairs {
  sb_pair *at;
  size_t count;
} sb_pairs;

typedef struct sb_manifest {
  sb_text name;
  sb_text version;
  sb_text description;
  sb_subscriptions subscriptions;
  sb_names commands;
  sb_names events;
  sb_names lookups;
  bool streams;
  uint32_t state_version;
  sb_pairs schemas;
  sb_text_opt configuration_schema;
  sb_pairs fields;
  sb_text_opt summary;
} sb_manifest;

/* ---- one call --------------------------------------------------------------------------- */

struct sb_ctx {
  sb_arena *arena;
  const sb_plugin *plugin;
  const sb_event *event;
  const sb_context *context;

  bool failed, transient;
  sb_text reason;

  sb_questions questions;
  sb_raws commands, events;
  sb_raw *last; /* the message that was sent last */
  sb_timer_changes timers;
  sb_key_changes keys;
  bool complete;
  sb_bytes state; /* as it is to be stored */
  uint64_t random;
};

/* Decides one event. The decision, the open questions or the failure are in `ctx`. */
void sb_decide(sb_ctx *ctx, const sb_state *state);
/* Converts a state. False with the reason in `ctx`. */
bool sb_convert(sb_ctx *ctx, const sb_state *state, uint32_t to, sb_bytes *out);
sb_manifest *sb_describe(sb_ctx *ctx);

/* The row of a kind; NULL if there is none. */
const sb_row *sb_row_of(const sb_plugin *plugin, sb_row_kind kind);
const char *sb_message_type(const sb_message *message);

/* ---- JSON ------------------------------------------------------------------------------- */

typedef struct sb_reader {
  const char *p, *end;
  sb_ctx *ctx;
  bool strict; /* refuses members that the type does not have */
  int depth;
  sb_text path;    /* of the value that does not fit */
  sb_text problem; /* what does not fit */
} sb_reader;

/* A text that grows. */
typedef struct sb_buffer {
  sb_ctx *ctx;
  char *ptr;
  size_t len, capacity;
  sb_text path;    /* of the value that cannot be written */
  sb_text problem; /* why not */
} sb_buffer;

void sb_put(sb_buffer *buffer, const char *ptr, size_t len);
void sb_puts(sb_buffer *buffer, const char *string);
/* The text with a NUL behind it. */
sb_text sb_buffer_text(sb_buffer *buffer);

void sb_skip_blanks(sb_reader *reader);
bool sb_problem(sb_reader *reader, const char *format, ...) SB_FORMAT_(2, 3);
bool sb_unexpected(sb_reader *reader, const char *expected);
/* Takes this character or this word, if it is next. */
bool sb_take(sb_reader *reader, char c);
bool sb_take_word(sb_reader *reader, const char *word);
/* Enters a list or an object; the caller leaves it by `depth--`. */
bool sb_deeper(sb_reader *reader);
/* Skips one value, and checks its syntax. */
bool sb_skip_value(sb_reader *reader);
/* Reads a string, without the blanks before it. */
bool sb_read_string(sb_reader *reader, sb_text *out);
/* The text of a number, checked for its syntax. */
bool sb_read_number(sb_reader *reader, sb_text *out);
bool sb_integer_of(sb_text number, bool is_signed, uint64_t *magnitude, bool *negative);

bool sb_write_string(sb_buffer *buffer, sb_text text);

/* Reads a whole document. False with the problem in the reader. */
bool sb_read_document(sb_reader *reader, const sb_type *type, void *out);
/* `orderId: a member is missing`, or the problem alone. */
sb_text sb_reader_problem(sb_reader *reader);
bool sb_write_value(sb_buffer *buffer, const sb_type *type, const void *value);
sb_text sb_buffer_problem(sb_buffer *buffer);
/* The name of a member in JSON. */
sb_text sb_json_name(sb_ctx *ctx, const sb_member *member);

/* The JSON Schema of a type. `written` is what the plugin writes, not what it reads. */
sb_text sb_schema(sb_ctx *ctx, const sb_type *type, bool written, bool closed);
/* Whether a member of a state is one value, as fields must be. */
bool sb_is_scalar(const sb_type *type);

/* ---- texts ------------------------------------------------------------------------------ */

bool sb_is_utf8(const char *ptr, size_t len);
sb_text sb_format_list(sb_ctx *ctx, const char *format, va_list list);
sb_bytes sb_bytes_of_json(sb_json json);

/* ---- the platform: wasm.c or native.c ---------------------------------------------------- */

/* Writes one line. */
void sb_host_log(sb_level level, const char *ptr, size_t len);
__attribute__((noreturn)) void sb_abort(void);
/* What the test harness does instead of ending the program; it does not return. */
extern void (*sb_panic_hook)(const char *text);
/* Writes out what was printed. */
void sb_flush_output(void);

#endif
