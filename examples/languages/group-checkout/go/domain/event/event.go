// Package event contains the events of group checkouts.
package event

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
