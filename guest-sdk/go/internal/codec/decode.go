package codec

import (
	"encoding"
	"encoding/base64"
	"fmt"
	"reflect"
	"strconv"
)

// Options says how strictly a value is read.
type Options struct {
	// RefuseUnknown makes a member without a field an error.
	RefuseUnknown bool
	// AllOptional lets all members be missing, except those whose field is marked as required.
	AllOptional bool
}

// Decode reads JSON into the value that `target` points to.
func Decode(data []byte, target any, options Options) error {
	return DecodeValue(data, reflect.ValueOf(target).Elem(), options)
}

// DecodeValue reads JSON into a value that can be set.
func DecodeValue(data []byte, v reflect.Value, options Options) error {
	c, err := codecOf(v.Type())
	if err != nil {
		return err
	}
	d := decoder{data: data, options: options}
	return d.whole(func() error { return c.decode(&d, v) })
}

func decodeBool(d *decoder, v reflect.Value) error {
	switch {
	case d.word("true"):
		v.SetBool(true)
	case d.word("false"):
		v.SetBool(false)
	default:
		return d.expected("true or false")
	}
	return nil
}

func decodeInt(d *decoder, v reflect.Value) error {
	text, err := d.number()
	if err != nil {
		return err
	}
	number, err := strconv.ParseInt(string(text), 10, v.Type().Bits())
	if err != nil {
		return notAn(text, v.Type())
	}
	v.SetInt(number)
	return nil
}

func decodeUint(d *decoder, v reflect.Value) error {
	text, err := d.number()
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(string(text), 10, v.Type().Bits())
	if err != nil {
		return notAn(text, v.Type())
	}
	v.SetUint(number)
	return nil
}

func notAn(text []byte, t reflect.Type) error {
	return wrong("is %s, which is no %s", clip(string(text)), t.Kind())
}

func decodeFloat(d *decoder, v reflect.Value) error {
	text, err := d.number()
	if err != nil {
		return err
	}
	number, err := strconv.ParseFloat(string(text), v.Type().Bits())
	if err != nil {
		return wrong("is %s, which is out of the range of a %s", clip(string(text)), v.Kind())
	}
	v.SetFloat(number)
	return nil
}

func decodeNumber(d *decoder, v reflect.Value) error {
	text, err := d.number()
	if err == nil {
		v.SetString(string(text))
	}
	return err
}

func decodeText(d *decoder, v reflect.Value) error {
	text, err := d.text()
	if err == nil {
		v.SetString(text)
	}
	return err
}

func decodeBytes(d *decoder, v reflect.Value) error {
	if d.null() {
		v.SetZero()
		return nil
	}
	text, err := d.text()
	if err != nil {
		return err
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return wrong("is no base64: %v", err)
	}
	v.SetBytes(data)
	return nil
}

func decodeAny(d *decoder, v reflect.Value) error {
	value, err := d.any()
	if err != nil {
		return err
	}
	if value == nil {
		v.SetZero()
		return nil
	}
	v.Set(reflect.ValueOf(value))
	return nil
}

// any reads a value as encoding/json does, but a number as a [Number].
func (d *decoder) any() (any, error) {
	switch d.peek() {
	case '"':
		return d.text()
	case 't', 'f', 'n':
		for word, value := range map[string]any{"true": true, "false": false, "null": nil} {
			if d.word(word) {
				return value, nil
			}
		}
		return nil, d.expected("a value")
	case '[':
		list := []any{}
		err := d.list(func(int) error {
			element, err := d.any()
			list = append(list, element)
			return err
		})
		return list, err
	case '{':
		members := map[string]any{}
		err := d.members(func(name string) error {
			if _, isThere := members[name]; isThere {
				return wrong("is there twice")
			}
			member, err := d.any()
			members[name] = member
			return err
		})
		return members, err
	default:
		text, err := d.number()
		return Number(text), err
	}
}

func decodeList(d *decoder, v reflect.Value, element *codec) error {
	isSlice := v.Kind() == reflect.Slice
	if isSlice && d.null() {
		v.SetZero()
		return nil
	}
	if isSlice {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	}
	count := 0
	err := d.list(func(i int) error {
		count++
		switch {
		case isSlice && i >= v.Cap():
			v.Grow(1)
			fallthrough
		case isSlice:
			v.SetLen(i + 1)
			v.Index(i).SetZero()
		case i >= v.Len():
			return wrong("has more than %d elements", v.Len())
		}
		return element.decode(d, v.Index(i))
	})
	if err == nil && !isSlice && count < v.Len() {
		return wrong("has %d elements, and not %d", count, v.Len())
	}
	return err
}

func decodeMap(d *decoder, v reflect.Value, key key, element *codec) error {
	if d.null() {
		v.SetZero()
		return nil
	}
	t := v.Type()
	v.Set(reflect.MakeMap(t))
	return d.members(func(name string) error {
		k, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		if err := key.read(name, k); err != nil {
			return wrong("has a name that is no %s", t.Key())
		}
		if v.MapIndex(k).IsValid() {
			return wrong("is there twice")
		}
		if err := element.decode(d, value); err != nil {
			return err
		}
		v.SetMapIndex(k, value)
		return nil
	})
}

func decodeStruct(d *decoder, v reflect.Value, fields []field) error {
	var few [4]uint64
	seen := few[:]
	if len(fields) > 64*len(few) {
		seen = make([]uint64, len(fields)/64+1)
	}
	if err := d.structMembers(v, fields, seen); err != nil {
		return err
	}
	for at := range fields {
		isOptional := fields[at].isOptional || d.options.AllOptional
		if seen[at/64]&(1<<(at%64)) == 0 && (!isOptional || fields[at].isDemanded) {
			return &Error{Path: fields[at].name, Reason: "is missing"}
		}
	}
	return nil
}

// structMembers reads the members of an object into the fields of a struct.
func (d *decoder) structMembers(v reflect.Value, fields []field, seen []uint64) error {
	if isEmpty, err := d.beginObject(); isEmpty || err != nil {
		return err
	}
	defer func() { d.depth-- }()
	for next := 0; ; {
		at, err := d.field(fields, next)
		if err != nil {
			return err
		}
		if at >= 0 {
			next = at + 1
			if seen[at/64]&(1<<(at%64)) != 0 {
				return under(wrong("is there twice"), fields[at].name)
			}
			seen[at/64] |= 1 << (at % 64)
			if err := decodeField(d, v, &fields[at]); err != nil {
				return under(err, fields[at].name)
			}
		}
		if isEnd, err := d.endOfMember(); isEnd || err != nil {
			return err
		}
	}
}

// field reads the name of a member, and returns the place of its field. It reads the whole member
// and returns -1 if there is no field.
func (d *decoder) field(fields []field, next int) (int, error) {
	d.peek()
	// Most senders keep the order, and write no blanks.
	if next < len(fields) {
		if expected := fields[next].quoted; d.at+len(expected) <= len(d.data) && string(d.data[d.at:d.at+len(expected)]) == expected {
			d.at += len(expected)
			return next, nil
		}
	}
	name, err := d.memberName()
	if err != nil {
		return -1, err
	}
	at := find(fields, next, name)
	switch {
	case at >= 0:
		return at, nil
	case d.options.RefuseUnknown:
		return -1, under(wrong("is unknown; there are %s", namesOf(fields)), name)
	}
	if err := d.skip(); err != nil {
		return -1, under(err, name)
	}
	return -1, nil
}

// find begins behind the member before, because most senders keep the order.
func find(fields []field, next int, name string) int {
	for i := range fields {
		at := next + i
		if at >= len(fields) {
			at -= len(fields)
		}
		if fields[at].name == name {
			return at
		}
	}
	return -1
}

func namesOf(fields []field) string {
	names := ""
	for i, field := range fields {
		if i > 0 {
			names += ", "
		}
		names += field.name
	}
	return names
}

func decodeField(d *decoder, v reflect.Value, field *field) error {
	if len(field.index) == 1 && !field.isString {
		return field.codec.decode(d, v.Field(field.index[0]))
	}
	for _, at := range field.index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(at)
	}
	if !field.isString {
		return field.codec.decode(d, v)
	}
	text, err := d.text()
	if err != nil {
		return err
	}
	inner := decoder{data: []byte(text)}
	return inner.whole(func() error { return field.codec.decode(&inner, v) })
}

func decodeUnmarshaler(d *decoder, v reflect.Value) error {
	start := d.begin()
	if err := d.skip(); err != nil {
		return err
	}
	raw := append([]byte(nil), d.data[start:d.at]...)
	if err := v.Addr().Interface().(jsonUnmarshaler).UnmarshalJSON(raw); err != nil {
		return wrong("does not fit: %v", err)
	}
	return nil
}

func decodeTextUnmarshaler(d *decoder, v reflect.Value) error {
	text, err := d.text()
	if err != nil {
		return err
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
		return wrong("does not fit: %v", err)
	}
	return nil
}

// list reads an array, and calls the function for each element.
func (d *decoder) list(element func(int) error) error {
	if !d.byte('[') {
		return d.expected("an array")
	}
	if err := d.deeper(); err != nil {
		return err
	}
	defer func() { d.depth-- }()
	if d.byte(']') {
		return nil
	}
	for i := 0; ; i++ {
		if err := element(i); err != nil {
			return under(err, fmt.Sprint(i))
		}
		if d.byte(']') {
			return nil
		}
		if !d.byte(',') {
			return d.syntax("a comma or the end of the array")
		}
	}
}

// members reads an object, and calls the function for each member.
func (d *decoder) members(member func(string) error) error {
	if isEmpty, err := d.beginObject(); isEmpty || err != nil {
		return err
	}
	defer func() { d.depth-- }()
	for {
		name, err := d.memberName()
		if err != nil {
			return err
		}
		if err := member(name); err != nil {
			return under(err, name)
		}
		if isEnd, err := d.endOfMember(); isEnd || err != nil {
			return err
		}
	}
}

// beginObject reads the beginning of an object, or all of an empty one.
func (d *decoder) beginObject() (isEmpty bool, err error) {
	if !d.byte('{') {
		return false, d.expected("an object")
	}
	if d.byte('}') {
		return true, nil
	}
	return false, d.deeper()
}

func (d *decoder) memberName() (string, error) {
	if d.peek() != '"' {
		return "", d.syntax("the name of a member")
	}
	name, err := d.text()
	if err != nil {
		return "", err
	}
	if !d.byte(':') {
		return "", d.syntax("a colon")
	}
	return name, nil
}

func (d *decoder) endOfMember() (isEnd bool, err error) {
	switch {
	case d.byte('}'):
		return true, nil
	case d.byte(','):
		return false, nil
	}
	return false, d.syntax("a comma or the end of the object")
}
