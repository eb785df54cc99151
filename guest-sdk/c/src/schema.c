/* JSON Schemas (draft 2020-12) of the types, for the manifest. */
#include "internal.h"

bool sb_is_scalar(const sb_type *type) {
  switch (type->kind) {
    case SB_KIND_OPT_: return sb_is_scalar(type->element);
    case SB_KIND_STRUCT_:
    case SB_KIND_LIST_:
    case SB_KIND_MAP_:
    case SB_KIND_JSON_: return false;
    default: return true;
  }
}

static void put(sb_buffer *buffer, const sb_type *type, bool written, bool closed);

static void put_struct(sb_buffer *buffer, const sb_type *type, bool written, bool closed) {
  const char *between = "";
  sb_puts(buffer, "{\"type\":\"object\",\"title\":");
  sb_write_string(buffer, sb_text_of(type->name));
  sb_puts(buffer, ",\"properties\":{");
  for (const sb_member *member = type->members(); member->name; member++) {
    sb_puts(buffer, between);
    sb_write_string(buffer, sb_json_name(buffer->ctx, member));
    sb_puts(buffer, ":");
    put(buffer, member->type, written, closed);
    between = ",";
  }
  sb_puts(buffer, "},\"required\":[");
  between = "";
  for (const sb_member *member = type->members(); member->name; member++) {
    if (member->type->kind == SB_KIND_OPT_) continue;
    sb_puts(buffer, between);
    sb_write_string(buffer, sb_json_name(buffer->ctx, member));
    between = ",";
  }
  sb_puts(buffer, closed ? "],\"additionalProperties\":false}" : "]}");
}

static void put_enum(sb_buffer *buffer, const sb_type *type) {
  const char *between = "";
  sb_puts(buffer, "{\"type\":\"string\",\"enum\":[");
  for (const sb_word *word = type->words(); word->word; word++) {
    sb_puts(buffer, between);
    sb_write_string(buffer, sb_text_of(word->word));
    between = ",";
  }
  sb_puts(buffer, "]}");
}

static void put_integer(sb_buffer *buffer, const sb_type *type) {
  bool is_signed = type->kind == SB_KIND_SIGNED_, is_small = type->size == 4;
  sb_text text = sb_format(buffer->ctx, "{\"type\":\"integer\",\"format\":\"%sint%d\"%s}", is_signed ? "" : "u",
                           is_small ? 32 : 64,
                           !is_signed && is_small ? ",\"minimum\":0,\"maximum\":4294967295"
                           : !is_signed           ? ",\"minimum\":0"
                           : is_small             ? ",\"minimum\":-2147483648,\"maximum\":2147483647"
                                                  : "");
  sb_put(buffer, text.ptr, text.len);
}

static void put(sb_buffer *buffer, const sb_type *type, bool written, bool closed) {
  switch (type->kind) {
    case SB_KIND_TEXT_: sb_puts(buffer, "{\"type\":\"string\"}"); break;
    case SB_KIND_BOOL_: sb_puts(buffer, "{\"type\":\"boolean\"}"); break;
    case SB_KIND_SIGNED_:
    case SB_KIND_UNSIGNED_: put_integer(buffer, type); break;
    case SB_KIND_DOUBLE_: sb_puts(buffer, "{\"type\":\"number\",\"format\":\"double\"}"); break;
    case SB_KIND_DECIMAL_:
      sb_puts(buffer, written ? "{\"type\":\"number\"}" : "{\"type\":[\"number\",\"string\"]}");
      break;
    case SB_KIND_TIME_: sb_puts(buffer, "{\"type\":\"string\",\"format\":\"date-time\"}"); break;
    case SB_KIND_DURATION_:
      sb_puts(buffer, "{\"type\":\"string\",\"pattern\":\"^\\\\s*([0-9]+(ms|s|m|h|d)\\\\s*)+$\","
                      "\"description\":\"a duration such as 24h, 90s or 1h 30m\"}");
      break;
    case SB_KIND_JSON_: sb_puts(buffer, "true"); break;
    case SB_KIND_ENUM_: put_enum(buffer, type); break;
    case SB_KIND_STRUCT_: put_struct(buffer, type, written, closed); break;
    case SB_KIND_LIST_:
      sb_puts(buffer, "{\"type\":\"array\",\"items\":");
      put(buffer, type->element, written, closed);
      sb_puts(buffer, "}");
      break;
    case SB_KIND_MAP_:
      sb_puts(buffer, "{\"type\":\"object\",\"additionalProperties\":");
      put(buffer, type->element, written, closed);
      sb_puts(buffer, "}");
      break;
    case SB_KIND_OPT_:
      sb_puts(buffer, "{\"anyOf\":[");
      put(buffer, type->element, written, closed);
      sb_puts(buffer, ",{\"type\":\"null\"}]}");
      break;
  }
}

sb_text sb_schema(sb_ctx *ctx, const sb_type *type, bool written, bool closed) {
  sb_buffer buffer = {ctx, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
  put(&buffer, type, written, closed);
  return sb_buffer_text(&buffer);
}
