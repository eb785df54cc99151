//! Where a user keeps files that can be made again, by the XDG Base Directory Specification.

use std::path::PathBuf;

/// The folder of this name for this user; none if the environment names no home.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let absolute = |variable| variable_path(variable).filter(|path| path.is_absolute());
    let own = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Some(own?.join("sagabox").join(name))
}

/// The path in an environment variable; none if the variable is absent or empty.
pub(crate) fn variable_path(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
