//! Each package of a release is packed, unpacked and installed, and its `sagabox` runs.
//!
//! The packages are unpacked with the crates; `dpkg-deb`, pip and npm take part where they are.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::read::{DeflateDecoder, GzDecoder};
use rawzip::ZipArchive;
use sagabox_tests::dist::{Format, Platform, Release, pack_all};
use sagabox_tests::paths;
use tempfile::TempDir;

/// The binary under test as a release. It is large: compressing it hard would take a minute.
fn release() -> &'static Release {
    static RELEASE: OnceLock<Release> = OnceLock::new();
    RELEASE.get_or_init(|| {
        Release::read(&paths::binary(), paths::repository(), Compression::fast())
            .expect("what is packed")
    })
}

fn pack(format: Format, folder: &TempDir) -> PathBuf {
    release().pack(format, folder.path()).expect("a package")
}

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

#[track_caller]
fn runs(binary: &Path) {
    let output = Command::new(binary).arg("--version").output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), format!("sagabox {}", env!("CARGO_PKG_VERSION")));
}

/// Whether a program is there and works.
fn is_there(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn untar(compressed: &[u8], folder: &TempDir) {
    tar::Archive::new(GzDecoder::new(compressed)).unpack(folder.path()).expect("it unpacks");
}

/// The files of a zip, by path.
fn unzip(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let archive = ZipArchive::from_slice(bytes).expect("a zip");
    let mut entries = archive.entries();
    let mut files = BTreeMap::new();
    while let Some(entry) = entries.next_entry().expect("an entry") {
        let path = entry.file_path().try_normalize().expect("a path").as_ref().to_owned();
        let local = archive.get_entry(entry.wayfinder()).expect("its data");
        let mut contents = Vec::new();
        local
            .verifying_reader(DeflateDecoder::new(local.data()))
            .read_to_end(&mut contents)
            .expect("it unpacks");
        files.insert(path, contents);
    }
    files
}

#[test]
fn the_archive_has_the_binary_and_the_documents() {
    let packages = folder();
    let package = pack(Format::Archive, &packages);
    let out = folder();
    untar(&std::fs::read(&package).expect("the archive"), &out);
    let name = package.file_name().and_then(|name| name.to_str()).expect("a name");
    let inside = out.path().join(name.strip_suffix(".tar.gz").expect("its ending"));
    runs(&inside.join("sagabox"));
    for document in [
        "CONFIGURATION.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "THIRD-PARTY-LICENSES.txt",
        "docs/sinks.md",
        "wit/0.1/types.wit",
    ] {
        assert!(inside.join(document).is_file(), "{document} is not in {name}");
    }
}

#[test]
fn the_debian_package_installs_the_command() {
    let packages = folder();
    let package = pack(Format::Deb, &packages);
    let bytes = std::fs::read(&package).expect("the package");
    let archive = goblin::archive::Archive::parse(&bytes).expect("an ar archive");
    let member = |name: &str| archive.extract(name, &bytes).expect("a member");
    assert_eq!(member("debian-binary"), b"2.0\n");
    let out = folder();
    untar(member("control.tar.gz"), &out);
    let control = std::fs::read_to_string(out.path().join("control")).expect("the control file");
    assert!(control.contains("\nDepends: libc6 (>= 2."), "{control}");
    untar(member("data.tar.gz"), &out);
    runs(&out.path().join("usr/bin/sagabox"));
    assert!(out.path().join("usr/share/doc/sagabox/copyright").is_file());
    for file in [
        "usr/share/sagabox/wit/0.1/types.wit",
        "usr/share/man/man1/sagabox.1",
        "usr/share/man/man1/sagabox-run.1",
        "usr/share/bash-completion/completions/sagabox",
        "usr/share/zsh/vendor-completions/_sagabox",
        "usr/share/fish/vendor_completions.d/sagabox.fish",
        "usr/lib/systemd/system/sagabox.service",
        "usr/lib/systemd/system/sagabox.socket",
    ] {
        assert!(out.path().join(file).is_file(), "the package has no {file}");
    }

    if is_there("dpkg-deb", &["--version"]) {
        let said = run(Command::new("dpkg-deb").arg("--info").arg(&package));
        assert!(said.contains("Package: sagabox"), "{said}");
        let out = folder();
        run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(out.path()));
        runs(&out.path().join("usr/bin/sagabox"));
    }
}

#[test]
fn the_wheel_installs_the_command() {
    let packages = folder();
    let package = pack(Format::Wheel, &packages);
    let files = unzip(&std::fs::read(&package).expect("the wheel"));
    let (path, binary) = files
        .iter()
        .find(|(path, _)| path.ends_with(".data/scripts/sagabox"))
        .expect("the wheel has the binary");
    assert!(*binary == release().binary, "{path} is another binary");
    let record = files.iter().find(|(path, _)| path.ends_with("/RECORD")).expect("a record").1;
    let record = String::from_utf8_lossy(record);
    for path in files.keys() {
        assert!(record.contains(&format!("{path},")), "{path} is not in the record:\n{record}");
    }

    if is_there("python3", &["-m", "pip", "--version"]) {
        let out = folder();
        run(Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target"])
            .arg(out.path())
            .arg(&package));
        runs(&out.path().join("bin/sagabox"));
    }
}

#[test]
fn the_npm_package_installs_the_command() {
    let packages = folder();
    let package = pack(Format::Npm, &packages);
    let out = folder();
    untar(&std::fs::read(&package).expect("the package"), &out);
    runs(&out.path().join("package/bin/sagabox"));

    if is_there("npm", &["--version"]) {
        let out = folder();
        run(Command::new("npm")
            .args(["install", "--global", "--offline", "--no-audit", "--no-fund", "--prefix"])
            .arg(out.path())
            .arg(&package)
            .env("npm_config_cache", out.path().join("cache")));
        runs(&out.path().join("bin/sagabox"));
    }
}

/// A release with a few bytes as its binary, for what does not run it.
fn small() -> Release {
    let real = release();
    Release {
        version: "1.0.0-rc.1".into(),
        binary: b"a binary".to_vec(),
        platform: Platform { glibc: (2, 34), ..real.platform.clone() },
        documents: real.documents.clone(),
        integration: real.integration.clone(),
        time: 1_700_000_000,
        compression: Compression::fast(),
    }
}

#[test]
fn the_same_release_gives_the_same_bytes() {
    let (one, other) = (folder(), folder());
    let folders = [one.path().join("dist"), other.path().join("dist")];
    let names = folders.each_ref().map(|folder| {
        let paths = pack_all(&small(), folder).expect("packages");
        let name = |path: &PathBuf| path.file_name().expect("a name").to_owned();
        paths.iter().map(name).collect::<Vec<_>>()
    });
    assert_eq!(names[0], names[1]);
    assert_eq!(names[0].len(), Format::ALL.len() + 1);
    for name in &names[0] {
        let [one, other] = folders.each_ref().map(|folder| std::fs::read(folder.join(name)));
        assert!(one.expect("a file") == other.expect("a file"), "{}", name.display());
    }
    if is_there("sha256sum", &["--version"]) {
        run(Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(&folders[0]));
    }
}

#[test]
fn the_folder_keeps_what_is_no_package() {
    let out = folder();
    let path = |name: &str| out.path().join(name);
    for name in ["notes.txt", "sagabox", "sagabox-0.9.0-linux-x64.tgz"] {
        std::fs::write(path(name), name).expect("a file");
    }
    let _ = pack_all(&small(), out.path()).expect("packages");
    assert!(path("notes.txt").is_file() && path("sagabox").is_file());
    assert!(!path("sagabox-0.9.0-linux-x64.tgz").exists(), "it is of another version");
}

#[test]
fn packages_are_named_by_version_and_platform() {
    let out = folder();
    let release = small();
    let machine = std::env::consts::ARCH;
    let debian = if machine == "x86_64" { "amd64" } else { "arm64" };
    let npm = if machine == "x86_64" { "x64" } else { "arm64" };
    let expected = [
        (Format::Archive, format!("sagabox-1.0.0-rc.1-{machine}-linux-gnu.tar.gz")),
        (Format::Deb, format!("sagabox_1.0.0~rc.1_{debian}.deb")),
        (Format::Npm, format!("sagabox-1.0.0-rc.1-linux-{npm}.tgz")),
        (Format::Wheel, format!("sagabox-1.0.0rc1-py3-none-manylinux_2_34_{machine}.whl")),
    ];
    for (format, name) in expected {
        let path = release.pack(format, out.path()).expect("a package");
        assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(name.as_str()));
    }
}

#[test]
fn entries_belong_to_root_and_only_the_binary_is_a_program() {
    let out = folder();
    let package = small().pack(Format::Archive, out.path()).expect("a package");
    let bytes = std::fs::read(package).expect("the archive");
    let mut archive = tar::Archive::new(GzDecoder::new(bytes.as_slice()));
    for entry in archive.entries().expect("entries") {
        let entry = entry.expect("an entry");
        let path = entry.path().expect("a path").into_owned();
        let header = entry.header();
        // In the package's own folder. Elsewhere the name is that of a shell's completions.
        let is_program = path.ends_with("sagabox") && path.components().count() == 2;
        let mode = if header.entry_type().is_dir() || is_program { 0o755 } else { 0o644 };
        assert_eq!(header.mode().expect("a mode"), mode, "{}", path.display());
        assert_eq!(header.uid().expect("an owner"), 0, "{}", path.display());
        assert_eq!(header.mtime().expect("a time"), 1_700_000_000, "{}", path.display());
    }
}

#[test]
fn another_programs_binary_is_refused() {
    let out = folder();
    let program = out.path().join("sagabox");
    std::fs::write(&program, "#!/bin/sh\necho sagabox 0.0.0\n").expect("a program");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let Err(error) = Release::read(&program, paths::repository(), Compression::fast()) else {
        panic!("it was read");
    };
    assert!(error.to_string().contains("says `sagabox 0.0.0`"), "{error}");
}
