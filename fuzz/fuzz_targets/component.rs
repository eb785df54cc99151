//! Any bytes as a file among the plugins: as they are, as a component or a module that
//! is valid, or as a plugin with arbitrary code in its functions. It serves or is refused.
#![no_main]

use arbitrary::{Arbitrary as _, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use sagabox_fuzz::{guest, handle, load, migrate};
use wasm_smith::{Component, Config, Module};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((kind, rest)) = data.split_first() else { return Corpus::Reject };
    let Ok(bytes) = file(*kind, rest) else { return Corpus::Reject };
    for plugin in load(&bytes).into_iter().flatten() {
        let _ = handle(&plugin, b"{}");
        migrate(&plugin, b"{}");
    }
    Corpus::Keep
});

fn file(kind: u8, rest: &[u8]) -> arbitrary::Result<Vec<u8>> {
    let mut source = Unstructured::new(rest);
    match kind {
        0 => Ok(Component::new(Config::arbitrary(&mut source)?, &mut source)?.to_bytes()),
        1 => {
            let mut module = Module::new(Config::arbitrary(&mut source)?, &mut source)?.to_bytes();
            guest::embed(&mut module, source.choose_index(guest::ROLES.len())?);
            Ok(module)
        }
        2 => {
            let role = source.choose_index(guest::ROLES.len())?;
            // What the sandbox takes, so that most of them come to run.
            let config = Config {
                exports: Some(guest::shape(role)),
                exceptions_enabled: false,
                gc_enabled: false,
                max_memories: 1,
                memory64_enabled: false,
                threads_enabled: false,
                wide_arithmetic_enabled: false,
                max_imports: 0,
                ..Config::default()
            };
            let mut module = Module::new(config, &mut source)?.to_bytes();
            guest::embed(&mut module, role);
            Ok(module)
        }
        _ => Ok(rest.to_vec()),
    }
}
