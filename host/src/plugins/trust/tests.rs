use std::fs;
use std::path::PathBuf;

use minisign::KeyPair;
use tempfile::TempDir;

use super::*;
use crate::io::files;

const BYTES: &[u8] = b"a component";
const DIGEST: &str = "d1";

struct Bench {
    folder: TempDir,
    signer: KeyPair,
    policy: Policy,
}

impl Bench {
    /// A policy with one key that needs no lock file.
    fn signed() -> Self {
        let signer = KeyPair::generate_unencrypted_keypair().unwrap();
        let key = Key::read(&signer.pk.to_base64(), Path::new("")).unwrap();
        let policy = Policy { keys: vec![key], lock: LockRule::Ignored };
        Self { folder: TempDir::new().unwrap(), signer, policy }
    }

    fn locked(lock: LockRule) -> Self {
        let bench = Self::signed();
        Self { policy: Policy { keys: Vec::new(), lock }, ..bench }
    }

    fn component(&self) -> PathBuf {
        self.folder.path().join("a.wasm")
    }

    fn write_signature(&self, text: &str) {
        fs::write(beside(&self.component()), text).unwrap();
    }

    fn write_lock(&self, text: &str) {
        fs::write(self.folder.path().join(FILE), text).unwrap();
    }

    fn check(&self) -> Result<(), String> {
        self.policy.check(&self.component(), self.folder.path(), BYTES, DIGEST)
    }

    #[track_caller]
    fn expect_refused(&self, expected: &str) {
        let reason = self.check().unwrap_err();
        assert!(reason.contains(expected), "{reason}");
    }
}

fn sign(signer: &KeyPair, bytes: &[u8]) -> String {
    minisign::sign(None, &signer.sk, bytes, None, None).unwrap().to_string()
}

#[test]
fn what_one_of_the_keys_has_signed_is_trusted() {
    let mut bench = Bench::signed();
    let other = KeyPair::generate_unencrypted_keypair().unwrap();
    bench.policy.keys.insert(0, Key::read(&other.pk.to_base64(), Path::new("")).unwrap());
    for signer in [&bench.signer, &other] {
        bench.write_signature(&sign(signer, BYTES));
        assert_eq!(bench.check(), Ok(()));
    }
}

#[test]
fn all_else_is_refused_with_what_would_help() {
    let bench = Bench::signed();
    bench.expect_refused(
        "is not signed: no a.wasm.minisig exists next to it; sign it by `minisign -Sm a.wasm`",
    );
    let good = sign(&bench.signer, BYTES);
    bench.write_signature(&good[..good.len() / 2]);
    bench.expect_refused("a.wasm.minisig is not a signature of minisign, or only a part of one");
    bench.write_signature(&sign(&bench.signer, b"another component"));
    bench.expect_refused("a.wasm.minisig does not fit: one of the two was altered");
    let other = KeyPair::generate_unencrypted_keypair().unwrap();
    bench.write_signature(&sign(&other, BYTES));
    bench.expect_refused("a.wasm.minisig is by none of the `keys` under [plugins]");
    // The trusted comment is signed as well.
    bench.write_signature(&good.replace("timestamp:", "timestamp:9"));
    bench.expect_refused("a.wasm.minisig does not fit");
}

#[test]
fn a_signature_that_claims_to_be_by_a_key_is_not_by_that_key() {
    let bench = Bench::signed();
    let mut forger = KeyPair::generate_unencrypted_keypair().unwrap();
    // The signature names the id of the key, which a forger can write too.
    let forged = minisign::SecretKey::from_bytes(&{
        let mut bytes = forger.sk.to_bytes();
        let id = bench.signer.sk.keynum();
        let at = bytes.windows(8).position(|window| window == forger.sk.keynum()).unwrap();
        bytes[at..at + 8].copy_from_slice(id);
        bytes
    });
    forger.sk = forged.unwrap();
    bench.write_signature(&sign(&forger, BYTES));
    bench.expect_refused("a.wasm.minisig does not fit");
}

fn pinned(file: &str, version: &str, digest: &str) -> Pinned {
    Pinned::new(file, "a", version, digest)
}

#[test]
fn what_is_pinned_is_trusted_under_any_name() {
    let bench = Bench::locked(LockRule::WhenThere);
    assert_eq!(bench.check(), Ok(()), "there is no lock file");
    LockFile::new(vec![pinned("b.wasm", "1.0.0", DIGEST)]).write(bench.folder.path()).unwrap();
    assert_eq!(bench.check(), Ok(()));
}

#[test]
fn what_is_not_pinned_is_refused_with_what_is() {
    let bench = Bench::locked(LockRule::WhenThere);
    LockFile::new(vec![pinned("a.wasm", "1.0.0", "d0")]).write(bench.folder.path()).unwrap();
    bench.expect_refused(
        "its digest sha256:d1 is not in sagabox.lock, which pins a 1.0.0 of sha256:d0; if it is \
         to serve, `sagabox lock ",
    );
    LockFile::default().write(bench.folder.path()).unwrap();
    bench.expect_refused("its digest sha256:d1 is not in sagabox.lock; if");
}

#[test]
fn a_lock_file_that_is_demanded_must_be_there() {
    Bench::locked(LockRule::Demanded).expect_refused("no sagabox.lock exists next to it, and");
    assert_eq!(Bench::locked(LockRule::Ignored).check(), Ok(()));
}

#[test]
fn a_lock_file_that_cannot_be_read_lets_nothing_serve() {
    let bench = Bench::locked(LockRule::WhenThere);
    bench.write_lock("version = 1\n\n[[plugin]]\nfile = 5\n");
    bench.expect_refused("sagabox.lock:4: invalid type: integer `5`, expected a string");
    bench.write_lock("version = 2\n");
    bench.expect_refused("sagabox.lock: is of version 2; this host knows version 1");
    bench.write_lock("version = 1\nkey = 2\n");
    bench.expect_refused("sagabox.lock:2: unknown field `key`");
}

#[test]
fn a_lock_file_is_read_as_it_was_written_and_does_not_depend_on_an_order() {
    let folder = TempDir::new().unwrap();
    let mut with_source = pinned("b.wasm", "1.0.0", "d2");
    with_source.source = Some("registry.example/b@sha256:d9".to_owned());
    let (one, other) = (pinned("a.wasm", "1.0.0", "d1"), with_source);
    let lock = LockFile::new(vec![other.clone(), one.clone()]);
    assert_eq!(lock, LockFile::new(vec![one, other]));
    lock.write(folder.path()).unwrap();
    assert_eq!(LockFile::read(folder.path()), Ok(Some(lock)));
    let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
    let expected = "\
version = 1

[[plugin]]
file = \"a.wasm\"
name = \"a\"
version = \"1.0.0\"
digest = \"sha256:d1\"

[[plugin]]
file = \"b.wasm\"
name = \"a\"
version = \"1.0.0\"
digest = \"sha256:d2\"
source = \"registry.example/b@sha256:d9\"
";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn pinning_keeps_the_source_of_what_is_the_same() {
    let mut known = pinned("a.wasm", "1.0.0", "d1");
    known.source = Some("there".to_owned());
    let lock = LockFile::new(vec![known.clone()]);
    // Another file name does not change the source.
    assert_eq!(lock.pin(vec![pinned("b.wasm", "1.0.0", "d1")]).plugins()[0].source, known.source);
    assert_eq!(lock.pin(vec![pinned("a.wasm", "1.0.0", "d2")]).plugins()[0].source, None);
}

#[test]
fn differences_are_reported_by_file() {
    let lock = LockFile::new(vec![pinned("a", "1.0.0", "d1"), pinned("b", "1.0.0", "d2")]);
    let found = LockFile::new(vec![pinned("b", "2.0.0", "d3"), pinned("c", "1.0.0", "d4")]);
    assert_eq!(
        lock.differences(&found),
        [
            "a: a 1.0.0 is pinned, but missing",
            "b: a 1.0.0 of sha256:d2 is pinned, but the file is 2.0.0 of sha256:d3",
            "c: a 1.0.0 of sha256:d4 is not pinned",
        ]
    );
    assert_eq!(lock.differences(&lock), [""; 0]);
}

#[test]
fn a_file_is_put_in_the_place_of_another_for_all_to_read() {
    let folder = TempDir::new().unwrap();
    for text in ["old", "new"] {
        files::put(folder.path(), "a", text.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), text);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(folder.path().join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o600, 0o600);
        assert_eq!(mode & 0o022, 0, "for others to read, not to write");
    }
}

#[test]
fn a_candidate_is_pinned_above_and_a_directory_of_that_name_by_itself() {
    let folder = TempDir::new().unwrap();
    let candidates = folder.path().join("candidates");
    fs::create_dir(&candidates).unwrap();
    assert_eq!(home_of(&candidates.join("a.wasm")), folder.path());
    assert_eq!(home_of(&folder.path().join("a.wasm")), folder.path());
    LockFile::default().write(&candidates).unwrap();
    assert_eq!(home_of(&candidates.join("a.wasm")), candidates);
    assert_eq!(home_of(Path::new("a.wasm")), Path::new(""));
}
