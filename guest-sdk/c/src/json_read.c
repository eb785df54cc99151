/* Reads JSON (RFC 8259) into the members of a type. It reads a document once, without a tree.
 *
 * Texts have to be UTF-8 without half surrogate pairs, because they can become attributes of messages.
 * What is passed on as it is (`sb_json`), or ignored, is checked for its syntax alone. */
#include <inttypes.h>
#include <stdlib.h>

#include "internal.h"

/* A struct with more members cannot show which of them are missing. */
#define SB_MEMBERS_MAX 256

/* The problem is within this member or element. */
static bool within(sb_reader *reader, sb_text name) {
  bool inner = reader->path.len > 0;
  reader->path = sb_format(reader->ctx, "%.*s%s%s", (int)name.len, name.ptr, inner ? "." : "",
                           inner ? reader->path.ptr : "");
  return false;
}

static bool within_element(sb_reader *reader, size_t index) {
  return within(reader, sb_format(reader->ctx, "%zu", index));
}

sb_text sb_reader_problem(sb_reader *reader) {
  if (!reader->path.len) return reader->problem;
  return sb_format(reader->ctx, "the member `%s`: %s", reader->path.ptr, reader->problem.ptr);
}

/* ---- numbers ---------------------------------------------------------------------------- */

static bool read_integer(sb_reader *reader, const sb_type *type, void *out) {
  sb_text number;
  uint64_t magnitude = 0;
  bool negative = false, is_signed = type->kind == SB_KIND_SIGNED_;
  if (!sb_read_number(reader, &number)) return false;
  bool fits = sb_integer_of(number, is_signed, &magnitude, &negative);
  int64_t value = (int64_t)(negative ? 0 - magnitude : magnitude);
  if (fits && type->size == 4) {
    fits = is_signed ? value >= INT32_MIN && value <= INT32_MAX : magnitude <= UINT32_MAX;
  }
  if (!fits) {
    return sb_problem(reader, "expected an integer of %zu bits%s, found %.*s", type->size * 8,
                      is_signed ? "" : " without a sign", (int)number.len, number.ptr);
  }
  if (type->size == 4) {
    int32_t small = (int32_t)value;
    memcpy(out, &small, sizeof small);
  } else {
    memcpy(out, &value, sizeof value);
  }
  return true;
}

static bool read_double(sb_reader *reader, double *out) {
  sb_text number;
  if (!sb_read_number(reader, &number)) return false;
  sb_text copy = sb_copy(reader->ctx, number.ptr, number.len);
  *out = strtod(copy.ptr, NULL);
  if (*out - *out != 0) return sb_problem(reader, "the number %s is out of range", copy.ptr);
  return true;
}

static bool read_decimal(sb_reader *reader, sb_decimal *out) {
  sb_text number;
  bool is_text = reader->p < reader->end && *reader->p == '"';
  if (is_text ? !sb_read_string(reader, &number) : !sb_read_number(reader, &number)) return false;
  if (sb_decimal_parse(number, out)) return true;
  return sb_problem(reader, "`%.*s` is no decimal number of up to 28 digits",
                    (int)(number.len > 50 ? 50 : number.len), number.ptr);
}

/* ---- other single values ---------------------------------------------------------------- */

static bool read_bool(sb_reader *reader, bool *out) {
  *out = sb_take_word(reader, "true");
  return *out || sb_take_word(reader, "false") || sb_unexpected(reader, "a boolean");
}

static bool read_time(sb_reader *reader, sb_time *out) {
  sb_text text;
  if (!sb_read_string(reader, &text)) return false;
  return sb_time_parse(text, out) ||
         sb_problem(reader, "`%s` is no time as in RFC 3339, such as 2026-03-01T12:00:00Z", text.ptr);
}

static bool read_duration(sb_reader *reader, sb_duration *out) {
  sb_text text;
  if (!sb_read_string(reader, &text)) return false;
  return sb_duration_parse(text, out) ||
         sb_problem(reader, "`%s` is no duration such as 24h, 90s or 1h 30m (ms, s, m, h, d)", text.ptr);
}

static bool read_enum(sb_reader *reader, const sb_type *type, void *out) {
  sb_text text;
  if (!sb_read_string(reader, &text)) return false;
  for (const sb_word *one = type->words(); one->word; one++) {
    if (sb_text_is(text, one->word)) {
      memcpy(out, &one->value, sizeof one->value);
      return true;
    }
  }
  return sb_problem(reader, "`%s` is no value of %s", text.ptr, type->name);
}

static bool read_json(sb_reader *reader, sb_json *out) {
  out->ptr = reader->p;
  if (!sb_skip_value(reader)) return false;
  out->len = (size_t)(reader->p - out->ptr);
  return true;
}

/* ---- what has parts --------------------------------------------------------------------- */

static bool read_value(sb_reader *reader, const sb_type *type, void *out);

static bool read_list(sb_reader *reader, const sb_type *type, void *out) {
  struct {
    char *at;
    size_t count, capacity;
  } list = {NULL, 0, 0};
  if (!sb_take(reader, '[')) return sb_unexpected(reader, "a list");
  if (!sb_take(reader, ']')) {
    do {
      sb_skip_blanks(reader);
      size_t size = type->element->size;
      list.at = (char *)sb_grow(reader->ctx, list.at, list.count, &list.capacity, size);
      if (!read_value(reader, type->element, list.at + list.count * size)) {
        return within_element(reader, list.count);
      }
      list.count++;
    } while (sb_take(reader, ','));
    if (!sb_take(reader, ']')) return sb_unexpected(reader, "`,` or `]`");
  }
  memcpy(out, &list, sizeof list);
  return true;
}

static bool read_name(sb_reader *reader, sb_text *name) {
  sb_skip_blanks(reader);
  if (reader->p == reader->end || *reader->p != '"') return sb_unexpected(reader, "a member");
  if (!sb_read_string(reader, name)) return false;
  if (!sb_take(reader, ':')) return sb_unexpected(reader, "`:`");
  sb_skip_blanks(reader);
  return true;
}

static bool read_map(sb_reader *reader, const sb_type *type, void *out) {
  if (!sb_take(reader, '{')) return sb_unexpected(reader, "an object");
  if (sb_take(reader, '}')) return true;
  do {
    sb_text key;
    if (!read_name(reader, &key)) return false;
    void *value = sb_map_entry(reader->ctx, out, type, key);
    memset(value, 0, type->element->size);
    if (!read_value(reader, type->element, value)) return within(reader, key);
  } while (sb_take(reader, ','));
  return sb_take(reader, '}') || sb_unexpected(reader, "`,` or `}`");
}

/* Whether a JSON name is that of a member: `orderId` is `order_id`. */
static bool is_named(const sb_member *member, sb_text name) {
  if (*member->json_name) return sb_text_is(name, member->json_name);
  const char *p = name.ptr, *end = p + name.len;
  for (const char *own = member->name; *own; own++, p++) {
    char c = *own;
    if (c == '_' && own > member->name && own[1]) {
      c = *++own;
      if (c >= 'a' && c <= 'z') c = (char)(c - 'a' + 'A');
    }
    if (p == end || *p != c) return false;
  }
  return p == end;
}

/* The index of a member; members usually come in their order, so the search begins at `next`. */
static size_t find_member(const sb_member *members, size_t count, size_t next, sb_text name) {
  for (size_t i = 0; i < count; i++) {
    size_t at = next + i < count ? next + i : next + i - count;
    if (is_named(&members[at], name)) return at;
  }
  return count;
}

static bool has_all(sb_reader *reader, const sb_member *members, size_t count, const bool *seen) {
  for (size_t i = 0; i < count; i++) {
    if (!seen[i] && members[i].type->kind != SB_KIND_OPT_) {
      sb_text name = sb_json_name(reader->ctx, &members[i]);
      return sb_problem(reader, "the member `%s` is missing", name.ptr);
    }
  }
  return true;
}

/* Skips a member that the type does not have. `unknown` becomes its name if it says something. */
static bool skip_unknown(sb_reader *reader, sb_text name, sb_text *unknown) {
  sb_json value;
  if (!read_json(reader, &value)) return within(reader, name);
  sb_text text = {value.ptr, value.len};
  bool says_nothing = sb_text_is(text, "null") || sb_text_is(text, "false") || sb_text_is(text, "0") ||
                      sb_text_is(text, "\"\"") || sb_text_is(text, "[]") || sb_text_is(text, "{}");
  if (!says_nothing && !unknown->ptr) *unknown = name;
  return true;
}

static bool read_struct(sb_reader *reader, const sb_type *type, char *out) {
  const sb_member *members = type->members();
  size_t count = 0, next = 0;
  while (members[count].name) count++;
  bool seen[SB_MEMBERS_MAX] = {false};
  sb_text unknown = {NULL, 0};
  if (count > SB_MEMBERS_MAX) return sb_problem(reader, "%s has too many members", type->name);
  if (!sb_take(reader, '{')) return sb_unexpected(reader, "an object");
  if (!sb_take(reader, '}')) {
    do {
      sb_text name;
      if (!read_name(reader, &name)) return false;
      size_t at = find_member(members, count, next, name);
      if (at == count) {
        if (!skip_unknown(reader, name, &unknown)) return false;
        continue;
      }
      if (seen[at]) return sb_problem(reader, "the member `%s` stands twice", name.ptr);
      seen[at] = true;
      next = at + 1;
      if (!read_value(reader, members[at].type, out + members[at].offset)) return within(reader, name);
    } while (sb_take(reader, ','));
    if (!sb_take(reader, '}')) return sb_unexpected(reader, "`,` or `}`");
  }
  if (!has_all(reader, members, count, seen)) return false;
  bool refused = reader->strict && unknown.ptr;
  return !refused || sb_problem(reader, "the member `%s` is not known here", unknown.ptr);
}

static bool read_optional(sb_reader *reader, const sb_type *type, char *out) {
  if (reader->p < reader->end && *reader->p == 'n') {
    return sb_take_word(reader, "null") || sb_unexpected(reader, "a value");
  }
  *(bool *)out = true;
  return read_value(reader, type->element, out + type->element_offset);
}

static bool read_parts(sb_reader *reader, const sb_type *type, void *out) {
  if (!sb_deeper(reader)) return false;
  bool fine = type->kind == SB_KIND_LIST_  ? read_list(reader, type, out)
              : type->kind == SB_KIND_MAP_ ? read_map(reader, type, out)
                                           : read_struct(reader, type, (char *)out);
  reader->depth--;
  return fine;
}

/* Into zeroed memory. */
static bool read_value(sb_reader *reader, const sb_type *type, void *out) {
  switch (type->kind) {
    case SB_KIND_TEXT_: return sb_read_string(reader, (sb_text *)out);
    case SB_KIND_BOOL_: return read_bool(reader, (bool *)out);
    case SB_KIND_SIGNED_:
    case SB_KIND_UNSIGNED_: return read_integer(reader, type, out);
    case SB_KIND_DOUBLE_: return read_double(reader, (double *)out);
    case SB_KIND_DECIMAL_: return read_decimal(reader, (sb_decimal *)out);
    case SB_KIND_TIME_: return read_time(reader, (sb_time *)out);
    case SB_KIND_DURATION_: return read_duration(reader, (sb_duration *)out);
    case SB_KIND_JSON_: return read_json(reader, (sb_json *)out);
    case SB_KIND_ENUM_: return read_enum(reader, type, out);
    case SB_KIND_OPT_: return read_optional(reader, type, (char *)out);
    case SB_KIND_STRUCT_:
    case SB_KIND_LIST_:
    case SB_KIND_MAP_: return read_parts(reader, type, out);
  }
  return sb_problem(reader, "the type %s is not known", type->name);
}

bool sb_read_document(sb_reader *reader, const sb_type *type, void *out) {
  sb_skip_blanks(reader);
  if (!read_value(reader, type, out)) return false;
  sb_skip_blanks(reader);
  return reader->p == reader->end || sb_problem(reader, "something stands behind the JSON value");
}
