package sagabox

import (
	"context"
	"fmt"
	"strings"

	"github.com/sagabox/sagabox/guest-sdk/go/internal/guest"
	"github.com/sagabox/sagabox/guest-sdk/go/internal/wit"
)

// served is a plugin as the host calls it.
type served struct{ plugin *Plugin }

// Serve returns the plugin as the host calls it. The package sagaboxtest uses it.
func (p *Plugin) Serve() wit.Guest { return served{p} }

func (s served) Describe() (*wit.Manifest, error) { return s.plugin.manifest() }

// Handle calls the handler of an event.
func (s served) Handle(event *wit.Event, state *wit.State, context *wit.Context) (reply wit.Reply) {
	c := &call{plugin: s.plugin, event: event, context: context, state: state}
	h := s.plugin.handlerOf(event)
	if h == nil {
		return s.plugin.unhandled(event)
	}
	reason, isTransient := c.run(h)
	c.isOver.Store(true)
	switch {
	// An open question comes first, also if the handler went on without the answer.
	case len(c.open) > 0:
		return wit.Reply{Questions: c.open}
	case reason != "":
		return wit.Reply{Failure: &wit.Failure{Transient: isTransient, Reason: reason}}
	}
	return wit.Reply{Decision: &c.decision}
}

// run calls the handler, and returns why it failed; an empty text if it has not.
func (c *call) run(h *handler) (reason string, isTransient bool) {
	defer func() {
		panicked := recover()
		if panicked == nil {
			return
		}
		if f, isFailure := panicked.(*Failure); isFailure && f.isPlaced {
			reason = f.Error()
			return
		}
		reason, isTransient = guest.Panicked(panicked), false
		if len(c.open) == 0 {
			guest.Log(guest.Error, reason)
		}
	}()
	ctx := &callContext{Context: context.Background(), call: c}
	err := h.call(ctx, c.event)
	if err == nil {
		err = c.refused
	}
	if err == nil && len(c.open) == 0 {
		c.decision.State, err = c.save()
	}
	if err != nil {
		return reasonOf(err, h)
	}
	return "", false
}

func (p *Plugin) handlerOf(event *wit.Event) *handler {
	if event.Type != timerFired {
		return p.handlers[event.Type]
	}
	if event.Subject == nil {
		return nil
	}
	return p.timers[*event.Subject]
}

func (p *Plugin) unhandled(event *wit.Event) wit.Reply {
	if p.ignoresUnhandled {
		return wit.Reply{Decision: &wit.Decision{}}
	}
	what := "`" + event.Type + "`"
	if event.Type == timerFired && event.Subject != nil {
		what = "the timer `" + *event.Subject + "`"
	}
	return wit.Reply{Failure: &wit.Failure{Reason: "the plugin has no handler for " + what}}
}

// errorOf returns all problems that were noted while the plugin was declared.
func (p *Plugin) errorOf() error {
	if len(p.problems) == 0 {
		return nil
	}
	return fmt.Errorf("the plugin `%s` cannot run: %s", p.name, strings.Join(p.problems, "; "))
}
