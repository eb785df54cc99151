//! The border between a plugin and the host: the records of `wit/0.1` as the canonical ABI lays them out
//! in memory, and the three functions that a saga exports.
//!
//! `extern struct` has the layout of C, which is that of the canonical ABI: members in their order, each
//! at its alignment; a list or a string is a pointer and a length; an option or a variant is a byte and
//! its payload. So the arguments of a call are read where the host has put them.
const std = @import("std");

pub const String = extern struct {
    ptr: [*]const u8 = "",
    len: usize = 0,

    pub fn from(text: []const u8) String {
        return .{ .ptr = text.ptr, .len = text.len };
    }

    pub fn slice(self: String) []const u8 {
        return self.ptr[0..self.len];
    }
};

pub fn List(comptime T: type) type {
    return extern struct {
        ptr: [*]const T = undefined,
        len: usize = 0,

        pub fn from(items: []const T) @This() {
            return .{ .ptr = items.ptr, .len = items.len };
        }
    };
}

pub fn Option(comptime T: type) type {
    return extern struct { some: bool = false, value: T = .{} };
}

pub const Extension = extern struct { name: String = .{}, value: String = .{} };

pub const Event = extern struct {
    id: String,
    source: String,
    type: String,
    subject: Option(String),
    time: Option(String),
    datacontenttype: String,
    dataschema: Option(String),
    extensions: List(Extension),
    data: String,
};

/// What this plugin reads of the context. It is passed behind the event, at a multiple of 8.
pub const Context = extern struct {
    now: u64,
    attempt: u32,
    key: String,
    answers: List(u8),
    configuration: String,
    seed: [4]u32,
};

const Call = extern struct { event: Event, context: Context };

pub const Command = extern struct {
    type: String,
    subject: Option(String) = .{},
    datacontenttype: String = .from("application/json"),
    extensions: List(Extension) = .{},
    data: String,
};

/// `result<outcome, failure>`: the tags of the result and of its payload, then the payload.
const Reply = extern struct {
    failed: bool = false,
    payload: extern union {
        decided: extern struct { tag: u8 = 0, commands: List(Command), events: List(Command) = .{} },
        failure: extern struct { tag: u8 = 0, reason: String },
    },
};

const Variant = extern struct { tag: u8, text: String = .{} };

pub const Subscription = extern struct {
    type: String,
    source: Variant = .{ .tag = 0 },
    key: Variant,
    effect: u8 = 2,
    absent: extern struct { tag: u8 = 0, hold: u64 = 0 } = .{},

    /// An event whose correlation key is at a JSON Pointer into its data.
    pub fn by(event_type: []const u8, pointer: []const u8) Subscription {
        return .{ .type = .from(event_type), .key = .{ .tag = 2, .text = .from(pointer) } };
    }
};

pub const Manifest = extern struct {
    name: String,
    version: String,
    description: String,
    subscriptions: List(Subscription),
    commands: List(String),
    events: List(String) = .{},
    lookups: List(String) = .{},
    streams: bool = false,
    state_version: u32 = 0,
    schemas: List([2]String) = .{},
    configuration_schema: Option(String) = .{},
    fields: List([2]String) = .{},
    summary: Option(String) = .{},
};

comptime {
    std.debug.assert(@sizeOf(Event) == 84 and @sizeOf(Context) == 56 and @sizeOf(Command) == 44);
    std.debug.assert(@sizeOf(Subscription) == 56 and @sizeOf(Manifest) == 104 and @sizeOf(Reply) == 24);
}

// ---- memory: everything of a call lives until the next call begins -------------------------------

var arena = std.heap.ArenaAllocator.init(std.heap.wasm_allocator);
var call_is_over = false;

fn beginCall() void {
    if (call_is_over) _ = arena.reset(.{ .retain_with_limit = 64 * 1024 });
    call_is_over = false;
}

/// The host allocates the arguments of a call with it.
fn cabi_realloc(old: ?[*]u8, old_size: usize, alignment: usize, size: usize) callconv(.c) [*]u8 {
    beginCall();
    const memory = arena.allocator().rawAlloc(size, .fromByteUnits(alignment), @returnAddress()) orelse
        @panic("out of memory");
    if (old) |before| @memcpy(memory[0..@min(old_size, size)], before[0..@min(old_size, size)]);
    return memory;
}

// ---- the log -------------------------------------------------------------------------------------

pub const Level = enum(i32) { trace, debug, info, warn, err };

extern "sagabox:plugin/logging@0.1.0" fn log(level: Level, ptr: [*]const u8, len: usize) void;

pub fn write(level: Level, text: []const u8) void {
    log(level, text.ptr, text.len);
}

/// For `pub const panic` of the program: the message becomes part of the failure's reason.
pub const panic = std.debug.FullPanic(struct {
    fn panic(message: []const u8, _: ?usize) noreturn {
        write(.err, message);
        @trap();
    }
}.panic);

// ---- the exported functions ----------------------------------------------------------------------

/// What a handler returns its commands by, and where its memory comes from.
pub const Decision = struct {
    allocator: std.mem.Allocator,
    commands: std.ArrayList(Command) = .empty,

    /// Sends a command whose data is written as JSON.
    pub fn send(self: *Decision, command_type: []const u8, subject: []const u8, data: anytype) !void {
        const json = try std.json.Stringify.valueAlloc(self.allocator, data, .{});
        try self.commands.append(self.allocator, .{
            .type = .from(command_type),
            .subject = .{ .some = true, .value = .from(subject) },
            .data = .from(json),
        });
    }
};

/// Exports a saga. An error of the handler is a permanent failure.
pub fn exportSaga(
    comptime manifest: *const Manifest,
    comptime handler: fn (event: *const Event, decision: *Decision) anyerror!void,
) void {
    const exported = struct {
        var reply: Reply = undefined;

        fn describe() callconv(.c) *const Manifest {
            return manifest;
        }

        fn handle(call: *const Call) callconv(.c) *const Reply {
            beginCall();
            var decision: Decision = .{ .allocator = arena.allocator() };
            reply = if (handler(&call.event, &decision))
                .{ .payload = .{ .decided = .{ .commands = .from(decision.commands.items) } } }
            else |failure|
                .{ .failed = true, .payload = .{ .failure = .{ .reason = reason(&call.event, failure) } } };
            call_is_over = true;
            return &reply;
        }

        fn reason(event: *const Event, failure: anyerror) String {
            const text = std.fmt.allocPrint(
                arena.allocator(),
                "the event `{s}` cannot be handled: {s}",
                .{ event.type.slice(), @errorName(failure) },
            );
            return .from(text catch "out of memory");
        }
    };
    @export(&exported.describe, .{ .name = "sagabox:plugin/saga-handler@0.1.0#describe" });
    @export(&exported.handle, .{ .name = "sagabox:plugin/saga-handler@0.1.0#handle" });
    @export(&cabi_realloc, .{ .name = "cabi_realloc" });
}
