//! Where things are: the repository, the binary under test, the built plugins.

use std::path::{Path, PathBuf};

/// The root of the checkout.
///
/// # Panics
/// Never: this package lies in it.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository")
}

/// The binary under test: `SAGABOX_BIN`, or the one beside the running test.
///
/// # Panics
/// If there is none, with what to do about it.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SAGABOX_BIN") {
        return PathBuf::from(path);
    }
    let me = std::env::current_exe().expect("a running program has a path");
    let mut folder = me.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("deps/ lies in a folder");
    }
    let path = folder.join("sagabox");
    assert!(
        path.is_file(),
        "the binary under test is missing: {}; `./dev test` builds it, as does `cargo build -p sagabox`",
        path.display()
    );
    path
}

/// The folder of built plugins: `SAGABOX_TEST_PLUGINS`, or `target/plugins`.
pub fn plugins() -> PathBuf {
    if let Some(path) = std::env::var_os("SAGABOX_TEST_PLUGINS") {
        return PathBuf::from(path);
    }
    target().join("plugins")
}

/// Where everything is that is built.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// Where commands, and hosts that are started so, keep compiled components: for the next run as
/// well.
pub fn cache() -> PathBuf {
    target().join("cache")
}

/// A built plugin by its name.
///
/// # Panics
/// If it is not built, with what to do about it.
pub fn plugin(name: &str) -> PathBuf {
    let path = plugins().join(format!("{name}.wasm"));
    assert!(
        path.is_file(),
        "the plugin is not built: {}; `./dev test` builds it, as does `./dev plugins`",
        path.display()
    );
    path
}

pub fn example(name: &str) -> PathBuf {
    repository().join("examples").join(name)
}

/// The public order-management log, which is too large to be part of the
/// repository: named by `SAGABOX_ORDER_LOG`, or found beside the checkout.
pub fn order_log() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("SAGABOX_ORDER_LOG") {
        return Some(PathBuf::from(path));
    }
    // Two places: a checkout, and a worktree one folder deeper.
    ["..", "../.."]
        .into_iter()
        .map(|up| repository().join(up).join("shared/data/order-management.csv"))
        .find(|path| path.is_file())
}
