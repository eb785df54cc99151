package codec

import (
	"reflect"
	"strings"
)

// valuesOf returns the values of an enumeration: a type of string with a method
// `Values() []T` that returns all of them.
func valuesOf(t reflect.Type) []string {
	method, isThere := t.MethodByName("Values")
	if !isThere || method.Type.NumIn() != 1 || method.Type.NumOut() != 1 || method.Type.Out(0) != reflect.SliceOf(t) {
		return nil
	}
	list := method.Func.Call([]reflect.Value{reflect.Zero(t)})[0]
	var values []string
	for i := range list.Len() {
		values = append(values, list.Index(i).String())
	}
	return values
}

// withValues refuses a text that is no value of the enumeration.
func withValues(c *codec, values []string) {
	allowed := make(map[string]bool, len(values))
	for _, value := range values {
		allowed[value] = true
	}
	plainEncode, plainDecode := c.encode, c.decode
	c.encode = func(e *encoder, v reflect.Value) error {
		if !allowed[v.String()] {
			return notAmong(v.String(), values)
		}
		return plainEncode(e, v)
	}
	c.decode = func(d *decoder, v reflect.Value) error {
		if err := plainDecode(d, v); err != nil {
			return err
		}
		if !allowed[v.String()] {
			return notAmong(v.String(), values)
		}
		return nil
	}
}

func notAmong(value string, values []string) error {
	return wrong("is %q; expected one of %s", clip(value), strings.Join(values, ", "))
}
