/* Texts, and sorted maps by text. */
#include "internal.h"

int sb_text_compare(sb_text one, sb_text other) {
  size_t len = one.len < other.len ? one.len : other.len;
  int order = len ? memcmp(one.ptr, other.ptr, len) : 0;
  if (order) return order;
  return one.len < other.len ? -1 : one.len > other.len;
}

/* As RFC 3629 says: no overlong form, no surrogate, nothing beyond U+10FFFF. */
bool sb_is_utf8(const char *ptr, size_t len) {
  const uint8_t *p = (const uint8_t *)ptr, *end = p + len;
  while (p < end) {
    if (*p < 0x80) {
      p++;
      continue;
    }
    int more = *p >= 0xF0 ? 3 : *p >= 0xE0 ? 2 : 1;
    if (*p < 0xC2 || *p > 0xF4 || end - p <= more) return false;
    uint8_t least = *p == 0xE0 ? 0xA0 : *p == 0xF0 ? 0x90 : 0x80;
    uint8_t most = *p == 0xED ? 0x9F : *p == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < least || p[1] > most) return false;
    for (int i = 2; i <= more; i++) {
      if (p[i] < 0x80 || p[i] > 0xBF) return false;
    }
    p += more + 1;
  }
  return true;
}

size_t sb_map_find(const void *entries, size_t count, size_t entry_size, sb_text key, bool *found) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const sb_text *other = (const sb_text *)((const char *)entries + middle * entry_size);
    int order = sb_text_compare(*other, key);
    if (order == 0) {
      *found = true;
      return middle;
    }
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  *found = false;
  return low;
}

void *sb_map_entry(sb_ctx *ctx, void *map, const sb_type *type, sb_text key) {
  struct {
    char *at;
    size_t count, capacity;
  } now;
  memcpy(&now, map, sizeof now);
  bool found = false;
  size_t index = sb_map_find(now.at, now.count, type->entry_size, key, &found);
  size_t place = index * type->entry_size;
  if (!found) {
    now.at = (char *)sb_grow(ctx, now.at, now.count, &now.capacity, type->entry_size);
    memmove(now.at + place + type->entry_size, now.at + place, (now.count - index) * type->entry_size);
    memset(now.at + place, 0, type->entry_size);
    memcpy(now.at + place, &key, sizeof key);
    now.count++;
    memcpy(map, &now, sizeof now);
  }
  return now.at + place + type->element_offset;
}
