package codec

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// field is a member of a struct's JSON.
type field struct {
	name string
	// quoted is the name as JSON, and the colon.
	quoted string
	index  []int
	t      reflect.Type
	codec  *codec
	// omitEmpty and omitZero say when the member is left out.
	omitEmpty, omitZero bool
	// isOptional says that the member may be missing.
	isOptional bool
	// isDemanded says that the member may not be missing although all others may.
	isDemanded  bool
	isString    bool
	description string
}

// fieldsOf returns the members in the order of the declaration. The fields of an embedded struct
// are members of the struct around it; an outer field hides an inner one of the same name.
func fieldsOf(t reflect.Type, building map[reflect.Type]*codec) ([]field, error) {
	all, err := collect(t, nil, building, map[reflect.Type]bool{})
	if err != nil {
		return nil, err
	}
	var fields []field
	for _, one := range all {
		isHidden := false
		for _, other := range all {
			isHidden = isHidden || other.name == one.name && len(other.index) < len(one.index)
		}
		if !isHidden {
			fields = append(fields, one)
		}
	}
	for i, one := range fields {
		for _, other := range fields[:i] {
			if one.name == other.name {
				return nil, fmt.Errorf("%s has two fields with the name `%s`", t, one.name)
			}
		}
	}
	return fields, nil
}

func collect(t reflect.Type, above []int, building map[reflect.Type]*codec, within map[reflect.Type]bool) ([]field, error) {
	if within[t] {
		return nil, fmt.Errorf("%s is embedded in itself", t)
	}
	within[t] = true
	defer delete(within, t)
	var fields []field
	for i := range t.NumField() {
		declared := t.Field(i)
		tag := declared.Tag.Get("json")
		if tag == "-" || !declared.IsExported() && !declared.Anonymous {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		index := append(append([]int(nil), above...), i)
		if declared.Anonymous && name == "" {
			embedded := declared.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			if embedded.Kind() == reflect.Struct && !isWhole(embedded) {
				inner, err := collect(embedded, index, building, within)
				if err != nil {
					return nil, err
				}
				fields = append(fields, inner...)
				continue
			}
		}
		if !declared.IsExported() {
			continue
		}
		one, err := fieldOf(declared, name, options, building)
		if err != nil {
			return nil, fmt.Errorf("the field %s of %s: %w", declared.Name, t, err)
		}
		one.index = index
		fields = append(fields, one)
	}
	return fields, nil
}

func fieldOf(declared reflect.StructField, name, options string, building map[reflect.Type]*codec) (field, error) {
	if name == "" {
		name = declared.Name
	}
	own, err := build(declared.Type, building)
	if err != nil {
		return field{}, err
	}
	one := field{name: name, t: declared.Type, codec: own, description: declared.Tag.Get("description")}
	one.quoted = string(appendText(nil, name)) + ":"
	for _, option := range strings.Split(options, ",") {
		switch option {
		case "omitempty":
			one.omitEmpty = true
		case "omitzero":
			one.omitZero = true
		case "string":
			one.isString = isNumber(declared.Type)
		}
	}
	kind := declared.Type.Kind()
	one.isOptional = one.omitEmpty || one.omitZero || kind == reflect.Pointer || kind == reflect.Interface
	for _, option := range strings.Split(declared.Tag.Get("sagabox"), ",") {
		one.isDemanded = one.isDemanded || option == "required"
	}
	return one, nil
}

func isNumber(t reflect.Type) bool {
	return reflect.Int <= t.Kind() && t.Kind() <= reflect.Float64
}

// leavesOut says whether the member is not written.
func (f *field) leavesOut(v reflect.Value) bool {
	if f.omitZero {
		if zero, isKnown := v.Interface().(interface{ IsZero() bool }); isKnown {
			if v.Kind() != reflect.Pointer || !v.IsNil() {
				return zero.IsZero()
			}
		}
		if v.IsZero() {
			return true
		}
	}
	if !f.omitEmpty {
		return false
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.String, reflect.Array:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}

// Field returns a field of a struct by the value of a tag `sagabox:"…"` on it: its index, and its
// name in JSON.
func Field(t reflect.Type, mark string) (index []int, name string, isFound bool) {
	c, err := codecOf(t)
	if err != nil {
		return nil, "", false
	}
	for _, one := range c.fields {
		declared := t.FieldByIndex(one.index)
		for _, option := range strings.Split(declared.Tag.Get("sagabox"), ",") {
			if option == mark {
				return one.index, one.name, true
			}
		}
	}
	return nil, "", false
}

// Names returns the names of the members.
func Names(t reflect.Type) []string {
	var names []string
	if c, err := codecOf(t); err == nil {
		for _, one := range c.fields {
			names = append(names, one.name)
		}
	}
	return names
}

// key is how the keys of a map are read and written.
type key struct {
	write func(reflect.Value) (string, error)
	read  func(string, reflect.Value) error
}

func keyOf(t reflect.Type) (key, error) {
	kind := t.Kind()
	switch {
	case reflect.PointerTo(t).Implements(textUnmarshaler) && t.Implements(textMarshaler):
		return textKey(), nil
	case kind == reflect.String:
		return key{
			write: func(v reflect.Value) (string, error) { return v.String(), nil },
			read:  func(text string, v reflect.Value) error { v.SetString(text); return nil },
		}, nil
	case reflect.Int <= kind && kind <= reflect.Int64:
		return key{
			write: func(v reflect.Value) (string, error) { return strconv.FormatInt(v.Int(), 10), nil },
			read: func(text string, v reflect.Value) error {
				number, err := strconv.ParseInt(text, 10, t.Bits())
				v.SetInt(number)
				return err
			},
		}, nil
	case reflect.Uint <= kind && kind <= reflect.Uint64:
		return key{
			write: func(v reflect.Value) (string, error) { return strconv.FormatUint(v.Uint(), 10), nil },
			read: func(text string, v reflect.Value) error {
				number, err := strconv.ParseUint(text, 10, t.Bits())
				v.SetUint(number)
				return err
			},
		}, nil
	}
	return key{}, fmt.Errorf("a map with keys of the type %s has no form in JSON", t)
}
