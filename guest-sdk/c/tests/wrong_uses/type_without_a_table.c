// expected: error: unknown type name 'Address'
#include <sagabox.h>
#define ORDER(F) F(sb_text, order_id) F(Address, address)
SB_EVENT(OrderPaid, ORDER);
