package sagabox

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/codec"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// StateVersion declares the version of the state's shape, and how states of other versions are
// converted: from older versions to this one, and back for a rollback. A new member that is a
// pointer or has `omitempty` or `omitzero` needs no new version; a member that is renamed or
// removed does. The function returns a value that is written as JSON.
func (p *Plugin) StateVersion(version uint32, migrate func(from, to uint32, state JSON) (any, error)) *Plugin {
	if p.state == nil {
		p.problem("a %s has no state; StateVersion is for process managers", p.role)
		return p
	}
	p.stateVersion, p.migrate = version, migrate
	return p
}

// Migrate converts a state, or says whether this version can read it.
func (s served) Migrate(state wit.State, to uint32) (migrated []byte, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			migrated, err = nil, panickedError(panicked)
		}
	}()
	p := s.plugin
	if state.Version == p.stateVersion && to == p.stateVersion {
		return p.readAgain(state.Data)
	}
	if p.migrate == nil {
		return nil, fmt.Errorf("the plugin has no migration from version %d to %d", state.Version, to)
	}
	value, err := p.migrate(state.Version, to, state.Data)
	if err != nil {
		reason, _ := reasonOf(err, migration(p.migrate))
		return nil, fmt.Errorf("%s", reason)
	}
	return codec.Encode(value)
}

func migration(function any) *handler {
	name, place := nameAndPlace(reflect.ValueOf(function))
	return &handler{name: name, place: place}
}

// readAgain reads a state of this version, and writes it again. It fails if the state does not
// fit, and also if something in it does not come back: then a member was renamed or removed and
// the number of the version was not raised, and the plugin would go on without what it had noted.
func (p *Plugin) readAgain(data []byte) ([]byte, error) {
	v := reflect.New(p.state).Elem()
	if err := codec.DecodeValue(data, v, codec.Options{}); err != nil {
		return nil, fmt.Errorf("the stored state does not fit: %w", err)
	}
	written, err := codec.EncodeValue(v)
	if err != nil {
		return nil, fmt.Errorf("the stored state cannot be written: %w", err)
	}
	var before, after any
	// A member of the type JSON holds what `any` cannot; then members are not compared.
	if codec.Decode(data, &before, codec.Options{}) != nil || codec.Decode(written, &after, codec.Options{}) != nil {
		return written, nil
	}
	if place := dropped(before, after); place != "" {
		return nil, fmt.Errorf("the stored state has `%s`, and this version of the plugin drops it", place)
	}
	return written, nil
}

// dropped returns the path of a member that is in `before` and not in `after`. One that says
// nothing (null, nothing in it, false, zero) may be left out.
func dropped(before, after any) string {
	switch before := before.(type) {
	case map[string]any:
		after, isObject := after.(map[string]any)
		if !isObject {
			return ""
		}
		for _, name := range sortedKeys(before) {
			value, isThere := after[name]
			switch {
			case !isThere && saysNothing(before[name]):
			case !isThere:
				return name
			default:
				if place := dropped(before[name], value); place != "" {
					return name + "." + place
				}
			}
		}
	case []any:
		after, isList := after.([]any)
		if !isList {
			return ""
		}
		return droppedOfList(before, after)
	}
	return ""
}

// droppedOfList knows that a set may come back in another order.
func droppedOfList(before, after []any) string {
	for i, value := range before {
		if i >= len(after) {
			return ""
		}
		place := dropped(value, after[i])
		if place == "" {
			continue
		}
		isElsewhere := false
		for _, other := range after {
			isElsewhere = isElsewhere || isAlike(value, other) && dropped(value, other) == ""
		}
		if !isElsewhere {
			return fmt.Sprintf("%d.%s", i, place)
		}
	}
	return ""
}

func isAlike(one, other any) bool { return reflect.TypeOf(one) == reflect.TypeOf(other) }

func saysNothing(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case bool:
		return !value
	case string:
		return value == ""
	case Number:
		number, err := value.Float64()
		return err == nil && number == 0
	case []any:
		return len(value) == 0
	case map[string]any:
		return len(value) == 0
	}
	return false
}

func sortedKeys(members map[string]any) []string {
	return slices.Sorted(maps.Keys(members))
}

func panickedError(panicked any) error { return errors.New(guest.Panicked(panicked)) }
