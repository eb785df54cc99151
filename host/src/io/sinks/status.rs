//! What a server's status means for a delivery: the message was taken, the message is at fault,
//! the sink is at fault, or nothing certain.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde::Deserialize;

/// What a status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Meaning {
    /// The receiver has the message.
    Delivered,
    /// The receiver refuses this message permanently: it becomes a dead letter.
    Message,
    /// The sink as a whole fails: a wrong address, wrong credentials, a pause. The message
    /// waits.
    Sink,
    /// This attempt failed: the message is retried as often as `[retry]` says.
    Retry,
}

/// What a status means if the configuration has no rule for it.
#[must_use]
pub(crate) fn by_default(status: StatusCode) -> Meaning {
    match status.as_u16() {
        200..=299 => Meaning::Delivered,
        // Redirects are not followed: a redirected POST often becomes a GET, which would
        // lose the message. The address in the configuration is wrong.
        100..=199 | 300..=399 => Meaning::Sink,
        // Credentials: unauthorized, payment required, forbidden, a proxy's login, a
        // network's login.
        401 | 402 | 403 | 407 | 511 => Meaning::Sink,
        // Address or method: not found, not allowed, not acceptable, gone, length required,
        // URI too long, misdirected, upgrade required, precondition required, not
        // implemented, HTTP version, loop detected, not extended.
        404 | 405 | 406 | 410 | 411 | 414 | 421 | 426 | 428 | 501 | 505 | 506 | 508 | 510 => {
            Meaning::Sink
        }
        // A pause: too many requests, bad gateway, unavailable, gateway timeout, no space.
        429 | 502 | 503 | 504 | 507 => Meaning::Sink,
        // Timeout, locked, failed dependency, too early.
        408 | 423 | 424 | 425 => Meaning::Retry,
        400..=499 => Meaning::Message,
        _ => Meaning::Retry,
    }
}

/// The configured meanings of statuses of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusRules {
    exact: BTreeMap<u16, Meaning>,
    /// Rules for classes, by the first digit of the status.
    classes: BTreeMap<u16, Meaning>,
}

impl StatusRules {
    /// Adds a rule for a status (`404`) or a class (`4xx`). A rule for a status comes before one
    /// for its class.
    ///
    /// # Errors
    /// Says what a status is.
    pub fn add(&mut self, status: &str, meaning: Meaning) -> Result<(), String> {
        let wrong = || {
            format!("`{status}` is not a status; write for example \"404\" or \"4xx\" (100 to 599)")
        };
        let (rules, number) = match status.strip_suffix("xx") {
            Some(class) => (&mut self.classes, class.parse().ok().filter(|n| (1..=5).contains(n))),
            None => (&mut self.exact, status.parse().ok().filter(|n| (100..=599).contains(n))),
        };
        rules.insert(number.ok_or_else(wrong)?, meaning);
        Ok(())
    }

    #[must_use]
    pub fn meaning(&self, status: StatusCode) -> Meaning {
        let number = status.as_u16();
        let own = self.exact.get(&number).or_else(|| self.classes.get(&(number / 100)));
        own.copied().unwrap_or_else(|| by_default(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(rules: &StatusRules, status: u16) -> Meaning {
        rules.meaning(StatusCode::from_u16(status).unwrap())
    }

    #[test]
    fn an_exact_rule_comes_before_its_class_and_both_before_the_default() {
        let mut rules = StatusRules::default();
        rules.add("4xx", Meaning::Retry).unwrap();
        rules.add("409", Meaning::Delivered).unwrap();
        assert_eq!(meaning(&rules, 409), Meaning::Delivered);
        assert_eq!(meaning(&rules, 404), Meaning::Retry);
        assert_eq!(meaning(&rules, 503), Meaning::Sink);
        for wrong in ["40x", "99", "600", "0xx", "6xx", "", "xx", "-404", "404 "] {
            assert!(rules.add(wrong, Meaning::Sink).is_err(), "{wrong}");
        }
    }

    /// The table in the documents agrees with the code for every status.
    #[test]
    fn the_documented_table_is_the_default() {
        let page = include_str!("../../../../docs/sinks.md");
        let (_, table) = page.split_once("| status | meaning |").unwrap();
        let (table, _) = table.split_once("\n\n").unwrap();
        let mut documented: BTreeMap<u16, Meaning> = BTreeMap::new();
        for row in table.lines().filter(|line| line.starts_with("| `") || line.starts_with("| ")) {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let meaning = match cells[1].trim_matches('`') {
                "delivered" => Meaning::Delivered,
                "message" => Meaning::Message,
                "sink" => Meaning::Sink,
                "retry" => Meaning::Retry,
                other => panic!("`{other}` is no meaning"),
            };
            for said in cells[0].split(',').map(|said| said.trim().trim_matches('`')) {
                match said.strip_suffix("xx") {
                    // Later rows are exceptions to a class.
                    Some(class) => {
                        let first: u16 = class.parse::<u16>().unwrap() * 100;
                        documented.extend((first..first + 100).map(|status| (status, meaning)));
                    }
                    None => _ = documented.insert(said.parse().unwrap(), meaning),
                }
            }
        }
        for status in 100..=599 {
            let code = StatusCode::from_u16(status).unwrap();
            assert_eq!(documented.get(&status), Some(&by_default(code)), "{status}");
        }
    }
}
