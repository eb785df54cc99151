/* Reading and writing JSON: RFC 8259, each type of member, and documents that are damaged at random. */
#include "../src/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <sagabox_test.h>

#define COLOUR(V) V(RED, "red") V(GREEN, "dark green")
SB_ENUM(Colour, COLOUR);

#define INNER(F) F(sb_text, product_id) F(int64_t, count)
SB_STRUCT(Inner, INNER);
SB_DERIVED(Inner_list);

#define ALL(F)                                                                                    \
  F(sb_text, text_value) F(bool, flag) F(int32_t, small) F(uint32_t, small_unsigned)              \
  F(int64_t, large) F(uint64_t, large_unsigned) F(double, number) F(sb_decimal, price)            \
  F(sb_time, at) F(sb_duration, wait) F(sb_json, any) F(Colour, colour) F(Inner, inner)           \
  F(Inner_list, inners) F(int64_t_map, counts) F(sb_text_opt, note) F(Inner_opt, other)           \
  F(Inner_list_list, table) F(sb_text, renamed, "@type")
SB_STRUCT(All, ALL);

#define NUMBERS(F) F(double_list, numbers)
SB_STRUCT(Numbers, NUMBERS);
#define ONE_TEXT(F) F(sb_text, text)
SB_STRUCT(OneText, ONE_TEXT);
SB_EVENT(Anything, ONE_TEXT);

static sb_result ignore(const Anything *event, sb_ctx *ctx) {
  (void)event, (void)ctx;
  return SB_OK;
}
SB_SAGA(unused, "unused", "0.1.0", "For the harness", SB_ON(Anything, ignore, .key = "/text"));

static sb_reader reader_of(sb_test *t, const char *text, size_t len, bool strict) {
  /* A copy of its own, so that sanitizers see what is read beyond it. */
  sb_text copy = sb_copy(sb_test_memory(t), text, len);
  sb_reader reader = {copy.ptr, copy.ptr + len, sb_test_memory(t), strict, 0, {NULL, 0}, {NULL, 0}};
  return reader;
}

/* Reads a document, and returns the problem, or NULL. */
static const char *problem_of(sb_test *t, const sb_type *type, const char *text, bool strict) {
  sb_reader reader = reader_of(t, text, strlen(text), strict);
  void *value = sb_alloc(sb_test_memory(t), type->size);
  return sb_read_document(&reader, type, value) ? NULL : sb_reader_problem(&reader).ptr;
}

static const char *written(sb_test *t, const sb_type *type, const void *value) {
  sb_buffer buffer = {sb_test_memory(t), NULL, 0, 0, {NULL, 0}, {NULL, 0}};
  return sb_write_value(&buffer, type, value) ? sb_buffer_text(&buffer).ptr : sb_buffer_problem(&buffer).ptr;
}

/* Reads a document and writes it again. */
static const char *again(sb_test *t, const sb_type *type, const char *text) {
  sb_reader reader = reader_of(t, text, strlen(text), false);
  void *value = sb_alloc(sb_test_memory(t), type->size);
  if (!sb_read_document(&reader, type, value)) return sb_reader_problem(&reader).ptr;
  return written(t, type, value);
}

static void is(sb_test *t, int line, const char *found, const char *expected) {
  if (found && expected && strcmp(found, expected) == 0) return;
  fprintf(stderr, "json.c:%d: expected %s\n  found    %s\n", line, expected, found ? found : "(null)");
  sb_check(t, (sb_place){__FILE__, line}, false, "the texts are equal");
}
#define IS(found, expected) is(t, __LINE__, found, expected)

static const char whole[] =
    "{\"textValue\":\"a\\\"\\\\\\u0001\\n\xC3\xA4\",\"flag\":true,\"small\":-2147483648,\"smallUnsigned\":4294967295,"
    "\"large\":-9223372036854775808,\"largeUnsigned\":18446744073709551615,\"number\":117.63331139400017,"
    "\"price\":10.00,\"at\":\"2026-03-01T12:00:00.25Z\",\"wait\":\"1h 30m\",\"any\":[1e400, {\"a\":1,\"a\":2}],"
    "\"colour\":\"dark green\",\"inner\":{\"productId\":\"p\",\"count\":9007199254740993},"
    "\"inners\":[{\"productId\":\"q\",\"count\":0}],\"counts\":{\"a\":1,\"b\":2},\"note\":\"n\","
    "\"table\":[[],[{\"productId\":\"r\",\"count\":-1}]],\"@type\":\"x\"}";

SB_TEST(every_type_is_written_as_it_was_read) { IS(again(t, &sb_type_All, whole), whole); }

SB_TEST(syntax_is_that_of_rfc_8259) {
  static const char *const good[] = {"0", "-0", "1e5", "1E+5", "1.5e-3", "\"\"", "\"\\u00e4\\/\"", "[]", "[ 1 , 2 ]", "{}",
                                     "{\"\":{}}", "true", "false", "null", " \t\r\n[\n]\t", "[[[[]]]]", "\"\x7F\"",
                                     "\"\\ud83d\"", "{\"a\":1,\"a\":2}"};
  static const char *const bad[] = {"", " ", "01", "-", "+1", ".5", "1.", "1e", "1e+", "0x1", "NaN", "Infinity", "-Infinity",
                                    "'a'", "\"", "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"a\nb\"", "\"\t\"", "[", "]",
                                    "[1,]", "[,1]", "[1 2]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:1}",
                                    "{\"a\" 1}", "tru", "True", "nul", "1 2", "[]]", "//", "/**/1", "\xEF\xBB\xBF" "1", "[1,\n"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    const char *problem = problem_of(t, &sb_type_sb_json, good[i], false);
    if (problem) fprintf(stderr, "%s: %s\n", good[i], problem);
    SB_CHECK(t, !problem);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    if (!problem_of(t, &sb_type_sb_json, bad[i], false)) fprintf(stderr, "accepted: %s\n", bad[i]);
    SB_CHECK(t, problem_of(t, &sb_type_sb_json, bad[i], false) != NULL);
  }
}

SB_TEST(nesting_is_limited) {
  char deep[100001];
  for (int depth = 150; depth <= 50000; depth += 49850) {
    memset(deep, '[', (size_t)depth);
    memset(deep + depth, ']', (size_t)depth);
    deep[2 * depth] = 0;
    const char *problem = problem_of(t, &sb_type_sb_json, deep, false);
    if (depth == 150) SB_CHECK(t, !problem);
    if (depth > 150) IS(problem, "the data is nested too deep");
  }
}

SB_TEST(texts_are_utf_8_without_half_surrogate_pairs) {
  IS(again(t, &sb_type_OneText, "{\"text\":\"\\ud83d\\ude00\\u00e4\\u0000\"}"), "{\"text\":\"\xF0\x9F\x98\x80\xC3\xA4\\u0000\"}");
  static const char *const half[] = {"\\ud83d", "\\ude00", "\\ud83dx", "\\ud83d\\u0041", "\\ud83d\\ud83d"};
  for (size_t i = 0; i < sizeof half / sizeof *half; i++) {
    sb_text text = sb_format(sb_test_memory(t), "{\"text\":\"%s\"}", half[i]);
    IS(problem_of(t, &sb_type_OneText, text.ptr, false), "the member `text`: a text has half of a surrogate pair");
  }
  static const char *const wrong[] = {"\x80", "\xC0\x80", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5", "\xE2\x82"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    sb_text text = sb_format(sb_test_memory(t), "{\"text\":\"%s\"}", wrong[i]);
    IS(problem_of(t, &sb_type_OneText, text.ptr, false), "the member `text`: a text is not UTF-8");
    OneText value = {sb_text_of(wrong[i])};
    IS(written(t, &sb_type_OneText, &value), "the member `text` is not UTF-8");
  }
}

SB_TEST(a_text_that_was_never_set_is_not_written) {
  OneText value = {{NULL, 0}};
  IS(written(t, &sb_type_OneText, &value), "the member `text` is not set");
}

SB_TEST(members_are_checked_with_their_path) {
  const sb_type *type = &sb_type_Inner;
  IS(problem_of(t, type, "{\"count\":1}", false), "the member `productId` is missing");
  IS(problem_of(t, type, "{\"productId\":\"p\",\"count\":1,\"count\":2}", false), "the member `count` stands twice");
  IS(problem_of(t, type, "{\"productId\":7,\"count\":1}", false), "the member `productId`: expected a text, found a number");
  IS(problem_of(t, type, "{\"productId\":null,\"count\":1}", false), "the member `productId`: expected a text, found null");
  IS(problem_of(t, type, "{\"product_id\":\"p\",\"count\":1}", false), "the member `productId` is missing");
  IS(problem_of(t, &sb_type_Inner_list, "[{\"productId\":\"p\",\"count\":1},{\"productId\":\"p\",\"count\":true}]", false),
     "the member `1.count`: expected a number, found a boolean");
  IS(problem_of(t, type, "{\"productId\":\"p\",\"count\":1,\"new\":{\"a\":[1]}}", false) ? "refused" : "ignored", "ignored");
  IS(problem_of(t, type, "{\"productId\":\"p\",\"count\":1,\"new\":2}", true), "the member `new` is not known here");
  IS(problem_of(t, type, "{\"productId\":\"p\",\"count\":1,\"new\":null}", true) ? "refused" : "ignored", "ignored");
  IS(problem_of(t, &sb_type_Colour, "\"blue\"", false), "`blue` is no value of Colour");
  IS(problem_of(t, &sb_type_int64_t_map, "{\"a\":1,\"b\":\"x\"}", false), "the member `b`: expected a number, found a text");
}

SB_TEST(integers_are_exact_or_refused) {
  IS(again(t, &sb_type_int64_t, "9007199254740993"), "9007199254740993");
  IS(again(t, &sb_type_int64_t, "1.0"), "1");
  IS(again(t, &sb_type_int64_t, "-12e2"), "-1200");
  static const char *const wrong[] = {"1.5", "9223372036854775808", "-9223372036854775809", "1e19", "1e-1", "1e400"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) SB_CHECK(t, problem_of(t, &sb_type_int64_t, wrong[i], false));
  SB_CHECK(t, problem_of(t, &sb_type_uint32_t, "4294967296", false));
  SB_CHECK(t, problem_of(t, &sb_type_uint32_t, "-1", false));
  SB_CHECK(t, problem_of(t, &sb_type_int32_t, "2147483648", false));
  SB_CHECK(t, problem_of(t, &sb_type_uint64_t, "18446744073709551616", false));
}

SB_TEST(floating_point_numbers_keep_their_value) {
  static const char *const numbers[] = {"0.1", "117.63331139400017", "5e-324", "2.225073858507201e-308", "1.7976931348623157e+308", "-0", "3", "1e-07"};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    double before = strtod(numbers[i], NULL), after = strtod(again(t, &sb_type_double, numbers[i]), NULL);
    SB_CHECK(t, before == after && signbit(before) == signbit(after));
  }
  IS(again(t, &sb_type_double, "117.63331139400017"), "117.63331139400017");
  IS(again(t, &sb_type_double, "5e-324"), "5e-324");
  IS(problem_of(t, &sb_type_double, "1e400", false), "the number 1e400 is out of range");
  double values[] = {1, NAN};
  Numbers nan = {{values, 2, 0}};
  IS(written(t, &sb_type_Numbers, &nan), "the member `numbers.1` is NaN, and JSON has no such number");
  values[0] = -INFINITY;
  IS(written(t, &sb_type_Numbers, &nan), "the member `numbers.0` is infinite, and JSON has no such number");
}

SB_TEST(pointers_find_values) {
  sb_json json = sb_json_of(SB_TEXT("{\"a/b\":[1,{\"~\":\"x\"}],\"\":0,\"a\":1,\"a\":2}")), found;
  sb_text text;
  int64_t integer = 0;
  SB_CHECK(t, sb_json_find(json, "/a~1b/1/~0", &found) && sb_json_text(sb_test_memory(t), found, &text) && sb_text_is(text, "x"));
  SB_CHECK(t, sb_json_find(json, "/a~1b/0", &found) && sb_json_integer(found, &integer) && integer == 1);
  SB_CHECK(t, sb_json_find(json, "/a", &found) && sb_json_integer(found, &integer) && integer == 2);
  SB_CHECK(t, sb_json_find(json, "/", &found) && sb_json_find(json, "", &found) && found.len == json.len);
  static const char *const nothing[] = {"/b", "/a~1b/2", "/a~1b/00", "/a~1b/-", "/a/0", "a"};
  for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) SB_CHECK(t, !sb_json_find(json, nothing[i], &found));
  SB_CHECK(t, !sb_json_find(sb_json_of(SB_TEXT("{\"a\":1")), "/a", &found));
}

/* ---- at random -------------------------------------------------------------------------- */

static uint64_t random_state;

static uint64_t draw(uint64_t below) {
  random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (random_state >> 33) % below;
}

/* A damaged document is refused, or read; and what was read is the same when it is written and read again. */
SB_TEST(damaged_documents_are_refused_or_read) {
  static const char pieces[] = "{}[]\",:\\0123456789eE+-.truefalsn u\xC3\xA4\xF0\x9F\x00\x1F/";
  for (uint64_t seed = 1; seed <= 3000; seed++) {
    random_state = seed;
    char text[sizeof whole];
    memcpy(text, whole, sizeof whole);
    size_t len = draw(4) ? sizeof whole - 1 : (size_t)draw(sizeof whole);
    for (uint64_t changes = draw(4); changes > 0 && len > 0; changes--) text[draw(len)] = pieces[draw(sizeof pieces)];
    sb_arena arena = {NULL, NULL, NULL};
    sb_ctx ctx = *sb_test_memory(t);
    ctx.arena = &arena;
    sb_text copy = sb_copy(&ctx, text, len);
    sb_reader reader = {copy.ptr, copy.ptr + len, &ctx, draw(2) == 0, 0, {NULL, 0}, {NULL, 0}};
    void *value = sb_alloc(&ctx, sizeof(All));
    bool fits = sb_read_document(&reader, &sb_type_All, value);
    SB_CHECK(t, fits || sb_reader_problem(&reader).len > 0);
    if (fits) {
      sb_buffer buffer = {&ctx, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
      SB_CHECK(t, sb_write_value(&buffer, &sb_type_All, value));
      sb_text first = sb_buffer_text(&buffer);
      sb_reader second = {first.ptr, first.ptr + first.len, &ctx, true, 0, {NULL, 0}, {NULL, 0}};
      void *same = sb_alloc(&ctx, sizeof(All));
      SB_CHECK(t, sb_read_document(&second, &sb_type_All, same));
      sb_buffer other = {&ctx, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
      SB_CHECK(t, sb_write_value(&other, &sb_type_All, same) && sb_text_equal(first, sb_buffer_text(&other)));
    }
    sb_arena_free(&arena);
  }
}

SB_TEST(schemas_describe_what_is_read_and_written) {
  IS(sb_schema(sb_test_memory(t), &sb_type_Inner, true, true).ptr,
     "{\"type\":\"object\",\"title\":\"Inner\",\"properties\":{\"productId\":{\"type\":\"string\"},"
     "\"count\":{\"type\":\"integer\",\"format\":\"int64\"}},\"required\":[\"productId\",\"count\"],\"additionalProperties\":false}");
  IS(sb_schema(sb_test_memory(t), &sb_type_sb_decimal, false, false).ptr, "{\"type\":[\"number\",\"string\"]}");
  IS(sb_schema(sb_test_memory(t), &sb_type_sb_decimal, true, false).ptr, "{\"type\":\"number\"}");
  sb_text all = sb_schema(sb_test_memory(t), &sb_type_All, false, false);
  IS(problem_of(t, &sb_type_sb_json, all.ptr, false) ? "no JSON" : "JSON", "JSON");
}

SB_TEST_MAIN(unused)
