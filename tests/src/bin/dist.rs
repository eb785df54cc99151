//! Packs a built binary into every format of a release: `dist BINARY FOLDER`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use flate2::Compression;
use sagabox_tests::dist::{Release, pack_all};
use sagabox_tests::paths;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dist: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [binary, folder] = arguments.as_slice() else {
        bail!("usage: dist BINARY FOLDER");
    };
    let release = Release::read(Path::new(binary), paths::repository(), Compression::best())?;
    let (major, minor) = release.platform.glibc;
    println!(
        "sagabox {} for {}, glibc {major}.{minor} or newer",
        release.version,
        release.platform.machine.name()
    );
    for path in pack_all(&release, Path::new(folder))? {
        println!("{:>12}  {}", std::fs::metadata(&path)?.len(), path.display());
    }
    Ok(())
}
