/* The types of single values, and reading and writing whole documents. */
#include "internal.h"

#define SB_SINGLE(T, kind) const sb_type sb_type_##T = {kind, sizeof(T), #T, NULL, 0, 0, NULL, NULL}
SB_SINGLE(sb_text, SB_KIND_TEXT_);
SB_SINGLE(bool, SB_KIND_BOOL_);
SB_SINGLE(int32_t, SB_KIND_SIGNED_);
SB_SINGLE(uint32_t, SB_KIND_UNSIGNED_);
SB_SINGLE(int64_t, SB_KIND_SIGNED_);
SB_SINGLE(uint64_t, SB_KIND_UNSIGNED_);
SB_SINGLE(double, SB_KIND_DOUBLE_);
SB_SINGLE(sb_decimal, SB_KIND_DECIMAL_);
SB_SINGLE(sb_time, SB_KIND_TIME_);
SB_SINGLE(sb_duration, SB_KIND_DURATION_);
SB_SINGLE(sb_json, SB_KIND_JSON_);

sb_bytes sb_bytes_of_json(sb_json json) {
  sb_bytes bytes = {(const uint8_t *)json.ptr, json.len};
  return bytes;
}

bool sb_write(sb_ctx *ctx, const sb_type *type, const void *value, sb_json *out) {
  sb_buffer buffer = {ctx, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
  if (!sb_write_value(&buffer, type, value)) {
    sb_fail_at(ctx, false, NULL, 0, "%s cannot be written: %s", type->name,
               sb_buffer_problem(&buffer).ptr);
    return false;
  }
  *out = sb_json_of(sb_buffer_text(&buffer));
  return true;
}

bool sb_read(sb_ctx *ctx, sb_json json, const sb_type *type, const void **out) {
  sb_reader reader = {json.ptr, json.ptr + json.len, ctx, false, 0, {NULL, 0}, {NULL, 0}};
  void *value = sb_alloc(ctx, type->size);
  *out = value;
  if (sb_read_document(&reader, type, value)) return true;
  *out = NULL;
  sb_fail_at(ctx, false, NULL, 0, "%s does not fit: %s", type->name, sb_reader_problem(&reader).ptr);
  return false;
}

/* ---- parts of a document ---------------------------------------------------------------- */

/* The part of a pointer up to the next `/`, with `~1` and `~0` replaced. */
static sb_text token_of(sb_ctx *ctx, const char **pointer) {
  sb_buffer buffer = {ctx, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
  const char *p = *pointer + 1;
  for (; *p && *p != '/'; p++) {
    bool is_escape = p[0] == '~' && (p[1] == '0' || p[1] == '1');
    if (is_escape) p++;
    char c = is_escape ? (*p == '1' ? '/' : '~') : *p;
    sb_put(&buffer, &c, 1);
  }
  *pointer = p;
  return sb_buffer_text(&buffer);
}

/* Moves the reader to the last member of this name, as the host does. */
static bool enter_object(sb_reader *reader, sb_text name) {
  const char *found = NULL;
  reader->p++;
  sb_skip_blanks(reader);
  while (reader->p < reader->end && *reader->p == '"') {
    sb_text own = {NULL, 0};
    if (!sb_read_string(reader, &own)) return false;
    sb_skip_blanks(reader);
    reader->p++; /* the colon: the document was checked */
    sb_skip_blanks(reader);
    if (sb_text_equal(own, name)) found = reader->p;
    if (!sb_skip_value(reader)) return false;
    sb_skip_blanks(reader);
    reader->p++;
    sb_skip_blanks(reader);
  }
  reader->p = found;
  return found != NULL;
}

static bool enter_list(sb_reader *reader, sb_text token) {
  uint64_t index = 0;
  bool negative = false;
  bool is_index = token.len > 0 && (token.len == 1 || token.ptr[0] != '0');
  for (size_t i = 0; i < token.len; i++) is_index = is_index && token.ptr[i] >= '0' && token.ptr[i] <= '9';
  if (!is_index || !sb_integer_of(token, false, &index, &negative)) return false;
  reader->p++;
  for (uint64_t at = 0;; at++) {
    sb_skip_blanks(reader);
    if (reader->p == reader->end || *reader->p == ']') return false;
    if (at == index) return true;
    if (!sb_skip_value(reader)) return false;
    sb_skip_blanks(reader);
    if (*reader->p != ',') return false;
    reader->p++;
  }
}

/* A pointer is looked up without the context of a call. */
static bool find(sb_ctx *scratch, sb_json json, const char *pointer, sb_json *out) {
  sb_reader reader = {json.ptr, json.ptr + json.len, scratch, false, 0, {NULL, 0}, {NULL, 0}};
  sb_skip_blanks(&reader);
  const char *first = reader.p;
  if (!sb_skip_value(&reader)) return false;
  sb_skip_blanks(&reader);
  if (reader.p != reader.end) return false;
  reader.p = first;
  while (*pointer == '/') {
    sb_text token = token_of(scratch, &pointer);
    bool entered = *reader.p == '{'   ? enter_object(&reader, token)
                   : *reader.p == '[' ? enter_list(&reader, token)
                                      : false;
    if (!entered) return false;
  }
  out->ptr = reader.p;
  if (!sb_skip_value(&reader)) return false;
  out->len = (size_t)(reader.p - out->ptr);
  return *pointer == 0;
}

bool sb_json_find(sb_json json, const char *pointer, sb_json *out) {
  sb_arena arena = {NULL, NULL, NULL};
  sb_ctx scratch;
  memset(&scratch, 0, sizeof scratch);
  scratch.arena = &arena;
  bool found = find(&scratch, json, pointer, out);
  sb_arena_free(&arena);
  return found;
}

bool sb_json_text(sb_ctx *ctx, sb_json json, sb_text *out) {
  sb_reader reader = {json.ptr, json.ptr + json.len, ctx, false, 0, {NULL, 0}, {NULL, 0}};
  return sb_read_string(&reader, out) && reader.p == reader.end;
}

bool sb_json_integer(sb_json json, int64_t *out) {
  uint64_t magnitude = 0;
  bool negative = false;
  const char *p = json.ptr, *end = p + json.len;
  if (p == end || (*p != '-' && (*p < '0' || *p > '9'))) return false;
  sb_text number = {p, json.len};
  if (!sb_integer_of(number, true, &magnitude, &negative)) return false;
  *out = (int64_t)(negative ? 0 - magnitude : magnitude);
  return true;
}
