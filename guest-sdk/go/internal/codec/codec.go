// Package codec reads and writes JSON as Sagabox needs it: by the tags of encoding/json, but
// exactly. Compared with encoding/json,
//
//   - a member that is missing is an error, unless its field is a pointer or has `omitempty` or
//     `omitzero`, and so is one that is there twice;
//   - names are compared exactly, and texts must be valid Unicode;
//   - a nil slice is written as [], and a nil map as {};
//   - a number in an `any` is a [Number], so that no digit is lost;
//   - `<`, `>` and `&` are written as they are;
//   - an error names the field, also for NaN and infinities.
//
// The same description of a type also makes its JSON Schema.
package codec

import (
	"encoding"
	"fmt"
	"reflect"
	"sync"
)

// The methods of encoding/json, without that package: it would make every plugin 1 MB larger.
type (
	jsonMarshaler   interface{ MarshalJSON() ([]byte, error) }
	jsonUnmarshaler interface{ UnmarshalJSON([]byte) error }
)

type (
	encodeFunc func(e *encoder, v reflect.Value) error
	decodeFunc func(d *decoder, v reflect.Value) error
)

// codec is how a type is read and written.
type codec struct {
	encode encodeFunc
	decode decodeFunc
	// fields is nil if the type is no struct.
	fields []field
}

var (
	codecs sync.Map // reflect.Type -> *codec

	marshaler       = reflect.TypeFor[jsonMarshaler]()
	unmarshaler     = reflect.TypeFor[jsonUnmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// Check says whether values of the type can be read and written.
func Check(t reflect.Type) error {
	_, err := codecOf(t)
	return err
}

func codecOf(t reflect.Type) (*codec, error) {
	if known, isKnown := codecs.Load(t); isKnown {
		return known.(*codec), nil
	}
	building := map[reflect.Type]*codec{}
	c, err := build(t, building)
	if err != nil {
		return nil, err
	}
	for t, c := range building {
		codecs.Store(t, c)
	}
	return c, nil
}

// build makes the codec of a type. A type that contains itself finds in `building` what will be
// its codec.
func build(t reflect.Type, building map[reflect.Type]*codec) (*codec, error) {
	if known, isKnown := codecs.Load(t); isKnown {
		return known.(*codec), nil
	}
	if c, isBuilding := building[t]; isBuilding {
		return c, nil
	}
	c := &codec{}
	building[t] = c
	if err := fill(c, t, building); err != nil {
		return nil, err
	}
	withMethods(c, t)
	return c, nil
}

func fill(c *codec, t reflect.Type, building map[reflect.Type]*codec) error {
	// What a type with both methods is made of does not matter.
	if isWhole(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.Bool:
		c.encode, c.decode = encodeBool, decodeBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		c.encode, c.decode = encodeInt, decodeInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		c.encode, c.decode = encodeUint, decodeUint
	case reflect.Float32, reflect.Float64:
		c.encode, c.decode = encodeFloat, decodeFloat
	case reflect.String:
		c.encode, c.decode = encodeText, decodeText
		if values := valuesOf(t); len(values) > 0 {
			withValues(c, values)
		}
		if isNumberType(t) {
			c.encode, c.decode = encodeNumber, decodeNumber
		}
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return fmt.Errorf("%s is an interface with methods, which cannot be read from JSON; use any, or a struct", t)
		}
		c.encode, c.decode = encodeAny, decodeAny
	case reflect.Pointer:
		return fillPointer(c, t, building)
	case reflect.Slice, reflect.Array:
		return fillList(c, t, building)
	case reflect.Map:
		return fillMap(c, t, building)
	case reflect.Struct:
		return fillStruct(c, t, building)
	default:
		return fmt.Errorf("%s has no form in JSON", t)
	}
	return nil
}

func isWhole(t reflect.Type) bool {
	pointer := reflect.PointerTo(t)
	writes := t.Implements(marshaler) || pointer.Implements(marshaler) ||
		t.Implements(textMarshaler) || pointer.Implements(textMarshaler)
	reads := pointer.Implements(unmarshaler) || pointer.Implements(textUnmarshaler)
	return t.Kind() != reflect.Pointer && writes && reads
}

func fillPointer(c *codec, t reflect.Type, building map[reflect.Type]*codec) error {
	element, err := build(t.Elem(), building)
	if err != nil {
		return err
	}
	c.encode = func(e *encoder, v reflect.Value) error {
		if v.IsNil() {
			e.raw("null")
			return nil
		}
		return element.encode(e, v.Elem())
	}
	c.decode = func(d *decoder, v reflect.Value) error {
		if d.null() {
			v.SetZero()
			return nil
		}
		if v.IsNil() {
			v.Set(reflect.New(t.Elem()))
		}
		return element.decode(d, v.Elem())
	}
	return nil
}

func fillList(c *codec, t reflect.Type, building map[reflect.Type]*codec) error {
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !reflect.PointerTo(t.Elem()).Implements(unmarshaler) {
		c.encode, c.decode = encodeBytes, decodeBytes
		return nil
	}
	element, err := build(t.Elem(), building)
	if err != nil {
		return err
	}
	c.encode = func(e *encoder, v reflect.Value) error {
		e.raw("[")
		for i := range v.Len() {
			if i > 0 {
				e.raw(",")
			}
			if err := element.encode(e, v.Index(i)); err != nil {
				return under(err, fmt.Sprint(i))
			}
		}
		e.raw("]")
		return nil
	}
	c.decode = func(d *decoder, v reflect.Value) error { return decodeList(d, v, element) }
	return nil
}

func fillMap(c *codec, t reflect.Type, building map[reflect.Type]*codec) error {
	key, err := keyOf(t.Key())
	if err != nil {
		return err
	}
	element, err := build(t.Elem(), building)
	if err != nil {
		return err
	}
	c.encode = func(e *encoder, v reflect.Value) error { return encodeMap(e, v, key, element) }
	c.decode = func(d *decoder, v reflect.Value) error { return decodeMap(d, v, key, element) }
	return nil
}

func fillStruct(c *codec, t reflect.Type, building map[reflect.Type]*codec) error {
	fields, err := fieldsOf(t, building)
	if err != nil {
		return err
	}
	c.fields = fields
	c.encode = func(e *encoder, v reflect.Value) error { return encodeStruct(e, v, fields) }
	c.decode = func(d *decoder, v reflect.Value) error { return decodeStruct(d, v, fields) }
	return nil
}

// withMethods lets the methods of a type read and write it.
func withMethods(c *codec, t reflect.Type) {
	if t.Kind() == reflect.Pointer {
		return
	}
	pointer := reflect.PointerTo(t)
	isKey := t.Kind() == reflect.Interface
	switch {
	case isKey, isNumberType(t):
	case t == timeType:
		c.encode = encodeTime
	case pointer.Implements(marshaler):
		c.encode = encodeMarshaler
	case pointer.Implements(textMarshaler):
		c.encode = encodeTextMarshaler
	}
	switch {
	case isKey, isNumberType(t):
	case pointer.Implements(unmarshaler):
		c.decode = decodeUnmarshaler
	case pointer.Implements(textUnmarshaler):
		c.decode = decodeTextUnmarshaler
	}
}

// Error says what is wrong, and in which field.
type Error struct {
	Path   string
	Reason string
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return "the field `" + e.Path + "` " + e.Reason
}

func wrong(format string, values ...any) error {
	return &Error{Reason: fmt.Sprintf(format, values...)}
}

// under adds the name of the field that contains the value.
func under(err error, name string) error {
	known, isKnown := err.(*Error)
	if !isKnown {
		return &Error{Path: name, Reason: "cannot be written: " + err.Error()}
	}
	if known.Path != "" {
		name += "." + known.Path
	}
	return &Error{Path: name, Reason: known.Reason}
}
