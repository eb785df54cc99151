//! What a comparison of two schemas found.

use std::collections::BTreeSet;

/// One disagreement between a sender and a receiver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// A JSON Pointer into the value; `*` stands for every item, or for a member of any name.
    pub pointer: String,
    /// What the sender does, as a predicate: `sends a string`.
    pub sent: String,
    /// What the receiver does, as a predicate: `takes a number`.
    pub taken: String,
    /// The member that the sender may have meant.
    pub near: Option<String>,
    /// The type is the same, and the receiver takes only a part of its values.
    pub is_of_range: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub faults: Vec<Fault>,
    /// Pointers to what could not be compared.
    pub unknown: BTreeSet<String>,
}

impl Comparison {
    /// Whether all values that the sender's schema names are certain to be taken.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.faults.is_empty() && self.unknown.is_empty()
    }

    pub(super) fn unknown(at: &str) -> Self {
        Self { unknown: BTreeSet::from([at.to_owned()]), faults: Vec::new() }
    }

    pub(super) fn add(&mut self, other: Self) {
        for fault in other.faults {
            if !self.faults.contains(&fault) {
                self.faults.push(fault);
            }
        }
        self.unknown.extend(other.unknown);
    }

    pub(super) fn fault(
        &mut self,
        at: &str,
        sent: impl Into<String>,
        taken: impl Into<String>,
    ) -> &mut Fault {
        self.faults.push(Fault {
            pointer: at.to_owned(),
            sent: sent.into(),
            taken: taken.into(),
            near: None,
            is_of_range: false,
        });
        let last = self.faults.len() - 1;
        &mut self.faults[last]
    }

    pub(super) fn range(&mut self, at: &str, sent: impl Into<String>, taken: impl Into<String>) {
        self.fault(at, sent, taken).is_of_range = true;
    }

    /// Nothing certain follows: the sender may never send what is at fault.
    pub(super) fn weakened(mut self) -> Self {
        self.unknown.extend(self.faults.drain(..).map(|fault| fault.pointer));
        self
    }
}
