/* The memory of one call. In wasm it is a bump allocator whose first chunk is kept from call to call.
 * Natively every allocation is a block of its own, so that sanitizers see each access beyond it. */
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

struct sb_chunk {
  sb_chunk *next;
  size_t size;
};

#define SB_ALIGN 16
#define SB_CHUNK_SIZE ((size_t)64 * 1024)

static sb_chunk *new_chunk(sb_arena *arena, size_t size) {
  if (size > SIZE_MAX / 2) sb_panic_at(__FILE__, __LINE__, "the call needs too much memory");
  size_t header = (sizeof(sb_chunk) + SB_ALIGN - 1) / SB_ALIGN * SB_ALIGN;
  sb_chunk *chunk = (sb_chunk *)malloc(header + size);
  if (!chunk) sb_panic_at(__FILE__, __LINE__, "there is no memory for %zu more bytes", size);
  chunk->next = arena->chunks;
  chunk->size = size;
  arena->chunks = chunk;
  arena->next = (char *)chunk + header;
  arena->end = arena->next + size;
  return chunk;
}

#ifdef __wasm__

void *sb_arena_alloc(sb_arena *arena, size_t size, size_t align) {
  uintptr_t at = ((uintptr_t)arena->next + align - 1) / align * align;
  if (!arena->next || at > (uintptr_t)arena->end || size > (uintptr_t)arena->end - at) {
    if (size > SIZE_MAX / 2) sb_panic_at(__FILE__, __LINE__, "the call needs too much memory");
    new_chunk(arena, size + align > SB_CHUNK_SIZE ? size + align : SB_CHUNK_SIZE);
    at = ((uintptr_t)arena->next + align - 1) / align * align;
  }
  arena->next = (char *)(at + size);
  return (void *)at;
}

/* Keeps the first chunk, which has the usual size unless the first allocation was larger. */
void sb_arena_reset(sb_arena *arena) {
  sb_chunk *chunk = arena->chunks;
  while (chunk && (chunk->next || chunk->size > SB_CHUNK_SIZE)) {
    sb_chunk *next = chunk->next;
    free(chunk);
    chunk = next;
  }
  arena->chunks = chunk;
  arena->next = arena->end = NULL;
  if (chunk) {
    size_t header = (sizeof(sb_chunk) + SB_ALIGN - 1) / SB_ALIGN * SB_ALIGN;
    arena->next = (char *)chunk + header;
    arena->end = arena->next + chunk->size;
  }
}

#else

void *sb_arena_alloc(sb_arena *arena, size_t size, size_t align) {
  (void)align;
  new_chunk(arena, size ? size : 1);
  return arena->next;
}

void sb_arena_reset(sb_arena *arena) { sb_arena_free(arena); }

#endif

void sb_arena_free(sb_arena *arena) {
  while (arena->chunks) {
    sb_chunk *chunk = arena->chunks;
    arena->chunks = chunk->next;
    free(chunk);
  }
  arena->next = arena->end = NULL;
}

void *sb_alloc(sb_ctx *ctx, size_t size) {
  void *memory = sb_arena_alloc(ctx->arena, size, SB_ALIGN);
  memset(memory, 0, size);
  return memory;
}

static void *copied(sb_ctx *ctx, const void *at, size_t count, size_t capacity, size_t size) {
  if (size && capacity > SIZE_MAX / 2 / size) sb_panic_at(__FILE__, __LINE__, "a list is too long");
  void *larger = sb_alloc(ctx, capacity * size);
  if (count) memcpy(larger, at, count * size);
  return larger;
}

void *sb_grow(sb_ctx *ctx, void *at, size_t count, size_t *capacity, size_t size) {
  if (count < *capacity) return at;
  *capacity = count < 4 ? 4 : count * 2;
  return copied(ctx, at, count, *capacity, size);
}

void *sb_grow_list(sb_ctx *ctx, void *at, size_t count, size_t size) {
  if (count && (count & (count - 1))) return at;
  return copied(ctx, at, count, count ? count * 2 : 1, size);
}

sb_text sb_copy(sb_ctx *ctx, const char *ptr, size_t len) {
  char *copy = (char *)sb_arena_alloc(ctx->arena, len + 1, 1);
  if (len) memcpy(copy, ptr, len);
  copy[len] = 0;
  sb_text text = {copy, len};
  return text;
}

sb_text sb_format_list(sb_ctx *ctx, const char *format, va_list list) {
  char small[256];
  va_list again;
  va_copy(again, list);
  int len = vsnprintf(small, sizeof small, format, list);
  sb_text text = {"", 0};
  if (len >= 0 && (size_t)len < sizeof small) {
    text = sb_copy(ctx, small, (size_t)len);
  } else if (len >= 0) {
    char *large = (char *)sb_arena_alloc(ctx->arena, (size_t)len + 1, 1);
    vsnprintf(large, (size_t)len + 1, format, again);
    text.ptr = large;
    text.len = (size_t)len;
  }
  va_end(again);
  return text;
}

sb_text sb_format(sb_ctx *ctx, const char *format, ...) {
  va_list list;
  va_start(list, format);
  sb_text text = sb_format_list(ctx, format, list);
  va_end(list);
  return text;
}

void sb_put(sb_buffer *buffer, const char *ptr, size_t len) {
  /* One byte more, for the NUL. */
  if (len + 1 > buffer->capacity - buffer->len) {
    size_t capacity = buffer->capacity ? buffer->capacity : 128;
    while (len + 1 > capacity - buffer->len) capacity *= 2;
    char *larger = (char *)sb_arena_alloc(buffer->ctx->arena, capacity, 1);
    if (buffer->len) memcpy(larger, buffer->ptr, buffer->len);
    buffer->ptr = larger;
    buffer->capacity = capacity;
  }
  if (len) memcpy(buffer->ptr + buffer->len, ptr, len);
  buffer->len += len;
}

void sb_puts(sb_buffer *buffer, const char *string) { sb_put(buffer, string, strlen(string)); }

sb_text sb_buffer_text(sb_buffer *buffer) {
  sb_put(buffer, "", 0);
  buffer->ptr[buffer->len] = 0;
  sb_text text = {buffer->ptr, buffer->len};
  return text;
}
