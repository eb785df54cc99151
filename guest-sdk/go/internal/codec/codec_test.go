package codec

import (
	"encoding/json"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"
)

type item struct {
	SKU   string  `json:"sku"`
	Price float64 `json:"price"`
}

type meta struct {
	Tenant string `json:"tenant,omitempty"`
}

type status string

func (status) Values() []status { return []status{"open", "closed"} }

type order struct {
	meta
	ID       string            `json:"id" sagabox:"key,subject"`
	Count    int64             `json:"count"`
	Big      big.Int           `json:"big"`
	Items    []item            `json:"items"`
	Rates    map[string]uint16 `json:"rates,omitempty"`
	Note     *string           `json:"note,omitempty"`
	At       time.Time         `json:"at,omitzero"`
	Status   status            `json:"status,omitempty"`
	Raw      JSON              `json:"raw,omitempty"`
	Any      any               `json:"any,omitempty"`
	Bytes    []byte            `json:"bytes,omitempty"`
	Quoted   int64             `json:"quoted,string,omitempty"`
	Next     *order            `json:"next,omitempty"`
	Hidden   string            `json:"-"`
	internal string
}

const whole = `{"tenant":"t","id":"<ö&>\n\u0001","count":9007199254740993,"big":123456789012345678901234567890,` +
	`"items":[{"sku":"a","price":0.1},{"sku":"b","price":1e-9}],"rates":{"a":1,"b":65535},"note":"",` +
	`"at":"2026-03-01T11:00:00.25Z","status":"open","raw":[1e400, 10.00],"any":{"a":[10.00,true,null]},` +
	`"bytes":"AAH/","quoted":"-7","next":{"id":"n","count":0,"big":0,"items":[]}}`

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var value T
	if err := Decode([]byte(text), &value, Options{}); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestWhatIsReadIsWrittenAsItWas(t *testing.T) {
	written, err := Encode(decode[order](t, whole))
	if err != nil || string(written) != whole {
		t.Errorf("%v\n%s\n%s", err, written, whole)
	}
}

func TestWhatIsWrittenIsWhatEncodingJSONReads(t *testing.T) {
	value := decode[order](t, whole)
	written, _ := Encode(value)
	var other order
	if err := json.Unmarshal([]byte(strings.Replace(string(written), "1e400", "1e40", 1)), &other); err != nil {
		t.Fatal(err)
	}
	if other.ID != value.ID || other.Count != value.Count || other.Items[1] != value.Items[1] || !other.At.Equal(value.At) {
		t.Errorf("%+v", other)
	}
}

func TestNilListsAndMapsAreWrittenEmpty(t *testing.T) {
	written, err := Encode(struct {
		List []int          `json:"list"`
		Map  map[string]int `json:"map"`
		Pair [2]bool        `json:"pair"`
	}{})
	if string(written) != `{"list":[],"map":{},"pair":[false,false]}` || err != nil {
		t.Errorf("%s %v", written, err)
	}
}

func TestATimeIsWrittenInUTC(t *testing.T) {
	type at struct {
		At time.Time `json:"at"`
	}
	written, _ := Encode(decode[at](t, `{"at":"2026-01-01T00:30:00.500+01:00"}`))
	if string(written) != `{"at":"2025-12-31T23:30:00.5Z"}` {
		t.Errorf("%s", written)
	}
}

func TestErrorsOfReadingNameTheField(t *testing.T) {
	minimal := func(more string) string { return `{"id":"a","count":1,"big":1,"items":[]` + more + `}` }
	for text, expected := range map[string]string{
		`{"count":1,"big":1,"items":[]}`:                                   "the field `id` is missing",
		`{"ID":"a","count":1,"big":1,"items":[]}`:                          "the field `id` is missing",
		`{"id":null,"count":1,"big":1,"items":[]}`:                         "the field `id` is null; expected a string",
		`{"id":"a","count":"1","big":1,"items":[]}`:                        "the field `count` is a string; expected a number",
		`{"id":"a","count":1.0,"big":1,"items":[]}`:                        "the field `count` is 1.0, which is no int64",
		`{"id":"a","count":9223372036854775808,"big":1,"items":[]}`:        "the field `count` is 9223372036854775808",
		`{"id":"a","count":1,"big":1,"items":[{"sku":"x"}]}`:               "the field `items.0.price` is missing",
		`{"id":"a","count":1,"big":1,"items":[{"sku":"x","price":1e999}]}`: "the field `items.0.price` is 1e999, which is out of the range",
		`{"id":"a","count":1,"big":1,"items":{}}`:                          "the field `items` is an object; expected an array",
		`{"id":"a","id":"b","count":1,"big":1,"items":[]}`:                 "the field `id` is there twice",
		minimal(`,"rates":{"a":-1}`):                                       "the field `rates.a` is -1, which is no uint16",
		minimal(`,"rates":{"a":1,"a":2}`):                                  "the field `rates.a` is there twice",
		minimal(`,"status":"gone"`):                                        "the field `status` is \"gone\"; expected one of open, closed",
		minimal(`,"at":"yesterday"`):                                       "the field `at` does not fit",
		minimal(`,"tenant":"cut \ud83d"`):                                  "the field `tenant` has half of a surrogate pair",
		minimal(",\"tenant\":\"\xff\""):                                    "the field `tenant` is not valid UTF-8",
		minimal(`,"tenant":"a` + "\n" + `"`):                               "is no JSON",
		minimal(`,"other":[1,2,{"x":tru}]`):                                "is no JSON",
		minimal(``) + ` x`:                                                 "is no JSON: byte 40 is 'x' where the end is expected",
		`{"id":"a",`:                                                       "is no JSON: it ends where",
		``:                                                                 "is no JSON: it ends where",
		`[]`:                                                               "is an array; expected an object",
		minimal(`,"quoted":7`):                                             "the field `quoted` is a number; expected a string",
		minimal(`,"raw":01`):                                               "the field `raw` is no JSON",
	} {
		var value order
		err := Decode([]byte(text), &value, Options{})
		if err == nil || !strings.Contains(err.Error(), expected) {
			t.Errorf("%s\n  %v\n  expected %s", text, err, expected)
		}
	}
}

func TestDeepNestingIsAnErrorAndNoCrash(t *testing.T) {
	deep := strings.Repeat("[", 100_000)
	var value any
	if err := Decode([]byte(deep), &value, Options{}); err == nil || !strings.Contains(err.Error(), "10000") {
		t.Errorf("%.200v", err)
	}
	shallow := strings.Repeat("[", 500) + strings.Repeat("]", 500)
	if written, err := Encode(decode[any](t, shallow)); err != nil || string(written) != shallow {
		t.Errorf("%v", err)
	}
}

func TestSettingsAreStrictAboutNamesAlone(t *testing.T) {
	type settings struct {
		Greeting string `json:"greeting"`
		Limit    int    `json:"limit" sagabox:"required"`
	}
	read := func(text string) (settings, error) {
		value := settings{Greeting: "hello"}
		return value, Decode([]byte(text), &value, Options{RefuseUnknown: true, AllOptional: true})
	}
	if value, err := read(`{"limit":3}`); err != nil || value != (settings{"hello", 3}) {
		t.Error(value, err)
	}
	if _, err := read(`{"limit":3,"greting":"x"}`); err == nil || err.Error() != "the field `greting` is unknown; there are greeting, limit" {
		t.Error(err)
	}
	if _, err := read(`{}`); err == nil || err.Error() != "the field `limit` is missing" {
		t.Error(err)
	}
}

func TestErrorsOfWritingNameTheField(t *testing.T) {
	for expected, value := range map[string]any{
		"the field `items.1.price` is NaN, and JSON has no such number": order{Items: []item{{}, {Price: math.NaN()}}},
		"the field `any.rate` is +Inf":                                  order{Any: map[string]any{"rate": math.Inf(1)}},
		"the field `tenant` is not valid UTF-8":                         order{meta: meta{Tenant: "\xff"}},
		"the field `status` is \"gone\"":                                order{Status: "gone"},
		"the field `raw` is written as invalid JSON":                    order{Raw: JSON("{")},
		"the field `any` cannot be written: chan int has no form":       order{Any: make(chan int)},
		"the field `at` is in the year 10000":                           order{At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"is the text \"1_0\", which is no number":                       Number("1_0"),
	} {
		if _, err := Encode(value); err == nil || !strings.Contains(err.Error(), expected) {
			t.Errorf("%v\n  expected %s", err, expected)
		}
	}
}

func TestTypesWithoutAFormInJSONAreFoundBeforeTheyAreUsed(t *testing.T) {
	for expected, value := range map[string]any{
		"the field F of struct { F func() }: func() has no form in JSON": struct{ F func() }{},
		"is an interface with methods":                                   struct{ R interface{ Read() } }{},
		"a map with keys of the type bool":                               map[bool]int{},
	} {
		if err := Check(reflect.TypeOf(value)); err == nil || !strings.Contains(err.Error(), expected) {
			t.Errorf("%v\n  expected %s", err, expected)
		}
	}
}

func TestTwoFieldsOfOneNameAreAMistake(t *testing.T) {
	field := func(name string) reflect.StructField {
		return reflect.StructField{Name: name, Type: reflect.TypeFor[int](), Tag: `json:"a"`}
	}
	err := Check(reflect.StructOf([]reflect.StructField{field("A"), field("B")}))
	if err == nil || !strings.Contains(err.Error(), "two fields with the name `a`") {
		t.Error(err)
	}
}

func TestTheOuterFieldHidesTheInnerOne(t *testing.T) {
	type outer struct {
		meta
		Tenant string `json:"tenant"`
	}
	if names := Names(reflect.TypeFor[outer]()); !reflect.DeepEqual(names, []string{"tenant"}) {
		t.Error(names)
	}
	if value := decode[outer](t, `{"tenant":"x"}`); value.Tenant != "x" || value.meta.Tenant != "" {
		t.Error(value)
	}
}

func TestATypeCanBringItsOwnForm(t *testing.T) {
	type pair struct {
		Number json.Number            `json:"number"`
		Raw    json.RawMessage        `json:"raw"`
		Keys   map[time.Weekday]int   `json:"keys"`
		Texts  map[textual]*big.Float `json:"texts"`
	}
	text := `{"number":10.00,"raw":{"b": 1},"keys":{"3":4},"texts":{"<a>":"1.5"}}`
	written, err := Encode(decode[pair](t, text))
	if err != nil || string(written) != text {
		t.Errorf("%s %v", written, err)
	}
}

type textual struct{ text string }

func (t textual) MarshalText() ([]byte, error) { return []byte("<" + t.text + ">"), nil }

func (t *textual) UnmarshalText(text []byte) error {
	t.text = strings.Trim(string(text), "<>")
	return nil
}

func TestAPointerLeadsToAValue(t *testing.T) {
	data := []byte(`{"a":{"b/c":[1,"two",{"d~":true}]},"a2":1}`)
	for pointer, expected := range map[string]string{
		"/a2": "1", "/a/b~1c/1": `"two"`, "/a/b~1c/2/d~0": "true", "": string(data), "/a/x": "", "/a2/x": "", "/a/b~1c/3": "",
	} {
		if found, _ := Pointer(data, pointer); string(found) != expected {
			t.Errorf("%s: %s", pointer, found)
		}
	}
}

// The fuzzer looks for texts that this package and encoding/json understand differently.
func FuzzAny(f *testing.F) {
	for _, seed := range []string{whole, `[1.5e+3,-0,"\ud83d\ude00\/\b"]`, `{"a":{}}`, `"`, `[1,]`, "01", "1.", "-", "\"\x7f\""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var own any
		err := Decode([]byte(text), &own, Options{})
		if err == nil && !json.Valid([]byte(text)) {
			t.Fatalf("accepted: %q", text)
		}
		if err != nil {
			return
		}
		written, err := Encode(own)
		if err != nil {
			t.Fatal(err)
		}
		var again any
		if err := Decode(written, &again, Options{}); err != nil || !reflect.DeepEqual(own, again) {
			t.Fatalf("%s %v", written, err)
		}
	})
}
