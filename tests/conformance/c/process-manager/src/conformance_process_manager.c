/* The process manager of the conformance suite: instances, timers, claims, failures, migration. */
#include <sagabox.h>
#include <inttypes.h>

#define ONLY_ID(F) F(sb_text, id)
#define STARTED(F) F(sb_text, id) F(sb_text_list_opt, notes)
SB_DERIVED(sb_text_list);
SB_EVENT(Started, STARTED);
#define ADDED(F) F(sb_text, id) F(sb_text, note)
SB_EVENT(Added, ADDED);
#define KEYS(F) F(sb_text, id) F(sb_text_list, keys)
SB_EVENT(Linked, KEYS);
SB_EVENT(Unlinked, KEYS);
#define TOUCHED(F) F(sb_text, key)
SB_EVENT(Touched, TOUCHED);
SB_EVENT(Paused, ONLY_ID);
SB_EVENT(Asked, ONLY_ID);
#define BROKEN(F) F(sb_text, id) F(sb_text, how)
SB_EVENT(Broken, BROKEN);
SB_EVENT(Closed, ONLY_ID);

SB_COMMAND(Welcome, ONLY_ID, .subject = "id");
#define GOODBYE(F) F(sb_text, id) F(int64_t, count)
SB_COMMAND(Goodbye, GOODBYE, .subject = "id");
#define REMIND(F) F(sb_text, id) F(int64_t, times)
SB_COMMAND(Remind, REMIND, .subject = "id");
#define APOLOGIZE(F) F(sb_text, id) F(sb_text, reason) F(int64_t, attempts)
SB_COMMAND(Apologize, APOLOGIZE, .subject = "id");
SB_EVENT(ProcessClosed, ONLY_ID, .subject = "id");

#define REMINDER(F) F(int64_t, times)
SB_TIMER(Reminder, "reminder", REMINDER);
SB_BARE_TIMER(Deadline, "deadline");

#define CUSTOMER(F) F(sb_text, name)
SB_STRUCT(Customer, CUSTOMER);

#define PROCESS(F) F(sb_text, id) F(int64_t, count) F(sb_text_list, notes) F(sb_time_opt, last)
SB_STRUCT(Process, PROCESS);
/* Version 1 of the state. */
#define OLD_PROCESS(F) F(sb_text, id) F(int64_t, total)
SB_STRUCT(OldProcess, OLD_PROCESS);

static sb_result started(Process *process, const Started *event, sb_ctx *ctx) {
  process->id = event->id;
  if (event->notes.some) process->notes = event->notes.value;
  SB_SEND(ctx, Welcome, .id = event->id);
  SB_SET_TIMER(ctx, SB_HOURS(1), Reminder, .times = 1);
  SB_SET_TIMER_AT(ctx, sb_time_add(sb_now(ctx), SB_HOURS(24)), Deadline, 0);
  return SB_OK;
}

static sb_result added(Process *process, const Added *event, sb_ctx *ctx) {
  process->id = event->id;
  process->count++;
  sb_text_list_push(ctx, &process->notes, event->note);
  process->last = sb_time_some(sb_now(ctx));
  return SB_OK;
}

static sb_result linked(Process *process, const Linked *event, sb_ctx *ctx) {
  (void)process;
  for (size_t i = 0; i < event->keys.count; i++) sb_claim(ctx, event->keys.at[i]);
  return SB_OK;
}

static sb_result unlinked(Process *process, const Unlinked *event, sb_ctx *ctx) {
  (void)process;
  for (size_t i = 0; i < event->keys.count; i++) sb_release(ctx, event->keys.at[i]);
  return SB_OK;
}

static sb_result touched(Process *process, const Touched *event, sb_ctx *ctx) {
  (void)event, (void)ctx;
  process->count++;
  return SB_OK;
}

static sb_result paused(Process *process, const Paused *event, sb_ctx *ctx) {
  (void)process, (void)event;
  SB_CANCEL_TIMER(ctx, Reminder);
  return SB_OK;
}

static sb_result asked(Process *process, const Asked *event, sb_ctx *ctx) {
  const Customer *customer;
  process->count++;
  SB_TRY(SB_LOOKUP(ctx, "customers", event->id, Customer, &customer));
  sb_text_list_push(ctx, &process->notes, customer ? customer->name : SB_TEXT("unknown"));
  return SB_OK;
}

static void throw_it(const char *id) { sb_panic("broken %s", id); }

static sb_result broken(Process *process, const Broken *event, sb_ctx *ctx) {
  process->count++;
  SB_SEND(ctx, Welcome, .id = event->id);
  if (sb_text_is(event->how, "permanent")) return sb_fail(ctx, "broken %s", event->id.ptr);
  if (sb_text_is(event->how, "transient")) return sb_fail_transient(ctx, "broken %s", event->id.ptr);
  if (sb_text_is(event->how, "thrown")) throw_it(event->id.ptr);
  return SB_OK;
}

static sb_result closed(Process *process, const Closed *event, sb_ctx *ctx) {
  sb_complete(ctx);
  SB_SEND(ctx, Goodbye, .id = event->id, .count = process->count);
  SB_EMIT(ctx, ProcessClosed, .id = event->id);
  return SB_OK;
}

static sb_result remind(Process *process, const Reminder *timer, sb_ctx *ctx) {
  SB_SEND(ctx, Remind, .id = process->id, .times = timer->times);
  SB_SET_TIMER(ctx, SB_HOURS(1), Reminder, .times = timer->times + 1);
  return SB_OK;
}

static sb_result deadline(Process *process, const Deadline *timer, sb_ctx *ctx) {
  (void)timer;
  sb_complete(ctx);
  SB_SEND(ctx, Goodbye, .id = process->id, .count = process->count);
  return SB_OK;
}

static sb_result undeliverable(Process *process, const sb_undeliverable *command, sb_ctx *ctx) {
  if (!sb_text_is(command->type, "Welcome")) return SB_OK;
  sb_complete(ctx);
  SB_SEND(ctx, Apologize, .id = process->id, .reason = command->reason, .attempts = command->attempts);
  return SB_OK;
}

static sb_result cancelled(Process *process, const sb_cancelled *request, sb_ctx *ctx) {
  sb_complete(ctx);
  SB_SEND(ctx, Apologize, .id = process->id,
          .reason = sb_format(ctx, "%s: %s", request->by.ptr, request->reason.ptr));
  return SB_OK;
}

static sb_result migrate(uint32_t from, uint32_t to, sb_json state, sb_json *out, sb_ctx *ctx) {
  if (from == 1 && to == 2) {
    const OldProcess *old;
    SB_TRY(SB_READ(ctx, state, OldProcess, &old));
    if (old->total < 0) sb_panic("negative %" PRId64, old->total);
    Process process = {.id = old->id, .count = old->total};
    return SB_WRITE(ctx, Process, &process, out) ? SB_OK : SB_STOP;
  }
  if (from == 2 && to == 1) {
    const Process *process;
    SB_TRY(SB_READ(ctx, state, Process, &process));
    OldProcess old = {.id = process->id, .total = process->count};
    return SB_WRITE(ctx, OldProcess, &old, out) ? SB_OK : SB_STOP;
  }
  return sb_fail(ctx, "no migration from version %u to %u", (unsigned)from, (unsigned)to);
}

SB_PROCESS_MANAGER(conformance_process_manager, "conformance-process-manager", "1.0.0",
                   "The process manager of the conformance suite",
                   SB_STATE(Process, .version = 2, .migrate = migrate),
                   SB_FIELD("id", "/id"), SB_FIELD("count", "/count"), SB_SUMMARY("process {id}: {count}"),
                   SB_START(Process, Started, started, .key = "/id"),
                   SB_START_OR_HANDLE(Process, Added, added, .key = "/id"),
                   SB_HANDLE(Process, Linked, linked, .key = "/id", .absent_fails = true),
                   SB_HANDLE(Process, Unlinked, unlinked, .key = "/id"),
                   SB_HANDLE(Process, Touched, touched, .key = "/key", .hold = SB_MINUTES(10)),
                   SB_HANDLE(Process, Paused, paused, .key = "/id"),
                   SB_HANDLE(Process, Asked, asked, .key = "/id"),
                   SB_HANDLE(Process, Broken, broken, .key = "/id"),
                   SB_HANDLE(Process, Closed, closed, .key = "/id"),
                   SB_ON_TIMER(Process, Reminder, remind),
                   SB_ON_TIMER(Process, Deadline, deadline),
                   SB_ON_UNDELIVERABLE(Process, undeliverable),
                   SB_ON_CANCEL(Process, cancelled),
                   SB_SENDS(Welcome), SB_SENDS(Remind), SB_SENDS(Goodbye), SB_SENDS(Apologize),
                   SB_EMITS(ProcessClosed),
                   SB_ASKS("customers"));
