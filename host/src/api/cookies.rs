//! The cookies of people. With TLS, or behind a proxy that has it, their names begin with
//! `__Host-`: a browser then takes them from this host alone, over TLS alone, for all of its paths,
//! and no neighbouring host can set them.
//!
//! Without TLS a host serves its own machine alone. Browsers do not all send a `Secure` cookie
//! there, so these cookies have plain names. They are as safe as the machine: other programs that
//! serve pages on it get them from the browser, too, because cookies do not distinguish ports.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};

/// What a cookie is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// The secret of a session.
    Session,
    /// Ties a login at an identity provider to the browser that began it.
    Login,
}

impl Cookie {
    fn name(self, is_secure: bool) -> &'static str {
        match (self, is_secure) {
            (Self::Session, true) => "__Host-sagabox-session",
            (Self::Session, false) => "sagabox-session",
            (Self::Login, true) => "__Host-sagabox-login",
            (Self::Login, false) => "sagabox-login",
        }
    }

    /// The value that a request has; none if it has none, or several.
    pub(super) fn of(self, headers: &HeaderMap, is_secure: bool) -> Option<&str> {
        let name = self.name(is_secure);
        let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(own, _)| own.trim() == name).map(|(_, value)| value.trim());
        let value = found.next()?;
        found.next().is_none().then_some(value)
    }

    /// The value of `Set-Cookie`. `value` has nothing that a cookie cannot have.
    pub(super) fn set(self, value: &str, is_secure: bool, age: Duration) -> Option<HeaderValue> {
        let (name, age) = (self.name(is_secure), age.as_secs());
        let secure = if is_secure { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}");
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    pub(super) fn clear(self, is_secure: bool) -> Option<HeaderValue> {
        self.set("", is_secure, Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cookies: &[&str], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for text in cookies {
            headers.append(header::COOKIE, HeaderValue::from_str(text).unwrap());
        }
        assert_eq!(Cookie::Session.of(&headers, true), expected, "{cookies:?}");
    }

    #[test]
    fn a_cookie_is_found_among_others_and_never_guessed() {
        check(&[], None);
        check(&["a=b; __Host-sagabox-session=x; c=d"], Some("x"));
        check(&["a=b", "__Host-sagabox-session=x=y"], Some("x=y"));
        check(&["sagabox-session=x"], None);
        check(&["__Host-sagabox-session=x; __Host-sagabox-session=y"], None);
    }

    #[test]
    fn a_cookie_is_bound_to_the_host_as_far_as_the_connection_permits() {
        let text = |secure| {
            let header = Cookie::Session.set("v", secure, Duration::from_secs(9)).unwrap();
            header.to_str().unwrap().to_owned()
        };
        assert_eq!(
            text(true),
            "__Host-sagabox-session=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=9; Secure"
        );
        assert_eq!(text(false), "sagabox-session=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=9");
        let cleared = Cookie::Login.clear(true).unwrap();
        let expected = "__Host-sagabox-login=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0; Secure";
        assert_eq!(cleared.to_str().unwrap(), expected);
    }
}
