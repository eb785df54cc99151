#include "../src/reservation.c"

#include <sagabox_test.h>

#define ID SB_TEXT("o-1")
#define ANN SB_TEXT("ann")
#define MUG SB_TEXT("mug")
#define PLACED .order_id = ID, .customer_id = ANN, .sku = MUG, .quantity = 2
#define OF_ORDER .order_id = ID, .sku = MUG, .quantity = 2

static void given_a_reservation(sb_test *t) {
  SB_GIVEN_ANSWER(t, "stock", "mug", Stock, .available = 5);
  SB_GIVEN_EVENT(t, OrderPlaced, PLACED);
}

SB_TEST(an_order_that_is_paid_in_time_is_shipped) {
  SB_GIVEN_ANSWER(t, "stock", "mug", Stock, .available = 5);
  SB_WHEN(t, OrderPlaced, PLACED);
  SB_THEN_SENDS(t, ReserveStock, OF_ORDER);
  SB_THEN_TIMER(t, SB_HOURS(24), Deadline, 0);
  SB_WHEN(t, OrderPaid, .order_id = ID);
  SB_THEN_SENDS(t, ShipOrder, .order_id = ID);
  SB_THEN_CANCELS_TIMER(t, Deadline);
  SB_WHEN(t, OrderShipped, .order_id = ID);
  sb_then_nothing(t);
  sb_then_completes(t);
}

SB_TEST(the_stock_is_released_when_the_time_is_over) {
  given_a_reservation(t);
  sb_when_time_passes(t, SB_HOURS(23));
  sb_then_nothing(t);
  sb_when_time_passes(t, SB_HOURS(1));
  SB_THEN_SENDS(t, ReleaseStock, OF_ORDER);
  SB_THEN_EMITS(t, ReservationLapsed, .customer_id = ANN, .order_id = ID);
  sb_then_completes(t);
}

SB_TEST(a_customer_who_let_a_reservation_lapse_has_an_hour) {
  SB_GIVEN_ANSWER(t, "stock", "mug", Stock, .available = 5);
  SB_GIVEN_IN_STREAM(t, "ann", ReservationLapsed, .customer_id = ANN, .order_id = SB_TEXT("o-0"));
  SB_WHEN(t, OrderPlaced, PLACED);
  SB_THEN_SENDS(t, ReserveStock, OF_ORDER);
  SB_THEN_TIMER(t, SB_HOURS(1), Deadline, 0);
}

SB_TEST(what_the_warehouse_does_not_know_is_rejected) {
  sb_given_missing(t, "stock", "mug");
  SB_WHEN(t, OrderPlaced, PLACED);
  SB_THEN_SENDS(t, RejectOrder, .order_id = ID, .reason = SB_TEXT("sold out"));
  sb_then_completes(t);
}

SB_TEST(a_reservation_that_the_warehouse_does_not_take_is_rejected) {
  given_a_reservation(t);
  SB_WHEN_UNDELIVERABLE(t, "the warehouse is closed", ReserveStock, OF_ORDER);
  SB_THEN_SENDS(t, RejectOrder, .order_id = ID, .reason = SB_TEXT("the warehouse is closed"));
  sb_then_completes(t);
}

SB_TEST(a_cancelled_order_is_released) {
  given_a_reservation(t);
  sb_when_cancelled(t, "ada", "a test");
  SB_THEN_SENDS(t, ReleaseStock, OF_ORDER);
  sb_then_completes(t);
}

SB_TEST(an_order_without_a_quantity_fails) {
  SB_WHEN(t, OrderPlaced, .order_id = ID, .customer_id = ANN, .sku = MUG, .quantity = 0);
  sb_then_fails(t, "order o-1 has no quantity");
}

SB_TEST(a_count_of_the_stock_is_waited_for) {
  SB_GIVEN_ANSWER(t, "stock", "mug", Stock, .available = 5, .counting = true);
  SB_WHEN(t, OrderPlaced, PLACED);
  sb_then_fails_for_now(t, "the stock of mug is being counted");
}

SB_TEST(a_state_of_version_1_is_converted_and_back) {
#define MEMBERS "\"orderId\":\"o-1\",\"customerId\":\"ann\",\"sku\":\"mug\",\"quantity\":2"
  sb_when_migrated(t, 1, 2, "{" MEMBERS ",\"paid\":true}");
  sb_then_state_is(t, "{" MEMBERS ",\"status\":\"paid\"}");
  sb_when_migrated(t, 2, 1, "{" MEMBERS ",\"status\":\"reserved\"}");
  sb_then_state_is(t, "{" MEMBERS ",\"paid\":false}");
}

SB_TEST_MAIN(reservation)
