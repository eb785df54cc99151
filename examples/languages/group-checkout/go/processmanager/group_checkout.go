// Package processmanager contains the group checkout: every guest's stay is checked out; when each
// has an outcome, or the deadline has passed, the result is reported once.
package processmanager

import (
	"context"
	"maps"
	"slices"
	"time"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"

	"group-checkout/domain/command"
	"group-checkout/domain/event"
)

// Outcome is how the checkout of a stay ended.
type Outcome string

const (
	Pending   Outcome = "pending"
	Completed Outcome = "completed"
	Failed    Outcome = "failed"
)

// Values lists all outcomes.
func (Outcome) Values() []Outcome { return []Outcome{Pending, Completed, Failed} }

// ProcessInstance is the state of one group checkout.
type ProcessInstance struct {
	GroupCheckoutID string `json:"groupCheckoutId"`
	// By stay: each guest is counted once, however often its event comes.
	Stays map[string]Outcome `json:"stays"`
}

// Deadline is the timer that ends the waiting.
type Deadline struct{}

// Settings is the plugin's section in sagabox.toml.
type Settings struct {
	DeadlineSeconds uint32 `json:"deadline_seconds" description:"How long it waits for the guests' outcomes"`
}

// GroupCheckoutProcessManager handles complex group checkout workflow
type GroupCheckoutProcessManager struct {
	commandBus command.Bus
	states     sagabox.States[ProcessInstance]
}

func NewGroupCheckoutProcessManager(commandBus command.Bus) *GroupCheckoutProcessManager {
	return &GroupCheckoutProcessManager{
		commandBus: commandBus,
	}
}

func (pm *GroupCheckoutProcessManager) HandleGroupCheckoutInitiated(
	ctx context.Context,
	evt event.GroupCheckoutInitiated,
) error {
	instance := &ProcessInstance{GroupCheckoutID: evt.GroupCheckoutID, Stays: map[string]Outcome{}}
	for _, guestID := range evt.GuestStayIDs {
		instance.Stays[guestID] = Pending
	}
	pm.states.Put(ctx, instance)

	// Initiate checkout for all guests
	for _, guestID := range instance.with(Pending) {
		cmd := command.CheckoutGuestAccount{
			GuestStayID:     guestID,
			GroupCheckoutID: evt.GroupCheckoutID,
		}
		if err := pm.commandBus.Send(ctx, cmd); err != nil {
			return err
		}
	}

	settings, err := sagabox.Configuration[Settings](ctx)
	if err != nil {
		return err
	}
	deadline := time.Duration(settings.DeadlineSeconds) * time.Second
	if err := sagabox.SetTimer(ctx, Deadline{}, deadline); err != nil {
		return err
	}
	return pm.concludeIfAllHaveAnOutcome(ctx, instance)
}

func (pm *GroupCheckoutProcessManager) HandleGuestCheckoutCompleted(
	ctx context.Context,
	evt event.GuestCheckoutCompleted,
) error {
	return pm.record(ctx, evt.GuestStayID, Completed)
}

func (pm *GroupCheckoutProcessManager) HandleGuestCheckoutFailed(
	ctx context.Context,
	evt event.GuestCheckoutFailed,
) error {
	return pm.record(ctx, evt.GuestStayID, Failed)
}

func (pm *GroupCheckoutProcessManager) HandleDeadline(ctx context.Context, _ Deadline) error {
	return pm.conclude(ctx)
}

func (pm *GroupCheckoutProcessManager) HandleCancelled(ctx context.Context, _ sagabox.Cancelled) error {
	return pm.conclude(ctx)
}

// record keeps the first outcome of a stay. A stay that is not of this group changes nothing.
func (pm *GroupCheckoutProcessManager) record(ctx context.Context, guestID string, outcome Outcome) error {
	instance, exists := pm.states.Get(ctx)
	if !exists || instance.Stays[guestID] != Pending {
		return nil
	}
	instance.Stays[guestID] = outcome
	return pm.concludeIfAllHaveAnOutcome(ctx, instance)
}

func (pm *GroupCheckoutProcessManager) concludeIfAllHaveAnOutcome(ctx context.Context, instance *ProcessInstance) error {
	if len(instance.with(Pending)) > 0 {
		return nil
	}
	return pm.conclude(ctx)
}

// conclude reports the result, and ends the process.
func (pm *GroupCheckoutProcessManager) conclude(ctx context.Context) error {
	instance, exists := pm.states.Get(ctx)
	if !exists {
		return nil
	}
	sagabox.Complete(ctx)
	failed, timedOut := instance.with(Failed), instance.with(Pending)
	if len(failed) == 0 && len(timedOut) == 0 {
		return pm.commandBus.Send(ctx, command.CompleteGroupCheckout{GroupCheckoutID: instance.GroupCheckoutID})
	}
	return pm.commandBus.Send(ctx, command.NotifyGroupCheckoutFailure{
		GroupCheckoutID:  instance.GroupCheckoutID,
		FailedGuestIDs:   failed,
		TimedOutGuestIDs: timedOut,
	})
}

// with returns the stays that have this outcome, in the order of their ids: that of a map would
// differ from call to call.
func (instance *ProcessInstance) with(outcome Outcome) []string {
	var stays []string
	for _, stay := range slices.Sorted(maps.Keys(instance.Stays)) {
		if instance.Stays[stay] == outcome {
			stays = append(stays, stay)
		}
	}
	return stays
}
