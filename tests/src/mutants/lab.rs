//! The copy in which mistakes are planted, and what becomes of each there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::Mutation;
use crate::paths;

/// The engine's tests take some seconds; a mistake may also make one of them endless.
const TESTS_MAX: Duration = Duration::from_mins(5);
/// For the tests that still run when the first has failed: the mistake is caught then, and those
/// that see it too are worth some time, but not that of an endless one.
const TESTS_MAX_ONCE_CAUGHT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(200);
/// How the engine is tested.
#[derive(Clone, Copy)]
enum Look {
    /// Compiled without optimisation, with the first seeds of each simulator: these catch most
    /// mistakes, and a change is compiled in a fraction of the time.
    First,
    /// As `Cargo.toml` has it, with all seeds: for what the first look does not see.
    Whole,
}

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
        for look in [Look::First, Look::Whole] {
            if let MutantOutcome::Caught { tests, reason } = self.test(look)? {
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
        let outcome = self.test(Look::First).and_then(|first| match first {
            MutantOutcome::Survived => self.test(Look::Whole),
            caught @ MutantOutcome::Caught { .. } => Ok(caught),
        });
        for (path, text) in originals {
            write(path, &text)?;
        }
        outcome
    }

    fn test(&self, look: Look) -> Result<MutantOutcome> {
        let tests = self.build(look)?;
        let seeds = match look {
            Look::First => Some(FIRST_SEEDS),
            Look::Whole => None,
        };
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
        let status = wait(&mut running, &output_path)?;
        let output = read(&output_path)?;
        Ok(match (status, caught(&output)) {
            (Some(status), _) if status.success() => {
                ensure!(output.contains("test result: ok"), "the tests did not run: {output}");
                MutantOutcome::Survived
            }
            (None, MutantOutcome::Caught { tests, .. }) => unfinished(tests),
            (_, caught) => caught,
        })
    }

    /// The path of the built tests.
    fn build(&self, look: Look) -> Result<PathBuf> {
        let options: &[&str] = match look {
            Look::First => &["--config", "profile.dev.package.sagabox-engine.opt-level=0"],
            Look::Whole => &[],
        };
        let Output { status, stdout, stderr } = Command::new(env!("CARGO"))
            .args(options)
            // Without --locked: the lock file names packages that this workspace lacks.
            .args(["test", "-p", "sagabox-engine", "--lib", "--no-run", "--offline"])
            .args(["--message-format", "json-render-diagnostics"])
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .env_remove("RUSTFLAGS")
            .current_dir(&self.folder)
            .output()?;
        ensure!(status.success(), "it does not compile: {}", errors(&stderr));
        let artifacts = String::from_utf8(stdout)?;
        let built = artifacts.lines().find_map(|line| {
            let artifact: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(PathBuf::from(artifact.get("executable")?.as_str()?))
        });
        built.context("cargo built no tests")
    }
}

/// Waits until the tests end; ends them, and returns nothing, if they take too long.
fn wait(tests: &mut Child, output_path: &Path) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut caught_at = None;
    loop {
        if let Some(status) = tests.try_wait()? {
            return Ok(Some(status));
        }
        if caught_at.is_none() && read(output_path)?.lines().any(|line| failed(line).is_some()) {
            caught_at = Some(Instant::now());
        }
        let is_long_caught =
            caught_at.is_some_and(|at: Instant| at.elapsed() > TESTS_MAX_ONCE_CAUGHT);
        if is_long_caught || start.elapsed() > TESTS_MAX {
            tests.kill()?;
            tests.wait()?;
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

/// What caught the mistake, if not all tests ended. A test prints its reason when all have.
fn unfinished(failed: Vec<String>) -> MutantOutcome {
    match failed.is_empty() {
        true => MutantOutcome::Caught {
            tests: vec!["the time limit".to_owned()],
            reason: format!("the tests did not end within {TESTS_MAX:?}"),
        },
        false => MutantOutcome::Caught {
            tests: failed,
            reason: "another test had not ended when this was known".to_owned(),
        },
    }
}

fn read(output_path: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(output_path)?).into_owned())
}

/// The name of the test that failed, if the line says that one did.
fn failed(line: &str) -> Option<String> {
    Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned())
}

/// What the compiler printed from its first error on; before it are warnings about packages that
/// the copy lacks.
fn errors(printed: &[u8]) -> String {
    let printed = String::from_utf8_lossy(printed);
    let from = printed.lines().skip_while(|line| !line.starts_with("error"));
    from.collect::<Vec<_>>().join("\n")
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
