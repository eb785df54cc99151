//! How often a property is tried.

use proptest::prelude::ProptestConfig;

/// For a property over many steps, of which few orders are of interest, and of which a case takes
/// less than a millisecond. `PROPTEST_CASES` may ask for more.
pub(crate) fn many_cases() -> ProptestConfig {
    const CASES: u32 = 4_096;
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(CASES), ..default }
}
