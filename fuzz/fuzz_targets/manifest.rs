//! Any memory as what a plugin says of itself. It is a manifest that can be served, or
//! the plugin is refused.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use sagabox_fuzz::{guest, handle, load};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((role, manifest)) = data.split_first() else { return Corpus::Reject };
    let role = usize::from(*role) % guest::ROLES.len();
    for plugin in load(&guest::described(role, manifest)).into_iter().flatten() {
        let manifest = plugin.handler.manifest();
        assert_eq!(manifest.role.as_str(), guest::ROLES[role].0);
        assert!(!manifest.subscriptions.is_empty(), "{manifest:?}");
        let _ = handle(&plugin, b"");
    }
    Corpus::Keep
});
