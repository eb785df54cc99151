package sagabox

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/codec"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// Typed is a message whose type is not the name of its Go type.
type Typed interface {
	// MessageType returns the CloudEvents type. It is called on a zero value.
	MessageType() string
}

// Message is a command or an event with more than its data. Send and Publish take it in the place
// of the data alone.
type Message struct {
	// Data is a value that is written as JSON, a [JSON], or a []byte that is passed on byte for
	// byte. With nil the message has no data.
	Data any
	// Type is the type of the message; empty for that of the data.
	Type string
	// Subject is the subject; empty for that of the data.
	Subject string
	// ContentType is the media type of the data: application/json if nothing is said, and
	// application/octet-stream for a []byte.
	ContentType string
	// Extensions are CloudEvents extension attributes.
	Extensions map[string]string
}

// JSON is a value that is passed on byte for byte, whatever is in it.
type JSON = codec.JSON

// Number is a number in an `any`, with the digits that it was written with.
type Number = codec.Number

const jsonType = "application/json"

// Event is an event as it came: its attributes, and its data byte for byte. An attribute that the
// event does not have is empty.
type Event struct {
	ID, Source, Type string
	Subject          string
	// Time is RFC 3339, as the sender wrote it.
	Time            string
	DataContentType string
	DataSchema      string
	Extensions      map[string]string
	Data            []byte
}

// Decode reads the data of an event, if the event is of the type E.
func Decode[E any](event Event) (value E, isOfType bool, err error) {
	t := reflect.TypeFor[E]()
	if event.Type != nameOf(t) {
		return value, false, nil
	}
	if err := codec.Decode(event.Data, &value, codec.Options{}); err != nil {
		return value, true, Permanent(fmt.Errorf("the data of `%s` does not fit: %w", event.Type, err))
	}
	return value, true, nil
}

func eventOf(event *wit.Event) Event {
	text := func(text *string) string {
		if text == nil {
			return ""
		}
		return *text
	}
	own := Event{
		ID: event.ID, Source: event.Source, Type: event.Type, Subject: text(event.Subject), Time: text(event.Time),
		DataContentType: event.DataContentType, DataSchema: text(event.DataSchema), Data: event.Data,
	}
	if len(event.Extensions) > 0 {
		own.Extensions = make(map[string]string, len(event.Extensions))
		for _, extension := range event.Extensions {
			own.Extensions[extension.Name] = extension.Value
		}
	}
	return own
}

// typeOf returns the type of a sample, without pointers.
func typeOf(sample any) reflect.Type {
	t := reflect.TypeOf(sample)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// known is what is known of the types of messages.
var known sync.Map // reflect.Type -> *messageType

type messageType struct {
	name string
	// subject is the index of the field with the tag `sagabox:"subject"`; nil if there is none.
	subject     []int
	subjectName string
}

func messageTypeOf(t reflect.Type) *messageType {
	if found, isKnown := known.Load(t); isKnown {
		return found.(*messageType)
	}
	m := &messageType{name: t.Name()}
	if typed, isTyped := reflect.New(t).Interface().(Typed); isTyped {
		m.name = typed.MessageType()
	}
	if index, name, isTagged := codec.Field(t, "subject"); isTagged {
		m.subject, m.subjectName = index, name
	}
	known.Store(t, m)
	return m
}

func nameOf(t reflect.Type) string { return messageTypeOf(t).name }

// outgoing makes what the host gets of a command or an event.
func outgoing(value any) (wit.Message, error) {
	message, isMessage := value.(Message)
	if !isMessage {
		if pointer, isPointer := value.(*Message); isPointer && pointer != nil {
			message, isMessage = *pointer, true
		} else {
			message = Message{Data: value}
		}
	}
	if message.Data == nil && !isMessage {
		return wit.Message{}, Permanent(fmt.Errorf("nil cannot be sent"))
	}
	out := wit.Message{Type: message.Type, DataContentType: message.ContentType}
	if err := fillData(&out, message.Data); err != nil {
		return out, Permanent(fmt.Errorf("`%s` cannot be sent: %w", out.Type, err))
	}
	if message.Subject != "" {
		out.Subject = &message.Subject
	}
	for name, value := range message.Extensions {
		out.Extensions = append(out.Extensions, wit.Extension{Name: name, Value: value})
	}
	sortExtensions(out.Extensions)
	if out.Type == "" {
		return out, Permanent(fmt.Errorf("a message without a type cannot be sent: name it in Message.Type"))
	}
	return out, nil
}

func fillData(out *wit.Message, value any) error {
	contentType := jsonType
	var err error
	switch data := value.(type) {
	case nil:
	case JSON:
		out.Data, err = codec.Encode(data)
	case []byte:
		contentType, out.Data = "application/octet-stream", append([]byte(nil), data...)
	default:
		v := reflect.ValueOf(value)
		for v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return fmt.Errorf("it is a nil %s", v.Type())
			}
			v = v.Elem()
		}
		m := messageTypeOf(v.Type())
		if out.Type == "" {
			out.Type = m.name
		}
		if out.Data, err = codec.EncodeValue(v); err == nil && m.subject != nil {
			out.Subject, err = subjectOf(v, m)
		}
	}
	if out.DataContentType == "" {
		out.DataContentType = contentType
	}
	return err
}

func subjectOf(v reflect.Value, m *messageType) (*string, error) {
	field, err := v.FieldByIndexErr(m.subject)
	if err != nil {
		return nil, fmt.Errorf("its subject, the field `%s`, is missing", m.subjectName)
	}
	for field.Kind() == reflect.Pointer && !field.IsNil() {
		field = field.Elem()
	}
	text := ""
	switch kind := field.Kind(); {
	case kind == reflect.String:
		text = field.String()
	case reflect.Int <= kind && kind <= reflect.Int64:
		text = strconv.FormatInt(field.Int(), 10)
	case reflect.Uint <= kind && kind <= reflect.Uint64:
		text = strconv.FormatUint(field.Uint(), 10)
	default:
		text = fmt.Sprint(field.Interface())
	}
	if text == "" {
		return nil, fmt.Errorf("its subject, the field `%s`, is empty", m.subjectName)
	}
	return &text, nil
}

func sortExtensions(extensions []wit.Extension) {
	for i := range extensions {
		for j := i; j > 0 && strings.Compare(extensions[j].Name, extensions[j-1].Name) < 0; j-- {
			extensions[j], extensions[j-1] = extensions[j-1], extensions[j]
		}
	}
}

// timerName is the name of a timer's type in lower case with `-` between words, or what its method
// TimerName returns.
func timerName(t reflect.Type) string {
	if named, isNamed := reflect.New(t).Interface().(interface{ TimerName() string }); isNamed {
		return named.TimerName()
	}
	var out strings.Builder
	for i, c := range t.Name() {
		if 'A' <= c && c <= 'Z' {
			if i > 0 {
				out.WriteByte('-')
			}
			c += 'a' - 'A'
		}
		out.WriteRune(c)
	}
	return out.String()
}
