//! A version that serves a share of a plugin's keys beside the version that serves all others.
//!
//! Which keys belong to a share follows from their hash alone. So the keys are the same after every
//! restart, and a greater share contains all keys of a smaller one.

use std::sync::Arc;

use crate::model::{Key, PluginName};
use crate::pure::identity;
use crate::seams::handler::Handler;

/// The number of parts of a whole share.
const PARTS: u32 = 1_000_000;

/// A candidate, and the share of the keys that it serves.
#[derive(Clone)]
pub struct Canary {
    /// The candidate.
    pub handler: Arc<dyn Handler>,
    /// The share of the keys that it serves.
    pub share: Share,
}

impl Canary {
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.handler, &other.handler) && self.share == other.share
    }
}

/// A share of a plugin's keys. The hash of a key decides whether it is in a share, so a share
/// has the same keys after every restart, and a greater share has all keys of a smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// The share of `percent` percent. None if that is not more than 0 and at most 100, or less
    /// than a ten-thousandth of a percent.
    #[must_use]
    pub fn percent(percent: f64) -> Option<Self> {
        let parts = percent / 100.0 * f64::from(PARTS);
        if !(parts >= 1.0 && percent <= 100.0) {
            return None;
        }
        // In the range of the parts: checked above.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(Self(parts.round() as u32))
    }

    /// The share in percent.
    #[must_use]
    pub fn as_percent(self) -> f64 {
        f64::from(self.0) * 100.0 / f64::from(PARTS)
    }

    /// Whether the candidate serves this key.
    #[must_use]
    pub fn has(self, plugin: &PluginName, key: &Key) -> bool {
        // The upper bits, as a part of the whole.
        let part = (u128::from(identity::place(plugin, key)) * u128::from(PARTS)) >> 64;
        part < u128::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(share: Share) -> Vec<usize> {
        let has = |n: &usize| share.has(&"orders".into(), &format!("order-{n}").into());
        (0..10_000).filter(has).collect()
    }

    #[test]
    fn a_share_has_about_so_many_keys_and_all_of_a_smaller_one() {
        let share = |percent| Share::percent(percent).unwrap();
        let (few, more) = (keys(share(1.0)), keys(share(10.0)));
        assert!((70..130).contains(&few.len()), "{}", few.len());
        assert!((900..1_100).contains(&more.len()), "{}", more.len());
        assert!(few.iter().all(|key| more.contains(key)));
        assert_eq!(keys(share(100.0)).len(), 10_000);
    }

    /// A change of the hash would move running instances to another version.
    #[test]
    fn a_key_is_in_a_share_for_ever() {
        assert_eq!(keys(Share::percent(0.05).unwrap()), [72, 847, 2_736, 5_466, 7_551, 8_390]);
    }

    #[test]
    fn a_share_is_a_percentage() {
        for wrong in [0.0, -1.0, 100.1, f64::NAN, 0.000_01] {
            assert_eq!(Share::percent(wrong), None, "{wrong}");
        }
        assert!((Share::percent(12.5).unwrap().as_percent() - 12.5).abs() < 1e-9);
    }
}
