//! Lists, page by page, in one shape: a request gives `after` and `limit`, and the answer has its
//! rows and `next`, which is the `after` of the following page and null on the last. Clients give
//! `next` back as it is; what it says is the host's to change.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::problem::Problem;

/// A page that a person scrolls through.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 1000;

/// Which part of a list that has no filters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paging {
    /// Where the page before ended: its `next`.
    pub after: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

impl Paging {
    /// The page of a list in memory, which is in the order of `place`, and its `next`.
    pub(super) fn page<T, P: FromStr + Ord + ToString>(
        &self,
        rows: impl IntoIterator<Item = T>,
        place: impl Fn(&T) -> P,
    ) -> Result<(Vec<T>, Option<String>), Problem> {
        let limit = limit(self.limit)? as usize;
        let after: Option<P> = self.after.as_deref().map(self::place).transpose()?;
        let rows = rows.into_iter();
        let mut rows: Vec<T> = rows
            .filter(|row| after.as_ref().is_none_or(|after| place(row) > *after))
            .take(limit + 1)
            .collect();
        let is_last = rows.len() <= limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| !is_last).map(|row| place(row).to_string());
        Ok((rows, next))
    }
}

pub(super) fn limit(given: Option<u32>) -> Result<u32, Problem> {
    match given {
        None => Ok(PAGE),
        Some(limit @ 1..=PAGE_MAX) => Ok(limit),
        Some(other) => {
            let detail = format!("limit: is {other}; accepted are 1 to {PAGE_MAX}");
            Err(Problem::unacceptable("limit", detail))
        }
    }
}

/// Where a page begins in a list that is in the order of ids or positions.
pub(super) fn after(given: Option<&str>) -> Result<u64, Problem> {
    given.map_or(Ok(0), place)
}

/// Reads an `after`.
pub(super) fn place<P: FromStr>(given: &str) -> Result<P, Problem> {
    given.parse().map_err(|_| {
        Problem::unacceptable("after", "after: is not the `next` of a page of this list")
    })
}

/// The `next` of a list whose places have several parts.
pub(super) fn write<P: Serialize>(place: &P) -> Result<String, Problem> {
    serde_json::to_string(place).map_err(|error| Problem::internal(error.to_string()))
}

/// Reads an `after` that [`write`] has written.
pub(super) fn written<P: DeserializeOwned>(given: &str) -> Result<P, Problem> {
    serde_json::from_str(given).map_err(|_| {
        Problem::unacceptable("after", "after: is not the `next` of a page of this list")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(after: Option<&str>, limit: u32, rows: &[u64], next: Option<&str>) {
        let paging = Paging { after: after.map(str::to_owned), limit: Some(limit) };
        let expected = (rows.to_vec(), next.map(str::to_owned));
        assert_eq!(paging.page([1u64, 3, 20], |row| *row).unwrap(), expected);
    }

    #[test]
    fn a_page_begins_behind_its_place_and_says_where_the_next_one_does() {
        check(None, 3, &[1, 3, 20], None);
        check(None, 2, &[1, 3], Some("3"));
        check(Some("3"), 2, &[20], None);
        check(Some("2"), 1, &[3], Some("3"));
        check(Some("20"), 1, &[], None);
        let wrong = Paging { after: Some("x".to_owned()), limit: None };
        let problem = wrong.page([1u64], |row| *row).unwrap_err();
        assert_eq!((problem.status, problem.attribute.as_deref()), (422, Some("after")));
        let none = Paging { after: None, limit: Some(0) };
        assert_eq!(none.page([1u64], |row| *row).unwrap_err().attribute.as_deref(), Some("limit"));
    }
}
