package codec

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

func schemaOf(t *testing.T, value any, direction Direction) map[string]any {
	t.Helper()
	defaults := reflect.Value{}
	if direction == Settings {
		defaults = reflect.ValueOf(value)
	}
	text, err := Schema(reflect.TypeOf(value), direction, defaults)
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal([]byte(text), &schema); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return schema
}

func same(t *testing.T, found any, expected string) {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(expected), &value); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(found, value) {
		text, _ := json.Marshal(found)
		t.Errorf("found    %s\nexpected %s", text, expected)
	}
}

func TestAMemberIsRequiredByWhatIsReadAndByWhatIsWritten(t *testing.T) {
	type event struct {
		ID   string  `json:"id"`
		Note *string `json:"note"`
		Tag  string  `json:"tag,omitempty"`
	}
	same(t, schemaOf(t, event{}, Read)["required"], `["id"]`)
	same(t, schemaOf(t, event{}, Written)["required"], `["id","note"]`)
	same(t, schemaOf(t, event{}, Read)["properties"].(map[string]any)["note"], `{"anyOf":[{"type":"string"},{"type":"null"}]}`)
}

func TestEachKindHasItsSchema(t *testing.T) {
	properties := schemaOf(t, struct {
		order
		Level   int8          `json:"level"`
		Wait    time.Duration `json:"wait"`
		Pair    [2]float32    `json:"pair"`
		Comment string        `json:"comment" description:"for people"`
	}{}, Read)["properties"].(map[string]any)
	for name, expected := range map[string]string{
		"count":   `{"type":"integer"}`,
		"big":     `{"type":"integer"}`,
		"items":   `{"type":"array","items":{"$ref":"#/$defs/item"}}`,
		"rates":   `{"type":"object","additionalProperties":{"type":"integer","minimum":0,"maximum":65535}}`,
		"at":      `{"type":"string","format":"date-time"}`,
		"status":  `{"type":"string","enum":["open","closed"]}`,
		"raw":     `{}`,
		"any":     `{}`,
		"bytes":   `{"type":"string","contentEncoding":"base64"}`,
		"quoted":  `{"type":"string"}`,
		"level":   `{"type":"integer","minimum":-128,"maximum":127}`,
		"wait":    `{"type":"integer","description":"nanoseconds"}`,
		"pair":    `{"type":"array","items":{"type":"number"},"minItems":2,"maxItems":2}`,
		"comment": `{"type":"string","description":"for people"}`,
	} {
		same(t, properties[name], expected)
	}
}

func TestATypeThatContainsItselfIsDescribedByAReference(t *testing.T) {
	properties := schemaOf(t, order{}, Written)["properties"].(map[string]any)
	same(t, properties["next"], `{"anyOf":[{"$ref":"#"},{"type":"null"}]}`)
}

func TestSettingsHaveDefaultsAndNoOtherMembers(t *testing.T) {
	type settings struct {
		Greeting string `json:"greeting"`
		Limit    *int   `json:"limit,omitempty"`
		Name     string `json:"name" sagabox:"required"`
	}
	same(t, schemaOf(t, settings{Greeting: "hello"}, Settings), `{"type":"object","properties":{`+
		`"greeting":{"type":"string","default":"hello"},`+
		`"limit":{"anyOf":[{"type":"integer"},{"type":"null"}]},`+
		`"name":{"type":"string"}},"required":["name"],"additionalProperties":false}`)
}
