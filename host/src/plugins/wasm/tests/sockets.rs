//! Sockets: a plugin may import them, and every request is denied.

use super::{Guest, Settings, refused, sent};

const CURIOUS: Guest<'static> = Guest {
    roles: &[("saga", "connected")],
    interfaces: &[
        "wasi:sockets/network",
        "wasi:sockets/instance-network",
        "wasi:sockets/tcp",
        "wasi:sockets/tcp-create-socket",
        "wasi:sockets/ip-name-lookup",
    ],
    imports: r#"
        (import "wasi:sockets/tcp-create-socket@0.2.3" "create-tcp-socket" (func $create (param i32 i32)))
        (import "wasi:sockets/instance-network@0.2.3" "instance-network" (func $network (result i32)))
        (import "wasi:sockets/ip-name-lookup@0.2.3" "resolve-addresses" (func $resolve (param i32 i32 i32 i32)))
        (import "wasi:sockets/tcp@0.2.3" "[method]tcp-socket.is-listening" (func $listening (param i32) (result i32)))
        (import "wasi:sockets/network@0.2.3" "[resource-drop]network" (func $drop (param i32)))"#,
    handle: "
        (call $create (i32.const 0) (i32.const 1000))
        (local.set $resource (call $network))
        (call $resolve (local.get $resource) (i32.const 3000) (i32.const 5) (i32.const 1008))
        (call $drop (local.get $resource))",
};

#[test]
fn every_request_for_the_network_is_denied() {
    // An error, and its second code.
    let denied = 1 | 1 << 32;
    assert_eq!(sent(&*CURIOUS.handler(), 0)[..2], [denied, denied]);
}

#[test]
fn strict_refuses_sockets() {
    let strict = Settings { strict: true, ..Settings::default() };
    let reasons = refused(&[("a.wasm", CURIOUS.component())], strict);
    assert!(
        reasons[0].contains("wasi:sockets/") && reasons[0].contains("`strict` forbids"),
        "{reasons:?}"
    );
}
