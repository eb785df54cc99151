//! Pure: turns places that finish out of order into a cursor. Each place is finished once;
//! finishing one twice is a mistake of the caller, and panics.

use std::collections::BTreeMap;

use crate::model::{Cursor, Span};

/// Everything up to `settled` is finished, and so are the spans ahead of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watermark {
    settled: u64,
    /// The first place to the last one of each span. Spans are disjoint and never adjacent.
    ahead: BTreeMap<u64, u64>,
}

impl Watermark {
    #[must_use]
    pub(crate) fn new(cursor: &Cursor) -> Self {
        let ahead = cursor.ahead.iter().map(|span| (span.first, span.last)).collect();
        Self { settled: cursor.settled, ahead }
    }

    /// Marks `first..=last`, none of which was finished before.
    pub(crate) fn finish_span(&mut self, first: u64, last: u64) {
        assert!(first <= last, "a span must not be empty: {first}..={last}");
        assert!(first > self.settled, "{first} was finished before (settled {})", self.settled);
        let mut last = last;
        if let Some(next_last) = self.ahead.remove(&(last + 1)) {
            last = next_last;
        }
        if first == self.settled + 1 {
            self.settled = last;
            return;
        }
        let before = self.ahead.range_mut(..first).next_back();
        match before {
            Some((_, previous_last)) if *previous_last + 1 == first => *previous_last = last,
            Some((_, previous_last)) => {
                assert!(*previous_last < first, "{first} was finished before");
                self.ahead.insert(first, last);
            }
            None => {
                self.ahead.insert(first, last);
            }
        }
    }

    pub(crate) fn finish(&mut self, place: u64) {
        self.finish_span(place, place);
    }

    /// What is finished, as a cursor.
    #[must_use]
    pub(crate) fn cursor(&self) -> Cursor {
        let ahead = self.ahead.iter().map(|(&first, &last)| Span { first, last }).collect();
        Cursor { settled: self.settled, ahead }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_order_of_finishing_gives_the_same_cursor(
            order in Just((1..=40u64).collect::<Vec<_>>()).prop_shuffle(),
            count in 0..=40usize,
        ) {
            let mut watermark = Watermark::default();
            for &place in &order[..count] {
                watermark.finish(place);
                let reopened = Watermark::new(&watermark.cursor());
                prop_assert_eq!(reopened.cursor(), watermark.cursor());
            }
            let cursor = watermark.cursor();
            for place in 1..=40 {
                prop_assert_eq!(cursor.contains(place), order[..count].contains(&place));
            }
            let spans: Vec<_> = cursor.ahead.iter().map(|span| (span.first, span.last)).collect();
            for pair in spans.windows(2) {
                prop_assert!(pair[0].1 + 1 < pair[1].0, "adjacent spans: {:?}", spans);
            }
            if let Some(first) = spans.first() {
                prop_assert!(first.0 > cursor.settled + 1);
            }
        }
    }

    #[test]
    fn a_gap_is_finished_as_one_span() {
        let mut watermark = Watermark::default();
        watermark.finish(7);
        watermark.finish_span(1, 6);
        assert_eq!(watermark.cursor(), Cursor { settled: 7, ..Cursor::default() });
    }
}
