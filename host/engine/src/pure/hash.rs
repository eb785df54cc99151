//! Hash maps for keys that come from outside. They are seeded at random like the standard ones, so
//! a sender cannot choose keys that collide, and several times as fast on short keys.
//!
//! Nothing may depend on their order: it differs from run to run.

pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
