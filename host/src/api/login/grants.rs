//! Pure: what the claims of an identity provider permit a person. The configuration maps values of
//! one claim, such as the names of groups, to roles, payloads and plugins.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::problem::Problem;
use crate::access::{Person, Role};

/// Of a name in records.
const NAME_CHARS_MAX: usize = 120;
/// Source: `OpenID` Connect Core 1.0, section 2: `sub` has at most 255 characters.
const SUBJECT_BYTES_MAX: usize = 255;
/// Values of a claim that a refusal shows.
const SHOWN_MAX: usize = 10;

/// What one value of the claim permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The value of the claim, or one of its values; `*` for everybody who can sign in.
    pub value: String,
    pub roles: BTreeSet<Role>,
    pub payloads: bool,
    /// Empty for all.
    pub plugins: BTreeSet<String>,
}

/// Which claims say what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub roles: String,
    /// None: the first of `preferred_username`, `email` and `sub`.
    pub name: Option<String>,
    pub grants: Vec<Grant>,
}

impl Claims {
    /// The person with these claims. Everything that matches is granted. Only if each grant that
    /// matches is restricted to plugins is the person restricted to them.
    pub(super) fn person(&self, claims: &Map<String, Value>) -> Result<Person, Problem> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let issuer = text("iss").unwrap_or_default().to_owned();
        let subject = text("sub").unwrap_or_default().to_owned();
        if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX {
            return Err(Problem::forbidden(format!(
                "the claim `sub` of the identity provider has {} bytes; a person has one of 1 to \
                 {SUBJECT_BYTES_MAX}",
                subject.len()
            )));
        }
        let usual = ["preferred_username", "email"];
        let name = match &self.name {
            Some(claim) => text(claim).and_then(printed),
            None => usual.into_iter().filter_map(text).find_map(printed),
        };
        let name = name.or_else(|| printed(&subject)).unwrap_or_default();
        let values = values(claims.get(&self.roles));
        let matches = |grant: &&Grant| grant.value == "*" || values.contains(&grant.value.as_str());
        let granted: Vec<&Grant> = self.grants.iter().filter(matches).collect();
        if granted.is_empty() {
            return Err(self.nothing(&name, &values));
        }
        let is_restricted = granted.iter().all(|grant| !grant.plugins.is_empty());
        let plugins = granted.iter().filter(|_| is_restricted).flat_map(|grant| &grant.plugins);
        let roles = granted.iter().flat_map(|grant| &grant.roles).copied().collect();
        let payloads = granted.iter().any(|grant| grant.payloads);
        Ok(Person { issuer, subject, name, roles, payloads, plugins: plugins.cloned().collect() })
    }

    fn nothing(&self, name: &str, values: &[&str]) -> Problem {
        let claim = &self.roles;
        let has = match values {
            [] => format!("has no claim `{claim}`"),
            _ => {
                let shown = values.iter().take(SHOWN_MAX).filter_map(|value| printed(value));
                let shown = shown.collect::<Vec<_>>().join("`, `");
                format!("has the claim `{claim}` with `{shown}`")
            }
        };
        Problem::forbidden(format!(
            "`{name}` {has}, and [[login.oidc.grant]] of the configuration permits that nothing; add a \
             grant for one of its values, or change the groups of this person at the identity provider"
        ))
    }
}

/// A text as records have it; none if nothing is left of it.
fn printed(text: &str) -> Option<String> {
    let text = text.chars().filter(|own| !own.is_control()).take(NAME_CHARS_MAX);
    let text: String = text.collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// A claim is a text, or a list of texts.
fn values(claim: Option<&Value>) -> Vec<&str> {
    match claim {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims() -> Claims {
        let grant = |value: &str, role, payloads, plugins: &[&str]| Grant {
            value: value.to_owned(),
            roles: BTreeSet::from([role]),
            payloads,
            plugins: plugins.iter().map(|name| (*name).to_owned()).collect(),
        };
        let grants = vec![
            grant("ops", Role::Operator, false, &["orders"]),
            grant("support", Role::Reader, true, &["orders", "carts"]),
            grant("root", Role::Admin, false, &[]),
        ];
        Claims { roles: "groups".to_owned(), name: None, grants }
    }

    #[track_caller]
    fn check(groups: Value, roles: &[Role], payloads: bool, plugins: &[&str]) {
        let asked = json!({"iss": "i", "sub": "s", "email": "ada@x", "groups": groups});
        let person = claims().person(asked.as_object().unwrap()).unwrap();
        assert_eq!(person.roles, roles.iter().copied().collect(), "{person:?}");
        assert_eq!(person.payloads, payloads);
        assert_eq!(person.plugins.iter().map(String::as_str).collect::<Vec<_>>(), plugins);
        assert_eq!((&*person.name, &*person.issuer, &*person.subject), ("ada@x", "i", "s"));
    }

    #[test]
    fn a_person_gets_what_each_of_the_groups_permits() {
        check(json!("ops"), &[Role::Operator], false, &["orders"]);
        check(json!(["ops", "other"]), &[Role::Operator], false, &["orders"]);
        let both = [Role::Reader, Role::Operator];
        check(json!(["ops", "support"]), &both, true, &["carts", "orders"]);
        check(json!(["ops", "root"]), &[Role::Operator, Role::Admin], false, &[]);
    }

    #[test]
    fn who_is_in_none_of_the_groups_learns_what_to_do() {
        for (groups, part) in [
            (json!(["sales", 7]), "has the claim `groups` with `sales`"),
            (json!({"ops": true}), "has no claim `groups`"),
            (json!(null), "has no claim `groups`"),
            (json!("*"), "with `*`"),
        ] {
            let asked = json!({"sub": "s", "groups": groups});
            let problem = claims().person(asked.as_object().unwrap()).unwrap_err();
            assert_eq!(problem.status, 403);
            assert!(problem.detail.contains(part), "{}", problem.detail);
            assert!(problem.detail.contains("[[login.oidc.grant]]"), "{}", problem.detail);
        }
    }

    #[test]
    fn a_name_is_the_one_that_is_configured_and_never_breaks_a_line() {
        let named = Claims { name: Some("nick".to_owned()), ..claims() };
        let asked = json!({"sub": "s", "nick": "ada\n<b>", "groups": "ops"});
        assert_eq!(named.person(asked.as_object().unwrap()).unwrap().name, "ada<b>");
        let asked = json!({"sub": "s", "groups": "ops"});
        assert_eq!(named.person(asked.as_object().unwrap()).unwrap().name, "s");
    }

    #[test]
    fn a_name_that_says_nothing_gives_way_to_the_next() {
        let long = "a".repeat(NAME_CHARS_MAX);
        for (asked, name) in [
            (json!({"sub": "s", "preferred_username": "", "email": "ada@x"}), "ada@x"),
            (json!({"sub": "s", "preferred_username": " \n", "email": 7}), "s"),
            (json!({"sub": "s", "preferred_username": ["ada"]}), "s"),
            (json!({"sub": "s", "preferred_username": "a".repeat(9_000)}), &*long),
        ] {
            let mut asked = asked.as_object().unwrap().clone();
            asked.insert("groups".to_owned(), json!("ops"));
            assert_eq!(claims().person(&asked).unwrap().name, name);
        }
    }

    /// All of them would be one person.
    #[test]
    fn who_has_no_subject_or_one_beyond_all_measure_cannot_sign_in() {
        for sub in [json!(""), json!(7), json!(null), json!("s".repeat(256))] {
            let asked = json!({"sub": sub, "email": "ada@x", "groups": "ops"});
            let problem = claims().person(asked.as_object().unwrap()).unwrap_err();
            assert!(problem.detail.contains("`sub`"), "{}", problem.detail);
        }
        let long = json!({"sub": "s", "groups": vec!["g".repeat(100_000); 50]});
        let problem = claims().person(long.as_object().unwrap()).unwrap_err();
        assert!(problem.detail.len() < 2_000, "{}", problem.detail.len());
    }

    #[test]
    fn a_star_is_for_everybody() {
        let mut open = claims();
        open.grants[0].value = "*".to_owned();
        let asked = json!({"sub": "s"});
        let person = open.person(asked.as_object().unwrap()).unwrap();
        assert_eq!(person.roles, BTreeSet::from([Role::Operator]));
    }
}
