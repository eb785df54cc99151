/* The border to the host in WebAssembly: the canonical ABI of `sagabox:plugin@0.1.0`, and what a program
 * prints. Everything of one call is in one arena, which the first allocation of the next call empties. */
#ifdef __wasm__

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"

#define SB_SIZE(T, size) _Static_assert(sizeof(T) == size, #T " does not have the layout of the ABI")
SB_SIZE(sb_event, 84);
SB_SIZE(sb_raw, 44);
SB_SIZE(sb_question, 20);
SB_SIZE(sb_answer, 40);
SB_SIZE(sb_context, 56);
SB_SIZE(sb_state, 12);
SB_SIZE(sb_timer_change, 40);
SB_SIZE(sb_key_change, 12);
SB_SIZE(sb_subscription, 56);
SB_SIZE(sb_manifest, 104);

__attribute__((import_module("sagabox:plugin/logging@0.1.0"), import_name("log"))) void sb_import_log(
    int32_t level, const char *ptr, size_t len);

/* ---- memory ----------------------------------------------------------------------------- */

static sb_arena arena;
/* The result of the last call lies in the arena until the next call begins. */
static bool call_is_over;

static void begin_call(void) {
  if (!call_is_over) return;
  sb_arena_reset(&arena);
  call_is_over = false;
}

/* The host puts the arguments of a call here. Texts get a NUL byte behind them. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align,
                                                                size_t size) {
  begin_call();
  char *memory = (char *)sb_arena_alloc(&arena, size + 1, align);
  if (old_size) memcpy(memory, old, old_size < size ? old_size : size);
  memory[size] = 0;
  return memory;
}

static sb_ctx context_of(const sb_plugin *plugin, const sb_event *event, const sb_context *context) {
  sb_ctx ctx;
  memset(&ctx, 0, sizeof ctx);
  ctx.arena = &arena;
  ctx.plugin = plugin;
  ctx.event = event;
  ctx.context = context;
  return ctx;
}

static void end_call(void) {
  sb_flush_output();
  call_is_over = true;
}

/* ---- exported functions ----------------------------------------------------------------- */

typedef struct failure {
  uint8_t tag; /* permanent, transient */
  sb_text reason;
} failure;

static failure failure_of(const sb_ctx *ctx) {
  failure failure = {ctx->transient, ctx->reason};
  if (!sb_is_utf8(failure.reason.ptr, failure.reason.len)) failure.reason = SB_TEXT("the reason is not UTF-8");
  return failure;
}

void *sb_wasm_describe_(const sb_plugin *plugin) {
  begin_call();
  sb_ctx ctx = context_of(plugin, NULL, NULL);
  sb_manifest *manifest = sb_describe(&ctx);
  end_call();
  return manifest;
}

void *sb_wasm_decide_(const sb_plugin *plugin, void *arguments) {
  struct {
    sb_event event;
    sb_context context;
  } *call = arguments;
  static struct {
    uint8_t failed;
    union {
      failure failure;
      struct {
        uint8_t tag; /* decided or published, need */
        union {
          struct {
            sb_raws commands, events;
          } decision;
          sb_raws published;
          sb_questions questions;
        } is;
      } outcome;
    } is;
  } result;
  sb_ctx ctx = context_of(plugin, &call->event, &call->context);
  sb_decide(&ctx, NULL);
  memset(&result, 0, sizeof result);
  if (ctx.questions.count) {
    result.is.outcome.tag = 1;
    result.is.outcome.is.questions = ctx.questions;
  } else if (ctx.failed) {
    result.failed = 1;
    result.is.failure = failure_of(&ctx);
  } else if (plugin->role == SB_ROLE_ENRICHER_) {
    result.is.outcome.is.published = ctx.events;
  } else {
    result.is.outcome.is.decision.commands = ctx.commands;
    result.is.outcome.is.decision.events = ctx.events;
  }
  end_call();
  return &result;
}

void *sb_wasm_step_(const sb_plugin *plugin, void *arguments) {
  struct {
    sb_event event;
    struct {
      uint8_t some;
      sb_state value;
    } state;
    sb_context context;
  } *call = arguments;
  static struct {
    uint8_t failed;
    union {
      failure failure;
      struct {
        uint8_t tag; /* transit, need */
        union {
          struct {
            sb_optional_bytes state;
            sb_raws commands, events;
            sb_timer_changes timers;
            sb_key_changes keys;
            bool complete;
          } transition;
          sb_questions questions;
        } is;
      } step;
    } is;
  } result;
  sb_ctx ctx = context_of(plugin, &call->event, &call->context);
  sb_decide(&ctx, call->state.some ? &call->state.value : NULL);
  memset(&result, 0, sizeof result);
  if (ctx.questions.count) {
    result.is.step.tag = 1;
    result.is.step.is.questions = ctx.questions;
  } else if (ctx.failed) {
    result.failed = 1;
    result.is.failure = failure_of(&ctx);
  } else {
    result.is.step.is.transition.state.some = ctx.state.ptr != NULL;
    result.is.step.is.transition.state.value = ctx.state;
    result.is.step.is.transition.commands = ctx.commands;
    result.is.step.is.transition.events = ctx.events;
    result.is.step.is.transition.timers = ctx.timers;
    result.is.step.is.transition.keys = ctx.keys;
    result.is.step.is.transition.complete = ctx.complete;
  }
  end_call();
  return &result;
}

void *sb_wasm_migrate_(const sb_plugin *plugin, uint32_t version, uint8_t *data, size_t len, uint32_t to) {
  static struct {
    uint8_t failed;
    union {
      sb_bytes state;
      sb_text reason;
    } is;
  } result;
  sb_state state = {version, {data, len}};
  sb_bytes converted = {NULL, 0};
  sb_event event;
  sb_context context;
  memset(&event, 0, sizeof event);
  memset(&context, 0, sizeof context);
  sb_ctx ctx = context_of(plugin, &event, &context);
  memset(&result, 0, sizeof result);
  if (sb_convert(&ctx, &state, to, &converted)) {
    result.is.state = converted;
  } else {
    result.failed = 1;
    result.is.reason = failure_of(&ctx).reason;
  }
  end_call();
  return &result;
}

/* ---- what the program prints ------------------------------------------------------------ */

void sb_host_log(sb_level level, const char *ptr, size_t len) { sb_import_log((int32_t)level, ptr, len); }

#define SB_PRINTED_MAX 4096

/* Lines are put together here: the C library writes them in pieces, and the host logs each piece. */
static struct {
  char line[SB_PRINTED_MAX];
  size_t len;
} printed[2];

static void write_line(int stream) {
  if (!printed[stream].len) return;
  size_t len = printed[stream].len;
  printed[stream].len = 0;
  char *line = printed[stream].line;
  for (size_t i = 0; !sb_is_utf8(line, len) && i < len; i++) {
    if ((uint8_t)line[i] >= 0x80) line[i] = '?';
  }
  sb_import_log(stream ? SB_WARN : SB_INFO, line, len);
}

/* In place of the C library's functions of these names, which the linker takes only if there are none. */
ssize_t write(int fd, const void *data, size_t len) {
  if (fd != 1 && fd != 2) {
    errno = EBADF;
    return -1;
  }
  for (size_t i = 0; i < len; i++) {
    char c = ((const char *)data)[i];
    if (c != '\n') printed[fd - 1].line[printed[fd - 1].len++] = c;
    if (c == '\n' || printed[fd - 1].len == SB_PRINTED_MAX) write_line(fd - 1);
  }
  return (ssize_t)len;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  ssize_t sum = 0;
  for (int i = 0; i < count; i++) {
    ssize_t written = write(fd, parts[i].iov_base, parts[i].iov_len);
    if (written < 0) return written;
    sum += written;
  }
  return sum;
}

/* Is NULL in a program that prints nothing: then the C library's buffers are not linked. */
__attribute__((weak)) extern int fflush(FILE *stream);

void sb_flush_output(void) {
  if (fflush) fflush(NULL);
  write_line(0);
  write_line(1);
}

void sb_abort(void) {
  sb_flush_output();
  __builtin_trap();
}

/* What `assert` calls. */
_Noreturn void __assert_fail(const char *expression, const char *file, int line, const char *function) {
  (void)function;
  sb_panic_at(file, line, "assertion failed: %s", expression);
}

/* Debian's compiler runtime checks its stack frames, and its C library does not define what it needs. */
__attribute__((weak)) uintptr_t __stack_chk_guard = 0x5AFE57AC;
__attribute__((weak)) _Noreturn void __stack_chk_fail(void) {
  sb_panic_at(__FILE__, __LINE__, "the stack is damaged");
}

_Noreturn void abort(void) {
  sb_log(SB_ERROR, "the program called abort()");
  sb_abort();
}

#endif
