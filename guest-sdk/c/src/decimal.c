/* Exact decimals. The limits are those of the other SDKs: 28 places, and units below 2^96. */
#include "internal.h"

#define SB_PLACES_MAX 28
#define SB_UNITS_MAX ((((sb_int128)1) << 96) - 1)

static bool fits(sb_int128 units) { return units <= SB_UNITS_MAX && units >= -SB_UNITS_MAX; }

static sb_decimal checked(sb_int128 units, uint32_t places) {
  /* A product may have more places than needed. */
  while (places > 0 && (places > SB_PLACES_MAX || !fits(units)) && units % 10 == 0) {
    units /= 10;
    places--;
  }
  if (places > SB_PLACES_MAX || !fits(units)) {
    sb_panic_at(__FILE__, __LINE__, "a decimal result needs more than 28 digits");
  }
  sb_decimal number = {units, places};
  return number;
}

sb_decimal sb_decimal_new(int64_t units, uint32_t places) { return checked(units, places); }

/* The units with more places. False if they become too large. */
static bool scaled(sb_int128 *units, uint32_t by) {
  for (; by > 0; by--) {
    if (__builtin_mul_overflow(*units, (sb_int128)10, units)) return false;
  }
  return true;
}

static void align(sb_decimal *one, sb_decimal *other) {
  uint32_t places = one->places > other->places ? one->places : other->places;
  if (!scaled(&one->units, places - one->places) || !scaled(&other->units, places - other->places)) {
    sb_panic_at(__FILE__, __LINE__, "a decimal result needs more than 28 digits");
  }
  one->places = other->places = places;
}

sb_decimal sb_decimal_add(sb_decimal one, sb_decimal other) {
  align(&one, &other);
  sb_int128 sum = 0;
  if (__builtin_add_overflow(one.units, other.units, &sum)) {
    sb_panic_at(__FILE__, __LINE__, "a decimal result needs more than 28 digits");
  }
  return checked(sum, one.places);
}

sb_decimal sb_decimal_subtract(sb_decimal one, sb_decimal other) {
  other.units = -other.units;
  return sb_decimal_add(one, other);
}

sb_decimal sb_decimal_multiply(sb_decimal one, sb_decimal other) {
  sb_int128 product = 0;
  if (__builtin_mul_overflow(one.units, other.units, &product)) {
    sb_panic_at(__FILE__, __LINE__, "a decimal result needs more than 28 digits");
  }
  return checked(product, one.places + other.places);
}

/* The quotient of integers; a half goes to the even neighbour. */
static sb_int128 rounded_quotient(sb_int128 dividend, sb_int128 divisor) {
  sb_int128 quotient = dividend / divisor, rest = dividend % divisor;
  sb_int128 rest_size = rest < 0 ? -rest : rest, divisor_size = divisor < 0 ? -divisor : divisor;
  sb_int128 gap = divisor_size - rest_size;
  if (rest_size > gap || (rest_size == gap && quotient % 2 != 0)) {
    quotient += (dividend < 0) == (divisor < 0) ? 1 : -1;
  }
  return quotient;
}

sb_decimal sb_decimal_divide(sb_decimal one, sb_decimal other, uint32_t places) {
  if (other.units == 0) sb_panic_at(__FILE__, __LINE__, "a decimal is divided by zero");
  /* one / 10^a : other / 10^b, with so many places, is one * 10^(places + b - a) / other. */
  int64_t shift = (int64_t)places + other.places - one.places;
  bool fine = shift >= 0 ? scaled(&one.units, (uint32_t)shift) : scaled(&other.units, (uint32_t)-shift);
  if (!fine) sb_panic_at(__FILE__, __LINE__, "a decimal result needs more than 28 digits");
  return checked(rounded_quotient(one.units, other.units), places);
}

sb_decimal sb_decimal_round(sb_decimal number, uint32_t places) {
  if (places >= number.places) return number;
  sb_int128 divisor = 1;
  scaled(&divisor, number.places - places);
  sb_decimal rounded = {rounded_quotient(number.units, divisor), places};
  return rounded;
}

int sb_decimal_compare(sb_decimal one, sb_decimal other) {
  if ((one.units < 0) != (other.units < 0)) return one.units < 0 ? -1 : 1;
  /* A number that is too large with more places is the larger one. */
  if (one.places < other.places && !scaled(&one.units, other.places - one.places)) {
    return one.units < 0 ? -1 : 1;
  }
  if (other.places < one.places && !scaled(&other.units, one.places - other.places)) {
    return other.units < 0 ? 1 : -1;
  }
  return one.units < other.units ? -1 : one.units > other.units;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* The exponent behind the `e`; false if it is none. */
static bool parse_exponent(const char *p, const char *end, int64_t *out) {
  bool negative = p < end && *p == '-';
  if (p < end && (*p == '-' || *p == '+')) p++;
  if (p == end || end - p > 6) return false;
  int64_t exponent = 0;
  for (; p < end; p++) {
    if (!is_digit(*p)) return false;
    exponent = exponent * 10 + (*p - '0');
  }
  *out = negative ? -exponent : exponent;
  return true;
}

bool sb_decimal_parse(sb_text text, sb_decimal *out) {
  const char *p = text.ptr, *end = p + text.len;
  bool negative = p < end && *p == '-', any = false, point = false;
  if (p < end && (*p == '-' || *p == '+')) p++;
  sb_int128 units = 0;
  int64_t places = 0, exponent = 0;
  for (; p < end && (is_digit(*p) || (*p == '.' && !point)); p++) {
    if (*p == '.') {
      point = true;
      continue;
    }
    if (units < INT64_C(100000000000000000)) {
      units = (uint64_t)units * 10 + (uint64_t)(*p - '0');
    } else {
      units = units * 10 + (*p - '0');
      if (!fits(units)) return false;
    }
    places += point;
    any = true;
  }
  if (!any || (point && places == 0)) return false;
  if (p < end && (*p == 'e' || *p == 'E')) {
    if (!parse_exponent(p + 1, end, &exponent)) return false;
    p = end;
  }
  if (p != end) return false;
  places -= exponent;
  for (; places < 0 && units != 0; places++) {
    units *= 10;
    if (!fits(units)) return false;
  }
  if (places < 0) places = 0;
  if (places > SB_PLACES_MAX) return false;
  out->units = negative ? -units : units;
  out->places = (uint32_t)places;
  return true;
}

sb_text sb_decimal_text(sb_ctx *ctx, sb_decimal number) {
  char digits[64], *p = digits + sizeof digits;
  sb_int128 units = number.units < 0 ? -number.units : number.units;
  uint32_t place = 0;
  /* Division of 128 bits is slow, so as many digits as possible are made with 64. */
  for (; units > (sb_int128)UINT64_MAX; place++) {
    if (place == number.places && place > 0) *--p = '.';
    *--p = (char)('0' + (int)(units % 10));
    units /= 10;
  }
  for (uint64_t rest = (uint64_t)units; rest > 0 || place <= number.places; place++, rest /= 10) {
    if (place == number.places && place > 0) *--p = '.';
    *--p = (char)('0' + (int)(rest % 10));
  }
  if (number.units < 0) *--p = '-';
  return sb_copy(ctx, p, (size_t)(digits + sizeof digits - p));
}
