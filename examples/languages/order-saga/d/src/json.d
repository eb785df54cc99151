/// Members of JSON objects, as they stand in the text: values are passed on with every digit.
module json;

import sagabox : allocateMany;

@nogc nothrow:

/// The text of a member's value; null if the object has no such member, or is no JSON.
string member(string object, string name)
{
    auto reader = Reader(object);
    if (!reader.take('{'))
        return null;
    string found;
    if (!reader.take('}'))
    {
        do
        {
            immutable key = reader.value();
            if (key.length < 2 || key[0] != '"' || !reader.take(':'))
                return null;
            immutable value = reader.value();
            if (value is null)
                return null;
            if (key[1 .. $ - 1] == name)
                found = value;
        }
        while (reader.take(','));
        if (!reader.take('}'))
            return null;
    }
    reader.blanks();
    return reader.at == object.length ? found : null;
}

/// The characters of a JSON string; null if it is another value, or has an escape that is none.
string text(string value)
{
    if (value.length < 2 || value[0] != '"')
        return null;
    auto characters = allocateMany!char(value.length);
    size_t count;
    for (size_t at = 1; at < value.length - 1; at++)
    {
        char c = value[at];
        if (c == '\\')
        {
            c = value[++at];
            if (c == 'u')
            {
                uint code = hexadecimal(value, at + 1);
                at += 4;
                if (code >= 0xD800 && code < 0xDC00 && at + 6 < value.length && value[at + 1] == '\\')
                {
                    code = 0x10000 + ((code - 0xD800) << 10) + (hexadecimal(value, at + 3) - 0xDC00);
                    at += 6;
                }
                if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
                    return null;
                count += encode(code, characters[count .. $]);
                continue;
            }
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c == 'f' ? '\f' : c;
        }
        characters[count++] = c;
    }
    return cast(string) characters[0 .. count];
}

private uint hexadecimal(string value, size_t at)
{
    uint code;
    foreach (i; at .. at + 4)
    {
        if (i >= value.length)
            return uint.max;
        immutable c = value[i];
        immutable digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
        if (digit < 0)
            return uint.max;
        code = code * 16 + digit;
    }
    return code;
}

private size_t encode(uint code, char[] to)
{
    if (code < 0x80)
    {
        to[0] = cast(char) code;
        return 1;
    }
    immutable more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    immutable first = more == 1 ? 0xC0 : more == 2 ? 0xE0 : 0xF0;
    to[0] = cast(char)(first | (code >> (6 * more)));
    foreach (i; 1 .. more + 1)
        to[i] = cast(char)(0x80 | ((code >> (6 * (more - i))) & 0x3F));
    return more + 1;
}

private struct Reader
{
    string json;
    size_t at;

@nogc nothrow:
    void blanks()
    {
        while (at < json.length && (json[at] == ' ' || json[at] == '\n' || json[at] == '\r' || json[at] == '\t'))
            at++;
    }

    bool take(char c)
    {
        blanks();
        if (at == json.length || json[at] != c)
            return false;
        at++;
        return true;
    }

    /// The text of the next value: a string, or what reaches to the end of its brackets, or to the next
    /// separator. The host has checked that events are JSON.
    string value()
    {
        blanks();
        immutable first = at;
        int depth;
        for (; at < json.length; at++)
        {
            immutable c = json[at];
            if (c == '"')
            {
                for (at++; at < json.length && json[at] != '"'; at++)
                    if (json[at] == '\\')
                        at++;
                if (at >= json.length)
                    return null;
                if (depth == 0)
                    return json[first .. ++at];
            }
            else if (c == '{' || c == '[')
                depth++;
            else if (c == '}' || c == ']' || c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t')
            {
                if (depth == 0)
                    break;
                if ((c == '}' || c == ']') && --depth == 0)
                    return json[first .. ++at];
            }
        }
        return depth == 0 && at > first ? json[first .. at] : null;
    }
}
