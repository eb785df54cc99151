//! The copy in which mistakes are planted, and what becomes of each there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::Mutation;
use crate::paths;

/// The engine's tests take some seconds; a mistake may also make one of them endless.
const TESTS_MAX: Duration = Duration::from_mins(5);
const PAUSE: Duration = Duration::from_millis(50);
/// Most mistakes are caught by the first seeds of each simulator. Only a mistake that these do not
/// see is worth the time of all.
const FIRST_SEEDS: u64 = 200;
/// How much is shown of why a test failed.
const REASON_CHARS: usize = 150;

/// A copy of the engine, as a workspace of its own, with compiled code that is used again.
pub struct Lab {
    folder: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MutantOutcome {
    /// By which tests, and what the first of them said.
    Caught {
        tests: Vec<String>,
        reason: String,
    },
    Survived,
}

impl Lab {
    /// Copies the engine to `folder`, where the compiled code of an earlier run may lie.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub fn open(folder: &Path) -> Result<Self> {
        let from = paths::repository();
        let lab = Self { folder: folder.to_owned() };
        copy(&from.join("host/engine"), &folder.join("host/engine"))?;
        let manifest = std::fs::read_to_string(from.join("Cargo.toml"))?;
        write(&folder.join("Cargo.toml"), &only_the_engine(&manifest)?)?;
        write(&folder.join("Cargo.lock"), &std::fs::read_to_string(from.join("Cargo.lock"))?)?;
        Ok(lab)
    }

    /// The tests of the engine as it is: they must pass, or no failure means anything.
    ///
    /// # Errors
    /// If they do not, or cannot be built.
    pub fn check_healthy(&self) -> Result<()> {
        let tests = self.build()?;
        for seeds in [Some(FIRST_SEEDS), None] {
            if let MutantOutcome::Caught { tests, reason } = self.test(&tests, seeds)? {
                bail!("without any mutation, {} fail: {reason}", tests.join(", "));
            }
        }
        Ok(())
    }

    /// Plants a mistake, runs the tests, and takes it out again.
    ///
    /// # Errors
    /// If the mutation does not fit, or does not compile.
    pub fn examine(&self, mutation: &Mutation) -> Result<MutantOutcome> {
        let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
        for edit in mutation.edits {
            let path = self.folder.join("host/engine/src").join(edit.file);
            let text = match texts.remove(&path) {
                Some(text) => text,
                None => std::fs::read_to_string(&path)?,
            };
            let text = edit.apply(&text).map_err(anyhow::Error::msg)?;
            texts.insert(path, text);
        }
        let originals: Vec<(&PathBuf, String)> = texts
            .keys()
            .map(|path| Ok((path, std::fs::read_to_string(path)?)))
            .collect::<Result<_>>()?;
        for (path, text) in &texts {
            write(path, text)?;
        }
        let outcome =
            self.build().and_then(|tests| match self.test(&tests, Some(FIRST_SEEDS))? {
                MutantOutcome::Survived => self.test(&tests, None),
                caught @ MutantOutcome::Caught { .. } => Ok(caught),
            });
        for (path, text) in originals {
            write(path, &text)?;
        }
        outcome
    }

    /// Runs the tests; without a number of seeds, each simulator with its own.
    fn test(&self, tests: &Path, seeds: Option<u64>) -> Result<MutantOutcome> {
        let output_path = self.folder.join("output.txt");
        let output = std::fs::File::create(&output_path)?;
        let mut running = Command::new(tests)
            .env("RUST_BACKTRACE", "0")
            .envs(seeds.map(|seeds| ("SAGABOX_SIM_SEEDS", seeds.to_string())))
            .current_dir(self.folder.join("host/engine"))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = running.try_wait()? {
                break status;
            }
            if start.elapsed() > TESTS_MAX {
                running.kill()?;
                running.wait()?;
                let reason = format!("the tests did not end within {TESTS_MAX:?}");
                return Ok(MutantOutcome::Caught {
                    tests: vec!["the time limit".to_owned()],
                    reason,
                });
            }
            std::thread::sleep(PAUSE);
        };
        let output = String::from_utf8_lossy(&std::fs::read(output_path)?).into_owned();
        if status.success() {
            ensure!(output.contains("test result: ok"), "the tests did not run: {output}");
            return Ok(MutantOutcome::Survived);
        }
        Ok(caught(&output))
    }

    /// The path of the built tests.
    fn build(&self) -> Result<PathBuf> {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO"))
            // Without --locked: the lock file names packages that this workspace lacks.
            .args(["test", "-p", "sagabox-engine", "--lib", "--no-run", "--offline"])
            .args(["--message-format", "json"])
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .env_remove("RUSTFLAGS")
            .current_dir(&self.folder)
            .output()?;
        ensure!(status.success(), "it does not compile: {}", String::from_utf8_lossy(&stderr));
        let artifacts = String::from_utf8(stdout)?;
        let built = artifacts.lines().find_map(|line| {
            let artifact: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(PathBuf::from(artifact.get("executable")?.as_str()?))
        });
        built.context("cargo built no tests")
    }
}

/// The root manifest with the engine as its only member.
fn only_the_engine(manifest: &str) -> Result<String> {
    let mut lines = Vec::new();
    let mut found = false;
    for line in manifest.lines() {
        if line.starts_with("members =") {
            found = true;
            lines.push("members = [\"host/engine\"]");
        } else if !line.starts_with("exclude =") {
            lines.push(line);
        }
    }
    ensure!(found, "the workspace has no line of members");
    Ok(lines.join("\n") + "\n")
}

/// Which tests failed, and why the first did.
fn caught(output: &str) -> MutantOutcome {
    let failed =
        |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned());
    let tests = output.lines().filter_map(failed).collect();
    let mut lines = output.lines();
    // The engine's own assertions print too, on the way to a failed seed: the last one said
    // why it failed.
    let mut reason = String::new();
    while let Some(line) = lines.next() {
        if line.contains(" panicked at ")
            && let Some(next) = lines.next()
        {
            reason = next.chars().take(REASON_CHARS).collect();
        }
    }
    MutantOutcome::Caught { tests, reason }
}

/// Writes what differs, so that what is compiled stays valid.
fn write(path: &Path, text: &str) -> Result<()> {
    let same = std::fs::read_to_string(path).is_ok_and(|before| before == text);
    if same {
        return Ok(());
    }
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        names.push(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => write(&target, &std::fs::read_to_string(entry.path())?)?,
        }
    }
    // What the engine no longer has would be compiled with it.
    for entry in std::fs::read_dir(to)? {
        let entry = entry?;
        if !names.contains(&entry.file_name()) && entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_that_of_the_failed_test() {
        let output = "running 2 tests\n\
            thread 'a' (1) panicked at src/x.rs:1:2:\nplanted on the way\n\
            thread 'a' (1) panicked at src/y.rs:3:4:\nseed 7: guarantee 5: broken\nmore\n\
            test lanes::b ... ok\ntest sim::a ... FAILED\n";
        let expected = MutantOutcome::Caught {
            tests: vec!["sim::a".to_owned()],
            reason: "seed 7: guarantee 5: broken".to_owned(),
        };
        assert_eq!(caught(output), expected);
    }

    #[test]
    fn the_copy_has_the_engine_alone() {
        let manifest = "[workspace]\nmembers = [\"a\", \"b\"]\nexclude = [\"c\"]\n[x]\n";
        let expected = "[workspace]\nmembers = [\"host/engine\"]\n[x]\n";
        assert_eq!(only_the_engine(manifest).unwrap(), expected);
    }
}
