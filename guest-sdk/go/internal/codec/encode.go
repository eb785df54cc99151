package codec

import (
	"encoding"
	"encoding/base64"
	"math"
	"reflect"
	"sort"
	"strconv"
	"time"
	"unicode/utf8"
)

type encoder struct {
	out []byte
}

func (e *encoder) raw(text string) { e.out = append(e.out, text...) }

// Encode returns the JSON of a value.
func Encode(value any) ([]byte, error) {
	if value == nil {
		return []byte("null"), nil
	}
	return EncodeValue(reflect.ValueOf(value))
}

// EncodeValue returns the JSON of a value.
func EncodeValue(v reflect.Value) ([]byte, error) {
	c, err := codecOf(v.Type())
	if err != nil {
		return nil, err
	}
	e := encoder{out: make([]byte, 0, 256)}
	if err := c.encode(&e, v); err != nil {
		if _, isKnown := err.(*Error); !isKnown {
			err = &Error{Reason: "it cannot be written: " + err.Error()}
		}
		return nil, err
	}
	return e.out, nil
}

func encodeBool(e *encoder, v reflect.Value) error {
	e.out = strconv.AppendBool(e.out, v.Bool())
	return nil
}

func encodeInt(e *encoder, v reflect.Value) error {
	e.out = strconv.AppendInt(e.out, v.Int(), 10)
	return nil
}

func encodeUint(e *encoder, v reflect.Value) error {
	e.out = strconv.AppendUint(e.out, v.Uint(), 10)
	return nil
}

func encodeFloat(e *encoder, v reflect.Value) error {
	number := v.Float()
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return wrong("is %v, and JSON has no such number", number)
	}
	format := byte('f')
	if size := math.Abs(number); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	e.out = strconv.AppendFloat(e.out, number, format, -1, v.Type().Bits())
	// As encoding/json does: e-9 rather than e-09.
	if n := len(e.out); format == 'e' && n >= 4 && e.out[n-4] == 'e' && e.out[n-3] == '-' && e.out[n-2] == '0' {
		e.out[n-2] = e.out[n-1]
		e.out = e.out[:n-1]
	}
	return nil
}

func encodeNumber(e *encoder, v reflect.Value) error {
	text := v.String()
	if text == "" {
		text = "0"
	}
	if !isNumberText(text) {
		return wrong("is the text %q, which is no number", text)
	}
	e.raw(text)
	return nil
}

func isNumberText(text string) bool {
	d := decoder{data: []byte(text)}
	_, err := d.number()
	return err == nil && d.at == len(text)
}

func encodeText(e *encoder, v reflect.Value) error { return e.text(v.String()) }

func (e *encoder) text(text string) error {
	if !utf8.ValidString(text) {
		return wrong("is not valid UTF-8: %q", clip(text))
	}
	e.out = appendText(e.out, text)
	return nil
}

func clip(text string) string {
	if len(text) > 40 {
		return text[:40] + "…"
	}
	return text
}

const hexDigits = "0123456789abcdef"

func appendText(out []byte, text string) []byte {
	out = append(out, '"')
	start := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		out = append(out, text[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\n':
			out = append(out, '\\', 'n')
		case '\r':
			out = append(out, '\\', 'r')
		case '\t':
			out = append(out, '\\', 't')
		default:
			out = append(out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(out, text[start:]...), '"')
}

func encodeBytes(e *encoder, v reflect.Value) error {
	e.raw(`"`)
	e.out = base64.StdEncoding.AppendEncode(e.out, v.Bytes())
	e.raw(`"`)
	return nil
}

func encodeAny(e *encoder, v reflect.Value) error {
	if v.IsNil() {
		e.raw("null")
		return nil
	}
	c, err := codecOf(v.Elem().Type())
	if err != nil {
		return wrong("cannot be written: %v", err)
	}
	return c.encode(e, v.Elem())
}

func encodeMap(e *encoder, v reflect.Value, key key, element *codec) error {
	type member struct {
		name  string
		value reflect.Value
	}
	members := make([]member, 0, v.Len())
	for iterator := v.MapRange(); iterator.Next(); {
		name, err := key.write(iterator.Key())
		if err != nil {
			return err
		}
		members = append(members, member{name, iterator.Value()})
	}
	// The order of a map differs from run to run; what a plugin writes must not.
	sort.Slice(members, func(i, j int) bool { return members[i].name < members[j].name })
	e.raw("{")
	for i, member := range members {
		if i > 0 {
			e.raw(",")
		}
		if err := e.text(member.name); err != nil {
			return err
		}
		e.raw(":")
		if err := element.encode(e, member.value); err != nil {
			return under(err, member.name)
		}
	}
	e.raw("}")
	return nil
}

func encodeStruct(e *encoder, v reflect.Value, fields []field) error {
	e.raw("{")
	isFirst := true
	for i := range fields {
		field := &fields[i]
		value, isThere := fieldAt(v, field)
		if !isThere || field.leavesOut(value) {
			continue
		}
		if !isFirst {
			e.raw(",")
		}
		isFirst = false
		e.raw(field.quoted)
		if field.isString {
			e.raw(`"`)
		}
		if err := field.codec.encode(e, value); err != nil {
			return under(err, field.name)
		}
		if field.isString {
			e.raw(`"`)
		}
	}
	e.raw("}")
	return nil
}

// fieldAt returns a field. A nil pointer to an embedded struct has none.
func fieldAt(v reflect.Value, field *field) (reflect.Value, bool) {
	if len(field.index) == 1 {
		return v.Field(field.index[0]), true
	}
	value, err := v.FieldByIndexErr(field.index)
	return value, err == nil
}

// pointerTo returns a pointer to the value, for methods that have a pointer as receiver.
func pointerTo(v reflect.Value) any {
	if v.CanAddr() {
		return v.Addr().Interface()
	}
	copied := reflect.New(v.Type())
	copied.Elem().Set(v)
	return copied.Interface()
}

func encodeMarshaler(e *encoder, v reflect.Value) error {
	data, err := pointerTo(v).(jsonMarshaler).MarshalJSON()
	if err != nil {
		return wrong("cannot be written: %v", err)
	}
	d := decoder{data: data}
	if err := d.whole(d.skip); err != nil {
		return wrong("is written as invalid JSON by the MarshalJSON of %s: %v", v.Type(), err)
	}
	e.out = append(e.out, data...)
	return nil
}

func encodeTextMarshaler(e *encoder, v reflect.Value) error {
	text, err := pointerTo(v).(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return wrong("cannot be written: %v", err)
	}
	return e.text(string(text))
}

func textKey() key {
	return key{
		write: func(v reflect.Value) (string, error) {
			text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
			return string(text), err
		},
		read: func(text string, v reflect.Value) error {
			return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
		},
	}
}

// encodeTime writes a time in UTC: the offset of a sender says nothing about the moment.
func encodeTime(e *encoder, v reflect.Value) error {
	at := v.Interface().(time.Time).UTC()
	if year := at.Year(); year < 0 || year > 9999 {
		return wrong("is in the year %d, which RFC 3339 cannot write", year)
	}
	e.raw(`"`)
	e.out = at.AppendFormat(e.out, time.RFC3339Nano)
	e.raw(`"`)
	return nil
}
