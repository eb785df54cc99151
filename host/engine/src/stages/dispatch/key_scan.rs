//! Reads which keys have instances in the store, page by page, while the dispatcher already works.
//! Until the scan has ended, the dispatcher asks the store about every key that is not in memory;
//! from then on only about keys that may have an instance (`instance_cache/stored_keys.rs`).

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::model::{Key, PluginName};
use crate::seams::store::Store;
use crate::stages::reads::{detached, until_read};

use super::Dispatcher;

/// Keys of one page. The read takes the store some milliseconds, and memory for as many keys.
const PAGE_KEYS: usize = 4_096;

/// A scan that is in progress, has ended, or was never begun.
#[derive(Default)]
pub(super) struct KeyScan {
    page: Option<BoxFuture<'static, Vec<Key>>>,
}

impl KeyScan {
    pub(super) fn is_under_way(&self) -> bool {
        self.page.is_some()
    }

    fn read(&mut self, store: &Arc<dyn Store>, plugin: &PluginName, after: Option<Key>) {
        let (store, plugin) = (Arc::clone(store), plugin.clone());
        self.page = Some(detached(async move {
            until_read(
                || store.read_keys(&plugin, after.as_ref(), PAGE_KEYS),
                |error| tracing::warn!(%plugin, %error, "reading keys failed; retrying"),
            )
            .await
        }));
    }

    /// Returns the next page. Never resolves if no scan is in progress.
    pub(super) async fn next(&mut self) -> Vec<Key> {
        match &mut self.page {
            Some(page) => page.await,
            None => std::future::pending().await,
        }
    }
}

impl Dispatcher {
    pub(super) fn begin_key_scan(&mut self) {
        self.key_scan.read(&self.context.store, &self.plugin, None);
    }

    pub(super) fn on_keys(&mut self, keys: &[Key]) {
        self.key_scan = KeyScan::default();
        let is_of_use = self.instance_cache.insert_stored_keys(keys);
        match keys.last() {
            Some(last) if keys.len() == PAGE_KEYS && is_of_use => {
                self.key_scan.read(&self.context.store, &self.plugin, Some(last.clone()));
            }
            _ => self.instance_cache.complete_stored_keys(),
        }
    }
}
