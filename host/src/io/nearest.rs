//! Pure: which of the known names a mistyped one was meant to be.

/// The known name that differs least, if it differs little. Of several, the first.
pub(crate) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // A third of the characters: `totl` is `total`, and `id` is not `at`.
    let most = (name.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|other| (distance(name, other), other));
    distances.filter(|(far, _)| *far <= most).min_by_key(|(far, _)| *far).map(|(_, other)| other)
}

/// How many characters must be inserted, removed, replaced, or swapped with the next one, without
/// regard to case.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) =
        (left.to_lowercase().chars().collect(), right.to_lowercase().chars().collect());
    let mut before = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = row[j] + usize::from(a != b);
            let mut least = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && left[i - 1] == *b && *a == right[j - 1] {
                let swapped: &Vec<usize> = &before;
                least = least.min(swapped[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let known = ["total", "paid", "due", "customerId"];
        for (name, expected) in [
            ("totl", Some("total")),
            ("totla", Some("total")),
            ("Paid", Some("paid")),
            ("customer_id", Some("customerId")),
            ("amount", None),
            ("", None),
            ("xy", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
        assert_eq!(nearest("a", []), None);
    }

    proptest! {
        #[test]
        fn a_distance_is_one(left in "[ab]{0,5}", right in "[ab]{0,5}", other in "[ab]{0,5}") {
            prop_assert_eq!(distance(&left, &left), 0);
            prop_assert_eq!(distance(&left, &right), distance(&right, &left));
            prop_assert_eq!(distance(&left, &right) == 0, left == right);
            let long = left.len().max(right.len());
            prop_assert!(distance(&left, &right) <= long);
            let longer = [left.as_str(), &other].concat();
            prop_assert_eq!(distance(&left, &longer), other.len());
        }
    }
}
