package patterns

import (
	"context"
	"testing"
	"time"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	"github.com/sagabox/sagabox/guest-sdk/go/processmanager"
	"github.com/sagabox/sagabox/guest-sdk/go/sagaboxtest"
)

type GroupCheckoutInitiated struct {
	GroupCheckoutID string   `json:"groupCheckoutId" sagabox:"key"`
	GuestStayIDs    []string `json:"guestStayIds"`
}

type GuestCheckoutCompleted struct {
	GuestStayID     string `json:"guestStayId"`
	GroupCheckoutID string `json:"groupCheckoutId" sagabox:"key"`
}

type GuestCheckoutFailed struct {
	GuestStayID     string `json:"guestStayId"`
	GroupCheckoutID string `json:"groupCheckoutId" sagabox:"key"`
}

type CheckoutGuestAccount struct {
	GuestStayID     string `json:"guestStayId" sagabox:"subject"`
	GroupCheckoutID string `json:"groupCheckoutId"`
}

type CompleteGroupCheckout struct {
	GroupCheckoutID string `json:"groupCheckoutId" sagabox:"subject"`
}

type NotifyGroupCheckoutFailure struct {
	GroupCheckoutID string   `json:"groupCheckoutId" sagabox:"subject"`
	FailedGuestIDs  []string `json:"failedGuestIds"`
}

// ProcessState represents the state of a distributed process
type ProcessState int

const (
	StateStarted ProcessState = iota
	StatePaymentInitiated
	StatePaymentCompleted
	StateShipmentInitiated
	StateCompleted
	StateFailed
)

// GroupCheckoutProcessManager handles complex group checkout workflow
type GroupCheckoutProcessManager struct {
	commandBus sagabox.CommandBus
	states     sagabox.States[ProcessInstance]
}

type ProcessInstance struct {
	ID             string
	GuestStayIDs   []string
	State          ProcessState
	CompletedCount int
	FailedCount    int
	StartedAt      time.Time
	LastActivityAt time.Time
}

func NewGroupCheckoutProcessManager(commandBus sagabox.CommandBus) *GroupCheckoutProcessManager {
	return &GroupCheckoutProcessManager{
		commandBus: commandBus,
	}
}

func (pm *GroupCheckoutProcessManager) HandleGroupCheckoutInitiated(
	ctx context.Context,
	evt GroupCheckoutInitiated,
) error {
	instance := &ProcessInstance{
		ID:             evt.GroupCheckoutID,
		GuestStayIDs:   evt.GuestStayIDs,
		State:          StateStarted,
		StartedAt:      sagabox.Now(ctx),
		LastActivityAt: sagabox.Now(ctx),
	}

	pm.states.Put(ctx, instance)

	// Initiate checkout for all guests
	for _, guestID := range evt.GuestStayIDs {
		cmd := CheckoutGuestAccount{
			GuestStayID:     guestID,
			GroupCheckoutID: evt.GroupCheckoutID,
		}
		if err := pm.commandBus.Send(ctx, cmd); err != nil {
			return err
		}
	}

	return nil
}

func (pm *GroupCheckoutProcessManager) HandleGuestCheckoutCompleted(
	ctx context.Context,
	evt GuestCheckoutCompleted,
) error {
	instance, exists := pm.states.Get(ctx)
	if !exists {
		return nil // Ignore unknown process
	}

	instance.CompletedCount++
	instance.LastActivityAt = sagabox.Now(ctx)

	// Check if all guests have completed checkout
	if instance.CompletedCount+instance.FailedCount >= len(instance.GuestStayIDs) {
		if instance.FailedCount == 0 {
			instance.State = StateCompleted
			// Send completion command
			cmd := CompleteGroupCheckout{
				GroupCheckoutID: evt.GroupCheckoutID,
			}
			return pm.commandBus.Send(ctx, cmd)
		}
	}

	return nil
}

func (pm *GroupCheckoutProcessManager) HandleGuestCheckoutFailed(
	ctx context.Context,
	evt GuestCheckoutFailed,
) error {
	instance, exists := pm.states.Get(ctx)
	if !exists {
		return nil // Ignore unknown process
	}

	instance.FailedCount++
	instance.LastActivityAt = sagabox.Now(ctx)

	// If any checkout fails, mark process as failed
	instance.State = StateFailed

	// Send failure notification
	cmd := NotifyGroupCheckoutFailure{
		GroupCheckoutID: evt.GroupCheckoutID,
		FailedGuestIDs:  []string{evt.GuestStayID},
	}

	return pm.commandBus.Send(ctx, cmd)
}

func groupCheckout() *sagabox.Plugin {
	plugin := processmanager.New[ProcessInstance]("group-checkout", "0.1.0", "Checks out all guests of a group")
	plugin.Sends(CheckoutGuestAccount{}, CompleteGroupCheckout{}, NotifyGroupCheckoutFailure{})
	pm := NewGroupCheckoutProcessManager(plugin)
	plugin.Register(GroupCheckoutInitiated{}, pm.HandleGroupCheckoutInitiated, sagabox.Start)
	plugin.Register(GuestCheckoutCompleted{}, pm.HandleGuestCheckoutCompleted)
	plugin.Register(GuestCheckoutFailed{}, pm.HandleGuestCheckoutFailed)
	return plugin
}

func TestTheProcessManagerStands(t *testing.T) {
	initiated := GroupCheckoutInitiated{GroupCheckoutID: "g-1", GuestStayIDs: []string{"s-1", "s-2"}}
	completed := func(stay string) GuestCheckoutCompleted {
		return GuestCheckoutCompleted{GuestStayID: stay, GroupCheckoutID: "g-1"}
	}
	failed := GuestCheckoutFailed{GuestStayID: "s-2", GroupCheckoutID: "g-1"}
	group := sagaboxtest.Given(t, groupCheckout())
	group.When(completed("s-1")).IsIgnored("no instance")
	group.When(initiated).Sends(CheckoutGuestAccount{"s-1", "g-1"}, CheckoutGuestAccount{"s-2", "g-1"})
	group.When(completed("s-1")).SendsNothing()
	group.When(completed("s-2")).Sends(CompleteGroupCheckout{"g-1"})
	sagaboxtest.Given(t, groupCheckout()).Event(initiated).When(failed).
		Sends(NotifyGroupCheckoutFailure{"g-1", []string{"s-2"}})
}
