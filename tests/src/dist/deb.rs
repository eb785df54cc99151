//! The Debian package: an `ar` archive of a version, a control file, and the files to install.
//!
//! It installs the command, its documents, the plugin interface, and what shells, `man` and systemd
//! read. It enables and starts no service: that is the operator's decision.

use anyhow::Result;

use super::tarball::Tarball;
use super::{HOMEPAGE, LICENCE, NAME, PROGRAM, Platform, Release, SUMMARY, TEXT, version};

/// Debian asks for a person or a team with an address. Reports belong on the homepage.
const MAINTAINER: &str = "The Sagabox maintainers <noreply@sagabox.invalid>";

pub(super) fn pack(release: &Release) -> Result<(String, Vec<u8>)> {
    let version = version::debian(&release.version);
    let architecture = release.platform.machine.debian();
    let (data, installed_bytes) = data(release)?;
    let mut control = Tarball::new(release);
    control.file("control", TEXT, control_file(release, &version, installed_bytes).as_bytes())?;
    let members: [(&str, &[u8]); 3] = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", &control.finish()?),
        ("data.tar.gz", &data),
    ];
    Ok((format!("{NAME}_{version}_{architecture}.deb"), archive(&members, release.time)))
}

fn control_file(release: &Release, version: &str, installed_bytes: usize) -> String {
    format!(
        "Package: {NAME}\n\
         Version: {version}\n\
         Architecture: {}\n\
         Maintainer: {MAINTAINER}\n\
         Installed-Size: {}\n\
         Depends: {}\n\
         Section: net\n\
         Priority: optional\n\
         Homepage: {HOMEPAGE}\n\
         Description: host for user-defined sagas and process managers\n \
         Events come in, plugins decide, commands go out. The plugins are WebAssembly\n \
         components; the host keeps the event log, the state, the outbox and the timers,\n \
         and delivers each decision's messages.\n",
        release.platform.machine.debian(),
        installed_bytes.div_ceil(1024),
        depends(&release.platform),
    )
}

/// The packages that the binary's libraries are in. glibc's own come with it.
fn depends(platform: &Platform) -> String {
    let (major, minor) = platform.glibc;
    let mut packages = vec![format!("libc6 (>= {major}.{minor})")];
    for library in &platform.libraries {
        match library.as_str() {
            "libgcc_s.so.1" => packages.push("libgcc-s1".to_owned()),
            "libstdc++.so.6" => packages.push("libstdc++6".to_owned()),
            _ => {}
        }
    }
    packages.join(", ")
}

/// The files to install, and how large they are together.
fn data(release: &Release) -> Result<(Vec<u8>, usize)> {
    let mut tarball = Tarball::new(release);
    let mut bytes = release.binary.len();
    tarball.file(&format!("usr/bin/{NAME}"), PROGRAM, &release.binary)?;
    let copyright = copyright(release)?;
    tarball.file(&format!("usr/share/doc/{NAME}/copyright"), TEXT, &copyright)?;
    for document in &release.documents {
        let folder = if document.path.starts_with("wit/") { "" } else { "doc/" };
        let path = format!("usr/share/{folder}{NAME}/{}", document.path);
        tarball.file(&path, TEXT, &document.contents)?;
        bytes += document.contents.len();
    }
    for file in &release.integration {
        tarball.file(&format!("usr/{}", file.path), TEXT, &file.contents)?;
        bytes += file.contents.len();
    }
    Ok((tarball.finish()?, bytes + copyright.len()))
}

fn copyright(release: &Release) -> Result<Vec<u8>> {
    let mut text = format!(
        "{SUMMARY}\nSource: {HOMEPAGE}\nLicense: {LICENCE}\n\n\
         Debian keeps the Apache License 2.0 in /usr/share/common-licenses/Apache-2.0.\n\
         The licences of what the binary contains are in THIRD-PARTY-LICENSES.txt.\n\n"
    )
    .into_bytes();
    text.extend_from_slice(release.document("LICENSE-MIT")?);
    Ok(text)
}

/// `ar`, in the form that dpkg reads: a header of 60 characters before each member, padded to an even length.
fn archive(members: &[(&str, &[u8])], time: u64) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, contents) in members {
        let header =
            format!("{name:<16}{time:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, "100644", contents.len());
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(contents);
        if contents.len() % 2 == 1 {
            archive.push(b'\n');
        }
    }
    archive
}
