package sagabox

import (
	"reflect"
	"strings"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/codec"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

const (
	// A state with more scalars than this shows the first ones; the rest would only cost space.
	fieldsMax        = 12
	summaryFieldsMax = 3
	fieldNameMax     = 64
)

// manifest is what the plugin says of itself.
func (p *Plugin) manifest() (*wit.Manifest, error) {
	manifest := &wit.Manifest{
		Name: p.name, Version: p.version, Description: p.description,
		Subscriptions: p.subscriptions, Commands: p.commands.names, Events: p.events.names,
		Lookups: p.lookups, Streams: p.streams, StateVersion: p.stateVersion,
	}
	p.describeMessages(manifest)
	if p.configuration.IsValid() {
		schema, err := codec.Schema(p.configuration.Type(), codec.Settings, p.configuration)
		if err == nil {
			manifest.ConfigurationSchema = &schema
		}
	}
	if p.state != nil {
		p.describeState(manifest)
	}
	return manifest, p.errorOf()
}

// describeMessages adds the schemas: of what is taken, as it is read; of the rest, as it is written.
func (p *Plugin) describeMessages(manifest *wit.Manifest) {
	isDescribed := map[string]bool{}
	add := func(list declared, names []string, direction codec.Direction) {
		for _, name := range names {
			t := list.types[name]
			if t == nil || isDescribed[name] {
				continue
			}
			if schema, err := codec.Schema(t, direction, reflect.Value{}); err == nil {
				isDescribed[name] = true
				manifest.Schemas = append(manifest.Schemas, wit.Pair{Name: name, Value: schema})
			}
		}
	}
	add(p.received, p.received.names, codec.Read)
	add(p.commands, p.commands.names, codec.Written)
	add(p.events, p.events.names, codec.Written)
}

func (p *Plugin) describeState(manifest *wit.Manifest) {
	manifest.Fields = p.fields
	if !p.hasFields {
		for _, member := range codec.Members(p.state) {
			if member.IsScalar && isFieldName(member.Name) && len(manifest.Fields) < fieldsMax {
				manifest.Fields = append(manifest.Fields, wit.Pair{Name: member.Name, Value: "/" + member.Name})
			}
		}
	}
	manifest.Summary = p.summary
	if p.summary == nil && len(manifest.Fields) > 0 {
		var parts []string
		for _, field := range manifest.Fields[:min(len(manifest.Fields), summaryFieldsMax)] {
			parts = append(parts, field.Name+" {"+field.Name+"}")
		}
		text := strings.Join(parts, ", ")
		manifest.Summary = &text
	}
}

func isFieldName(name string) bool {
	for i, c := range name {
		isLetter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !isLetter && (i == 0 || c < '0' || '9' < c) {
			return false
		}
	}
	return 0 < len(name) && len(name) <= fieldNameMax
}
