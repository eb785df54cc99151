// Package wit contains the types of the WIT package sagabox:plugin@0.1.0 as plain Go types.
package wit

// Role is what a plugin is to the host: the world that it implements.
type Role int

const (
	Saga Role = iota
	ProcessManager
	Reactor
	Enricher
)

// String returns the role as the host writes it.
func (r Role) String() string {
	return [...]string{"saga", "process-manager", "reactor", "enricher"}[r]
}

// Extension is one CloudEvents extension attribute.
type Extension struct {
	Name, Value string
}

// Event is a CloudEvent. Optional texts are nil if the event does not have them.
type Event struct {
	ID, Source, Type string
	Subject, Time    *string
	DataContentType  string
	DataSchema       *string
	Extensions       []Extension
	Data             []byte
}

// Message is a command or an emitted event.
type Message struct {
	Type            string
	Subject         *string
	DataContentType string
	Extensions      []Extension
	Data            []byte
}

// Question is a lookup, or the stream of a subject if Stream is true.
type Question struct {
	Stream bool
	// Name is the name of the lookup.
	Name string
	// Key is the key of the lookup, or the subject of the stream.
	Key string
}

// AnswerKind says what an answer contains.
type AnswerKind uint8

const (
	Found AnswerKind = iota
	Missing
	Events
)

// Answer is the answer to a question of an earlier call for the same event.
type Answer struct {
	Question    Question
	Kind        AnswerKind
	ContentType string
	Data        []byte
	Events      []Event
}

// Context is everything about a call that is neither the event nor the state.
type Context struct {
	Now           uint64
	Attempt       uint32
	Key           string
	Answers       []Answer
	Configuration string
	Seed          [4]uint32
}

// State is a state of a process manager, and the version that wrote it.
type State struct {
	Version uint32
	Data    []byte
}

// Timer is a timer that is set: after so many milliseconds, or at a time if At is true.
type Timer struct {
	Name   string
	At     bool
	Millis uint64
	Data   []byte
}

// TimerChange sets a timer, or cancels the timer with this name.
type TimerChange struct {
	Cancel bool
	Timer  Timer
}

// KeyChange claims a key, or releases it.
type KeyChange struct {
	Release bool
	Key     string
}

// Decision is what a handler decided. The roles use the parts that they have.
type Decision struct {
	// State is nil if the state stays as it is.
	State    []byte
	Commands []Message
	Events   []Message
	Timers   []TimerChange
	Keys     []KeyChange
	Complete bool
}

// Failure is the reason why an event could not be handled.
type Failure struct {
	Transient bool
	Reason    string
}

// Reply is one of its members: a failure, questions, or a decision.
type Reply struct {
	Failure   *Failure
	Questions []Question
	Decision  *Decision
}

// CorrelationKind says where the correlation key of an event is.
type CorrelationKind uint8

const (
	BySubject CorrelationKind = iota
	ByAttribute
	ByPointer
	ByInstance
)

// Correlation is the place of a correlation key.
type Correlation struct {
	Kind CorrelationKind
	Name string
}

// Effect is what an event does to an instance.
type Effect uint8

const (
	Start Effect = iota
	StartOrHandle
	Handle
)

// AbsentKind says what becomes of an event without an instance.
type AbsentKind uint8

const (
	Ignore AbsentKind = iota
	Hold
	Fail
)

// SourceKind says which senders an event is taken from.
type SourceKind uint8

const (
	AnySource SourceKind = iota
	ExactSource
	SourcePrefix
)

// Subscription is an event type that the plugin takes.
type Subscription struct {
	Type       string
	SourceKind SourceKind
	Source     string
	Key        Correlation
	Effect     Effect
	Absent     AbsentKind
	HoldMillis uint64
}

// Pair is a schema (type and schema) or a field (name and pointer).
type Pair struct {
	Name, Value string
}

// Manifest is what a plugin says of itself.
type Manifest struct {
	Name, Version, Description string
	Subscriptions              []Subscription
	Commands, Events, Lookups  []string
	Streams                    bool
	StateVersion               uint32
	Schemas                    []Pair
	ConfigurationSchema        *string
	Fields                     []Pair
	Summary                    *string
}

// Guest is a plugin as the host calls it.
type Guest interface {
	Describe() (*Manifest, error)
	Handle(event *Event, state *State, context *Context) Reply
	Migrate(state State, to uint32) ([]byte, error)
}
