//go:build wasip1

package abi

import (
	"unsafe"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// Sizes of records and variants in memory, and places in them, follow from wit/0.1 by the rules
// of the canonical ABI: https://github.com/WebAssembly/component-model/blob/main/design/mvp/CanonicalABI.md
const (
	extensionSize    = 16
	eventSize        = 84
	answerSize       = 40
	messageSize      = 44
	questionSize     = 20
	timerChangeSize  = 40
	keyChangeSize    = 12
	subscriptionSize = 56
	pairSize         = 16
	stringSize       = 8
)

func readExtension(p unsafe.Pointer) wit.Extension {
	return wit.Extension{Name: readString(p), Value: readString(at(p, 8))}
}

func readEvent(p unsafe.Pointer) wit.Event {
	return wit.Event{
		ID:              readString(p),
		Source:          readString(at(p, 8)),
		Type:            readString(at(p, 16)),
		Subject:         readOptionalString(at(p, 24)),
		Time:            readOptionalString(at(p, 36)),
		DataContentType: readString(at(p, 48)),
		DataSchema:      readOptionalString(at(p, 56)),
		Extensions:      readElements(at(p, 68), extensionSize, readExtension),
		Data:            readBytes(at(p, 76)),
	}
}

func readQuestion(p unsafe.Pointer) wit.Question {
	if readU8(p) == 1 {
		return wit.Question{Stream: true, Key: readString(at(p, 4))}
	}
	return wit.Question{Name: readString(at(p, 4)), Key: readString(at(p, 12))}
}

func readAnswer(p unsafe.Pointer) wit.Answer {
	answer := wit.Answer{Question: readQuestion(p), Kind: wit.AnswerKind(readU8(at(p, 20)))}
	switch answer.Kind {
	case wit.Found:
		answer.ContentType, answer.Data = readString(at(p, 24)), readBytes(at(p, 32))
	case wit.Events:
		answer.Events = readElements(at(p, 24), eventSize, readEvent)
	}
	return answer
}

func readContext(p unsafe.Pointer) wit.Context {
	context := wit.Context{
		Now:           readU64(p),
		Attempt:       readU32(at(p, 8)),
		Key:           readString(at(p, 12)),
		Answers:       readElements(at(p, 20), answerSize, readAnswer),
		Configuration: readString(at(p, 28)),
	}
	for i := range context.Seed {
		context.Seed[i] = readU32(at(p, 36+4*uintptr(i)))
	}
	return context
}

// readState reads an optional state.
func readState(p unsafe.Pointer) *wit.State {
	if readU8(p) == 0 {
		return nil
	}
	return &wit.State{Version: readU32(at(p, 4)), Data: readBytes(at(p, 8))}
}

func writeExtension(p unsafe.Pointer, extension *wit.Extension) {
	writeString(p, extension.Name)
	writeString(at(p, 8), extension.Value)
}

func writeMessage(p unsafe.Pointer, message *wit.Message) {
	writeString(p, message.Type)
	writeOptionalString(at(p, 8), message.Subject)
	writeString(at(p, 20), message.DataContentType)
	writeElements(at(p, 28), message.Extensions, extensionSize, writeExtension)
	writeBytes(at(p, 36), message.Data)
}

func writeMessages(p unsafe.Pointer, messages []wit.Message) {
	writeElements(p, messages, messageSize, writeMessage)
}

func writeQuestion(p unsafe.Pointer, question *wit.Question) {
	if question.Stream {
		writeU8(p, 1)
		writeString(at(p, 4), question.Key)
		return
	}
	writeString(at(p, 4), question.Name)
	writeString(at(p, 12), question.Key)
}

func writeTimerChange(p unsafe.Pointer, change *wit.TimerChange) {
	if change.Cancel {
		writeU8(p, 1)
		writeString(at(p, 8), change.Timer.Name)
		return
	}
	writeString(at(p, 8), change.Timer.Name)
	writeBool(at(p, 16), change.Timer.At)
	writeU64(at(p, 24), change.Timer.Millis)
	writeBytes(at(p, 32), change.Timer.Data)
}

func writeKeyChange(p unsafe.Pointer, change *wit.KeyChange) {
	writeBool(p, change.Release)
	writeString(at(p, 4), change.Key)
}

func writeTransition(p unsafe.Pointer, decision *wit.Decision) {
	if decision.State != nil {
		writeU8(p, 1)
		writeBytes(at(p, 4), decision.State)
	}
	writeMessages(at(p, 12), decision.Commands)
	writeMessages(at(p, 20), decision.Events)
	writeElements(at(p, 28), decision.Timers, timerChangeSize, writeTimerChange)
	writeElements(at(p, 36), decision.Keys, keyChangeSize, writeKeyChange)
	writeBool(at(p, 44), decision.Complete)
}

func writeFailure(p unsafe.Pointer, failure *wit.Failure) {
	writeBool(p, failure.Transient)
	writeString(at(p, 4), failure.Reason)
}

func writeSubscription(p unsafe.Pointer, subscription *wit.Subscription) {
	writeString(p, subscription.Type)
	writeU8(at(p, 8), uint8(subscription.SourceKind))
	if subscription.SourceKind != wit.AnySource {
		writeString(at(p, 12), subscription.Source)
	}
	writeU8(at(p, 20), uint8(subscription.Key.Kind))
	if kind := subscription.Key.Kind; kind == wit.ByAttribute || kind == wit.ByPointer {
		writeString(at(p, 24), subscription.Key.Name)
	}
	writeU8(at(p, 32), uint8(subscription.Effect))
	writeU8(at(p, 40), uint8(subscription.Absent))
	if subscription.Absent == wit.Hold {
		writeU64(at(p, 48), subscription.HoldMillis)
	}
}

func writePair(p unsafe.Pointer, pair *wit.Pair) {
	writeString(p, pair.Name)
	writeString(at(p, 8), pair.Value)
}

func writeText(p unsafe.Pointer, text *string) { writeString(p, *text) }

func writeManifest(p unsafe.Pointer, manifest *wit.Manifest) {
	writeString(p, manifest.Name)
	writeString(at(p, 8), manifest.Version)
	writeString(at(p, 16), manifest.Description)
	writeElements(at(p, 24), manifest.Subscriptions, subscriptionSize, writeSubscription)
	writeElements(at(p, 32), manifest.Commands, stringSize, writeText)
	writeElements(at(p, 40), manifest.Events, stringSize, writeText)
	writeElements(at(p, 48), manifest.Lookups, stringSize, writeText)
	writeBool(at(p, 56), manifest.Streams)
	writeU32(at(p, 60), manifest.StateVersion)
	writeElements(at(p, 64), manifest.Schemas, pairSize, writePair)
	writeOptionalString(at(p, 72), manifest.ConfigurationSchema)
	writeElements(at(p, 84), manifest.Fields, pairSize, writePair)
	writeOptionalString(at(p, 92), manifest.Summary)
}
