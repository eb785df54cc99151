/* Types that are declared once, as a table of their members. From the table come the struct, the
 * reader and the writer of its JSON, and its JSON Schema.
 *
 *     #define ITEM(F) F(sb_text, product_id) F(uint32_t, quantity)
 *     SB_STRUCT(Item, ITEM);
 *
 * declares the struct `Item` with these two members, and the types `Item_list`, `Item_map` and
 * `Item_opt`, which can be members of other structs. In JSON the members are `productId` and
 * `quantity`; `F(sb_text, product_id, "sku")` gives another name.
 *
 * Types of members: sb_text, bool, int32_t, uint32_t, int64_t, uint64_t, double, sb_decimal, sb_time,
 * sb_duration, sb_json, every type declared here, and of each type T: T_list, T_map (by text, sorted), T_opt. */
#ifndef SAGABOX_DATA_H
#define SAGABOX_DATA_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sb_kind {
  SB_KIND_TEXT_,
  SB_KIND_BOOL_,
  SB_KIND_SIGNED_,
  SB_KIND_UNSIGNED_,
  SB_KIND_DOUBLE_,
  SB_KIND_DECIMAL_,
  SB_KIND_TIME_,
  SB_KIND_DURATION_,
  SB_KIND_JSON_,
  SB_KIND_ENUM_,
  SB_KIND_STRUCT_,
  SB_KIND_LIST_,
  SB_KIND_MAP_,
  SB_KIND_OPT_
} sb_kind;

typedef struct sb_type sb_type;

typedef struct sb_member {
  const char *name;      /* in C */
  const char *json_name; /* empty: the name in C as camelCase */
  const sb_type *type;
  size_t offset;
} sb_member;

typedef struct sb_word {
  int value;
  const char *word;
} sb_word;

struct sb_type {
  sb_kind kind;
  size_t size;
  const char *name;
  const sb_type *element;              /* of a list, a map or an optional value */
  size_t element_offset;               /* in an entry or an optional value */
  size_t entry_size;                   /* of a map */
  const sb_member *(*members)(void);   /* of a struct; the last one has no name */
  const sb_word *(*words)(void);       /* of an enum; the last one has no word */
};

extern const sb_type sb_type_sb_text, sb_type_bool, sb_type_int32_t, sb_type_uint32_t,
    sb_type_int64_t, sb_type_uint64_t, sb_type_double, sb_type_sb_decimal, sb_type_sb_time,
    sb_type_sb_duration, sb_type_sb_json;

/* Where the entry of a key is in a sorted map, or where it has to be inserted. */
size_t sb_map_find(const void *entries, size_t count, size_t entry_size, sb_text key, bool *found);
/* The place of the value of a key; a new entry is zeroed. */
void *sb_map_entry(sb_ctx *ctx, void *map, const sb_type *type, sb_text key);

/* The list, map and optional value of a type. */
#define SB_DERIVED(T)                                                                             \
  typedef struct T##_list {                                                                       \
    T *at;                                                                                        \
    size_t count;                                                                                 \
    size_t capacity;                                                                              \
  } T##_list;                                                                                     \
  typedef struct T##_entry {                                                                      \
    sb_text key;                                                                                  \
    T value;                                                                                      \
  } T##_entry;                                                                                    \
  typedef struct T##_map {                                                                        \
    T##_entry *at;                                                                                \
    size_t count;                                                                                 \
    size_t capacity;                                                                              \
  } T##_map;                                                                                      \
  typedef struct T##_opt {                                                                        \
    bool some;                                                                                    \
    T value;                                                                                      \
  } T##_opt;                                                                                      \
  SB_MAYBE_UNUSED_ static const sb_type sb_type_##T##_list = {                                    \
      SB_KIND_LIST_, sizeof(T##_list), #T "_list", &sb_type_##T, 0, 0, NULL, NULL};               \
  SB_MAYBE_UNUSED_ static const sb_type sb_type_##T##_map = {                                     \
      SB_KIND_MAP_, sizeof(T##_map), #T "_map", &sb_type_##T, offsetof(T##_entry, value),         \
      sizeof(T##_entry), NULL, NULL};                                                             \
  SB_MAYBE_UNUSED_ static const sb_type sb_type_##T##_opt = {                                     \
      SB_KIND_OPT_, sizeof(T##_opt), #T "_opt", &sb_type_##T, offsetof(T##_opt, value), 0, NULL,  \
      NULL};                                                                                      \
  /* Appends an element. */                                                                       \
  SB_MAYBE_UNUSED_ static inline void T##_list_push(sb_ctx *ctx, T##_list *list, T element) {     \
    list->at = (T *)sb_grow(ctx, list->at, list->count, &list->capacity, sizeof(T));              \
    list->at[list->count++] = element;                                                            \
  }                                                                                               \
  /* The value of a key; NULL if there is none. */                                                \
  SB_MAYBE_UNUSED_ static inline T *T##_map_get(const T##_map *map, sb_text key) {                \
    bool found = false;                                                                           \
    size_t at = sb_map_find(map->at, map->count, sizeof(T##_entry), key, &found);                 \
    return found ? &map->at[at].value : NULL;                                                     \
  }                                                                                               \
  /* Sets the value of a key. */                                                                  \
  SB_MAYBE_UNUSED_ static inline void T##_map_put(sb_ctx *ctx, T##_map *map, sb_text key,         \
                                                  T value) {                                      \
    *(T *)sb_map_entry(ctx, map, &sb_type_##T##_map, key) = value;                                \
  }                                                                                               \
  SB_MAYBE_UNUSED_ static inline T##_opt T##_some(T value) {                                      \
    T##_opt optional;                                                                             \
    memset(&optional, 0, sizeof optional);                                                        \
    optional.some = true;                                                                         \
    optional.value = value;                                                                       \
    return optional;                                                                              \
  }                                                                                               \
  SB_MAYBE_UNUSED_ static const sb_type *const sb_use_##T = &sb_type_##T##_opt

#define SB_MEMBER_(T, name, ...) T name;
#define SB_MEMBER_ROW_(T, name, ...) {#name, "" __VA_ARGS__, &sb_type_##T, offsetof(sb_self, name)},
#define SB_WORD_(value, ...) value,
#define SB_WORD_ROW_(value, word) {value, word},

/* A struct from the table of its members. */
#define SB_STRUCT(T, MEMBERS)                                                                     \
  typedef struct T {                                                                              \
    MEMBERS(SB_MEMBER_)                                                                           \
  } T;                                                                                            \
  static inline const sb_member *sb_members_##T(void) {                                           \
    typedef T sb_self;                                                                            \
    static const sb_member members[] = {MEMBERS(SB_MEMBER_ROW_){NULL, NULL, NULL, 0}};            \
    return members;                                                                               \
  }                                                                                               \
  SB_MAYBE_UNUSED_ static const sb_type sb_type_##T = {                                           \
      SB_KIND_STRUCT_, sizeof(T), #T, NULL, 0, 0, sb_members_##T, NULL};                          \
  SB_DERIVED(T)

/* An enum whose values are texts in JSON: `#define SIZE(V) V(SMALL, "small") V(LARGE, "large")`. */
#define SB_ENUM(T, VALUES)                                                                        \
  typedef enum T { VALUES(SB_WORD_) } T;                                                          \
  static inline const sb_word *sb_words_##T(void) {                                               \
    static const sb_word words[] = {VALUES(SB_WORD_ROW_){0, NULL}};                               \
    return words;                                                                                 \
  }                                                                                               \
  SB_MAYBE_UNUSED_ static const sb_type sb_type_##T = {SB_KIND_ENUM_, sizeof(T), #T, NULL, 0, 0,  \
                                                       NULL, sb_words_##T};                       \
  SB_DERIVED(T)

/* What has a type on its way to or from the host. */
typedef struct sb_message {
  const sb_type *data; /* NULL: a timer without data */
  const char *named;   /* instead of `type`, if it is not the name of the struct */
  const char *subject; /* the member that is the CloudEvents subject of what is sent */
  const char *type;    /* the CloudEvents type, or a timer's name */
} sb_message;

#define SB_MESSAGE_(T, MEMBERS, ...)                                                              \
  SB_STRUCT(T, MEMBERS);                                                                          \
  SB_MAYBE_UNUSED_ static const sb_message sb_message_##T = {.data = &sb_type_##T,                \
                                                             __VA_ARGS__}

/* An event. Its CloudEvents type is the name of the struct, or `.named = "order placed"`. What is
 * emitted can have a subject: `.subject = "order_id"` names the member. */
#define SB_EVENT(T, ...) SB_EVENT_(T, __VA_ARGS__, .type = #T)
/* A command, in the same way. */
#define SB_COMMAND(T, ...) SB_EVENT_(T, __VA_ARGS__, .type = #T)
#define SB_EVENT_(T, MEMBERS, ...) SB_MESSAGE_(T, MEMBERS, __VA_ARGS__)
/* A timer with data that comes back when it fires. */
#define SB_TIMER(T, name, MEMBERS) SB_MESSAGE_(T, MEMBERS, .type = name)
/* A timer without data. */
#define SB_BARE_TIMER(T, name)                                                                    \
  typedef struct T {                                                                              \
    char unused;                                                                                  \
  } T;                                                                                            \
  SB_MAYBE_UNUSED_ static const sb_message sb_message_##T = {NULL, NULL, NULL, name}

SB_DERIVED(sb_text);
SB_DERIVED(bool);
SB_DERIVED(int32_t);
SB_DERIVED(uint32_t);
SB_DERIVED(int64_t);
SB_DERIVED(uint64_t);
SB_DERIVED(double);
SB_DERIVED(sb_decimal);
SB_DERIVED(sb_time);
SB_DERIVED(sb_duration);
SB_DERIVED(sb_json);

/* The JSON text of a value. False if it cannot be written, with the failure in `ctx`. */
#define SB_WRITE(ctx, T, value, out) sb_write(ctx, &sb_type_##T, SB_POINTER_(T, value), out)
bool sb_write(sb_ctx *ctx, const sb_type *type, const void *value, sb_json *out);
/* Reads JSON into a new T. False if it does not fit, with the failure in `ctx`. */
#define SB_READ(ctx, json, T, out) sb_read(ctx, json, &sb_type_##T, (const void **)SB_OUT_(T, out))
bool sb_read(sb_ctx *ctx, sb_json json, const sb_type *type, const void **out);

/* The value at an RFC 6901 JSON Pointer. False if there is none. */
bool sb_json_find(sb_json json, const char *pointer, sb_json *out);
/* The text of a JSON string. False if it is another value. */
bool sb_json_text(sb_ctx *ctx, sb_json json, sb_text *out);
/* The value of a JSON integer. False if it is another value, or beyond 64 bits. */
bool sb_json_integer(sb_json json, int64_t *out);
static inline sb_json sb_json_of(sb_text text) {
  sb_json json = {text.ptr, text.len};
  return json;
}

/* Checks the type of a pointer at compile time. */
#define SB_POINTER_(T, value) (1 ? (value) : (const T *)0)
#define SB_OUT_(T, out) (1 ? (out) : (const T **)0)

#ifdef __cplusplus
}
#endif
#endif
