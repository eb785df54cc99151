//! Plugins in C and C++: the SDK's builder finds a compiler for wasm32-wasi. If the machine has
//! none, zig from `PyPI` is fetched, which contains a C library.

use std::path::Path;

use super::toolchain::{self, ZIGLANG};
use super::{BuildError, Language, Work, process};

/// Variables with which a user names a compiler to the builder.
const NAMED: [&str; 3] = ["SAGABOX_CC", "WASI_SDK_PATH", "SAGABOX_C_ROOT"];
/// Debian's C library for wasm32-wasi.
const WASI_LIBC: &str = "/usr/include/wasm32-wasi";

pub(super) fn build(work: &Work<'_>) -> Result<(), BuildError> {
    let folder = &work.project.folder;
    let mut builder = process::clean("sh");
    builder
        .arg(work.sdk.join("build.sh"))
        .arg(folder)
        .arg("--out")
        .arg(&work.module)
        .arg("--work")
        .arg(&work.folder);
    if !has_compiler() {
        let name = ZIGLANG.replace("==", "-");
        let tools = toolchain::python(Language::C, &name, &[ZIGLANG])?;
        let zig = format!("{} -m ziglang", tools.join("bin/python").display());
        builder.env("SAGABOX_CC", format!("{zig} cc -target wasm32-wasi"));
        builder.env("SAGABOX_CXX", format!("{zig} c++ -target wasm32-wasi"));
    }
    process::build(builder, "the builder", folder)
}

fn has_compiler() -> bool {
    let is_named = NAMED.iter().any(|name| std::env::var_os(name).is_some());
    let clangs = ["clang-19", "clang-20", "clang-21", "clang-18", "clang-17", "clang"];
    is_named
        || process::asked("zig", &["version"]).is_some()
        || (Path::new(WASI_LIBC).is_dir()
            && clangs.iter().any(|clang| process::asked(clang, &["--version"]).is_some()))
}
