// The group checkout checks out all guests of a group, and reports once how it ended.
package main

import (
	"time"

	sagabox "github.com/sagabox/sagabox/guest-sdk/go"
	role "github.com/sagabox/sagabox/guest-sdk/go/processmanager"

	"group-checkout/domain/command"
	"group-checkout/domain/event"
	"group-checkout/processmanager"
)

func main() { plugin().Run() }

func plugin() *sagabox.Plugin {
	plugin := role.New[processmanager.ProcessInstance]("group-checkout", "0.1.0",
		"Checks out all guests of a group, and reports once how it ended")
	plugin.Configure(processmanager.Settings{DeadlineSeconds: 24 * 60 * 60})
	plugin.Sends(command.CheckoutGuestAccount{}, command.CompleteGroupCheckout{}, command.NotifyGroupCheckoutFailure{})

	pm := processmanager.NewGroupCheckoutProcessManager(plugin)
	plugin.Register(event.GroupCheckoutInitiated{}, pm.HandleGroupCheckoutInitiated, sagabox.Start)
	plugin.Register(event.GuestCheckoutCompleted{}, pm.HandleGuestCheckoutCompleted, sagabox.Hold(time.Hour))
	plugin.Register(event.GuestCheckoutFailed{}, pm.HandleGuestCheckoutFailed, sagabox.Hold(time.Hour))
	plugin.OnTimer(processmanager.Deadline{}, pm.HandleDeadline)
	plugin.OnCancelled(pm.HandleCancelled)
	return plugin
}
