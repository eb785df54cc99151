//! Keeps each component that decides in the store, before its first decision.
//!
//! So replay, a rollback and the question what a version would have decided need no file that a
//! person kept. The component is read from its file once more, which happens once for each content:
//! the store knows it by its digest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use sagabox_engine::model::Manifest;
use sagabox_engine::seams::handler::Handler;

use crate::io::files;
use crate::plugins::factory::{Find, PluginFactory};
use crate::plugins::trust;
use crate::plugins::wasm;
use crate::store::query::component::{ComponentUse, KeptComponent, PackedComponent};

/// The components that decide, by plugin: the version that serves, and a canary.
pub(in crate::plugins) type InUse = BTreeMap<String, BTreeSet<String>>;

impl PluginFactory {
    /// Keeps the component in this file, which decides for these plugins from now on.
    ///
    /// # Errors
    /// If its file is not the one that was loaded any more, or the store cannot be written.
    pub(in crate::plugins) async fn keep<'m>(
        &self,
        find: &Find,
        plugins: impl IntoIterator<Item = &'m Manifest>,
    ) -> Result<(), String> {
        let version = |own: &Manifest| (own.name.to_string(), own.version.to_string());
        let of = ComponentUse {
            digest: find.digest.clone(),
            plugins: plugins.into_iter().map(version).collect(),
            at: (self.clock)(),
        };
        let failed = |error| format!("it cannot be kept in the store: {error}");
        if self.records.begin_use(&of, None).await.map_err(failed)? {
            return Ok(());
        }
        let (path, bytes_max) = (find.path.clone(), self.sandbox.component_bytes());
        let packed = tokio::task::spawn_blocking(move || pack(&path, bytes_max));
        let packed = packed.await.map_err(|error| format!("it cannot be packed: {error}"))??;
        if packed.digest != find.digest {
            return Err("its file changed after it was checked; its new content counts".to_owned());
        }
        self.records.begin_use(&of, Some(packed)).await.map_err(failed)?;
        Ok(())
    }

    /// The versions of plugins that the store keeps and that may have been canaries since the host
    /// last noted which file serves: they convert the states that they have left. Damaged versions,
    /// and those that are no longer trusted, are left out.
    pub(in crate::plugins) async fn earlier_canaries(self: &Arc<Self>) -> Vec<Arc<dyn Handler>> {
        let mut handlers = Vec::new();
        let kept = match self.queries.kept_components().await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(%error, "reading the components that the store keeps failed");
                return handlers;
            }
        };
        for KeptComponent { plugin, version, digest, .. } in kept {
            // Without a canary, the version that served last has read all states.
            if !matches!(self.records.served_last(&plugin).await, Ok(None)) {
                continue;
            }
            match self.load_kept(&plugin, &digest).await {
                Ok(handler) => handlers.extend(handler),
                Err(reason) => tracing::warn!(
                    %plugin, %version, %digest, %reason,
                    "a component in the store cannot convert states that it may have left"
                ),
            }
        }
        handlers
    }

    async fn load_kept(
        self: &Arc<Self>,
        plugin: &str,
        digest: &str,
    ) -> Result<Option<Arc<dyn Handler>>, String> {
        let component = self.queries.component(digest).await.map_err(|error| error.to_string())?;
        let Some(component) = component else { return Ok(None) };
        let (factory, plugin) = (Arc::clone(self), plugin.to_owned());
        let loaded = tokio::task::spawn_blocking(move || {
            let bytes = component.unpack()?;
            let file = (component.file.as_str(), component.signature.as_deref());
            let (sandbox, configurations) = (&factory.sandbox, &factory.configurations);
            let loaded = wasm::load_kept(file, &bytes, sandbox, configurations);
            let loaded = loaded.map_err(|unfit| unfit.to_string())?;
            let mut handlers = loaded.into_iter().map(|own| own.handler);
            Ok(handlers.find(|own| own.manifest().name.as_str() == plugin))
        });
        loaded.await.map_err(|error| error.to_string())?
    }

    /// Notes which components decide. Other components are removed with their last decisions.
    pub(in crate::plugins) async fn keep_no_others(&self, in_use: &InUse) {
        if let Err(error) = self.records.end_other_uses(in_use).await {
            tracing::warn!(
                %error,
                "recording which components decide failed; the store keeps those that do not for \
                 longer"
            );
        }
    }
}

fn pack(path: &Path, bytes_max: usize) -> Result<PackedComponent, String> {
    let bytes = files::bytes(path, bytes_max).map_err(|error| wasm::unreadable(&error))?;
    let signature = files::bytes(&trust::beside(path), files::TEXT_BYTES_MAX).ok();
    let signature = signature.and_then(|text| String::from_utf8(text).ok());
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(PackedComponent::pack(file, &bytes, signature))
}
