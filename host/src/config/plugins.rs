//! What the host does with plugins: which it trusts, how it loads them, and the settings and limits
//! of each one.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use sagabox_engine::engine::Missed;
use toml::Spanned;

use super::file::{self, Fault, PluginSection, PluginsSection};
use crate::plugins::factory;
use crate::plugins::reload;
use crate::plugins::trust::{Key, LockRule, Policy};
use crate::plugins::wasm;

/// The settings of each plugin as JSON, and its limits.
type Own = (BTreeMap<String, serde_json::Value>, BTreeMap<String, wasm::Limits>);

/// The sections of single plugins. A limit that a section does not name is as for all plugins.
pub(super) fn own(
    sections: BTreeMap<String, PluginSection>,
    for_all: &wasm::Limits,
) -> Result<Own, Fault> {
    let (mut settings, mut limits) = Own::default();
    for (name, section) in sections {
        limits.insert(name.clone(), section.limits.resolve(for_all)?);
        settings.insert(name, serde_json::Value::Object(section.own));
    }
    Ok((settings, limits))
}

pub(super) fn trust(said: &PluginsSection, directory: &Path) -> Result<Policy, Fault> {
    let key = |said: &Spanned<String>| {
        let key = Key::read(said.get_ref(), directory);
        key.map_err(|reason| Fault::at(said.span(), format!("plugins.keys: {reason}")))
    };
    let lock = match said.locked.unwrap_or(false) {
        true => LockRule::Demanded,
        false => LockRule::WhenThere,
    };
    Ok(Policy { keys: said.keys.iter().map(key).collect::<Result<_, _>>()?, lock })
}

pub(super) fn hot(said: &PluginsSection) -> reload::Settings {
    let default = reload::Settings::default();
    let poll = said.poll_ms.map(|ms| Duration::from_millis(ms.get())).or(default.poll);
    reload::Settings {
        poll: poll.filter(|_| said.watch.unwrap_or(true)),
        preflight: match said.preflight {
            None => default.preflight,
            Some(file::Preflight::Refuse) => factory::Preflight::Refuse,
            Some(file::Preflight::Report) => factory::Preflight::Report,
        },
        missed: match said.missed {
            None => default.missed,
            Some(file::Missed::Handle) => Missed::Handle,
            Some(file::Missed::Ignore) => Missed::Ignore,
        },
    }
}
