// Package domain contains what events and commands have in common.
package domain

type ProductItem struct {
	ProductID string `json:"productId"`
	Quantity  uint32 `json:"quantity"`
}
