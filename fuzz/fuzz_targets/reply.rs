//! Any memory as what a plugin answers. It is a decision that keeps to the limits and to
//! the manifest, or the call fails.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use sagabox::plugins::wasm::{Limits, LoadedPlugin};
use sagabox_engine::seams::handler::Reply;
use sagabox_fuzz::{guest, handle, load, migrate};

static PLUGINS: LazyLock<Vec<LoadedPlugin>> = LazyLock::new(|| {
    let load = |role| load(&guest::echo(role)).expect("it serves").remove(0);
    (0..guest::ROLES.len()).map(load).collect()
});

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((what, reply)) = data.split_first() else { return Corpus::Reject };
    let Some(plugin) = PLUGINS.get(usize::from(*what)) else {
        migrate(&PLUGINS[1], reply);
        return Corpus::Keep;
    };
    let limits = Limits::default();
    match handle(plugin, reply) {
        Some(Reply::Decided(decision)) => {
            assert!(decision.messages.len() <= limits.messages);
            assert!(decision.timers.len() <= limits.timers);
            assert!(decision.keys.len() <= limits.keys);
            let manifest = plugin.handler.manifest();
            for message in &decision.messages {
                let name = &message.event_type;
                assert!(manifest.commands.contains(name) || manifest.events.contains(name));
            }
        }
        Some(Reply::Need(questions)) => assert!((1..=limits.questions).contains(&questions.len())),
        None => {}
    }
    Corpus::Keep
});
