//! Mutants: the engine with one mistake planted. Whether the engine's own tests and its
//! simulator would notice is the measure of those tests.
//!
//! A mistake is planted in a copy, by replacing text that must stand in its file exactly
//! once: a mutation that no longer fits the code fails loudly instead of proving nothing.

mod catalogue;
mod lab;

pub use catalogue::MUTATIONS;
pub use lab::{Lab, MutantOutcome};

/// One mistake.
pub struct Mutation {
    /// What the engine then does wrong.
    pub name: &'static str,
    pub edits: &'static [Edit],
}

pub struct Edit {
    /// Under `host/engine/src`.
    pub file: &'static str,
    pub find: &'static str,
    pub replace: &'static str,
}

impl Edit {
    /// # Errors
    /// If the text is not there, or is there twice.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        match text.matches(self.find).count() {
            1 => Ok(text.replacen(self.find, self.replace, 1)),
            n => Err(format!("{}: `{}` stands there {n} times, not once", self.file, self.find)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths;

    #[test]
    fn every_mutation_fits_the_engine_as_it_is() {
        for mutation in MUTATIONS {
            for edit in mutation.edits {
                let path = paths::repository().join("host/engine/src").join(edit.file);
                let text = std::fs::read_to_string(&path).expect("a file of the engine");
                let mutated = edit.apply(&text).unwrap_or_else(|error| panic!("{error}"));
                assert_ne!(mutated, text, "{} changes nothing", mutation.name);
            }
        }
    }

    #[test]
    fn text_that_is_missing_or_ambiguous_is_refused() {
        let edit = Edit { file: "x.rs", find: "a", replace: "b" };
        assert_eq!(edit.apply("xay").unwrap(), "xby");
        assert!(edit.apply("xy").is_err() && edit.apply("aa").is_err());
    }
}
