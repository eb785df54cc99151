/* The saga of the conformance suite: every type of member, raw payloads, attributes, keys, settings,
 * time, logging and failures. */
#include <sagabox.h>
#include <stdio.h>

#define ECHO_MEMBERS(F)                                                                    \
  F(sb_text, id) F(sb_text, text) F(int64_t, count) F(double, weight) F(sb_decimal, price) \
  F(sb_time, at) F(sb_duration_opt, wait) F(sb_text_opt, note) F(sb_json_opt, any)
SB_EVENT(Echo, ECHO_MEMBERS);
SB_COMMAND(Echoed, ECHO_MEMBERS, .subject = "id");

#define TOLD(F)                                                                             \
  F(sb_text, id) F(sb_text, source) F(sb_text, type) F(sb_text_opt, subject)                \
  F(sb_text_opt, time) F(sb_text, content_type) F(sb_text_opt, data_schema)                 \
  F(sb_text_map, extensions) F(sb_text, key) F(uint32_t, attempt) F(sb_time, now)
SB_COMMAND(Told, TOLD);

#define ONLY_ID(F) F(sb_text, id)
SB_EVENT(FromShop, ONLY_ID);
SB_EVENT(FromShops, ONLY_ID);
SB_EVENT(First, ONLY_ID);
SB_EVENT(Greet, ONLY_ID);
SB_EVENT(Seed, ONLY_ID);
SB_EVENT(When, ONLY_ID);
SB_EVENT(Log, ONLY_ID);
#define SECOND(F) F(sb_text, id) F(int64_t, count)
SB_EVENT(Second, SECOND);
#define COUNT(F) F(sb_text, id) F(int64_t, to)
SB_EVENT(Count, COUNT);
#define FAIL(F) F(sb_text, id) F(sb_text, how)
SB_EVENT(Fail, FAIL);

#define KEYED(F) F(sb_text, type) F(sb_text, key)
SB_COMMAND(Keyed, KEYED);
#define GREETED(F) F(sb_text, id) F(sb_text, greeting) F(int64_t_opt, limit) F(sb_duration, patience)
SB_COMMAND(Greeted, GREETED, .subject = "id");
#define NUMBERED(F) F(int64_t, number)
SB_COMMAND(Numbered, NUMBERED);
#define SEEDED(F) F(sb_text, seed)
SB_COMMAND(Seeded, SEEDED);
#define TIMED(F) F(sb_time, now) F(sb_time_opt, event)
SB_COMMAND(Timed, TIMED);
#define WEIGHED(F) F(double_list, weights)
SB_COMMAND(Weighed, WEIGHED);

#define SETTINGS(F) F(sb_text_opt, greeting) F(int64_t_opt, limit) F(sb_duration_opt, patience)
SB_STRUCT(Settings, SETTINGS);

static sb_result echo(const Echo *event, sb_ctx *ctx) {
  Echoed echoed = {
      .id = event->id,
      .text = sb_copy(ctx, event->text.ptr, event->text.len + 1),
      .count = event->count + 1,
      .weight = event->weight,
      .price = sb_decimal_add(event->price, sb_decimal_new(10, 2)),
      .at = sb_time_add(event->at, SB_HOURS(24)),
      .wait = event->wait,
      .note = event->note,
      .any = event->any,
  };
  /* The copy took the NUL along, and the mark takes its place. */
  ((char *)echoed.text.ptr)[event->text.len] = '!';
  if (echoed.wait.some) echoed.wait.value += SB_MINUTES(1);
  SB_SEND_THIS(ctx, Echoed, &echoed);
  return SB_OK;
}

static sb_result pass(const sb_event *event, sb_ctx *ctx) {
  sb_raw passed = {
      .type = SB_TEXT("Passed"),
      .subject = event->subject,
      .datacontenttype = event->datacontenttype,
      .extensions = event->extensions,
      .data = event->data,
  };
  sb_send_raw(ctx, passed);
  sb_add_extension(ctx, "passed", SB_TEXT("yes"));
  return SB_OK;
}

static sb_result tell(const sb_event *event, sb_ctx *ctx) {
  sb_text_map extensions = {0};
  for (size_t i = 0; i < event->extensions.count; i++) {
    sb_text_map_put(ctx, &extensions, event->extensions.at[i].name, event->extensions.at[i].value);
  }
  SB_SEND(ctx, Told, .id = event->id, .source = event->source, .type = event->type,
          .subject = event->subject, .time = event->time, .content_type = event->datacontenttype,
          .data_schema = event->dataschema, .extensions = extensions, .key = sb_key(ctx),
          .attempt = sb_attempt(ctx), .now = sb_now(ctx));
  return SB_OK;
}

static sb_result keyed(const sb_event *event, sb_ctx *ctx) {
  SB_SEND(ctx, Keyed, .type = event->type, .key = sb_key(ctx));
  return SB_OK;
}

static sb_result from_shop(const FromShop *event, sb_ctx *ctx) {
  SB_SEND(ctx, Keyed, .type = SB_TEXT("FromShop"), .key = event->id);
  return SB_OK;
}

static sb_result from_shops(const FromShops *event, sb_ctx *ctx) {
  SB_SEND(ctx, Keyed, .type = SB_TEXT("FromShops"), .key = event->id);
  return SB_OK;
}

/* Takes First and Second. */
static sb_result first_or_second(const sb_event *event, sb_ctx *ctx) {
  const First *first;
  const Second *second;
  if (SB_READ_EVENT(ctx, event, First, &first)) {
    SB_SEND(ctx, Keyed, .type = event->type, .key = first->id);
  } else if (SB_READ_EVENT(ctx, event, Second, &second)) {
    SB_SEND(ctx, Keyed, .type = event->type, .key = second->id);
  }
  return SB_OK;
}

static sb_result greet(const Greet *event, sb_ctx *ctx) {
  const Settings *settings;
  SB_TRY(SB_CONFIG(ctx, Settings, &settings));
  SB_SEND(ctx, Greeted, .id = event->id,
          .greeting = settings->greeting.some ? settings->greeting.value : SB_TEXT("hello"),
          .limit = settings->limit,
          .patience = settings->patience.some ? settings->patience.value : SB_HOURS(1));
  return SB_OK;
}

static sb_result count(const Count *event, sb_ctx *ctx) {
  for (int64_t number = 1; number <= event->to; number++) SB_SEND(ctx, Numbered, .number = number);
  return SB_OK;
}

static sb_result seed(const Seed *event, sb_ctx *ctx) {
  (void)event;
  const uint32_t *seed = sb_seed(ctx);
  SB_SEND(ctx, Seeded, .seed = sb_format(ctx, "%08x%08x%08x%08x", (unsigned)seed[0], (unsigned)seed[1],
                                         (unsigned)seed[2], (unsigned)seed[3]));
  return SB_OK;
}

static sb_result when(const When *event, sb_ctx *ctx) {
  (void)event;
  sb_time_opt own = {0};
  own.some = sb_event_time(ctx, &own.value);
  SB_SEND(ctx, Timed, .now = sb_now(ctx), .event = own);
  return SB_OK;
}

static sb_result write_lines(const Log *event, sb_ctx *ctx) {
  (void)ctx;
  static const char *const names[] = {"trace", "debug", "info", "warn", "error"};
  for (int level = SB_TRACE; level <= SB_ERROR; level++) {
    sb_log((sb_level)level, "%s %s", names[level], event->id.ptr);
  }
  printf("printed %s\n", event->id.ptr);
  return SB_OK;
}

/* How a C program says what it expects to go wrong. */
typedef enum { CHECK_PASSED, CHECK_REFUSED } check_result;

static check_result check(const Fail *event, sb_text *reason, sb_ctx *ctx) {
  if (!sb_text_is(event->how, "returned")) return CHECK_PASSED;
  *reason = sb_format(ctx, "returned %s", event->id.ptr);
  return CHECK_REFUSED;
}

static void throw_it(const char *id) { sb_panic("thrown %s", id); }

static sb_result fail(const Fail *event, sb_ctx *ctx) {
  sb_text reason;
  if (check(event, &reason, ctx) == CHECK_REFUSED) return sb_fail(ctx, "%s", reason.ptr);
  if (sb_text_is(event->how, "permanent")) return sb_fail(ctx, "refused %s", event->id.ptr);
  if (sb_text_is(event->how, "transient")) {
    if (sb_attempt(ctx) == 1) return sb_fail_transient(ctx, "later %s", event->id.ptr);
    SB_SEND(ctx, Numbered, .number = sb_attempt(ctx));
  }
  if (sb_text_is(event->how, "thrown")) {
    sb_log(SB_INFO, "before %s", event->id.ptr);
    throw_it(event->id.ptr);
  }
  if (sb_text_is(event->how, "after")) {
    SB_SEND(ctx, Numbered, .number = 1);
    return sb_fail(ctx, "after %s", event->id.ptr);
  }
  if (sb_text_is(event->how, "nan")) {
    double weights[] = {1, __builtin_nan("")};
    SB_SEND(ctx, Weighed, .weights = {.at = weights, .count = 2});
  }
  return SB_OK;
}

SB_SAGA(conformance_saga, "conformance-saga", "1.0.0", "The saga of the conformance suite",
        SB_CONFIGURATION(Settings),
        SB_ON(Echo, echo, .key = "/id"),
        SB_ON_RAW("Pass", pass, .key = "subject"),
        SB_ON_RAW("Tell", tell, .key = "id"),
        SB_ON_RAW("KeyedBySubject", keyed, .key = "subject"),
        SB_ON_RAW("KeyedByTenant", keyed, .key = "tenant"),
        SB_ON_RAW("KeyedBySource", keyed, .key = "source"),
        SB_ON_RAW("KeyedByPointer", keyed, .key = "/orders"),
        SB_ON(FromShop, from_shop, .key = "/id", .source = "/shop"),
        SB_ON(FromShops, from_shops, .key = "/id", .source_prefix = "/shops/"),
        SB_ON_RAW("First", first_or_second, .key = "/id"),
        SB_ON_RAW("Second", first_or_second, .key = "/id"),
        SB_ON(Greet, greet, .key = "/id"),
        SB_ON(Count, count, .key = "/id"),
        SB_ON(Seed, seed, .key = "/id"),
        SB_ON(When, when, .key = "/id"),
        SB_ON(Log, write_lines, .key = "/id"),
        SB_ON(Fail, fail, .key = "/id"),
        SB_SENDS(Echoed), SB_SENDS_RAW("Passed"), SB_SENDS(Told), SB_SENDS(Keyed), SB_SENDS(Greeted),
        SB_SENDS(Numbered), SB_SENDS(Seeded), SB_SENDS(Timed), SB_SENDS(Weighed));
