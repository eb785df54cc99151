/// The order saga: each step of an order leads to the command for the next.
module order_saga;

import json;
import ldc.attributes : llvmAttr;
import sagabox;

@nogc nothrow:

/// Each event, where its key is, and the command that follows: the members that are passed on, and one
/// that is added.
private struct Step
{
    string event, key, command;
    string[] members;
    string added;
}

private immutable Step[4] steps = [
    Step("CartFinalized", "cartId", "InitializeOrder", ["cartId", "clientId", "productItems", "totalPrice"]),
    Step("OrderInitialized", "orderId", "RequestPayment", ["orderId", "totalPrice"]),
    Step("PaymentCompleted", "orderId", "SendPackage", ["orderId", "productItems"]),
    Step("PaymentFailed", "orderId", "CancelOrder", ["orderId"], `,"reason":"payment failed"`),
];

@llvmAttr("wasm-export-name", "sagabox:plugin/saga-handler@0.1.0#describe")
extern (C) const(Manifest)* describe()
{
    beginCall();
    auto subscriptions = allocateMany!Subscription(steps.length);
    auto commands = allocateMany!String(steps.length);
    foreach (i, ref step; steps)
    {
        enum pointer = 2, handle = 2;
        subscriptions[i] = Subscription(String(step.event), Variant(0),
                Variant(pointer, String(join("/", step.key))), handle);
        commands[i] = String(step.command);
    }
    auto manifest = &allocateMany!Manifest(1)[0];
    *manifest = Manifest(String("order-saga"), String("0.1.0"),
            String("Takes an order from the cart to the package, and cancels it when the payment fails"));
    manifest.subscriptions = List!Subscription(subscriptions);
    manifest.commands = List!String(commands);
    endCall();
    return manifest;
}

private struct Call
{
    Event event;
    Context context;
}

@llvmAttr("wasm-export-name", "sagabox:plugin/saga-handler@0.1.0#handle")
extern (C) const(Reply)* handle(const(Call)* call)
{
    beginCall();
    auto reply = &allocateMany!Reply(1)[0];
    *reply = Reply.init;
    decide(&call.event, reply);
    endCall();
    return reply;
}

private void decide(const(Event)* event, Reply* reply)
{
    foreach (ref step; steps)
    {
        if (event.type.slice != step.event)
            continue;
        string data = "{";
        foreach (i, name; step.members)
        {
            immutable value = member(event.data.slice, name);
            if (value is null)
                return fail(reply, join("the data of `", step.event, "` has no member `", name, "`"));
            data = join(data, i ? `,"` : `"`, name, `":`, value);
        }
        immutable key = text(member(event.data.slice, step.key));
        if (key is null)
            return fail(reply, join("the member `", step.key, "` of `", step.event, "` is no text"));
        auto command = allocateMany!Command(1);
        command[0] = Command(String(step.command), Option!String(true, String(key)), String("application/json"));
        command[0].data = String(join(data, step.added, "}"));
        reply.decided.commands = List!Command(command);
        return;
    }
    fail(reply, join("the plugin has no handler for `", event.type.slice, "`"));
}

private void fail(Reply* reply, string reason)
{
    reply.failed = true;
    reply.reason = String(reason);
}
