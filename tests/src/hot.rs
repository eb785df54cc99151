//! The plugin of `tests/hot` in as many versions as wanted, without a compiler: what it says of
//! itself stands in a mark, which is overwritten in the built component.

use crate::paths;

/// Version, version of states, what it migrates, and what is special. `tests/hot` says more.
pub const MARK: &[u8] = b"@hot:00001:1:all:@@@@@@@";

/// The built plugin with another mark. `migrates`: `all`, `not` the stubborn ones, or its `own`.
/// `special`: nothing, `differs`, `fails`, `reshape` or `fields@`.
///
/// # Panics
/// If it is not built, or does not have the mark once.
pub fn marked(number: usize, of_state: u32, migrates: &str, special: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(paths::plugin("hot")).expect("the plugin");
    let mark = format!("@hot:{number:05}:{of_state}:{migrates}:{special:@<7}");
    assert_eq!(mark.len(), MARK.len());
    let found: Vec<usize> =
        (0..bytes.len() - MARK.len()).filter(|at| bytes[*at..].starts_with(MARK)).collect();
    assert_eq!(found.len(), 1, "the mark stands there once");
    bytes[found[0]..found[0] + MARK.len()].copy_from_slice(mark.as_bytes());
    bytes
}
