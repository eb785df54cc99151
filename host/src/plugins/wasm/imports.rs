//! The imports that a component may have, and for other imports what its author can do about them.

use super::bindings::IMPORTS;
use super::{output, sockets, wasi};

/// Interfaces that no plugin gets, by the beginning of their name: what to do without them, and
/// which tools link them unasked. The first that matches counts.
const ADVICE: [(&str, &str); 5] = [
    (
        "wasi:http/",
        "a plugin makes no HTTP requests: it asks a lookup, or sends a command. \
         componentize-js links it for `fetch` unless you build with `--disable http fetch-event`; \
         in Rust, `wstd`, `wasi` and `waki` link it",
    ),
    ("wasi:keyvalue/", "a process manager keeps data in its state, and other plugins ask a lookup"),
    ("wasi:sockets/", "it is not an interface of WASI 0.2"),
    (
        "wasi_snapshot_preview1",
        "the file is a component around a module of WASI preview 1 without an adapter; build it \
         with `sagabox build`, which has one",
    ),
    (
        "env",
        "a function was declared and not linked, such as one of a C library that wasi-libc lacks",
    ),
];

/// # Errors
/// Says why a component with this import is refused, and what to do.
pub(super) fn check(import: &str, strict: bool) -> Result<(), String> {
    let answered = wasi::is_answered(import);
    if IMPORTS.contains(&import) || import == output::INTERFACE || (answered && !strict) {
        return Ok(());
    }
    if answered {
        return Err(format!(
            "imports `{import}`, which `strict` forbids; a plugin may import {} alone",
            IMPORTS[0]
        ));
    }
    Err(format!("imports `{import}`, which no plugin gets; {}", advice(import)))
}

fn advice(import: &str) -> String {
    if let Some((_, version)) = import.split_once('@').filter(|_| import.starts_with("wasi:"))
        && !version.starts_with("0.2.")
    {
        return format!(
            "it is of WASI {version}, and this host answers WASI 0.2: choose 0.2 as the target of \
             your toolchain (`wasm32-wasip2` in Rust)"
        );
    }
    let known = ADVICE.iter().find(|(beginning, _)| import.starts_with(beginning));
    let may = format!(
        "a plugin may import {}, and of WASI 0.2 {}, {}",
        IMPORTS[0],
        wasi::answered(),
        sockets::INTERFACES.join(", ")
    );
    match known {
        Some((_, advice)) => (*advice).to_owned(),
        None => may,
    }
}

/// The import as `check` shows it, with a mark if its every call is denied.
#[must_use]
pub fn shown(import: &str) -> String {
    match wasi::is_denied(import) {
        true => format!("{import} (access denied)"),
        false => import.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(import: &str, strict: bool, parts: &[&str]) {
        let reason = check(import, strict).unwrap_err();
        for part in parts {
            assert!(reason.contains(part), "`{part}` is not in `{reason}`");
        }
    }

    #[test]
    fn an_import_is_refused_with_what_to_do() {
        refused(
            "wasi:http/outgoing-handler@0.2.0",
            false,
            &["makes no HTTP requests", "componentize-js"],
        );
        refused("wasi:cli/stdout@0.3.0", false, &["is of WASI 0.3.0", "wasm32-wasip2"]);
        refused("wasi:sockets/tcp@0.3.0-rc", false, &["is of WASI 0.3.0-rc"]);
        refused("wasi:keyvalue/store@0.2.0", false, &["in its state"]);
        refused("env", false, &["declared and not linked"]);
        refused(
            "acme:billing/api@1.0.0",
            false,
            &["a plugin may import sagabox:plugin/logging@0.1.0"],
        );
    }

    #[test]
    fn sockets_may_be_imported_unless_a_plugin_may_import_nothing_else() {
        for interface in sockets::INTERFACES {
            let import = format!("{interface}@0.2.6");
            assert_eq!(check(&import, false), Ok(()));
            refused(&import, true, &["which `strict` forbids"]);
            assert_eq!(shown(&import), format!("{import} (access denied)"));
        }
        let clock = "wasi:clocks/wall-clock@0.2.0";
        assert_eq!((check(clock, false), shown(clock)), (Ok(()), clock.to_owned()));
    }
}
