//! Hash maps for keys that come from outside: seeded by chance like the standard
//! ones, and several times as fast on short keys.

pub type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
