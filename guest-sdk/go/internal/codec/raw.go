package codec

import (
	"reflect"
	"strconv"
)

// JSON is a value that is passed on byte for byte.
type JSON []byte

// MarshalJSON returns the value as it is; null if there is none.
func (j JSON) MarshalJSON() ([]byte, error) {
	if len(j) == 0 {
		return []byte("null"), nil
	}
	return j, nil
}

// UnmarshalJSON keeps the value as it is.
func (j *JSON) UnmarshalJSON(data []byte) error {
	*j = append((*j)[:0], data...)
	return nil
}

// Decode reads the value into what the target points to.
func (j JSON) Decode(target any) error { return Decode(j, target, Options{}) }

// String returns the value as text.
func (j JSON) String() string { return string(j) }

// Number is a number with the digits that it was written with.
type Number string

// String returns the digits.
func (n Number) String() string { return string(n) }

// Int64 returns the number as an integer.
func (n Number) Int64() (int64, error) { return strconv.ParseInt(string(n), 10, 64) }

// Float64 returns the number as a float.
func (n Number) Float64() (float64, error) { return strconv.ParseFloat(string(n), 64) }

var numberType = reflect.TypeFor[Number]()

// isNumberType recognises the type Number of encoding/json, too.
func isNumberType(t reflect.Type) bool {
	return t == numberType || t.Name() == "Number" && t.PkgPath() == "encoding/json"
}
