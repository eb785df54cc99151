/* Moments and durations. */
#include <inttypes.h>

#include "internal.h"

#define SB_DAY_MS INT64_C(86400000)

/* Days since 1970-01-01 of a date in the Gregorian calendar; years begin in March here, so that
 * the day of the leap year is the last one. */
static int64_t days_of(int64_t year, int64_t month, int64_t day) {
  year -= month <= 2;
  int64_t era = (year >= 0 ? year : year - 399) / 400;
  int64_t year_of_era = year - era * 400;
  int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void date_of(int64_t days, int64_t *year, int64_t *month, int64_t *day) {
  days += 719468;
  int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  int64_t day_of_era = days - era * 146097;
  int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int64_t from_march = (5 * day_of_year + 2) / 153;
  *day = day_of_year - (153 * from_march + 2) / 5 + 1;
  *month = from_march < 10 ? from_march + 3 : from_march - 9;
  *year = year_of_era + era * 400 + (*month <= 2);
}

/* A number of exactly so many digits within bounds. */
static bool number(const char **p, const char *end, int digits, int64_t least, int64_t most, int64_t *out) {
  int64_t value = 0;
  for (; digits > 0; digits--, (*p)++) {
    if (*p == end || **p < '0' || **p > '9') return false;
    value = value * 10 + (**p - '0');
  }
  *out = value;
  return value >= least && value <= most;
}

static bool sign(const char **p, const char *end, const char *any_of) {
  if (*p == end || !strchr(any_of, **p) || !**p) return false;
  (*p)++;
  return true;
}

static int64_t days_in_month(int64_t year, int64_t month) {
  bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  if (month == 2) return leap ? 29 : 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* The fraction of a second in nanoseconds; digits beyond these are cut. */
static bool fraction(const char **p, const char *end, int64_t *ns) {
  *ns = 0;
  if (*p == end || **p != '.') return true;
  (*p)++;
  int64_t unit = 100000000;
  const char *first = *p;
  for (; *p < end && **p >= '0' && **p <= '9'; (*p)++, unit /= 10) *ns += (**p - '0') * unit;
  return *p > first;
}

/* The offset from UTC in minutes. */
static bool offset(const char **p, const char *end, int64_t *minutes) {
  *minutes = 0;
  if (sign(p, end, "Zz")) return true;
  bool west = *p < end && **p == '-';
  int64_t hour = 0, minute = 0;
  if (!sign(p, end, "+-") || !number(p, end, 2, 0, 23, &hour) || !sign(p, end, ":") ||
      !number(p, end, 2, 0, 59, &minute)) {
    return false;
  }
  *minutes = (hour * 60 + minute) * (west ? -1 : 1);
  return true;
}

bool sb_time_parse(sb_text text, sb_time *out) {
  const char *p = text.ptr, *end = p + text.len;
  int64_t year, month, day, hour, minute, second, ns, offset_minutes;
  if (!number(&p, end, 4, 0, 9999, &year) || !sign(&p, end, "-") ||
      !number(&p, end, 2, 1, 12, &month) || !sign(&p, end, "-") ||
      !number(&p, end, 2, 1, days_in_month(year, month), &day) || !sign(&p, end, "Tt ") ||
      !number(&p, end, 2, 0, 23, &hour) || !sign(&p, end, ":") ||
      !number(&p, end, 2, 0, 59, &minute) || !sign(&p, end, ":") ||
      !number(&p, end, 2, 0, 60, &second) || !fraction(&p, end, &ns) ||
      !offset(&p, end, &offset_minutes) || p != end) {
    return false;
  }
  /* A leap second is the last one of its minute. */
  if (second == 60) second = 59;
  int64_t minutes = hour * 60 + minute - offset_minutes;
  out->ms = days_of(year, month, day) * SB_DAY_MS + (minutes * 60 + second) * 1000 + ns / 1000000;
  out->ns = (uint32_t)(ns % 1000000);
  return true;
}

sb_text sb_time_text(sb_ctx *ctx, sb_time time) {
  int64_t days = time.ms / SB_DAY_MS, rest = time.ms % SB_DAY_MS, year, month, day;
  if (rest < 0) {
    rest += SB_DAY_MS;
    days--;
  }
  date_of(days, &year, &month, &day);
  int64_t seconds = rest / 1000, ns = rest % 1000 * 1000000 + time.ns;
  char digits[16] = "";
  if (ns) {
    sb_text all = sb_format(ctx, ".%09" PRId64, ns);
    size_t len = all.len;
    while (all.ptr[len - 1] == '0') len--;
    memcpy(digits, all.ptr, len);
    digits[len] = 0;
  }
  return sb_format(ctx, "%04" PRId64 "-%02" PRId64 "-%02" PRId64 "T%02" PRId64 ":%02" PRId64 ":%02" PRId64 "%sZ",
                   year, month, day, seconds / 3600, seconds / 60 % 60, seconds % 60, digits);
}

/* The first and the last moment that RFC 3339 can write. */
static int64_t bounded(int64_t ms) {
  const int64_t least = days_of(0, 1, 1) * SB_DAY_MS, most = days_of(10000, 1, 1) * SB_DAY_MS - 1;
  return ms < least ? least : ms > most ? most : ms;
}

sb_time sb_time_add(sb_time time, sb_duration duration) {
  int64_t sum = 0;
  if (__builtin_add_overflow(time.ms, duration, &sum)) sum = duration < 0 ? INT64_MIN : INT64_MAX;
  time.ms = bounded(sum);
  return time;
}

int sb_time_compare(sb_time one, sb_time other) {
  if (one.ms != other.ms) return one.ms < other.ms ? -1 : 1;
  return one.ns < other.ns ? -1 : one.ns > other.ns;
}

sb_duration sb_time_between(sb_time earlier, sb_time later) { return later.ms - earlier.ms; }

static const struct {
  const char *name;
  int64_t ms;
} units[] = {{"d", SB_DAY_MS}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

#define SB_UNITS (sizeof units / sizeof units[0])

static bool unit_of(const char **p, const char *end, int64_t *ms) {
  const char *first = *p;
  while (*p < end && ((**p >= 'a' && **p <= 'z') || (**p >= 'A' && **p <= 'Z'))) (*p)++;
  sb_text name = {first, (size_t)(*p - first)};
  for (size_t i = 0; i < SB_UNITS; i++) {
    if (sb_text_is(name, units[i].name)) {
      *ms = units[i].ms;
      return true;
    }
  }
  return false;
}

static void blanks(const char **p, const char *end) {
  while (*p < end && (**p == ' ' || **p == '\t')) (*p)++;
}

bool sb_duration_parse(sb_text text, sb_duration *out) {
  const char *p = text.ptr, *end = p + text.len;
  int64_t total = 0;
  blanks(&p, end);
  if (p == end) return false;
  while (p < end) {
    int64_t count = 0, ms = 0;
    const char *first = p;
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
      if (__builtin_mul_overflow(count, (int64_t)10, &count) ||
          __builtin_add_overflow(count, (int64_t)(*p - '0'), &count)) {
        return false;
      }
    }
    if (p == first || !unit_of(&p, end, &ms) || __builtin_mul_overflow(count, ms, &count) ||
        __builtin_add_overflow(total, count, &total)) {
      return false;
    }
    blanks(&p, end);
  }
  *out = total;
  return true;
}

sb_text sb_duration_text(sb_ctx *ctx, sb_duration duration) {
  sb_buffer buffer = {ctx, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
  int64_t rest = duration < 0 ? 0 : duration;
  for (size_t i = 0; i < SB_UNITS; i++) {
    int64_t count = rest / units[i].ms;
    rest %= units[i].ms;
    if (!count) continue;
    sb_text part = sb_format(ctx, "%s%" PRId64 "%s", buffer.len ? " " : "", count, units[i].name);
    sb_put(&buffer, part.ptr, part.len);
  }
  if (!buffer.len) sb_puts(&buffer, "0s");
  return sb_buffer_text(&buffer);
}
