/// The border between a plugin and the host: the records of `wit/0.1` as the canonical ABI lays them out
/// in memory, and the functions that a saga exports.
///
/// D's structs have the layout of C, which is that of the canonical ABI: members in their order, each at
/// its alignment; a list or a string is a pointer and a length; an option or a variant is a byte and its
/// payload. D's own slices are a length and a pointer, in this order, so `List` stands for them here.
module sagabox;

import ldc.attributes : llvmAttr;

extern (C):
@nogc:
nothrow:

struct List(T)
{
    T* ptr;
    size_t len;

@nogc nothrow:
    this(T[] items)
    {
        ptr = items.ptr;
        len = items.length;
    }

    inout(T)[] slice() inout
    {
        return ptr[0 .. len];
    }
}

alias String = List!(immutable char);

struct Option(T)
{
    bool some;
    T value;
}

struct Extension
{
    String name, value;
}

struct Event
{
    String id, source, type;
    Option!String subject, time;
    String datacontenttype;
    Option!String dataschema;
    List!Extension extensions;
    String data;
}

/// What this plugin reads of the context. It is passed behind the event, at a multiple of 8.
struct Context
{
    ulong now;
    uint attempt;
    String key;
    List!ubyte answers;
    String configuration;
    uint[4] seed;
}

struct Command
{
    String type;
    Option!String subject;
    String datacontenttype;
    List!Extension extensions;
    String data;
}

struct Variant
{
    ubyte tag;
    String text;
}

struct Absent
{
    ubyte tag;
    ulong hold;
}

struct Subscription
{
    String type;
    Variant source;
    Variant key;
    ubyte effect;
    Absent absent;
}

struct Manifest
{
    String name, version_, description;
    List!Subscription subscriptions;
    List!String commands, events, lookups;
    bool streams;
    uint stateVersion;
    List!(String[2]) schemas;
    Option!String configurationSchema;
    List!(String[2]) fields;
    Option!String summary;
}

struct Decision
{
    List!Command commands;
    List!Command events;
}

/// `result<outcome, failure>`: the tags of the result and of its payload, then the payload: the lists of
/// commands and events of a decision, or the text of a failure.
struct Reply
{
    bool failed;
    align(4) ubyte tag;
    union
    {
        Decision decided;
        String reason;
    }
}

static assert(Event.sizeof == 84 && Context.sizeof == 56 && Command.sizeof == 44);
static assert(Subscription.sizeof == 56 && Manifest.sizeof == 104 && Reply.sizeof == 24);

// ---- memory: everything of a call lives until the next call begins -------------------------------

private extern __gshared ubyte __heap_base;
private __gshared size_t next;
private __gshared bool callIsOver;

pragma(LDC_intrinsic, "llvm.wasm.memory.size.i32") private int memorySize(int memory);
pragma(LDC_intrinsic, "llvm.wasm.memory.grow.i32") private int memoryGrow(int memory, int pages);

void beginCall()
{
    if (callIsOver || next == 0)
        next = cast(size_t)&__heap_base;
    callIsOver = false;
}

void endCall()
{
    callIsOver = true;
}

void* allocate(size_t size, size_t alignment = 8)
{
    enum pageBytes = 65_536;
    immutable at = (next + alignment - 1) / alignment * alignment;
    immutable have = cast(size_t) memorySize(0) * pageBytes;
    if (at + size > have)
    {
        immutable pages = (at + size - have + pageBytes - 1) / pageBytes;
        if (memoryGrow(0, cast(int) pages) < 0)
            panic("out of memory");
    }
    next = at + size;
    return cast(void*) at;
}

/// The host allocates the arguments of a call with it.
@llvmAttr("wasm-export-name", "cabi_realloc")
void* cabiRealloc(void* old, size_t oldSize, size_t alignment, size_t size)
{
    beginCall();
    auto memory = cast(ubyte*) allocate(size, alignment);
    foreach (i; 0 .. oldSize < size ? oldSize : size)
        memory[i] = (cast(ubyte*) old)[i];
    return memory;
}

T[] allocateMany(T)(size_t count)
{
    return (cast(T*) allocate(count * T.sizeof, T.alignof))[0 .. count];
}

/// A text made of parts.
immutable(char)[] join(const(char[])[] parts...)
{
    size_t len;
    foreach (part; parts)
        len += part.length;
    auto text = allocateMany!char(len);
    size_t at;
    foreach (part; parts)
        foreach (c; part)
            text[at++] = c;
    return cast(immutable) text;
}

// ---- the log -------------------------------------------------------------------------------------

enum Level
{
    trace,
    debug_,
    info,
    warn,
    error
}

@llvmAttr("wasm-import-module", "sagabox:plugin/logging@0.1.0") @llvmAttr("wasm-import-name", "log")
private void log(Level level, const(char)* ptr, size_t len);

void write(Level level, const(char)[] text)
{
    log(level, text.ptr, text.length);
}

pragma(LDC_intrinsic, "llvm.trap") private noreturn trap();

/// Ends the call: the message becomes part of the failure's reason.
noreturn panic(const(char)[] message)
{
    write(Level.error, message);
    trap();
}

// ---- what compiled D calls, in place of a C library ------------------------------------------------

/// A failed `assert`, and an index that is out of bounds.
noreturn __assert(const(char)* message, const(char)* file, int line)
{
    char[10] digits;
    size_t first = digits.length;
    for (; line > 0; line /= 10)
        digits[--first] = cast(char)('0' + line % 10);
    panic(join(stringOf(file), ":", digits[first .. $], ": ", stringOf(message)));
}

private const(char)[] stringOf(const(char)* text)
{
    size_t len;
    while (text[len])
        len++;
    return text[0 .. len];
}

int memcmp(const(ubyte)* one, const(ubyte)* other, size_t len)
{
    foreach (i; 0 .. len)
        if (one[i] != other[i])
            return one[i] - other[i];
    return 0;
}
