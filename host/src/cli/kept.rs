//! Versions whose components a store keeps, for the commands that take one of them instead of a
//! file.

use anyhow::Context as _;
use clap::Args;

use super::input_error::InputError;
use crate::config::Settings;
use crate::plugins::wasm::{self, LoadedPlugin, Sandbox};
use crate::store::connect::snapshot;
use crate::store::query::component::{KeptComponent, PackedComponent};

/// Which of them.
#[derive(Debug, Args)]
pub(crate) struct KeptVersion {
    /// Take the component of this version of the plugin from the store
    #[arg(long, value_name = "VERSION")]
    pub plugin_version: Option<String>,
    /// Take the component with this digest from the store; its first characters suffice
    #[arg(long, conflicts_with = "plugin_version")]
    pub digest: Option<String>,
}

impl KeptVersion {
    pub(crate) fn is_given(&self) -> bool {
        self.plugin_version.is_some() || self.digest.is_some()
    }

    /// The component of a plugin that is meant.
    ///
    /// # Errors
    /// If the store does not keep it, or several.
    pub(crate) async fn find(&self, store: &str, plugin: &str) -> anyhow::Result<PackedComponent> {
        let mut store = snapshot(store).await?;
        let kept = store.kept(plugin).await?;
        let found = self.select(plugin, &kept).map_err(InputError)?;
        let component = store.component(&found.digest).await?;
        component.with_context(|| format!("the store no longer keeps {}", found.digest))
    }

    fn select<'k>(
        &self,
        plugin: &str,
        kept: &'k [KeptComponent],
    ) -> Result<&'k KeptComponent, String> {
        let is_meant = |own: &&KeptComponent| {
            let by_version =
                self.plugin_version.as_ref().is_some_and(|own_v| *own_v == own.version);
            let by_digest = self.digest.as_ref().is_some_and(|start| own.digest.starts_with(start));
            by_version || by_digest
        };
        let found: Vec<_> = kept.iter().filter(is_meant).collect();
        match (found.as_slice(), &self.digest) {
            // A version that was built again: the last one that decided.
            ([.., last], None) | ([last], Some(_)) => Ok(last),
            ([_, _, ..], Some(start)) => Err(format!(
                "{} components of `{plugin}` have digests that begin with `{start}`; give more \
                 characters",
                found.len()
            )),
            ([], _) => Err(match kept {
                [] => format!(
                    "the store keeps no component of `{plugin}`; it keeps those that decided something"
                ),
                _ => format!(
                    "the store does not keep this version of `{plugin}`; it keeps {}",
                    kept.iter().map(named).collect::<Vec<_>>().join(", ")
                ),
            }),
        }
    }
}

fn named(own: &KeptComponent) -> String {
    format!("{} ({})", own.version, own.digest.get(..12).unwrap_or(&own.digest))
}

/// Loads the plugin of this name from a component of a store.
///
/// # Errors
/// If it is damaged, not signed by a trusted key, or does not load.
pub(crate) fn load(
    component: &PackedComponent,
    plugin: &str,
    settings: &Settings,
) -> anyhow::Result<LoadedPlugin> {
    let bytes = component.unpack().map_err(anyhow::Error::msg)?;
    let name = format!("the component {} in the store", component.digest);
    let sandbox = Sandbox::new(settings.sandbox.clone())?;
    let file = (component.file.as_str(), component.signature.as_deref());
    let loaded = wasm::load_kept(file, &bytes, &sandbox, &settings.configurations());
    let loaded = loaded.map_err(|unfit| InputError(format!("{name}: {unfit}")))?;
    let mut loaded = loaded.into_iter();
    loaded
        .find(|own| own.handler.manifest().name.as_str() == plugin)
        .with_context(|| format!("{name} has no plugin `{plugin}`"))
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::Timestamp;

    use super::*;

    fn kept(version: &str, digest: &str) -> KeptComponent {
        KeptComponent {
            plugin: "orders".to_owned(),
            version: version.to_owned(),
            digest: digest.to_owned(),
            file: "orders.wasm".to_owned(),
            bytes: 1,
            since: Timestamp(1),
            is_active: false,
        }
    }

    #[test]
    fn one_is_selected_or_the_others_are_named() {
        let all = [kept("1.0.0", "aa11"), kept("1.1.0", "ab22"), kept("1.1.0", "cc33")];
        let by = |version: Option<&str>, digest: Option<&str>| {
            let (plugin_version, digest) = (version.map(str::to_owned), digest.map(str::to_owned));
            KeptVersion { plugin_version, digest }
                .select("orders", &all)
                .map(|own| own.digest.clone())
        };
        assert_eq!(by(Some("1.0.0"), None).unwrap(), "aa11");
        assert_eq!(by(Some("1.1.0"), None).unwrap(), "cc33");
        assert_eq!(by(None, Some("ab")).unwrap(), "ab22");
        assert!(by(None, Some("a")).unwrap_err().contains("give more characters"));
        let other = by(Some("2.0.0"), None).unwrap_err();
        assert!(other.ends_with("it keeps 1.0.0 (aa11), 1.1.0 (ab22), 1.1.0 (cc33)"), "{other}");
    }
}
