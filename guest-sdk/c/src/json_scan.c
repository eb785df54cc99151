/* The syntax of JSON (RFC 8259): strings, numbers, and values that are skipped. */
#include "internal.h"

/* Deeper nesting is refused: each level takes space on the stack. */
#define SB_DEPTH_MAX 200

bool sb_problem(sb_reader *reader, const char *format, ...) {
  if (!reader->problem.ptr) {
    va_list list;
    va_start(list, format);
    reader->problem = sb_format_list(reader->ctx, format, list);
    va_end(list);
  }
  return false;
}

void sb_skip_blanks(sb_reader *reader) {
  while (reader->p < reader->end &&
         (*reader->p == ' ' || *reader->p == '\n' || *reader->p == '\r' || *reader->p == '\t')) {
    reader->p++;
  }
}

bool sb_take(sb_reader *reader, char c) {
  sb_skip_blanks(reader);
  if (reader->p == reader->end || *reader->p != c) return false;
  reader->p++;
  return true;
}

bool sb_unexpected(sb_reader *reader, const char *expected) {
  if (reader->p == reader->end) return sb_problem(reader, "expected %s, found the end of the data", expected);
  const char *found = "something that is no JSON";
  char c = *reader->p;
  if (c == '"') found = "a text";
  if (c == '{') found = "an object";
  if (c == '[') found = "a list";
  if (c == 't' || c == 'f') found = "a boolean";
  if (c == 'n') found = "null";
  if (c == '-' || (c >= '0' && c <= '9')) found = "a number";
  return sb_problem(reader, "expected %s, found %s", expected, found);
}

/* ---- strings ---------------------------------------------------------------------------- */

static bool hex4(sb_reader *reader, uint32_t *out) {
  if (reader->end - reader->p < 4) return sb_problem(reader, "an escape in a text is not complete");
  uint32_t value = 0;
  for (int i = 0; i < 4; i++) {
    char c = *reader->p++;
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) return sb_problem(reader, "an escape in a text is not hexadecimal");
    value = value * 16 + (uint32_t)digit;
  }
  *out = value;
  return true;
}

static void put_character(sb_buffer *buffer, uint32_t c) {
  char bytes[4];
  size_t len = 0;
  if (c < 0x80) {
    bytes[len++] = (char)c;
  } else {
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t first[] = {0, 0xC0, 0xE0, 0xF0};
    bytes[len++] = (char)(first[more] | (c >> (6 * more)));
    while (more-- > 0) bytes[len++] = (char)(0x80 | ((c >> (6 * more)) & 0x3F));
  }
  sb_put(buffer, bytes, len);
}

static bool unicode_escape(sb_reader *reader, sb_buffer *buffer) {
  uint32_t c = 0, low = 0;
  if (!hex4(reader, &c)) return false;
  if (c >= 0xDC00 && c <= 0xDFFF) return sb_problem(reader, "a text has half of a surrogate pair");
  if (c >= 0xD800 && c <= 0xDBFF) {
    bool pair = reader->end - reader->p >= 2 && reader->p[0] == '\\' && reader->p[1] == 'u';
    if (!pair) return sb_problem(reader, "a text has half of a surrogate pair");
    reader->p += 2;
    if (!hex4(reader, &low)) return false;
    if (low < 0xDC00 || low > 0xDFFF) return sb_problem(reader, "a text has half of a surrogate pair");
    c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
  }
  put_character(buffer, c);
  return true;
}

static bool escape(sb_reader *reader, sb_buffer *buffer) {
  if (reader->p == reader->end) return sb_problem(reader, "a text has no end");
  char c = *reader->p++;
  if (c == 'u') return unicode_escape(reader, buffer);
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  const char *at = c ? strchr(from, c) : NULL;
  if (!at) return sb_problem(reader, "a text has an unknown escape");
  sb_put(buffer, &to[at - from], 1);
  return true;
}

/* The end of the characters that stand for themselves. */
static const char *plain_end(const char *p, const char *end) {
  while (p < end && (uint8_t)*p >= 0x20 && *p != '"' && *p != '\\') p++;
  return p;
}

bool sb_read_string(sb_reader *reader, sb_text *out) {
  if (reader->p == reader->end || *reader->p != '"') return sb_unexpected(reader, "a text");
  const char *first = ++reader->p;
  reader->p = plain_end(first, reader->end);
  if (reader->p < reader->end && *reader->p == '"') {
    size_t len = (size_t)(reader->p++ - first);
    if (!sb_is_utf8(first, len)) return sb_problem(reader, "a text is not UTF-8");
    *out = sb_copy(reader->ctx, first, len);
    return true;
  }
  sb_buffer buffer = {reader->ctx, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
  for (;;) {
    size_t len = (size_t)(reader->p - first);
    if (!sb_is_utf8(first, len)) return sb_problem(reader, "a text is not UTF-8");
    sb_put(&buffer, first, len);
    if (reader->p == reader->end) return sb_problem(reader, "a text has no end");
    char c = *reader->p++;
    if (c == '"') break;
    if (c != '\\') return sb_problem(reader, "a text has a control character");
    if (!escape(reader, &buffer)) return false;
    first = reader->p;
    reader->p = plain_end(first, reader->end);
  }
  *out = sb_buffer_text(&buffer);
  return true;
}

/* Skips a string, in which half surrogate pairs and any bytes are no problem. */
static bool skip_string(sb_reader *reader) {
  for (reader->p++;;) {
    reader->p = plain_end(reader->p, reader->end);
    if (reader->p == reader->end) return sb_problem(reader, "a text has no end");
    char c = *reader->p++;
    if (c == '"') return true;
    if (c != '\\') return sb_problem(reader, "a text has a control character");
    if (reader->p == reader->end) return sb_problem(reader, "a text has no end");
    c = *reader->p++;
    uint32_t unused = 0;
    if (c == 'u' ? !hex4(reader, &unused) : !c || !strchr("\"\\/bfnrt", c)) {
      return sb_problem(reader, "a text has an unknown escape");
    }
  }
}

/* ---- numbers ---------------------------------------------------------------------------- */

static size_t digits(sb_reader *reader) {
  const char *first = reader->p;
  while (reader->p < reader->end && *reader->p >= '0' && *reader->p <= '9') reader->p++;
  return (size_t)(reader->p - first);
}

static bool take(sb_reader *reader, const char *any_of) {
  if (reader->p == reader->end || !*reader->p || !strchr(any_of, *reader->p)) return false;
  reader->p++;
  return true;
}

bool sb_read_number(sb_reader *reader, sb_text *out) {
  const char *first = reader->p;
  if (first == reader->end || (*first != '-' && (*first < '0' || *first > '9'))) {
    return sb_unexpected(reader, "a number");
  }
  take(reader, "-");
  const char *integer = reader->p;
  size_t count = digits(reader);
  bool fine = count == 1 || (count > 1 && *integer != '0');
  if (fine && take(reader, ".")) fine = digits(reader) > 0;
  if (fine && take(reader, "eE")) {
    take(reader, "+-");
    fine = digits(reader) > 0;
  }
  if (!fine) return sb_problem(reader, "a number is no JSON");
  out->ptr = first;
  out->len = (size_t)(reader->p - first);
  return true;
}

/* The value of a number that has no fraction, also if it is written as `1.0` or `1e3`. */
bool sb_integer_of(sb_text number, bool is_signed, uint64_t *magnitude, bool *negative) {
  const char *p = number.ptr, *end = p + number.len;
  *negative = *p == '-';
  if (*negative) p++;
  uint64_t value = 0;
  for (; p < end && *p >= '0' && *p <= '9'; p++) {
    if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
        __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value)) {
      return false;
    }
  }
  if (p < end) {
    sb_decimal decimal;
    if (!sb_decimal_parse(number, &decimal)) return false;
    sb_int128 units = decimal.units < 0 ? -decimal.units : decimal.units;
    for (; decimal.places > 0; decimal.places--) {
      if (units % 10) return false;
      units /= 10;
    }
    if (units > (sb_int128)UINT64_MAX) return false;
    value = (uint64_t)units;
  }
  *magnitude = value;
  if (!is_signed) return !*negative || value == 0;
  return value <= (uint64_t)INT64_MAX + (*negative ? 1 : 0);
}

/* ---- any value -------------------------------------------------------------------------- */

bool sb_take_word(sb_reader *reader, const char *text) {
  size_t len = strlen(text);
  if ((size_t)(reader->end - reader->p) < len || memcmp(reader->p, text, len) != 0) return false;
  reader->p += len;
  return true;
}

bool sb_deeper(sb_reader *reader) {
  return ++reader->depth <= SB_DEPTH_MAX || sb_problem(reader, "the data is nested too deep");
}

static bool skip_list(sb_reader *reader) {
  if (sb_take(reader, ']')) return true;
  do {
    sb_skip_blanks(reader);
    if (!sb_skip_value(reader)) return false;
  } while (sb_take(reader, ','));
  return sb_take(reader, ']') || sb_unexpected(reader, "`,` or `]`");
}

static bool skip_object(sb_reader *reader) {
  if (sb_take(reader, '}')) return true;
  do {
    sb_skip_blanks(reader);
    if (reader->p == reader->end || *reader->p != '"') return sb_unexpected(reader, "a member");
    if (!skip_string(reader)) return false;
    if (!sb_take(reader, ':')) return sb_unexpected(reader, "`:`");
    sb_skip_blanks(reader);
    if (!sb_skip_value(reader)) return false;
  } while (sb_take(reader, ','));
  return sb_take(reader, '}') || sb_unexpected(reader, "`,` or `}`");
}

bool sb_skip_value(sb_reader *reader) {
  sb_text unused;
  char c = reader->p < reader->end ? *reader->p : 0;
  if (c == '"') return skip_string(reader);
  if (c == 't' && sb_take_word(reader, "true")) return true;
  if (c == 'f' && sb_take_word(reader, "false")) return true;
  if (c == 'n' && sb_take_word(reader, "null")) return true;
  if (c == '-' || (c >= '0' && c <= '9')) return sb_read_number(reader, &unused);
  if (c != '[' && c != '{') return sb_unexpected(reader, "a value");
  reader->p++;
  if (!sb_deeper(reader)) return false;
  bool fine = c == '[' ? skip_list(reader) : skip_object(reader);
  reader->depth--;
  return fine;
}
