//! Any text as a configuration, and as a lock file. It is read or refused with a reason,
//! and what is read of a lock file is written as it was.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sagabox::config::{self, Overrides};
use sagabox::plugins::trust::LockFile;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = config::parse(text, "sagabox.toml", Path::new(""), Overrides::default()) {
        assert!(error.to_string().starts_with("sagabox.toml:"), "{error}");
    }
    if let Ok(lock) = LockFile::parse(text) {
        assert_eq!(LockFile::parse(&lock.to_text()), Ok(lock));
    }
});
