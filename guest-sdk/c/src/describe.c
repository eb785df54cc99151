/* What a plugin says of itself, from its table. A mistake in the table ends the call with a message
 * that names the file, so `sagabox check` and `sagabox build` report it. */
#include <stdio.h>

#include "internal.h"

/* A state with more members shows the first ones; a summary is one line. */
#define SB_FIELDS_MAX 12
#define SB_SUMMARY_FIELDS_MAX 3
#define SB_FIELD_NAME_MAX 64

#define SB_MISTAKE(plugin, ...) sb_panic_at((plugin)->file, 0, __VA_ARGS__)

static bool is_event_row(const sb_row *row) {
  return row->kind == SB_ROW_ON_ || row->kind == SB_ROW_START_ || row->kind == SB_ROW_START_OR_HANDLE_ ||
         row->kind == SB_ROW_HANDLE_;
}

static bool needs_state(const sb_row *row) {
  return (is_event_row(row) && row->kind != SB_ROW_ON_) || row->kind == SB_ROW_TIMER_ ||
         row->kind == SB_ROW_UNDELIVERABLE_ || row->kind == SB_ROW_CANCEL_;
}

static const char *type_of(const sb_row *row) {
  return row->message ? sb_message_type(row->message) : row->name;
}

/* ---- mistakes --------------------------------------------------------------------------- */

static void check_row(const sb_plugin *plugin, const sb_row *row, const sb_row *state) {
  bool is_process_manager = plugin->role == SB_ROLE_PROCESS_MANAGER_;
  if (is_event_row(row) && !row->key) {
    SB_MISTAKE(plugin, "the handler of `%s` needs a key: .key = \"/orderId\", or .key = \"subject\"", type_of(row));
  }
  if (row->kind == SB_ROW_ON_ && is_process_manager) {
    SB_MISTAKE(plugin, "a process manager handles `%s` with SB_START, SB_START_OR_HANDLE or SB_HANDLE, not SB_ON", type_of(row));
  }
  if (needs_state(row) && !is_process_manager) {
    SB_MISTAKE(plugin, "only a process manager has a handler with a state; the others handle events with SB_ON");
  }
  if (needs_state(row) && strcmp(row->data->name, state->data->name) != 0) {
    SB_MISTAKE(plugin, "a handler takes the state %s, and the plugin's state is %s", row->data->name, state->data->name);
  }
  if (row->kind == SB_ROW_EMITS_ && plugin->role == SB_ROLE_SAGA_) {
    SB_MISTAKE(plugin, "a saga sends commands and emits no events: `%s` needs a reactor or a process manager", type_of(row));
  }
  if (row->kind == SB_ROW_SENDS_ && plugin->role == SB_ROLE_ENRICHER_) {
    SB_MISTAKE(plugin, "an enricher emits events and sends no commands: `%s` needs a reactor", type_of(row));
  }
}

static void check_subject(const sb_plugin *plugin, const sb_row *row) {
  const sb_message *message = row->message;
  if (!message || !message->subject) return;
  for (const sb_member *member = message->data->members(); member->name; member++) {
    if (strcmp(member->name, message->subject) == 0) return;
  }
  SB_MISTAKE(plugin, "`%s` has no member `%s` for its subject", type_of(row), message->subject);
}

static void check(const sb_plugin *plugin) {
  const sb_row *state = sb_row_of(plugin, SB_ROW_STATE_);
  bool any = false;
  if (plugin->role == SB_ROLE_PROCESS_MANAGER_ && !state) {
    SB_MISTAKE(plugin, "a process manager declares its state: SB_STATE(Order)");
  }
  for (const sb_row *row = plugin->rows; row->kind != SB_ROW_END_; row++) {
    check_row(plugin, row, state);
    check_subject(plugin, row);
    any = any || is_event_row(row);
    for (const sb_row *other = plugin->rows; other < row; other++) {
      bool both_events = is_event_row(row) && is_event_row(other);
      bool both_timers = row->kind == SB_ROW_TIMER_ && other->kind == SB_ROW_TIMER_;
      if ((both_events || both_timers) && strcmp(type_of(row), type_of(other)) == 0) {
        SB_MISTAKE(plugin, "`%s` has two handlers", type_of(row));
      }
    }
  }
  if (!any) SB_MISTAKE(plugin, "the plugin handles no event");
}

/* ---- lists ------------------------------------------------------------------------------ */

static void add_name(sb_ctx *ctx, sb_names *names, const char *name) {
  names->at = (sb_text *)sb_grow_list(ctx, names->at, names->count, sizeof *names->at);
  names->at[names->count++] = sb_text_of(name);
}

static void add_pair(sb_ctx *ctx, sb_pairs *pairs, sb_text name, sb_text text) {
  pairs->at = (sb_pair *)sb_grow_list(ctx, pairs->at, pairs->count, sizeof *pairs->at);
  pairs->at[pairs->count].name = name;
  pairs->at[pairs->count++].text = text;
}

static sb_subscription *add_subscription(sb_ctx *ctx, sb_manifest *manifest, const char *type) {
  sb_subscriptions *list = &manifest->subscriptions;
  list->at = (sb_subscription *)sb_grow_list(ctx, list->at, list->count, sizeof *list->at);
  sb_subscription *subscription = &list->at[list->count++];
  memset(subscription, 0, sizeof *subscription);
  subscription->type = sb_text_of(type);
  subscription->effect = 2;
  return subscription;
}

/* A subscription to the host's own events for an instance. */
static void add_reserved(sb_ctx *ctx, sb_manifest *manifest, const char *type) {
  add_subscription(ctx, manifest, type)->key.tag = 3;
}

static void add_event(sb_ctx *ctx, sb_manifest *manifest, const sb_row *row) {
  sb_subscription *subscription = add_subscription(ctx, manifest, type_of(row));
  if (row->kind == SB_ROW_START_) subscription->effect = 0;
  if (row->kind == SB_ROW_START_OR_HANDLE_) subscription->effect = 1;
  if (strcmp(row->key, "subject") != 0) {
    subscription->key.tag = *row->key == '/' ? 2 : 1;
    subscription->key.text = sb_text_of(row->key);
  }
  if (row->source || row->source_prefix) {
    subscription->source.tag = row->source ? 1 : 2;
    subscription->source.text = sb_text_of(row->source ? row->source : row->source_prefix);
  }
  if (row->hold > 0) {
    subscription->absent.tag = 1;
    subscription->absent.hold = (uint64_t)row->hold;
  } else if (row->absent_fails) {
    subscription->absent.tag = 2;
  }
}

static void add_schema(sb_ctx *ctx, sb_manifest *manifest, const sb_row *row, bool written) {
  if (!row->message || !row->message->data) return;
  sb_text type = sb_text_of(type_of(row));
  for (size_t i = 0; i < manifest->schemas.count; i++) {
    if (sb_text_equal(manifest->schemas.at[i].name, type)) return;
  }
  add_pair(ctx, &manifest->schemas, type, sb_schema(ctx, row->message->data, written, false));
}

/* ---- fields ----------------------------------------------------------------------------- */

static bool is_field_name(sb_text name) {
  for (size_t i = 0; i < name.len; i++) {
    char c = name.ptr[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (!letter && (i == 0 || c < '0' || c > '9')) return false;
  }
  return name.len > 0 && name.len <= SB_FIELD_NAME_MAX;
}

static void add_fields_of_state(sb_ctx *ctx, sb_manifest *manifest, const sb_type *state) {
  if (state->kind != SB_KIND_STRUCT_) return;
  for (const sb_member *member = state->members(); member->name; member++) {
    sb_text name = sb_json_name(ctx, member);
    bool fits = sb_is_scalar(member->type) && is_field_name(name);
    if (!fits || manifest->fields.count == SB_FIELDS_MAX) continue;
    add_pair(ctx, &manifest->fields, name, sb_format(ctx, "/%s", name.ptr));
  }
}

static void add_summary(sb_ctx *ctx, sb_manifest *manifest) {
  sb_buffer buffer = {ctx, NULL, 0, 0, {NULL, 0}, {NULL, 0}};
  for (size_t i = 0; i < manifest->fields.count && i < SB_SUMMARY_FIELDS_MAX; i++) {
    const char *name = manifest->fields.at[i].name.ptr;
    sb_text part = sb_format(ctx, "%s%s {%s}", i ? ", " : "", name, name);
    sb_put(&buffer, part.ptr, part.len);
  }
  if (buffer.len) manifest->summary = sb_text_some(sb_buffer_text(&buffer));
}

/* ---- the manifest ----------------------------------------------------------------------- */

static void add_row(sb_ctx *ctx, sb_manifest *manifest, const sb_row *row) {
  switch (row->kind) {
    case SB_ROW_SENDS_: add_name(ctx, &manifest->commands, type_of(row)); break;
    case SB_ROW_EMITS_: add_name(ctx, &manifest->events, type_of(row)); break;
    case SB_ROW_LOOKUP_: add_name(ctx, &manifest->lookups, row->name); break;
    case SB_ROW_STREAMS_: manifest->streams = true; break;
    case SB_ROW_STATE_: manifest->state_version = row->version ? row->version : 1; break;
    case SB_ROW_CONFIGURATION_:
      manifest->configuration_schema = sb_text_some(sb_schema(ctx, row->data, false, true));
      break;
    case SB_ROW_FIELD_:
      add_pair(ctx, &manifest->fields, sb_text_of(row->name), sb_text_of(row->key));
      break;
    case SB_ROW_SUMMARY_: manifest->summary = sb_text_some(sb_text_of(row->name)); break;
    default:
      if (is_event_row(row)) add_event(ctx, manifest, row);
  }
  if (is_event_row(row)) add_schema(ctx, manifest, row, false);
  if (row->kind == SB_ROW_SENDS_ || row->kind == SB_ROW_EMITS_) add_schema(ctx, manifest, row, true);
}

sb_manifest *sb_describe(sb_ctx *ctx) {
  const sb_plugin *plugin = ctx->plugin;
  check(plugin);
  sb_manifest *manifest = (sb_manifest *)sb_alloc(ctx, sizeof *manifest);
  manifest->name = sb_text_of(plugin->name);
  manifest->version = sb_text_of(plugin->version);
  manifest->description = sb_text_of(plugin->description);
  for (const sb_row *row = plugin->rows; row->kind != SB_ROW_END_; row++) add_row(ctx, manifest, row);
  if (sb_row_of(plugin, SB_ROW_TIMER_)) add_reserved(ctx, manifest, "sagabox.timer.fired");
  if (sb_row_of(plugin, SB_ROW_UNDELIVERABLE_)) add_reserved(ctx, manifest, "sagabox.command.undeliverable");
  if (sb_row_of(plugin, SB_ROW_CANCEL_)) add_reserved(ctx, manifest, "sagabox.instance.cancelled");
  const sb_row *state = sb_row_of(plugin, SB_ROW_STATE_);
  if (state && !sb_row_of(plugin, SB_ROW_FIELD_)) add_fields_of_state(ctx, manifest, state->data);
  if (state && !manifest->summary.some) add_summary(ctx, manifest);
  return manifest;
}
