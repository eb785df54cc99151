//! The order saga: each step of an order leads to the command for the next.
const std = @import("std");
const sagabox = @import("sagabox.zig");

pub const panic = sagabox.panic;

/// A number that is passed on with the digits that it has.
const Number = std.json.Value;
const ProductItem = struct { productId: []const u8, quantity: u32 };

const CartFinalized = struct {
    cartId: []const u8,
    clientId: []const u8,
    productItems: []const ProductItem,
    totalPrice: Number,
};
const OrderInitialized = struct { orderId: []const u8, totalPrice: Number };
const PaymentCompleted = struct { orderId: []const u8, productItems: []const ProductItem };
const PaymentFailed = struct { orderId: []const u8 };

const manifest: sagabox.Manifest = .{
    .name = .from("order-saga"),
    .version = .from("0.1.0"),
    .description = .from("Takes an order from the cart to the package, and cancels it when the payment fails"),
    .subscriptions = .from(&.{
        .by("CartFinalized", "/cartId"),
        .by("OrderInitialized", "/orderId"),
        .by("PaymentCompleted", "/orderId"),
        .by("PaymentFailed", "/orderId"),
    }),
    .commands = .from(&.{
        .from("InitializeOrder"),
        .from("RequestPayment"),
        .from("SendPackage"),
        .from("CancelOrder"),
    }),
};

fn handle(event: *const sagabox.Event, decision: *sagabox.Decision) !void {
    const is = struct {
        fn is(own: *const sagabox.Event, event_type: []const u8) bool {
            return std.mem.eql(u8, own.type.slice(), event_type);
        }
    }.is;
    if (is(event, "CartFinalized")) {
        const cart = try read(CartFinalized, event, decision);
        try decision.send("InitializeOrder", cart.cartId, cart);
    } else if (is(event, "OrderInitialized")) {
        const order = try read(OrderInitialized, event, decision);
        try decision.send("RequestPayment", order.orderId, order);
    } else if (is(event, "PaymentCompleted")) {
        const order = try read(PaymentCompleted, event, decision);
        try decision.send("SendPackage", order.orderId, order);
    } else if (is(event, "PaymentFailed")) {
        const order = try read(PaymentFailed, event, decision);
        try decision.send("CancelOrder", order.orderId, .{ .orderId = order.orderId, .reason = "payment failed" });
    } else {
        return error.NoHandler;
    }
}

fn read(comptime T: type, event: *const sagabox.Event, decision: *sagabox.Decision) !T {
    return std.json.parseFromSliceLeaky(T, decision.allocator, event.data.slice(), .{
        .ignore_unknown_fields = true,
        .parse_numbers = false,
    });
}

comptime {
    sagabox.exportSaga(&manifest, handle);
}
