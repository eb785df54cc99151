/* A saga that fails while it describes itself: the table of an event's members is a function of the
 * author, and the schema in the manifest needs it. */
#include <sagabox.h>

typedef struct Happened {
  sb_text id;
} Happened;

static const sb_member *members(void) { sb_panic("broken while it describes itself"); }

static const sb_type happened_type = {SB_KIND_STRUCT_, sizeof(Happened), "Happened", NULL, 0, 0, members, NULL};
static const sb_message sb_message_Happened = {.data = &happened_type, .type = "Happened"};

static sb_result happened(const Happened *event, sb_ctx *ctx) {
  (void)event, (void)ctx;
  return SB_OK;
}

SB_SAGA(broken_describe, "conformance-broken-describe", "1.0.0", "It fails while it describes itself",
        SB_ON(Happened, happened, .key = "/id"));
