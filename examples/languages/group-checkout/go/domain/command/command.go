// Package command contains the commands that the process manager sends.
package command

import "context"

// Bus sends commands.
type Bus interface {
	Send(ctx context.Context, command any) error
}

type CheckoutGuestAccount struct {
	GuestStayID     string `json:"guestStayId" sagabox:"subject"`
	GroupCheckoutID string `json:"groupCheckoutId"`
}

type CompleteGroupCheckout struct {
	GroupCheckoutID string `json:"groupCheckoutId" sagabox:"subject"`
}

type NotifyGroupCheckoutFailure struct {
	GroupCheckoutID  string   `json:"groupCheckoutId" sagabox:"subject"`
	FailedGuestIDs   []string `json:"failedGuestIds"`
	TimedOutGuestIDs []string `json:"timedOutGuestIds"`
}
