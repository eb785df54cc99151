package main

// Objects are what an event of the log names.
type Objects struct {
	Orders   []string `json:"orders,omitempty"`
	Items    []string `json:"items,omitempty"`
	Packages []string `json:"packages,omitempty"`
}

// The events of the log. Their types are registered in main.go.
type (
	PlaceOrder       Objects
	ConfirmOrder     Objects
	PayOrder         Objects
	PaymentReminder  Objects
	PickItem         Objects
	ItemOutOfStock   Objects
	ReorderItem      Objects
	CreatePackage    Objects
	SendPackage      Objects
	FailedDelivery   Objects
	PackageDelivered Objects
)

// RetryDelivery asks for another attempt. Of the orders in a package, the one with its first item
// asks.
type RetryDelivery struct {
	PackageID string `json:"packageId" sagabox:"subject"`
	OrderID   string `json:"orderId"`
}

// CloseOrder ends an order that is paid, and delivered completely.
type CloseOrder struct {
	OrderID          string `json:"orderId" sagabox:"subject"`
	Reminders        uint32 `json:"reminders"`
	FailedDeliveries uint32 `json:"failedDeliveries"`
}
