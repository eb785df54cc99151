package main

// Order is the state of one order.
type Order struct {
	OrderID          string              `json:"orderId"`
	Confirmed        bool                `json:"confirmed"`
	Paid             bool                `json:"paid"`
	Reminders        uint32              `json:"reminders"`
	FailedDeliveries uint32              `json:"failedDeliveries"`
	Items            map[string]*Item    `json:"items"`
	Packages         map[string]*Package `json:"packages"`
}

// Item is a product of an order.
type Item struct {
	Picked     bool    `json:"picked"`
	OutOfStock uint32  `json:"outOfStock,omitempty"`
	Reordered  uint32  `json:"reordered,omitempty"`
	Package    *string `json:"package,omitempty"`
}

// Package contains items of one or several orders.
type Package struct {
	// Leads says whether this order speaks for the package.
	Leads     bool `json:"leads"`
	Sent      bool `json:"sent"`
	Delivered bool `json:"delivered"`
}

// of returns the items of the order among these.
func (o *Order) of(items []string) []*Item {
	var own []*Item
	for _, id := range items {
		if item := o.Items[id]; item != nil {
			own = append(own, item)
		}
	}
	return own
}

// parcel returns a package, which may be new.
func (o *Order) parcel(id string) *Package {
	if o.Packages[id] == nil {
		o.Packages[id] = &Package{}
	}
	return o.Packages[id]
}

func (o *Order) isDone() bool {
	for _, item := range o.Items {
		if item.Package == nil || o.Packages[*item.Package] == nil || !o.Packages[*item.Package].Delivered {
			return false
		}
	}
	return o.Paid
}
