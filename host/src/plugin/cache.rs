//! Compiled components on disk. The only file with unsafe code: wasmtime takes a
//! compiled component on trust, because it is machine code.
#![allow(unsafe_code)]

use std::path::Path;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

const DIGEST_BYTES: usize = 32;

pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Compiles, or takes what an earlier run compiled of the same bytes with the same engine.
///
/// # Errors
/// If the bytes are no valid component.
pub fn compile(engine: &Engine, bytes: &[u8], cache: Option<&Path>) -> wasmtime::Result<Component> {
    let Some(cache) = cache.filter(|cache| is_private(cache)) else {
        return Component::new(engine, bytes);
    };
    let file = cache.join(format!("{}.{}", digest(bytes), compatibility(engine)));
    if let Some(component) = load(engine, &file) {
        return Ok(component);
    }
    let component = Component::new(engine, bytes)?;
    // A cache that cannot be written costs time at the next start, nothing else.
    if let Err(error) = component.serialize().and_then(|code| Ok(save(cache, &file, &code)?)) {
        tracing::debug!(%error, file = %file.display(), "the compiled component is not kept");
    }
    Ok(component)
}

/// Makes the folder, and makes it this user's alone: what lies there is run as
/// machine code. One that belongs to somebody else cannot be, and is not used.
fn is_private(cache: &Path) -> bool {
    let made = std::fs::create_dir_all(cache).and_then(|()| close(cache));
    if let Err(error) = &made {
        tracing::warn!(%error, folder = %cache.display(), "compiled components are not kept: the folder cannot be made private");
    }
    made.is_ok()
}

#[cfg(unix)]
fn close(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let metadata = std::fs::symlink_metadata(folder)?;
    if !metadata.is_dir() {
        return Err(std::io::Error::other("it is no folder"));
    }
    if metadata.mode() & 0o777 == 0o700 {
        return Ok(());
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn close(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

fn compatibility(engine: &Engine) -> String {
    struct Into(Sha256);
    impl std::hash::Hasher for Into {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Into(Sha256::new());
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut hasher);
    hex(&hasher.0.finalize()[..8])
}

/// None if there is nothing, or something damaged: it is compiled and written anew then.
fn load(engine: &Engine, file: &Path) -> Option<Component> {
    let stored = std::fs::read(file).ok()?;
    let (stated, code) = stored.split_at_checked(DIGEST_BYTES)?;
    if Sha256::digest(code).as_slice() != stated {
        return None;
    }
    // SAFETY: `code` is what `serialize` returned for an engine of the same
    // compatibility (it is in the file's name), unchanged since (the digest), in a
    // folder that only this user writes to.
    unsafe { Component::deserialize(engine, code) }.ok()
}

/// By rename, so that another host never reads half a file.
fn save(cache: &Path, file: &Path, code: &[u8]) -> std::io::Result<()> {
    let mut temporary = tempfile::NamedTempFile::new_in(cache)?;
    std::io::Write::write_all(&mut temporary, &Sha256::digest(code))?;
    std::io::Write::write_all(&mut temporary, code)?;
    temporary.persist(file).map_err(|error| error.error)?;
    Ok(())
}
