//! Pure: the state before each decision, from the states after those before it.
//!
//! Decisions come in the order of their positions, which is not always that in which
//! an instance decided: a held event is decided after the later one that claimed its
//! key. Each names the one before it, and waits here until that came by. A state is
//! needed once, by its successor, and is dropped then.

use std::collections::HashMap;

use sagabox_engine::model::{Key, Position, State};

/// What orders and carries decisions of type `D`.
pub(crate) struct States<D> {
    /// After the decision at this place; none if no decision of the instance wrote any.
    after: HashMap<Place, Option<State>>,
    /// By the place that they wait for.
    waiting: HashMap<Place, (Place, Step<D>)>,
}

/// An instance and a position.
pub(crate) type Place = (Key, Position);

struct Step<D> {
    decision: D,
    wrote: Option<State>,
    ends: bool,
}

impl<D> Default for States<D> {
    fn default() -> Self {
        Self { after: HashMap::new(), waiting: HashMap::new() }
    }
}

impl<D> States<D> {
    /// Takes a decision, and returns those that are ready now, each with the state before it.
    /// `ends` says that no other follows.
    pub(crate) fn take(
        &mut self,
        place: Place,
        previous: Option<Position>,
        wrote: Option<State>,
        ends: bool,
        decision: D,
    ) -> Vec<(D, Option<State>)> {
        let step = Step { decision, wrote, ends };
        let before = match previous {
            None => None,
            Some(position) => {
                let previous = (place.0.clone(), position);
                let Some(state) = self.after.remove(&previous) else {
                    self.waiting.insert(previous, (place, step));
                    return Vec::new();
                };
                state
            }
        };
        self.follow(place, step, before)
    }

    /// Those whose predecessor never came: what it left is no longer on record.
    pub(crate) fn orphans(self) -> usize {
        self.waiting.len()
    }

    fn follow(
        &mut self,
        place: Place,
        step: Step<D>,
        before: Option<State>,
    ) -> Vec<(D, Option<State>)> {
        let mut ready = Vec::new();
        let mut next = Some((place, step, before));
        while let Some((place, step, before)) = next.take() {
            let after = step.wrote.or_else(|| before.clone());
            ready.push((step.decision, before));
            match self.waiting.remove(&place) {
                Some((place, step)) => next = Some((place, step, after)),
                None if step.ends => {}
                None => drop(self.after.insert(place, after)),
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // As it is handed in and comes out.
    #[allow(clippy::unnecessary_wraps)]
    fn state(text: &'static str) -> Option<State> {
        Some(State { version: 1, data: text.into() })
    }

    fn at(position: u64) -> Place {
        ("o".into(), Position(position))
    }

    #[test]
    fn a_decision_gets_the_state_that_the_one_before_left() {
        let mut states = States::default();
        assert_eq!(states.take(at(1), None, state("a"), false, 1), [(1, None)]);
        // It wrote none: the one after it has the same.
        assert_eq!(states.take(at(2), Some(Position(1)), None, false, 2), [(2, state("a"))]);
        assert_eq!(states.take(at(3), Some(Position(2)), state("b"), true, 3), [(3, state("a"))]);
        assert!(states.after.is_empty(), "nothing is kept of what is over");
    }

    #[test]
    fn one_that_was_held_waits_for_the_later_event_before_it() {
        let mut states = States::default();
        assert_eq!(states.take(at(2), Some(Position(9)), state("c"), false, "held"), []);
        assert_eq!(states.take(at(5), Some(Position(2)), None, false, "after"), []);
        let ready = states.take(at(9), None, state("a"), false, "first");
        assert_eq!(ready, [("first", None), ("held", state("a")), ("after", state("c"))]);
        assert_eq!(states.orphans(), 0);
    }

    #[test]
    fn what_follows_a_record_that_is_gone_is_an_orphan() {
        let mut states = States::default();
        assert_eq!(states.take(at(5), Some(Position(4)), state("b"), false, ()), []);
        assert_eq!(states.orphans(), 1);
    }
}
