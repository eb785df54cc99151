package codec

import (
	"math"
	"reflect"
	"strconv"
	"time"
)

// Direction says from which side a type is described.
type Direction int

const (
	// Read describes what the plugin accepts.
	Read Direction = iota
	// Written describes what the plugin writes.
	Written
	// Settings describes a configuration: nothing else may be in it.
	Settings
)

// Described is a type that brings its own JSON Schema.
type Described interface {
	// JSONSchema returns the schema of what is written, or of what is read.
	JSONSchema(isWritten bool) string
}

var (
	described    = reflect.TypeFor[Described]()
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
)

// Schema returns the JSON Schema (draft 2020-12) of a type. The defaults are a value of the type
// for Settings; otherwise they are not used.
func Schema(t reflect.Type, direction Direction, defaults reflect.Value) (string, error) {
	if _, err := codecOf(t); err != nil {
		return "", err
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	s := schema{direction: direction, names: map[reflect.Type]string{}, root: t}
	text := s.of(t, defaults)
	if len(s.definitions) == 0 {
		return text, nil
	}
	definitions := `,"$defs":{`
	for i, definition := range s.definitions {
		if i > 0 {
			definitions += ","
		}
		definitions += quote(definition.name) + ":" + definition.text
	}
	return text[:len(text)-1] + definitions + "}}", nil
}

type definition struct{ name, text string }

type schema struct {
	direction   Direction
	root        reflect.Type
	names       map[reflect.Type]string
	definitions []definition
}

func quote(text string) string { return string(appendText(nil, text)) }

func (s *schema) of(t reflect.Type, defaults reflect.Value) string {
	if own, isOwn := ownSchema(t, s.direction); isOwn {
		return own
	}
	kind := t.Kind()
	switch {
	case t == timeType:
		return `{"type":"string","format":"date-time"}`
	case t == durationType:
		return `{"type":"integer","description":"nanoseconds"}`
	case isNumberType(t):
		return `{"type":"number"}`
	case kind == reflect.Pointer:
		if defaults.IsValid() && !defaults.IsNil() {
			return nullable(s.of(t.Elem(), defaults.Elem()))
		}
		return nullable(s.of(t.Elem(), reflect.Value{}))
	case isBigInteger(t):
		return `{"type":"integer"}`
	case kind == reflect.Interface:
		return `{}`
	case reflect.PointerTo(t).Implements(marshaler):
		return `{}`
	case reflect.PointerTo(t).Implements(textMarshaler):
		return `{"type":"string"}`
	}
	return s.ofKind(t, defaults)
}

func (s *schema) ofKind(t reflect.Type, defaults reflect.Value) string {
	kind := t.Kind()
	switch {
	case kind == reflect.Bool:
		return `{"type":"boolean"}`
	case reflect.Int <= kind && kind <= reflect.Uint64:
		return integer(t)
	case kind == reflect.Float32, kind == reflect.Float64:
		return `{"type":"number"}`
	case kind == reflect.String:
		return ofText(t)
	case kind == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return `{"type":"string","contentEncoding":"base64"}`
	case kind == reflect.Slice:
		return `{"type":"array","items":` + s.of(t.Elem(), reflect.Value{}) + `}`
	case kind == reflect.Array:
		length := strconv.Itoa(t.Len())
		return `{"type":"array","items":` + s.of(t.Elem(), reflect.Value{}) +
			`,"minItems":` + length + `,"maxItems":` + length + `}`
	case kind == reflect.Map:
		return `{"type":"object","additionalProperties":` + s.of(t.Elem(), reflect.Value{}) + `}`
	}
	return s.ofStruct(t, defaults)
}

// ofStruct describes a struct within another one by a reference, because it may contain itself.
func (s *schema) ofStruct(t reflect.Type, defaults reflect.Value) string {
	if t.Name() == "" || s.direction == Settings {
		return s.members(t, defaults)
	}
	if t == s.root {
		if _, isBelow := s.names[t]; isBelow {
			return `{"$ref":"#"}`
		}
		s.names[t] = ""
		return s.members(t, defaults)
	}
	name, isKnown := s.names[t]
	if !isKnown {
		name = s.freeName(t.Name())
		s.names[t] = name
		at := len(s.definitions)
		s.definitions = append(s.definitions, definition{name: name})
		s.definitions[at].text = s.members(t, defaults)
	}
	return `{"$ref":` + quote("#/$defs/"+name) + `}`
}

// freeName returns the name of a type, with a number if a type of another package has it.
func (s *schema) freeName(name string) string {
	plain := ""
	for _, c := range name {
		if c == '[' {
			break
		}
		plain += string(c)
	}
	free := plain
	for count := 2; ; count++ {
		isTaken := false
		for _, definition := range s.definitions {
			isTaken = isTaken || definition.name == free
		}
		if !isTaken {
			return free
		}
		free = plain + strconv.Itoa(count)
	}
}

func (s *schema) members(t reflect.Type, defaults reflect.Value) string {
	c, _ := codecOf(t)
	properties, required := "", ""
	for i := range c.fields {
		field := &c.fields[i]
		value := reflect.Value{}
		if defaults.IsValid() {
			value, _ = defaults.FieldByIndexErr(field.index)
		}
		text := s.of(field.t, value)
		if field.isString {
			text = `{"type":"string"}`
		}
		text = with(text, "description", field.description)
		if s.direction == Settings && value.IsValid() && !value.IsZero() && len(Members(field.t)) == 0 {
			if data, err := Encode(value.Interface()); err == nil {
				text = withRaw(text, "default", string(data))
			}
		}
		if properties != "" {
			properties += ","
		}
		properties += field.quoted + text
		if s.isRequired(field) {
			if required != "" {
				required += ","
			}
			required += quote(field.name)
		}
	}
	text := `{"type":"object","properties":{` + properties + `}`
	if required != "" {
		text += `,"required":[` + required + `]`
	}
	if s.direction == Settings {
		text += `,"additionalProperties":false`
	}
	return text + "}"
}

func (s *schema) isRequired(field *field) bool {
	switch s.direction {
	case Settings:
		return field.isDemanded
	case Written:
		return !field.omitEmpty && !field.omitZero
	default:
		return !field.isOptional || field.isDemanded
	}
}

func with(text, name, value string) string {
	if value == "" {
		return text
	}
	return withRaw(text, name, quote(value))
}

// withRaw adds a member to a schema.
func withRaw(text, name, value string) string {
	if text == "{}" {
		return `{` + quote(name) + `:` + value + `}`
	}
	return text[:len(text)-1] + `,` + quote(name) + `:` + value + `}`
}

func nullable(text string) string {
	if text == "{}" {
		return text
	}
	return `{"anyOf":[` + text + `,{"type":"null"}]}`
}

// integer describes an integer by its range, but for the ends of 64 bits, which many readers of
// schemas cannot hold.
func integer(t reflect.Type) string {
	bits := t.Bits()
	isUnsigned := t.Kind() >= reflect.Uint
	switch {
	case isUnsigned && bits < 64:
		return `{"type":"integer","minimum":0,"maximum":` + strconv.FormatUint(math.MaxUint64>>(64-bits), 10) + `}`
	case isUnsigned:
		return `{"type":"integer","minimum":0}`
	case t.Kind() != reflect.Int && bits < 64:
		highest := int64(1)<<(bits-1) - 1
		return `{"type":"integer","minimum":` + strconv.FormatInt(-highest-1, 10) + `,"maximum":` + strconv.FormatInt(highest, 10) + `}`
	}
	return `{"type":"integer"}`
}

// ofText describes a string. A type with a method `Values() []T` is an enumeration.
func ofText(t reflect.Type) string {
	values := valuesOf(t)
	if len(values) == 0 {
		return `{"type":"string"}`
	}
	text := ""
	for i, value := range values {
		if i > 0 {
			text += ","
		}
		text += quote(value)
	}
	return `{"type":"string","enum":[` + text + `]}`
}

// ownSchema returns the schema that a type brings.
func ownSchema(t reflect.Type, direction Direction) (string, bool) {
	if t.Kind() == reflect.Pointer || !reflect.PointerTo(t).Implements(described) {
		return "", false
	}
	return reflect.New(t).Interface().(Described).JSONSchema(direction == Written), true
}

// isBigInteger recognises math/big.Int without making every plugin contain it.
func isBigInteger(t reflect.Type) bool { return t.PkgPath() == "math/big" && t.Name() == "Int" }

// Members returns the members of a struct, and nothing for other types.
func Members(t reflect.Type) []Member {
	var members []Member
	if c, err := codecOf(t); err == nil {
		for _, field := range c.fields {
			members = append(members, Member{field.name, isScalar(field.t)})
		}
	}
	return members
}

// Member is a member of a struct's JSON.
type Member struct {
	Name string
	// IsScalar says that it is a string, a number or a boolean.
	IsScalar bool
}

func isScalar(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if text, isOwn := ownSchema(t, Written); isOwn {
		var own struct {
			Type string `json:"type,omitempty"`
		}
		err := Decode([]byte(text), &own, Options{})
		return err == nil && own.Type != "" && own.Type != "object" && own.Type != "array"
	}
	switch {
	case t == timeType, isNumberType(t), isBigInteger(t):
		return true
	case reflect.PointerTo(t).Implements(marshaler):
		return false
	case reflect.PointerTo(t).Implements(textMarshaler):
		return true
	}
	kind := t.Kind()
	return kind == reflect.Bool || kind == reflect.String || reflect.Int <= kind && kind <= reflect.Float64 && kind != reflect.Uintptr
}
