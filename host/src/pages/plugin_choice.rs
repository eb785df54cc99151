//! The plugins that the reader of a page may see, and the one that a list is about.

use std::collections::BTreeSet;

use crate::api::admin;
use crate::api::{Caller, Problem, Shared};

/// The plugins that the caller may see, of those that serve or have served.
pub(super) async fn plugins(site: &Shared, caller: &Caller) -> Result<BTreeSet<String>, Problem> {
    let mut names = site.queries.plugins().await.map_err(admin::unreadable)?;
    let serving = site.plugin_status.serving();
    names.extend(serving.iter().map(|plugin| plugin.manifest.name.to_string()));
    names.retain(|name| caller.sees_plugin(name));
    Ok(names)
}

/// The plugin that a list is about: the one that was asked for; none, for all plugins. A caller who
/// may not see all plugins looks at one of them.
pub(super) fn chosen(asked: String, caller: &Caller, plugins: &BTreeSet<String>) -> String {
    match plugins.first() {
        Some(first) if asked.is_empty() && caller.check_whole().is_err() => first.clone(),
        _ => asked,
    }
}
