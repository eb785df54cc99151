/* Exact decimals, times, durations, texts, maps. */
#include "../src/internal.h"

#include <stdio.h>

#include <sagabox_test.h>

#define ONE_TEXT(F) F(sb_text, text)
SB_EVENT(Anything, ONE_TEXT);

static sb_result ignore(const Anything *event, sb_ctx *ctx) {
  (void)event, (void)ctx;
  return SB_OK;
}
SB_SAGA(unused, "unused", "0.1.0", "For the harness", SB_ON(Anything, ignore, .key = "/text"));

static void is(sb_test *t, int line, sb_text found, const char *expected) {
  if (sb_text_is(found, expected)) return;
  fprintf(stderr, "values.c:%d: expected %s, found %s\n", line, expected, found.ptr);
  sb_check(t, (sb_place){__FILE__, line}, false, "the texts are equal");
}
#define IS(found, expected) is(t, __LINE__, found, expected)

static sb_decimal decimal(sb_test *t, const char *text) {
  sb_decimal number = {0, 0};
  SB_CHECK(t, sb_decimal_parse(sb_text_of(text), &number));
  return number;
}
#define DECIMAL(text) decimal(t, text)
#define TEXT_OF(number) sb_decimal_text(sb_test_memory(t), number)

SB_TEST(decimals_are_written_digit_by_digit) {
  static const char *const texts[] = {"10.00", "0.1", "-0.30", "0", "0.00", "79228162514264337593543950335",
                                      "12345678901234567890.10", "-1", "0.0000000000000000000000000001"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) IS(TEXT_OF(DECIMAL(texts[i])), texts[i]);
  IS(TEXT_OF(DECIMAL("1.5e3")), "1500");
  IS(TEXT_OF(DECIMAL("15E-1")), "1.5");
  IS(TEXT_OF(DECIMAL("-0")), "0");
  IS(TEXT_OF(DECIMAL("0e9")), "0");
}

SB_TEST(what_is_no_decimal_is_refused) {
  static const char *const wrong[] = {"79228162514264337593543950336", "ten", "", "-", ".", "1.", "1e40", "1e", "1e1.5", "--1", "1 ",
                                      "0.12345678901234567890123456789", "1e999999999", "NaN", "0x1"};
  sb_decimal number;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) SB_CHECK(t, !sb_decimal_parse(sb_text_of(wrong[i]), &number));
}

SB_TEST(decimals_calculate_exactly) {
  IS(TEXT_OF(sb_decimal_add(DECIMAL("0.1"), DECIMAL("0.2"))), "0.3");
  IS(TEXT_OF(sb_decimal_subtract(DECIMAL("1"), DECIMAL("0.90"))), "0.10");
  IS(TEXT_OF(sb_decimal_multiply(DECIMAL("19.99"), DECIMAL("1.02"))), "20.3898");
  IS(TEXT_OF(sb_decimal_multiply(DECIMAL("-19.99"), DECIMAL("3"))), "-59.97");
  IS(TEXT_OF(sb_decimal_divide(DECIMAL("10.00"), DECIMAL("3"), 2)), "3.33");
  IS(TEXT_OF(sb_decimal_divide(DECIMAL("2"), DECIMAL("-3"), 4)), "-0.6667");
  IS(TEXT_OF(sb_decimal_divide(DECIMAL("1000"), DECIMAL("0.5"), 0)), "2000");
  IS(TEXT_OF(sb_decimal_round(DECIMAL("20.3898"), 2)), "20.39");
  IS(TEXT_OF(sb_decimal_round(DECIMAL("0.125"), 2)), "0.12");
  IS(TEXT_OF(sb_decimal_round(DECIMAL("-0.375"), 2)), "-0.38");
  IS(TEXT_OF(sb_decimal_round(DECIMAL("1.5"), 3)), "1.5");
  SB_CHECK(t, sb_decimal_compare(DECIMAL("1.0"), DECIMAL("1")) == 0);
  SB_CHECK(t, sb_decimal_compare(DECIMAL("-2"), DECIMAL("1")) < 0 && sb_decimal_compare(DECIMAL("0.11"), DECIMAL("0.1")) > 0);
  SB_CHECK(t, sb_decimal_compare(DECIMAL("79228162514264337593543950335"), DECIMAL("0.0000000000000000000000000001")) > 0);
}

SB_TEST(times_are_read_with_any_offset_and_written_in_utc) {
  static const char *const pairs[][2] = {
      {"2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"},       {"2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00Z"},
      {"2028-02-28T20:00:00.250-05:30", "2028-02-29T01:30:00.25Z"}, {"1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"},
      {"2000-02-29t00:00:00z", "2000-02-29T00:00:00Z"},       {"0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"},
      {"9999-12-31T23:59:59.123456789Z", "9999-12-31T23:59:59.123456789Z"}, {"1969-12-31T23:59:59.000001Z", "1969-12-31T23:59:59.000001Z"},
      {"2026-06-30T23:59:60Z", "2026-06-30T23:59:59Z"}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    sb_time time;
    SB_CHECK(t, sb_time_parse(sb_text_of(pairs[i][0]), &time));
    IS(sb_time_text(sb_test_memory(t), time), pairs[i][1]);
  }
  static const char *const wrong[] = {"2026-03-01", "2026-03-01T12:00:00", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "yesterday", "",
                                      "2026-03-01T24:00:00Z", "2026-03-01T12:00:00.Z", "2026-03-01T12:00:00+1:00", "2026-03-01T12:00:00Zx", "2026-3-1T12:00:00Z"};
  sb_time time;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) SB_CHECK(t, !sb_time_parse(sb_text_of(wrong[i]), &time));
}

SB_TEST(times_and_durations_are_added) {
  sb_time time;
  SB_CHECK(t, sb_time_parse(SB_TEXT("2026-02-28T12:00:00.5Z"), &time));
  IS(sb_time_text(sb_test_memory(t), sb_time_add(time, SB_DAYS(1))), "2026-03-01T12:00:00.5Z");
  IS(sb_time_text(sb_test_memory(t), sb_time_add(time, INT64_MAX)), "9999-12-31T23:59:59.999Z");
  SB_CHECK(t, sb_time_between(time, sb_time_add(time, SB_HOURS(3))) == SB_HOURS(3));
  SB_CHECK(t, sb_time_compare(time, sb_time_add(time, 1)) < 0 && sb_time_compare(time, time) == 0);
}

SB_TEST(durations_are_read_as_they_are_written) {
  static const int64_t all[] = {0, 1, 999, 1000, 61000, 90061001, SB_DAYS(30)};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    sb_duration read = -1;
    SB_CHECK(t, sb_duration_parse(sb_duration_text(sb_test_memory(t), all[i]), &read) && read == all[i]);
  }
  sb_duration duration;
  SB_CHECK(t, sb_duration_parse(SB_TEXT(" 1h30m "), &duration) && duration == SB_MINUTES(90));
  IS(sb_duration_text(sb_test_memory(t), SB_MINUTES(91)), "1h 31m");
  static const char *const wrong[] = {"", "5", "h", "-1s", "1.5h", "1 h", "99999999999999999999d", "1w", "106751991168d"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) SB_CHECK(t, !sb_duration_parse(sb_text_of(wrong[i]), &duration));
}

SB_TEST(maps_are_sorted_and_hold_a_key_once) {
  int64_t_map map = {0};
  static const char *const keys[] = {"b", "a", "c", "a", "", "ab"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) int64_t_map_put(sb_test_memory(t), &map, sb_text_of(keys[i]), (int64_t)i);
  static const char *const sorted[] = {"", "a", "ab", "b", "c"};
  SB_CHECK(t, map.count == 5);
  for (size_t i = 0; i < map.count; i++) SB_CHECK(t, sb_text_is(map.at[i].key, sorted[i]));
  SB_CHECK(t, *int64_t_map_get(&map, SB_TEXT("a")) == 3 && !int64_t_map_get(&map, SB_TEXT("d")));
}

SB_TEST(lists_grow_from_what_they_had) {
  int64_t own[] = {1, 2, 3};
  int64_t_list list = {own, 3, 0};
  for (int64_t i = 4; i <= 40; i++) int64_t_list_push(sb_test_memory(t), &list, i);
  for (size_t i = 0; i < list.count; i++) SB_CHECK(t, list.at[i] == (int64_t)i + 1);
  SB_CHECK(t, list.count == 40 && own[2] == 3);
}

SB_TEST_MAIN(unused)
