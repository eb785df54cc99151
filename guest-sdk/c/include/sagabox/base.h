/* Texts, memory, exact numbers and times: what the other headers build on. */
#ifndef SAGABOX_BASE_H
#define SAGABOX_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#define SB_LITERAL(T) T
#else
#define SB_LITERAL(T) (T)
#endif

#define SB_FORMAT_(text, first) __attribute__((format(printf, text, first)))
#define SB_MAYBE_UNUSED_ __attribute__((unused))

/* One call of a handler: what is known, and what has been decided so far. */
typedef struct sb_ctx sb_ctx;

/* ---- texts ------------------------------------------------------------------------------ */

/* Text in UTF-8. Every text that the SDK makes has a NUL byte behind its last byte, so `ptr` can
 * be passed to functions that take a C string, if the text itself contains no NUL. */
typedef struct sb_text {
  const char *ptr;
  size_t len;
} sb_text;

/* Any JSON value as its text, byte for byte. */
typedef struct sb_json {
  const char *ptr;
  size_t len;
} sb_json;

typedef struct sb_bytes {
  const uint8_t *ptr;
  size_t len;
} sb_bytes;

/* A text from a string literal. */
#define SB_TEXT(literal) (SB_LITERAL(sb_text){"" literal, sizeof(literal) - 1})

/* A text that points to a C string. NULL gives a text that is not set. */
static inline sb_text sb_text_of(const char *string) {
  sb_text text = {string, string ? strlen(string) : 0};
  return text;
}

static inline bool sb_text_is(sb_text text, const char *string) {
  size_t len = strlen(string);
  return text.len == len && (len == 0 || memcmp(text.ptr, string, len) == 0);
}

/* Negative, zero or positive, by the order of the bytes. */
int sb_text_compare(sb_text one, sb_text other);

static inline bool sb_text_equal(sb_text one, sb_text other) {
  return sb_text_compare(one, other) == 0;
}

static inline bool sb_text_starts_with(sb_text text, const char *start) {
  size_t len = strlen(start);
  return text.len >= len && memcmp(text.ptr, start, len) == 0;
}

static inline sb_bytes sb_bytes_of(sb_text text) {
  sb_bytes bytes = {(const uint8_t *)text.ptr, text.len};
  return bytes;
}

/* ---- memory ----------------------------------------------------------------------------- */

/* Zeroed memory that lives until the call ends. It never returns NULL, and is never freed by hand. */
void *sb_alloc(sb_ctx *ctx, size_t size);

/* A copy of a text that lives until the call ends. */
sb_text sb_copy(sb_ctx *ctx, const char *ptr, size_t len);

/* A text made as `printf` makes it. `%s` needs a C string: `sb_format(ctx, "order %s", id.ptr)`. */
sb_text sb_format(sb_ctx *ctx, const char *format, ...) SB_FORMAT_(2, 3);

/* The array `at` with room for one more element behind `count` elements. */
void *sb_grow(sb_ctx *ctx, void *at, size_t count, size_t *capacity, size_t size);

/* Ends the call with a permanent failure whose reason contains this message, the file and the line.
 * For mistakes of the program; `sb_fail` is for events that cannot be handled. */
#define sb_panic(...) sb_panic_at(__FILE__, __LINE__, __VA_ARGS__)
__attribute__((noreturn)) void sb_panic_at(const char *file, int line, const char *format, ...)
    SB_FORMAT_(3, 4);

/* ---- exact decimals --------------------------------------------------------------------- */

__extension__ typedef __int128 sb_int128;

/* An exact decimal number of up to 28 digits, for money: `units` divided by 10 to the power of
 * `places`. `10.00` stays `10.00`. In JSON it is a number; it is also read from a string. */
typedef struct sb_decimal {
  sb_int128 units;
  uint32_t places;
} sb_decimal;

/* `sb_decimal_new(1999, 2)` is 19.99. */
sb_decimal sb_decimal_new(int64_t units, uint32_t places);
/* Reads `-19.99` or `1.5e3`. False if the text is no decimal number of up to 28 digits. */
bool sb_decimal_parse(sb_text text, sb_decimal *out);
sb_text sb_decimal_text(sb_ctx *ctx, sb_decimal number);
/* Sum, difference and product are exact. A result of more than 28 digits ends the call with a
 * permanent failure, as `sb_panic` does. */
sb_decimal sb_decimal_add(sb_decimal one, sb_decimal other);
sb_decimal sb_decimal_subtract(sb_decimal one, sb_decimal other);
sb_decimal sb_decimal_multiply(sb_decimal one, sb_decimal other);
/* A quotient with so many places. A half goes to the even neighbour. Dividing by zero panics. */
sb_decimal sb_decimal_divide(sb_decimal one, sb_decimal other, uint32_t places);
/* The number with at most so many places. A half goes to the even neighbour. */
sb_decimal sb_decimal_round(sb_decimal number, uint32_t places);
/* Negative, zero or positive. `1.0` and `1` are equal. */
int sb_decimal_compare(sb_decimal one, sb_decimal other);

/* ---- time ------------------------------------------------------------------------------- */

/* A duration in milliseconds. In JSON it is text such as `"1h 30m"`. */
typedef int64_t sb_duration;

#define SB_SECONDS(count) ((sb_duration)(count)*1000)
#define SB_MINUTES(count) ((sb_duration)(count)*60000)
#define SB_HOURS(count) ((sb_duration)(count)*3600000)
#define SB_DAYS(count) ((sb_duration)(count)*86400000)

/* A moment: milliseconds since 1970-01-01T00:00:00Z, and the nanoseconds after that millisecond.
 * In JSON it is text as in RFC 3339. It is read with any offset, and written in UTC. */
typedef struct sb_time {
  int64_t ms;
  uint32_t ns;
} sb_time;

/* False if the text is no RFC 3339 time with an offset. */
bool sb_time_parse(sb_text text, sb_time *out);
sb_text sb_time_text(sb_ctx *ctx, sb_time time);
sb_time sb_time_add(sb_time time, sb_duration duration);
/* Negative, zero or positive. */
int sb_time_compare(sb_time one, sb_time other);
/* The time from `earlier` to `later`; negative if they are the other way round. */
sb_duration sb_time_between(sb_time earlier, sb_time later);
/* Reads `90s`, `1h 30m`: ms, s, m, h, d. */
bool sb_duration_parse(sb_text text, sb_duration *out);
sb_text sb_duration_text(sb_ctx *ctx, sb_duration duration);

#ifdef __cplusplus
}
#endif
#endif
