package main

type OrderPlaced struct {
	OrderID    string `json:"orderId" sagabox:"key"`
	CustomerID string `json:"customerId"`
	SKU        string `json:"sku"`
	Quantity   int    `json:"quantity"`
}

type OrderPaid struct {
	OrderID string `json:"orderId" sagabox:"key"`
}

type OrderShipped struct {
	OrderID string `json:"orderId" sagabox:"key"`
}

type ReservationLapsed struct {
	CustomerID string `json:"customerId" sagabox:"subject"`
	OrderID    string `json:"orderId"`
}

type ReserveStock struct {
	OrderID  string `json:"orderId" sagabox:"subject"`
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

type ReleaseStock struct {
	OrderID  string `json:"orderId" sagabox:"subject"`
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

type ShipOrder struct {
	OrderID string `json:"orderId" sagabox:"subject"`
}

type RejectOrder struct {
	OrderID string `json:"orderId" sagabox:"subject"`
	Reason  string `json:"reason"`
}

// Stock is the answer of the lookup `stock`.
type Stock struct {
	Available int `json:"available"`
	// Counting says that the stock is being counted, and the number is not reliable now.
	Counting bool `json:"counting"`
}
