//! Where a binary runs, read from the binary itself: the machine, the oldest glibc, the libraries.

use anyhow::{Context as _, Result, bail, ensure};
use goblin::elf::Elf;
use goblin::elf::header::{EM_AARCH64, EM_X86_64};

/// Linux with glibc, on one kind of machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    pub machine: Machine,
    /// The highest version of glibc that one of the binary's symbols needs.
    pub glibc: (u32, u32),
    /// The shared libraries that the binary names, sorted.
    pub libraries: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    /// As Rust, the kernel and Python write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    pub fn npm(self) -> &'static str {
        match self {
            Self::X86_64 => "x64",
            Self::Aarch64 => "arm64",
        }
    }
}

impl Platform {
    /// # Errors
    /// If the bytes are not a program for Linux with glibc, on a machine that we pack for.
    pub fn of(binary: &[u8]) -> Result<Self> {
        ensure!(binary.starts_with(b"\x7fELF"), "releases are packed for Linux alone");
        let elf = Elf::parse(binary)?;
        let machine = match elf.header.e_machine {
            EM_X86_64 if elf.is_64 => Machine::X86_64,
            EM_AARCH64 if elf.is_64 => Machine::Aarch64,
            other => bail!("releases are packed for x86_64 and aarch64, not for machine {other}"),
        };
        let glibc = needed_symbol_versions(&elf).filter_map(glibc_version).max().context(
            "no symbol needs a version of glibc: packages for other libraries are not written",
        )?;
        let mut libraries: Vec<String> =
            elf.libraries.iter().map(|&library| library.to_owned()).collect();
        libraries.sort();
        Ok(Self { machine, glibc, libraries })
    }
}

fn needed_symbol_versions<'a>(elf: &'a Elf<'_>) -> impl Iterator<Item = &'a str> {
    elf.verneed
        .iter()
        .flat_map(goblin::elf::VerneedSection::iter)
        .flat_map(|library| library.iter().map(|version| version.vna_name).collect::<Vec<_>>())
        .filter_map(|name| elf.dynstrtab.get_at(name))
}

/// `GLIBC_2.34` and `GLIBC_2.2.5`, but neither `GLIBC_PRIVATE` nor `GCC_3.0`.
fn glibc_version(name: &str) -> Option<(u32, u32)> {
    let mut parts = name.strip_prefix("GLIBC_")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_glibc_is_compared_as_numbers() {
        let names = ["GLIBC_2.2.5", "GLIBC_2.9", "GLIBC_2.34", "GLIBC_PRIVATE", "GCC_4.2.0"];
        assert_eq!(names.into_iter().filter_map(glibc_version).max(), Some((2, 34)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_program_needs_is_read_from_it() {
        let me = std::env::current_exe().expect("a running program has a path");
        let platform = Platform::of(&std::fs::read(me).expect("its file")).expect("its platform");
        assert_eq!(platform.machine.name(), std::env::consts::ARCH);
        assert!(platform.glibc >= (2, 17), "Rust needs at least 2.17: {platform:?}");
        assert!(platform.libraries.iter().any(|library| library == "libc.so.6"), "{platform:?}");
    }

    #[test]
    fn what_is_not_a_program_is_refused() {
        assert!(Platform::of(b"#!/bin/sh\n").is_err());
        assert!(Platform::of(b"\x7fELF").is_err());
    }
}
