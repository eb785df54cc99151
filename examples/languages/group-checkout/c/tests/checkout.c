#include "../src/group_checkout.c"

#include <sagabox_test.h>

#define GROUP_ID SB_TEXT("g")

/* The stays "a", "b", "c", as many as said. */
static sb_text_list stays(sb_test *t, int count) {
  sb_text_list list = {0};
  for (int i = 0; i < count; i++) sb_text_list_push(sb_test_memory(t), &list, sb_format(sb_test_memory(t), "%c", 'a' + i));
  return list;
}

static sb_text_list only(sb_test *t, sb_text stay) {
  sb_text_list list = {0};
  sb_text_list_push(sb_test_memory(t), &list, stay);
  return list;
}

static void started(sb_test *t, int count) {
  SB_GIVEN_EVENT(t, GroupCheckoutInitiated, .group_checkout_id = GROUP_ID, .guest_stay_ids = stays(t, count));
}

SB_TEST(every_guest_is_checked_out_once_and_a_deadline_is_set) {
  sb_text_list twice = stays(t, 2);
  sb_text_list_push(sb_test_memory(t), &twice, SB_TEXT("a"));
  SB_WHEN(t, GroupCheckoutInitiated, .group_checkout_id = GROUP_ID, .guest_stay_ids = twice);
  SB_THEN_SENDS(t, CheckoutGuestAccount, .guest_stay_id = SB_TEXT("a"), .group_checkout_id = GROUP_ID);
  SB_THEN_SENDS(t, CheckoutGuestAccount, .guest_stay_id = SB_TEXT("b"), .group_checkout_id = GROUP_ID);
  SB_THEN_TIMER(t, SB_DAYS(1), Deadline, 0);
  sb_then_goes_on(t);
  sb_then_state_is(t, "{\"groupCheckoutId\":\"g\",\"stays\":{\"a\":\"pending\",\"b\":\"pending\"}}");
}

SB_TEST(the_deadline_is_configured) {
  sb_given_configuration(t, "{\"deadline_seconds\": 90}");
  SB_WHEN(t, GroupCheckoutInitiated, .group_checkout_id = GROUP_ID, .guest_stay_ids = stays(t, 1));
  SB_THEN_SENDS(t, CheckoutGuestAccount, .guest_stay_id = SB_TEXT("a"), .group_checkout_id = GROUP_ID);
  SB_THEN_TIMER(t, SB_SECONDS(90), Deadline, 0);
}

SB_TEST(an_unknown_setting_is_refused) {
  sb_given_configuration(t, "{\"deadline\": 90}");
  SB_WHEN(t, GroupCheckoutInitiated, .group_checkout_id = GROUP_ID, .guest_stay_ids = stays(t, 1));
  sb_then_fails(t, "the plugin's configuration: the member `deadline` is not known here");
}

SB_TEST(it_completes_when_every_guest_has_an_outcome) {
  started(t, 2);
  SB_WHEN(t, GuestCheckoutCompleted, .guest_stay_id = SB_TEXT("b"), .group_checkout_id = GROUP_ID);
  sb_then_goes_on(t);
  SB_WHEN(t, GuestCheckoutCompleted, .guest_stay_id = SB_TEXT("a"), .group_checkout_id = GROUP_ID);
  SB_THEN_SENDS(t, CompleteGroupCheckout, .group_checkout_id = GROUP_ID);
  sb_then_completes(t);
}

SB_TEST(a_guest_counts_once_however_often_its_event_comes) {
  started(t, 2);
  SB_GIVEN_EVENT(t, GuestCheckoutCompleted, .guest_stay_id = SB_TEXT("a"), .group_checkout_id = GROUP_ID);
  SB_WHEN(t, GuestCheckoutCompleted, .guest_stay_id = SB_TEXT("a"), .group_checkout_id = GROUP_ID);
  sb_then_goes_on(t);
  SB_WHEN(t, GuestCheckoutFailed, .guest_stay_id = SB_TEXT("a"), .group_checkout_id = GROUP_ID);
  sb_then_goes_on(t);
}

SB_TEST(stays_without_an_outcome_time_out) {
  started(t, 3);
  SB_GIVEN_EVENT(t, GuestCheckoutCompleted, .guest_stay_id = SB_TEXT("a"), .group_checkout_id = GROUP_ID);
  SB_GIVEN_EVENT(t, GuestCheckoutFailed, .guest_stay_id = SB_TEXT("b"), .group_checkout_id = GROUP_ID);
  sb_when_time_passes(t, SB_HOURS(23));
  sb_then_goes_on(t);
  sb_when_time_passes(t, SB_HOURS(1));
  SB_THEN_SENDS(t, NotifyGroupCheckoutFailure, .group_checkout_id = GROUP_ID,
                .failed_guest_ids = only(t, SB_TEXT("b")), .timed_out_guest_ids = only(t, SB_TEXT("c")));
  sb_then_completes(t);
}

SB_TEST(a_cancelled_group_is_concluded) {
  started(t, 1);
  sb_when_cancelled(t, "ann", "test");
  SB_THEN_SENDS(t, NotifyGroupCheckoutFailure, .group_checkout_id = GROUP_ID,
                .timed_out_guest_ids = only(t, SB_TEXT("a")));
  sb_then_completes(t);
}

SB_TEST(a_group_without_guests_is_complete_at_once) {
  SB_WHEN(t, GroupCheckoutInitiated, .group_checkout_id = GROUP_ID);
  SB_THEN_SENDS(t, CompleteGroupCheckout, .group_checkout_id = GROUP_ID);
  sb_then_completes(t);
}

SB_TEST(a_stay_of_another_group_changes_nothing) {
  started(t, 1);
  SB_WHEN(t, GuestCheckoutCompleted, .guest_stay_id = SB_TEXT("x"), .group_checkout_id = GROUP_ID);
  sb_then_goes_on(t);
}

SB_TEST_MAIN(group_checkout)
