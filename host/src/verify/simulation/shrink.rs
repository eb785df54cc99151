//! Pure: of all that a failing run is made of, a part that fails as well and of which
//! nothing can be left out.

/// Leaves out as much as it can, in ever smaller pieces, as long as `fails` says that the
/// rest still fails; at last one by one, until nothing can be left out alone. Asks at
/// most `tries` times; then what is left may still hold something needless.
pub(crate) fn shrink<T: Clone>(
    all: Vec<T>,
    tries: usize,
    mut fails: impl FnMut(&[T]) -> bool,
) -> Vec<T> {
    let (mut left, mut tried) = (all, 0);
    let mut size = left.len().div_ceil(2);
    while size > 0 && !left.is_empty() {
        let mut start = 0;
        let mut is_smaller = false;
        while start < left.len() {
            if tried == tries {
                return left;
            }
            tried += 1;
            let end = (start + size).min(left.len());
            let without = [&left[..start], &left[end..]].concat();
            if fails(&without) {
                // What came after the piece is at its place now.
                (left, is_smaller) = (without, true);
            } else {
                start = end;
            }
        }
        size = match (size, is_smaller) {
            // One by one until a whole round leaves nothing out.
            (1, true) => 1,
            (1, false) => 0,
            _ => size.div_ceil(2).min(left.len().max(1)),
        };
    }
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MANY: usize = 1_000_000;

    #[test]
    fn what_fails_together_is_left() {
        let needs = [3, 57, 99];
        let fails = |some: &[u32]| needs.iter().all(|need| some.contains(need));
        assert_eq!(shrink((0..100).collect(), MANY, fails), needs);
        assert_eq!(shrink((0..100).collect(), MANY, |_: &[u32]| true), Vec::<u32>::new());
    }

    #[test]
    fn it_ends_when_it_has_tried_enough() {
        let mut asked = 0;
        let left = shrink((0..100).collect(), 10, |some: &[u32]| {
            asked += 1;
            some.contains(&1) && some.contains(&98)
        });
        assert_eq!(asked, 10);
        assert!(left.contains(&1) && left.contains(&98));
    }

    /// Fails by no rule: some subsets do, some do not.
    fn arbitrary(salt: u64, some: &[u8]) -> bool {
        let mixed = some.iter().fold(salt, |mixed, item| {
            (mixed ^ u64::from(*item)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
        });
        mixed % 3 == 0
    }

    proptest! {
        #[test]
        fn the_rest_fails_and_nothing_of_it_can_be_left_out(
            salt in any::<u64>(),
            all in prop::collection::vec(any::<u8>(), 0..40),
            needed in prop::collection::vec(any::<u8>(), 0..6),
        ) {
            let whole = [all, needed.clone()].concat();
            let fails = |some: &[u8]| {
                needed.iter().all(|need| some.contains(need))
                    && (some.len() == whole.len() || arbitrary(salt, some))
            };
            let left = shrink(whole.clone(), MANY, fails);
            prop_assert!(fails(&left));
            for index in 0..left.len() {
                let without = [&left[..index], &left[index + 1..]].concat();
                prop_assert!(!fails(&without), "{index} of {left:?} is needless");
            }
        }
    }
}
