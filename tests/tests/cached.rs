//! Commands share what they have compiled: in a folder of the user that no other user can write to.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use sagabox_tests::command::{Ended, sagabox_with};
use sagabox_tests::paths;
use tempfile::TempDir;

use crate::loading::{SAGA, bomb};

/// A folder with a plugin, its scenarios, and a cache of its own.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::copy(paths::plugin("order-saga"), folder.path().join("order-saga.wasm"))
            .expect("the plugin");
        Self(folder)
    }

    fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        sagabox_with(self.0.path(), arguments, variables)
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, &[("SAGABOX_CACHE", "cache")])
    }

    fn check(&self) {
        let _ = self.run(&["check", "order-saga.wasm"]).with(0);
    }

    fn test(&self) {
        let scenarios = paths::repository().join("plugins/order-saga/scenarios");
        let scenarios = scenarios.to_str().expect("paths of tests are text");
        let test = ["test", "order-saga.wasm", "--scenarios", scenarios];
        let _ = self.run(&test).with(0).saying(" passed, 0 failed");
    }

    fn cache(&self) -> PathBuf {
        self.0.path().join("cache/components")
    }

    /// The only compiled component.
    #[track_caller]
    fn entry(&self) -> PathBuf {
        let files = files(&self.cache());
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// A file that is written again has another number.
fn number(path: &Path) -> u64 {
    path.metadata().expect("a file").ino()
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("a file").permissions().mode() & 0o777
}

#[test]
fn commands_compile_a_component_once() {
    let bench = Bench::new();
    bench.check();
    let entry = bench.entry();
    assert_eq!((mode(&bench.cache()), mode(&entry)), (0o700, 0o600));
    let first = number(&entry);
    bench.check();
    bench.test();
    assert_eq!(number(&bench.entry()), first, "it was compiled again");
    let _ = bench.run(&["doctor", "--host", "127.0.0.1:1"]).saying("has 1 compiled components");
}

#[test]
fn a_damaged_entry_and_one_that_others_can_write_are_compiled_again() {
    let bench = Bench::new();
    bench.check();
    let first = number(&bench.entry());
    let mut damaged = std::fs::read(bench.entry()).expect("the entry");
    *damaged.last_mut().expect("code") ^= 1;
    std::fs::write(bench.entry(), damaged).expect("the entry");
    bench.check();
    let second = number(&bench.entry());
    assert_ne!(first, second, "damaged code was run");
    let writable = std::fs::Permissions::from_mode(0o622);
    std::fs::set_permissions(bench.entry(), writable).expect("its mode");
    bench.check();
    assert_ne!(second, number(&bench.entry()), "code that others could write was run");
}

#[test]
fn a_folder_that_cannot_be_trusted_is_left_alone_and_the_doctor_says_so() {
    let bench = Bench::new();
    let elsewhere = bench.0.path().join("elsewhere");
    std::fs::create_dir_all(bench.0.path().join("cache")).expect("a folder");
    std::fs::create_dir(&elsewhere).expect("a folder");
    symlink(&elsewhere, bench.cache()).expect("a link");
    bench.check();
    bench.test();
    assert!(files(&elsewhere).is_empty());
    let doctor = bench.run(&["doctor", "--host", "127.0.0.1:1"]).with(0);
    let _ = doctor.saying("warning  cache: cache/components is not used");
}

#[test]
fn several_commands_at_a_time_compile_a_component_once() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| bench.test());
        }
    });
    let _ = bench.entry();
}

#[test]
fn the_cache_is_the_users_unless_a_variable_says_otherwise() {
    let bench = Bench::new();
    let home = bench.0.path().join("home");
    let home = home.to_str().expect("paths of tests are text");
    let check = ["check", "order-saga.wasm"];
    let off = [("SAGABOX_CACHE", "off"), ("HOME", home), ("XDG_CACHE_HOME", "")];
    let _ = bench.run_with(&check, &off).with(0);
    assert!(!Path::new(home).exists(), "nothing is kept");
    let usual = [("SAGABOX_CACHE", ""), ("HOME", home), ("XDG_CACHE_HOME", "")];
    let _ = bench.run_with(&check, &usual).with(0);
    assert_eq!(files(&Path::new(home).join(".cache/sagabox/components")).len(), 1);
    let caches = bench.0.path().join("caches");
    let caches = caches.to_str().expect("paths of tests are text");
    let named = [("SAGABOX_CACHE", ""), ("HOME", home), ("XDG_CACHE_HOME", caches)];
    let _ = bench.run_with(&check, &named).with(0);
    assert_eq!(files(&Path::new(caches).join("sagabox/components")).len(), 1);
}

#[test]
fn a_component_that_took_too_much_to_compile_is_tried_again() {
    let bench = Bench::new();
    let bytes = wat::parse_str(bomb(SAGA)).expect("it is well formed");
    std::fs::write(bench.0.path().join("bomb.wasm"), bytes).expect("a file");
    std::fs::write(
        bench.0.path().join("limits.toml"),
        "[limits]\ncompile_memory_bytes = 60_000_000\n",
    )
    .expect("a file");
    let check = ["check", "bomb.wasm", "--config", "limits.toml"];
    let _ = bench.run(&check).with(1).saying("(limit compile_memory_bytes)");
    assert_eq!(files(&bench.cache()), Vec::<PathBuf>::new());
}
