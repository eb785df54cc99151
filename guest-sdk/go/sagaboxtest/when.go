package sagaboxtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/codec"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// When lets an event arrive: a value of its type, or a [sagabox.Event].
func (i *Instance) When(event any) *Outcome {
	i.t.Helper()
	raw := i.eventOf(event)
	at := slices.IndexFunc(i.manifest.Subscriptions, func(s wit.Subscription) bool { return s.Type == raw.Type })
	if at < 0 {
		i.t.Fatalf("the plugin takes no events of the type `%s`", raw.Type)
	}
	subscription := &i.manifest.Subscriptions[at]
	if !takes(subscription, raw.Source) {
		return i.ignored("it takes the event of another source than `%s`", raw.Source)
	}
	key := i.keyOf(subscription, &raw)
	if i.manifest.StateVersion == 0 {
		return i.handle(&raw, key)
	}
	return i.reach(subscription, &raw, key)
}

func takes(subscription *wit.Subscription, source string) bool {
	switch subscription.SourceKind {
	case wit.ExactSource:
		return source == subscription.Source
	case wit.SourcePrefix:
		return strings.HasPrefix(source, subscription.Source)
	}
	return true
}

// reach applies the rules by which an event reaches an instance.
func (i *Instance) reach(subscription *wit.Subscription, event *wit.Event, key string) *Outcome {
	i.t.Helper()
	isThere := i.state != nil || i.isComplete
	isOwn := isThere && key == i.key
	switch {
	case subscription.Effect == wit.Start && isOwn:
		return i.ignored("the instance exists already")
	case subscription.Effect != wit.Handle && !isOwn:
		if isThere {
			i.t.Fatalf("the event starts another instance, with the key `%s`; a test plays one, with the key `%s`", key, i.key)
		}
		i.key = key
	case !isOwn && !(isThere && slices.Contains(i.claims, key)):
		return i.absent(subscription, key)
	}
	if i.isComplete {
		return i.ignored("the instance is complete")
	}
	return i.handle(event, i.key)
}

func (i *Instance) absent(subscription *wit.Subscription, key string) *Outcome {
	switch subscription.Absent {
	case wit.Hold:
		return i.ignored("no instance has the key `%s`: it is held", key)
	case wit.Fail:
		reason := fmt.Sprintf("no instance has the key `%s`", key)
		return &Outcome{instance: i, failure: &wit.Failure{Reason: reason}}
	}
	return i.ignored("no instance has the key `%s`", key)
}

func (i *Instance) ignored(format string, values ...any) *Outcome {
	return &Outcome{instance: i, ignored: fmt.Sprintf(format, values...)}
}

// keyOf finds the correlation key as the host does.
func (i *Instance) keyOf(subscription *wit.Subscription, event *wit.Event) string {
	i.t.Helper()
	if i.fixedKey != "" {
		return i.fixedKey
	}
	key := ""
	switch subscription.Key.Kind {
	case wit.BySubject:
		if event.Subject != nil {
			key = *event.Subject
		}
	case wit.ByAttribute:
		key = attribute(event, subscription.Key.Name)
	case wit.ByPointer:
		key = keyAt(event.Data, subscription.Key.Name)
	}
	if key == "" {
		i.t.Fatalf("the event `%s` has no key: there is nothing at %s", event.Type, placeOf(subscription.Key))
	}
	return key
}

func placeOf(key wit.Correlation) string {
	if key.Kind == wit.BySubject {
		return "the subject"
	}
	return "`" + key.Name + "`"
}

func attribute(event *wit.Event, name string) string {
	switch name {
	case "id":
		return event.ID
	case "source":
		return event.Source
	case "type":
		return event.Type
	}
	for _, extension := range event.Extensions {
		if extension.Name == name {
			return extension.Value
		}
	}
	return ""
}

// keyAt returns the key at a pointer; of a list, the first one.
func keyAt(data []byte, pointer string) string {
	found, err := codec.Pointer(data, pointer)
	if err != nil || found == nil {
		return ""
	}
	var value any
	if codec.Decode(found, &value, codec.Options{}) != nil {
		return ""
	}
	if list, isList := value.([]any); isList && len(list) > 0 {
		value = list[0]
	}
	switch value.(type) {
	case string, codec.Number:
		return fmt.Sprint(value)
	}
	return ""
}

// WhenTimer lets a timer fire, whether it is set or not.
func (i *Instance) WhenTimer(timer any) *Outcome {
	i.t.Helper()
	name, data, err := guest.TimerOf(timer)
	if err != nil {
		i.t.Fatalf("the timer: %v", err)
	}
	delete(i.timers, name)
	return i.own("sagabox.timer.fired", &name, data)
}

// WhenTimePasses lets time pass. The timers that become due fire, one after the other, each at its
// time. The outcome is that of all of them.
func (i *Instance) WhenTimePasses(passed time.Duration) *Outcome {
	i.t.Helper()
	until := i.now + passed.Milliseconds()
	all := &Outcome{instance: i, decision: &wit.Decision{Complete: i.isComplete}}
	for range timersMax {
		name := i.nextTimer(until)
		if name == "" {
			i.now = until
			return all
		}
		fired := i.timers[name]
		delete(i.timers, name)
		i.now = max(i.now, fired.due)
		outcome := i.own("sagabox.timer.fired", &name, fired.data)
		if outcome.decision == nil {
			return outcome
		}
		all.add(outcome.decision)
	}
	i.t.Fatalf("more than %d timers fire in this time", timersMax)
	return all
}

// nextTimer returns the timer that is due first, or nothing.
func (i *Instance) nextTimer(until int64) string {
	next := ""
	for name, set := range i.timers {
		if set.due > until {
			continue
		}
		known, isThere := i.timers[next]
		if !isThere || set.due < known.due || set.due == known.due && name < next {
			next = name
		}
	}
	return next
}

// Wait lets time pass, as WhenTimePasses. No handler may fail.
func (i *Instance) Wait(passed time.Duration) *Instance {
	i.t.Helper()
	i.WhenTimePasses(passed).decided()
	return i
}

// WhenUndeliverable lets a command of the instance become a dead letter.
func (i *Instance) WhenUndeliverable(command any, reason string) *Outcome {
	i.t.Helper()
	message, err := guest.Outgoing(command)
	if err != nil {
		i.t.Fatalf("the command: %v", err)
	}
	data := i.json(map[string]any{
		"id": "command", "type": message.Type, "reason": reason, "attempts": 1,
		"command": map[string]any{"id": "command", "type": message.Type, "data": codec.JSON(message.Data)},
	})
	i.isComplete = false
	return i.own("sagabox.command.undeliverable", nil, data)
}

// WhenCancelled lets an operator ask the instance to end.
func (i *Instance) WhenCancelled(by, reason string) *Outcome {
	i.t.Helper()
	return i.own("sagabox.instance.cancelled", nil, i.json(map[string]any{"by": by, "reason": reason}))
}

func (i *Instance) json(value any) []byte {
	i.t.Helper()
	data, err := codec.Encode(value)
	if err != nil {
		i.t.Fatal(err)
	}
	return data
}

// own lets an event of the host reach the instance.
func (i *Instance) own(name string, subject *string, data []byte) *Outcome {
	i.t.Helper()
	event := wit.Event{
		ID: "event", Source: "/sagabox/test", Type: name, Subject: subject,
		DataContentType: "application/json", Data: data,
	}
	if i.isComplete {
		return i.ignored("the instance is complete")
	}
	return i.handle(&event, i.key)
}

// handle asks the plugin as the host does: again and again, until it has all answers.
func (i *Instance) handle(event *wit.Event, key string) *Outcome {
	i.t.Helper()
	context := wit.Context{
		Now: uint64(i.now), Attempt: i.attempt, Key: key, Configuration: i.configuration, Seed: i.seed,
	}
	// Another event, another seed.
	i.seed[3]++
	outcome := &Outcome{instance: i}
	for range roundsMax {
		reply := i.plugin.Handle(event, i.state, &context)
		switch {
		case reply.Failure != nil:
			outcome.failure = reply.Failure
			return outcome
		case reply.Decision != nil:
			outcome.decision = reply.Decision
			i.apply(reply.Decision)
			return outcome
		}
		outcome.questions = append(outcome.questions, reply.Questions...)
		for _, question := range reply.Questions {
			context.Answers = append(context.Answers, i.answer(question))
		}
	}
	i.t.Fatalf("the handler of `%s` asks again and again", event.Type)
	return outcome
}

func (i *Instance) answer(question wit.Question) wit.Answer {
	for _, known := range i.answers {
		if known.Question == question {
			return known
		}
	}
	if question.Stream {
		return wit.Answer{Question: question, Kind: wit.Events}
	}
	return wit.Answer{Question: question, Kind: wit.Missing}
}

func (i *Instance) apply(decision *wit.Decision) {
	if decision.State != nil {
		i.state = &wit.State{Version: i.manifest.StateVersion, Data: decision.State}
	}
	for _, change := range decision.Timers {
		set := timer{due: int64(change.Timer.Millis), data: change.Timer.Data}
		switch {
		case change.Cancel:
			delete(i.timers, change.Timer.Name)
			continue
		case !change.Timer.At:
			set.due += i.now
		}
		i.timers[change.Timer.Name] = set
	}
	for _, change := range decision.Keys {
		i.claims = slices.DeleteFunc(i.claims, func(key string) bool { return key == change.Key })
		if !change.Release {
			i.claims = append(i.claims, change.Key)
		}
	}
	if decision.Complete {
		i.isComplete = true
		clear(i.timers)
	}
}
