/* Writes the members of a type as JSON, in the order of its table and without blanks. Optional members
 * without a value are left out. */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

static bool problem(sb_buffer *buffer, const char *text) {
  if (!buffer->problem.ptr) buffer->problem = sb_text_of(text);
  return false;
}

static bool within(sb_buffer *buffer, sb_text name) {
  bool inner = buffer->path.len > 0;
  buffer->path = sb_format(buffer->ctx, "%.*s%s%s", (int)name.len, name.ptr, inner ? "." : "",
                           inner ? buffer->path.ptr : "");
  return false;
}

sb_text sb_buffer_problem(sb_buffer *buffer) {
  if (!buffer->path.len) return buffer->problem;
  return sb_format(buffer->ctx, "the member `%s` %s", buffer->path.ptr, buffer->problem.ptr);
}

/* `order_id` is `orderId`. */
sb_text sb_json_name(sb_ctx *ctx, const sb_member *member) {
  if (*member->json_name) return sb_text_of(member->json_name);
  sb_text name = sb_copy(ctx, member->name, strlen(member->name));
  char *to = (char *)name.ptr;
  for (const char *from = member->name; *from; from++) {
    char c = *from;
    if (c == '_' && from > member->name && from[1]) {
      c = *++from;
      if (c >= 'a' && c <= 'z') c = (char)(c - 'a' + 'A');
    }
    *to++ = c;
  }
  *to = 0;
  name.len = (size_t)(to - name.ptr);
  return name;
}

static const char *escaped(char c, char *out) {
  switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\b': return "\\b";
    case '\f': return "\\f";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: snprintf(out, 8, "\\u%04x", (unsigned)(uint8_t)c); return out;
  }
}

bool sb_write_string(sb_buffer *buffer, sb_text text) {
  if (!text.ptr) return problem(buffer, "is not set");
  if (!sb_is_utf8(text.ptr, text.len)) return problem(buffer, "is not UTF-8");
  sb_put(buffer, "\"", 1);
  size_t first = 0;
  for (size_t i = 0; i < text.len; i++) {
    char c = text.ptr[i], code[8];
    if ((uint8_t)c >= 0x20 && c != '"' && c != '\\') continue;
    sb_put(buffer, text.ptr + first, i - first);
    sb_puts(buffer, escaped(c, code));
    first = i + 1;
  }
  sb_put(buffer, text.ptr + first, text.len - first);
  sb_put(buffer, "\"", 1);
  return true;
}

static void write_integer(sb_buffer *buffer, uint64_t magnitude, bool negative) {
  char digits[24], *end = digits + sizeof digits, *p = end;
  do {
    *--p = (char)('0' + magnitude % 10);
    magnitude /= 10;
  } while (magnitude);
  if (negative) *--p = '-';
  sb_put(buffer, p, (size_t)(end - p));
}

static void write_number(sb_buffer *buffer, const sb_type *type, const void *value) {
  if (type->kind == SB_KIND_SIGNED_) {
    int64_t number = type->size == 4 ? *(const int32_t *)value : *(const int64_t *)value;
    write_integer(buffer, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, number < 0);
  } else {
    write_integer(buffer, type->size == 4 ? *(const uint32_t *)value : *(const uint64_t *)value, false);
  }
}

/* With the least digits that are read as the same number again. */
static bool write_double(sb_buffer *buffer, double value) {
  if (value != value) return problem(buffer, "is NaN, and JSON has no such number");
  if (value - value != 0) return problem(buffer, "is infinite, and JSON has no such number");
  /* 15 digits are exact for all numbers but the subnormal ones, which have fewer. */
  double size = value < 0 ? -value : value;
  char digits[40];
  for (int precision = size < DBL_MIN ? 1 : 15; precision <= 17; precision++) {
    snprintf(digits, sizeof digits, "%.*g", precision, value);
    if (strtod(digits, NULL) == value) break;
  }
  sb_puts(buffer, digits);
  return true;
}

static bool write_enum(sb_buffer *buffer, const sb_type *type, const void *value) {
  int number = 0;
  memcpy(&number, value, sizeof number);
  for (const sb_word *one = type->words(); one->word; one++) {
    if (one->value == number) return sb_write_string(buffer, sb_text_of(one->word));
  }
  return problem(buffer, "is no value of its enum");
}

static bool write_json(sb_buffer *buffer, sb_json json) {
  if (!json.ptr) return problem(buffer, "is not set");
  sb_reader reader = {json.ptr, json.ptr + json.len, buffer->ctx, false, 0, {NULL, 0}, {NULL, 0}};
  sb_skip_blanks(&reader);
  bool fine = sb_skip_value(&reader);
  sb_skip_blanks(&reader);
  if (!fine || reader.p != reader.end) return problem(buffer, "is no JSON");
  sb_put(buffer, json.ptr, json.len);
  return true;
}

static bool write_struct(sb_buffer *buffer, const sb_type *type, const char *value) {
  const char *between = "{";
  for (const sb_member *member = type->members(); member->name; member++) {
    const char *part = value + member->offset;
    bool is_absent = member->type->kind == SB_KIND_OPT_ && !*(const bool *)part;
    if (is_absent) continue;
    sb_text name = sb_json_name(buffer->ctx, member);
    sb_puts(buffer, between);
    sb_write_string(buffer, name);
    sb_put(buffer, ":", 1);
    if (!sb_write_value(buffer, member->type, part)) return within(buffer, name);
    between = ",";
  }
  sb_puts(buffer, *between == '{' ? "{}" : "}");
  return true;
}

/* What every list and map begins with. */
struct any_list {
  const char *at;
  size_t count;
};

static bool write_list(sb_buffer *buffer, const sb_type *type, const void *value) {
  struct any_list list;
  memcpy(&list, value, sizeof list);
  sb_put(buffer, "[", 1);
  for (size_t i = 0; i < list.count; i++) {
    if (i) sb_put(buffer, ",", 1);
    if (!sb_write_value(buffer, type->element, list.at + i * type->element->size)) {
      return within(buffer, sb_format(buffer->ctx, "%zu", i));
    }
  }
  sb_put(buffer, "]", 1);
  return true;
}

static bool write_map(sb_buffer *buffer, const sb_type *type, const void *value) {
  struct any_list map;
  memcpy(&map, value, sizeof map);
  sb_put(buffer, "{", 1);
  for (size_t i = 0; i < map.count; i++) {
    const char *entry = map.at + i * type->entry_size;
    sb_text key;
    memcpy(&key, entry, sizeof key);
    if (i) sb_put(buffer, ",", 1);
    if (!sb_write_string(buffer, key)) return false;
    sb_put(buffer, ":", 1);
    if (!sb_write_value(buffer, type->element, entry + type->element_offset)) return within(buffer, key);
  }
  sb_put(buffer, "}", 1);
  return true;
}

static bool write_text(sb_buffer *buffer, sb_text text) {
  sb_put(buffer, text.ptr, text.len);
  return true;
}

bool sb_write_value(sb_buffer *buffer, const sb_type *type, const void *value) {
  sb_ctx *ctx = buffer->ctx;
  switch (type->kind) {
    case SB_KIND_TEXT_: return sb_write_string(buffer, *(const sb_text *)value);
    case SB_KIND_BOOL_: sb_puts(buffer, *(const bool *)value ? "true" : "false"); return true;
    case SB_KIND_SIGNED_:
    case SB_KIND_UNSIGNED_: write_number(buffer, type, value); return true;
    case SB_KIND_DOUBLE_: return write_double(buffer, *(const double *)value);
    case SB_KIND_DECIMAL_: return write_text(buffer, sb_decimal_text(ctx, *(const sb_decimal *)value));
    case SB_KIND_TIME_: return sb_write_string(buffer, sb_time_text(ctx, *(const sb_time *)value));
    case SB_KIND_DURATION_: {
      sb_duration duration = *(const sb_duration *)value;
      if (duration < 0) return problem(buffer, "is a negative duration");
      return sb_write_string(buffer, sb_duration_text(ctx, duration));
    }
    case SB_KIND_JSON_: return write_json(buffer, *(const sb_json *)value);
    case SB_KIND_ENUM_: return write_enum(buffer, type, value);
    case SB_KIND_STRUCT_: return write_struct(buffer, type, (const char *)value);
    case SB_KIND_LIST_: return write_list(buffer, type, value);
    case SB_KIND_MAP_: return write_map(buffer, type, value);
    case SB_KIND_OPT_:
      if (!*(const bool *)value) {
        sb_puts(buffer, "null");
        return true;
      }
      return sb_write_value(buffer, type->element, (const char *)value + type->element_offset);
  }
  return problem(buffer, "has an unknown type");
}
