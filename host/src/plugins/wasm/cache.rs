//! Compiled components on disk. The only file with unsafe code: wasmtime must trust a compiled
//! component, because it is machine code.
//!
//! Therefore only this user can write to the folder (`folder.rs`), and an entry names the file from
//! which it was compiled, so that it cannot be put under another name. The lock file and signatures
//! name components; this module extends their promise to the code that runs.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::compiler::CompileLimits;
use super::core_module;
use super::folder::{Claim, Entry, PrivateFolder};
use super::kept::CacheSettings;
use crate::decisions::digest::hex;

const DIGEST_BYTES: usize = 32;
/// Larger than the compiled code of the largest component of any language.
const ENTRY_BYTES_MAX: u64 = 1 << 30;
const REFUSAL_BYTES_MAX: u64 = 4_096;
/// An entry that was not used for so long is removed.
const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// An entry's name is the digest of its file and of everything else on which the compiled code
/// depends.
pub(crate) struct Cache {
    folder: PrivateFolder,
    /// The most bytes of all entries. The entries that were used last stay.
    bytes_max: u64,
    keeps_refusals: bool,
    /// The entries that this process has read or written: their components serve, or did.
    used: Mutex<BTreeSet<String>>,
}

impl Cache {
    /// # Errors
    /// If the folder is not this user's, or cannot be created.
    pub(crate) fn open(path: &Path, settings: &CacheSettings) -> std::io::Result<Self> {
        let CacheSettings { bytes_max, keeps_refusals, .. } = *settings;
        let folder = PrivateFolder::open(path)?;
        Ok(Self { folder, bytes_max, keeps_refusals, used: Mutex::default() })
    }

    /// Waits while another process compiles the file with this digest, at most for `patience`.
    pub(crate) fn claim(
        &self,
        engine: &Engine,
        digest: &str,
        patience: Duration,
    ) -> Option<Claim<'_>> {
        self.folder.claim(&name(engine, digest), patience)
    }

    /// The number of compiled components, and their bytes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn content(&self) -> std::io::Result<(usize, u64)> {
        let mut entries = self.folder.entries()?;
        entries.retain(|entry| is_name(&entry.name));
        Ok((entries.len(), entries.iter().map(|entry| entry.bytes).sum()))
    }

    /// The component that an earlier run compiled from the file with this digest, for the same
    /// engine. None if there is no such entry, or if it is damaged: then the file is compiled
    /// again.
    pub(crate) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let name = name(engine, digest);
        let stored = self.folder.read(&name, ENTRY_BYTES_MAX)?;
        let (stated, code) = stored.split_at_checked(DIGEST_BYTES)?;
        if seal(&name, code).as_slice() != stated {
            return None;
        }
        // SAFETY: `code` is what `precompile_component` returned for an engine of the same
        // compatibility and the file of this digest (both are in the name, which is sealed with
        // the code), unchanged since (the seal), in a file and a folder that only this user can
        // write to.
        let component = unsafe { Component::deserialize(engine, code) }.ok()?;
        self.use_of(&name);
        Some(component)
    }

    /// # Errors
    /// If it cannot be written.
    pub(crate) fn save(&self, engine: &Engine, digest: &str, code: &[u8]) -> std::io::Result<()> {
        let name = name(engine, digest);
        self.folder.write(&name, &[&seal(&name, code), code])?;
        self.use_of(&name);
        self.prune(self.bytes_max, AGE_MAX)
    }

    /// The reason for which the file of this digest could not be compiled within these limits, if
    /// that was tried.
    pub(crate) fn refusal(
        &self,
        engine: &Engine,
        digest: &str,
        limits: &CompileLimits,
    ) -> Option<String> {
        if !self.keeps_refusals {
            return None;
        }
        let name = refusal(&name(engine, digest), limits);
        let stored = self.folder.read(&name, REFUSAL_BYTES_MAX)?;
        let (stated, reason) = stored.split_at_checked(DIGEST_BYTES)?;
        let reason = String::from_utf8(reason.to_vec()).ok()?;
        (seal(&name, reason.as_bytes()).as_slice() == stated).then_some(reason)
    }

    /// Notes the reason, so that the next start does not need the same time to find it again.
    pub(crate) fn refuse(
        &self,
        engine: &Engine,
        digest: &str,
        limits: &CompileLimits,
        reason: &str,
    ) {
        if !self.keeps_refusals {
            return;
        }
        let name = refusal(&name(engine, digest), limits);
        if let Err(error) =
            self.folder.write(&name, &[&seal(&name, reason.as_bytes()), reason.as_bytes()])
        {
            tracing::debug!(
                %error, %digest,
                "recording that the component cannot be compiled failed"
            );
        }
    }

    fn use_of(&self, name: &str) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    /// Removes the entries that were not used for long, and then those that were used least
    /// recently. It keeps the entries that this process uses, and files that are not entries.
    fn prune(&self, bytes_max: u64, age_max: Duration) -> std::io::Result<()> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut entries: Vec<Entry> = self.folder.entries()?;
        entries.retain(|entry| is_name(&entry.name));
        let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        entries.sort_by_key(|entry| entry.used_at);
        let now = SystemTime::now();
        for entry in entries.iter().filter(|entry| !used.contains(&entry.name)) {
            let is_old = now.duration_since(entry.used_at).is_ok_and(|age| age > age_max);
            if is_old || bytes > bytes_max {
                self.folder.remove(&entry.name)?;
                bytes -= entry.bytes;
            }
        }
        Ok(())
    }
}

/// Loads code that `compiler` has just made, in this process or a child of it.
///
/// # Errors
/// If the engine refuses it.
pub(crate) fn made(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` is what `precompile_component` returned in this binary, for an engine with
    // the same settings, and has not left the two processes.
    unsafe { Component::deserialize(engine, code) }
}

fn name(engine: &Engine, digest: &str) -> String {
    format!("{digest}.{}", compatibility(engine))
}

fn refusal(name: &str, limits: &CompileLimits) -> String {
    let CompileLimits { time, memory_bytes } = limits;
    format!("{name}.over-{}-{memory_bytes}", time.as_millis())
}

/// Entries of earlier versions of the host have such names, too.
fn is_name(name: &str) -> bool {
    let is_hex =
        |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    let mut parts = name.splitn(3, '.');
    let is_ours = parts.next().is_some_and(|digest| is_hex(digest, 64))
        && parts.next().is_some_and(|engine| is_hex(engine, 16));
    is_ours && parts.next().is_none_or(|rest| rest.starts_with("over-"))
}

fn seal(name: &str, code: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut hasher = Sha256::new();
    hasher.update((name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.update(code);
    hasher.finalize().into()
}

/// The engine and the code that makes components of core modules, as a part of the name.
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
    hasher.0.update(env!("CARGO_PKG_VERSION"));
    hasher.0.update(core_module::ADAPTER);
    hex(&hasher.0.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::decisions::digest::digest;

    struct Bench {
        folder: TempDir,
        engine: Engine,
    }

    /// Two components that can be distinguished.
    const ONE: &[u8] = b"(component (core module))";
    const OTHER: &[u8] = b"(component (core module) (core module))";

    impl Bench {
        fn new() -> Self {
            Self { folder: TempDir::new().unwrap(), engine: Engine::default() }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("cache")
        }

        fn settings(&self) -> CacheSettings {
            CacheSettings::of_host(self.path())
        }

        fn open(&self) -> Cache {
            Cache::open(&self.path(), &self.settings()).unwrap()
        }

        fn save(&self, cache: &Cache, component: &[u8]) -> PathBuf {
            let code = self.engine.precompile_component(component).unwrap();
            cache.save(&self.engine, &digest(component), &code).unwrap();
            self.file(component)
        }

        fn file(&self, component: &[u8]) -> PathBuf {
            self.path().join(name(&self.engine, &digest(component)))
        }

        fn has(&self, component: &[u8]) -> bool {
            Cache::open(&self.path(), &self.settings())
                .is_ok_and(|cache| cache.load(&self.engine, &digest(component)).is_some())
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Gives a file to another user. Only root can; without root, this attack is not possible.
    fn give_away(path: &Path) -> bool {
        std::os::unix::fs::chown(path, Some(12_345), None).is_ok()
    }

    #[test]
    fn the_folder_of_machine_code_is_its_users_alone() {
        let bench = Bench::new();
        let file = bench.save(&bench.open(), ONE);
        assert_eq!((mode(&bench.path()), mode(&file)), (0o700, 0o600));
        set_mode(&bench.path(), 0o777);
        assert!(bench.has(ONE));
        assert_eq!(mode(&bench.path()), 0o700);
    }

    #[test]
    fn a_link_to_elsewhere_is_no_cache() {
        let bench = Bench::new();
        symlink(bench.folder.path(), bench.path()).unwrap();
        assert!(Cache::open(&bench.path(), &bench.settings()).is_err());
    }

    #[test]
    fn a_folder_of_another_user_is_no_cache() {
        let bench = Bench::new();
        bench.save(&bench.open(), ONE);
        if give_away(&bench.path()) {
            let opened = Cache::open(&bench.path(), &bench.settings());
            let error = opened.map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with("it belongs to another user (uid 12345)"), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_wrote_or_can_write_is_not_run() {
        let bench = Bench::new();
        let cache = bench.open();
        let file = bench.save(&cache, ONE);
        assert!(bench.has(ONE));
        set_mode(&file, 0o620);
        assert!(!bench.has(ONE), "its group can write it");
        set_mode(&file, 0o600);
        assert!(bench.has(ONE));
        fs::hard_link(&file, bench.folder.path().join("mine")).unwrap();
        assert!(!bench.has(ONE), "it has a name elsewhere");
        fs::remove_file(bench.folder.path().join("mine")).unwrap();
        let aside = bench.folder.path().join("aside");
        fs::rename(&file, &aside).unwrap();
        symlink(&aside, &file).unwrap();
        assert!(!bench.has(ONE), "it is a link");
        fs::remove_file(&file).unwrap();
        fs::rename(&aside, &file).unwrap();
        if give_away(&file) {
            assert!(!bench.has(ONE), "it belongs to another user");
        }
    }

    #[test]
    fn code_of_another_component_is_not_run_under_this_ones_name() {
        let bench = Bench::new();
        let cache = bench.open();
        let (one, other) = (bench.save(&cache, ONE), bench.save(&cache, OTHER));
        fs::copy(&other, &one).unwrap();
        assert!(!bench.has(ONE));
        assert!(bench.has(OTHER));
    }

    #[test]
    fn a_damaged_file_is_compiled_anew() {
        let bench = Bench::new();
        let cache = bench.open();
        let file = bench.save(&cache, ONE);
        let whole = fs::read(&file).unwrap();
        for at in [0, DIGEST_BYTES, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&file, damaged).unwrap();
            assert!(!bench.has(ONE), "{at}");
        }
        fs::write(&file, &whole[..10]).unwrap();
        assert!(!bench.has(ONE));
        bench.save(&cache, ONE);
        assert_eq!(fs::read(&file).unwrap(), whole);
    }

    #[test]
    fn what_could_not_be_compiled_is_known_for_the_same_limits() {
        let bench = Bench::new();
        let limits = CompileLimits::default();
        let one = digest(ONE);
        bench.open().refuse(&bench.engine, &one, &limits, "takes too long");
        let known = |limits| bench.open().refusal(&bench.engine, &one, limits);
        assert_eq!(known(&limits), Some("takes too long".to_owned()));
        let wider = CompileLimits { memory_bytes: limits.memory_bytes + 1, ..limits };
        assert_eq!(known(&wider), None);
        assert_eq!(bench.open().refusal(&bench.engine, &digest(OTHER), &limits), None);
        bench.open().prune(0, AGE_MAX).unwrap();
        assert_eq!(known(&limits), None);
    }

    #[test]
    fn a_users_cache_remembers_no_refusal() {
        let bench = Bench::new();
        let (limits, one) = (CompileLimits::default(), digest(ONE));
        let settings = CacheSettings { keeps_refusals: false, ..bench.settings() };
        let users = Cache::open(&bench.path(), &settings).unwrap();
        users.refuse(&bench.engine, &one, &limits, "takes too long");
        assert_eq!(bench.open().refusal(&bench.engine, &one, &limits), None);
        bench.open().refuse(&bench.engine, &one, &limits, "takes too long");
        assert_eq!(users.refusal(&bench.engine, &one, &limits), None);
    }

    #[test]
    fn one_of_many_compiles_and_the_others_wait_for_it() {
        let bench = Bench::new();
        let compiled = std::sync::atomic::AtomicUsize::new(0);
        let patience = Duration::from_secs(60);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    // Each opens the folder for itself, as processes do.
                    let (cache, one) = (bench.open(), digest(ONE));
                    let claim = cache.claim(&bench.engine, &one, patience);
                    assert!(claim.is_some());
                    if cache.load(&bench.engine, &one).is_none() {
                        compiled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        bench.save(&cache, ONE);
                    }
                });
            }
        });
        assert_eq!(compiled.into_inner(), 1);
        let left = fs::read_dir(bench.path()).unwrap().count();
        assert_eq!(left, 1, "no claim is left behind");
    }

    #[test]
    fn who_waits_too_long_for_another_compiles_too() {
        let bench = Bench::new();
        let (cache, one) = (bench.open(), digest(ONE));
        let held = cache.claim(&bench.engine, &one, Duration::ZERO);
        assert!(held.is_some());
        assert!(cache.claim(&bench.engine, &one, Duration::from_millis(1)).is_none());
        assert!(cache.claim(&bench.engine, &digest(OTHER), Duration::ZERO).is_some());
        drop(held);
        assert!(cache.claim(&bench.engine, &one, Duration::ZERO).is_some());
    }

    fn set_used(path: &Path, days: u64) {
        let file = fs::File::options().write(true).open(path).unwrap();
        let ago = Duration::from_secs(days * 24 * 3_600);
        file.set_modified(SystemTime::now() - ago).unwrap();
    }

    #[test]
    fn what_is_old_or_too_much_goes_and_what_serves_stays() {
        let bench = Bench::new();
        let cache = bench.open();
        let serves = bench.save(&cache, ONE);
        let entry = |n: usize, days: u64, bytes: usize| {
            let path = bench.path().join(format!("{n:064}.{n:016}"));
            fs::write(&path, vec![0; bytes]).unwrap();
            set_used(&path, days);
            path
        };
        let (old, older, newer) = (entry(1, 31, 1), entry(2, 5, 1_000), entry(3, 2, 1_000));
        let foreign = bench.path().join("README");
        fs::write(&foreign, "mine").unwrap();
        set_used(&foreign, 99);
        set_used(&serves, 99);
        let left = bench.path().join(".partial-1-x");
        fs::write(&left, "half").unwrap();
        set_used(&left, 1);
        cache.prune(u64::MAX, AGE_MAX).unwrap();
        assert!(!old.exists() && older.exists() && newer.exists());
        assert!(!left.exists() && foreign.exists() && serves.exists());
        cache.prune(fs::metadata(&serves).unwrap().len() + 1_500, AGE_MAX).unwrap();
        assert!(!older.exists() && newer.exists() && serves.exists());
        cache.prune(0, AGE_MAX).unwrap();
        assert!(!newer.exists() && foreign.exists() && serves.exists());
        // Another process has not used any entry yet.
        bench.open().prune(u64::MAX, AGE_MAX).unwrap();
        assert!(!serves.exists());
    }
}
