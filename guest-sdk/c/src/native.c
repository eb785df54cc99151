/* The platform of native tests: the log goes to stderr, and a mistake aborts the program. */
#ifndef __wasm__

#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

void sb_host_log(sb_level level, const char *ptr, size_t len) {
  static const char *const names[] = {"trace", "debug", "info", "warn", "error"};
  fprintf(stderr, "%s: %.*s\n", names[level], (int)len, ptr);
}

void sb_flush_output(void) { fflush(NULL); }

void sb_abort(void) { abort(); }

#endif
