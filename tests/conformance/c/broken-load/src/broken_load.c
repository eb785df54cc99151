/* A saga that fails while its module loads. */
#include <sagabox.h>

#define HAPPENED(F) F(sb_text, id)
SB_EVENT(Happened, HAPPENED);

__attribute__((constructor)) static void load(void) { sb_panic("broken while it loads"); }

static sb_result happened(const Happened *event, sb_ctx *ctx) {
  (void)event, (void)ctx;
  return SB_OK;
}

SB_SAGA(broken_load, "conformance-broken-load", "1.0.0", "It fails while its module loads",
        SB_ON(Happened, happened, .key = "/id"));
