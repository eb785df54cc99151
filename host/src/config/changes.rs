//! What has changed in a configuration file, by key, and what of that a running host can apply.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sha2::{Digest as _, Sha256};

/// The settings of a file by their keys, such as `limits.shards`. An element of a list has no key
/// of its own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, Value>);

/// SHA-256 of a setting, which may be a secret.
type Value = [u8; 32];

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Keys, or the beginnings of keys, that a host applies while it runs.
const APPLIED: [&str; 5] = ["api.rate", "log.filter", "login", "retention.audit", "tls"];

impl Keys {
    /// Of a text that is TOML; of any other text there are none.
    pub(super) fn of(text: &str) -> Self {
        let mut keys = BTreeMap::new();
        if let Ok(table) = text.parse::<toml::Table>() {
            collect("", &table, &mut keys);
        }
        Self(keys)
    }

    /// The keys whose settings differ, also those that only one of both has.
    pub fn changed(&self, other: &Self) -> BTreeSet<String> {
        let all = self.0.keys().chain(other.0.keys());
        all.filter(|key| self.0.get(*key) != other.0.get(*key)).cloned().collect()
    }
}

impl Keys {
    /// These keys, but with what the others say of some.
    pub fn with(mut self, others: &Self, names: &[&String]) -> Self {
        for name in names {
            match others.0.get(*name) {
                Some(value) => self.0.insert((*name).clone(), *value),
                None => self.0.remove(*name),
            };
        }
        self
    }
}

/// Whether a host that runs applies a change of this key.
pub fn is_applied(key: &str) -> bool {
    APPLIED.iter().any(|own| {
        key.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

fn collect(prefix: &str, table: &toml::Table, keys: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(table) => collect(&key, table, keys),
            value => {
                keys.insert(key, Sha256::digest(value.to_string()).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_named_by_its_key() {
        let old =
            Keys::of("listen = 'a'\n[limits]\nshards = 2\nhops = 3\n[api]\nrate.per_second = 5");
        let new = Keys::of(
            "listen = 'a'\n[limits]\nshards = 4\nhops = 3\n[[login.oidc.grant]]\nvalue = 'x'",
        );
        let changed: Vec<String> = old.changed(&new).into_iter().collect();
        assert_eq!(changed, ["api.rate.per_second", "limits.shards", "login.oidc.grant"]);
        assert_eq!(old.changed(&old.clone()), BTreeSet::new());
        let applied: Vec<bool> = changed.iter().map(|key| is_applied(key)).collect();
        assert_eq!(applied, [true, false, true]);
        let applied: Vec<&String> = changed.iter().filter(|key| is_applied(key)).collect();
        let rest = old.clone().with(&new, &applied).changed(&new);
        assert_eq!(rest.into_iter().collect::<Vec<_>>(), ["limits.shards"]);
        assert!(!is_applied("api.rates") && !is_applied("api") && is_applied("tls.key"));
    }
}
