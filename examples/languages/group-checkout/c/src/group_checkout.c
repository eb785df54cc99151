/* The group checkout: every guest's stay is checked out; when each has an outcome, or the deadline has
 * passed, the result is reported once. */
#include <sagabox.h>

#define GROUP_CHECKOUT_INITIATED(F) \
  F(sb_text, group_checkout_id)     \
  F(sb_text_list, guest_stay_ids)
SB_EVENT(GroupCheckoutInitiated, GROUP_CHECKOUT_INITIATED, .subject = "group_checkout_id");

#define GUEST_STAY(F)       \
  F(sb_text, guest_stay_id) \
  F(sb_text, group_checkout_id)
SB_EVENT(GuestCheckoutCompleted, GUEST_STAY, .subject = "group_checkout_id");
SB_EVENT(GuestCheckoutFailed, GUEST_STAY, .subject = "group_checkout_id");
SB_COMMAND(CheckoutGuestAccount, GUEST_STAY, .subject = "guest_stay_id");

#define GROUP(F) F(sb_text, group_checkout_id)
SB_COMMAND(CompleteGroupCheckout, GROUP, .subject = "group_checkout_id");

#define FAILED_GROUP(F)            \
  F(sb_text, group_checkout_id)    \
  F(sb_text_list, failed_guest_ids) \
  F(sb_text_list, timed_out_guest_ids)
SB_COMMAND(NotifyGroupCheckoutFailure, FAILED_GROUP, .subject = "group_checkout_id");

SB_BARE_TIMER(Deadline, "deadline");

/* The plugin's section in `sagabox.toml`: how long it waits for the guests' outcomes, a day if it says
 * nothing. */
#define SETTINGS(F) F(uint32_t_opt, deadline_seconds, "deadline_seconds")
SB_STRUCT(Settings, SETTINGS);

#define OUTCOME(V)        \
  V(PENDING, "pending")   \
  V(COMPLETED, "completed") \
  V(FAILED, "failed")
SB_ENUM(Outcome, OUTCOME);

/* By stay: each guest is counted once, however often its event comes. */
#define CHECKOUT(F)             \
  F(sb_text, group_checkout_id) \
  F(Outcome_map, stays)
SB_STRUCT(Checkout, CHECKOUT);

static sb_text_list stays_with(const Checkout *state, Outcome outcome, sb_ctx *ctx) {
  sb_text_list stays = {0};
  for (size_t i = 0; i < state->stays.count; i++) {
    if (state->stays.at[i].value == outcome) sb_text_list_push(ctx, &stays, state->stays.at[i].key);
  }
  return stays;
}

static sb_result conclude(const Checkout *state, sb_ctx *ctx) {
  sb_text_list failed = stays_with(state, FAILED, ctx), timed_out = stays_with(state, PENDING, ctx);
  sb_complete(ctx);
  if (failed.count + timed_out.count == 0) {
    SB_SEND(ctx, CompleteGroupCheckout, .group_checkout_id = state->group_checkout_id);
  } else {
    SB_SEND(ctx, NotifyGroupCheckoutFailure, .group_checkout_id = state->group_checkout_id,
            .failed_guest_ids = failed, .timed_out_guest_ids = timed_out);
  }
  return SB_OK;
}

static sb_result conclude_if_all_have_an_outcome(const Checkout *state, sb_ctx *ctx) {
  return stays_with(state, PENDING, ctx).count > 0 ? SB_OK : conclude(state, ctx);
}

/* The first outcome of a stay counts. A stay of another group changes nothing. */
static sb_result record(Checkout *state, sb_text stay, Outcome outcome, sb_ctx *ctx) {
  Outcome *known = Outcome_map_get(&state->stays, stay);
  if (!known || *known != PENDING) return SB_OK;
  *known = outcome;
  return conclude_if_all_have_an_outcome(state, ctx);
}

static sb_result initiated(Checkout *state, const GroupCheckoutInitiated *event, sb_ctx *ctx) {
  const Settings *settings;
  SB_TRY(SB_CONFIG(ctx, Settings, &settings));
  state->group_checkout_id = event->group_checkout_id;
  for (size_t i = 0; i < event->guest_stay_ids.count; i++) {
    Outcome_map_put(ctx, &state->stays, event->guest_stay_ids.at[i], PENDING);
  }
  for (size_t i = 0; i < state->stays.count; i++) {
    SB_SEND(ctx, CheckoutGuestAccount, .guest_stay_id = state->stays.at[i].key,
            .group_checkout_id = event->group_checkout_id);
  }
  bool is_set = settings->deadline_seconds.some;
  SB_SET_TIMER(ctx, is_set ? SB_SECONDS(settings->deadline_seconds.value) : SB_DAYS(1), Deadline, 0);
  return conclude_if_all_have_an_outcome(state, ctx);
}

static sb_result completed(Checkout *state, const GuestCheckoutCompleted *event, sb_ctx *ctx) {
  return record(state, event->guest_stay_id, COMPLETED, ctx);
}

static sb_result failed(Checkout *state, const GuestCheckoutFailed *event, sb_ctx *ctx) {
  return record(state, event->guest_stay_id, FAILED, ctx);
}

static sb_result deadline(Checkout *state, const Deadline *timer, sb_ctx *ctx) {
  (void)timer;
  return conclude(state, ctx);
}

static sb_result cancelled(Checkout *state, const sb_cancelled *by, sb_ctx *ctx) {
  (void)by;
  return conclude(state, ctx);
}

SB_PROCESS_MANAGER(group_checkout, "group-checkout", "0.1.0",
                   "Checks out all guests of a group, and reports once how it ended",
                   SB_STATE(Checkout),
                   SB_CONFIGURATION(Settings),
                   SB_START(Checkout, GroupCheckoutInitiated, initiated, .key = "/groupCheckoutId"),
                   SB_HANDLE(Checkout, GuestCheckoutCompleted, completed, .key = "/groupCheckoutId", .hold = SB_HOURS(1)),
                   SB_HANDLE(Checkout, GuestCheckoutFailed, failed, .key = "/groupCheckoutId", .hold = SB_HOURS(1)),
                   SB_ON_TIMER(Checkout, Deadline, deadline),
                   SB_ON_CANCEL(Checkout, cancelled),
                   SB_SENDS(CheckoutGuestAccount),
                   SB_SENDS(CompleteGroupCheckout),
                   SB_SENDS(NotifyGroupCheckoutFailure));
