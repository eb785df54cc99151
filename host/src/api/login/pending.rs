//! Logins that are under way at the identity provider. Each is tied to the browser that began it,
//! ends after some minutes, and is used once. They are in memory: after a restart of the host a
//! person begins again.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::access::{Digest, Secret};
use crate::io::locks::lock;

/// Enough for a password and a second factor.
pub(super) const AGE: Duration = Duration::from_mins(10);
/// Any client can begin a login, so their number is bounded: the oldest ends.
const LOGINS_MAX: usize = 1000;

pub(super) struct Pending<T> {
    logins: Mutex<HashMap<Digest, (Instant, T)>>,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self { logins: Mutex::default() }
    }
}

impl<T> Pending<T> {
    pub(super) fn add(&self, binding: &Secret, login: T) {
        let (mut logins, now) = (lock(&self.logins), Instant::now());
        logins.retain(|_, (since, _)| now.duration_since(*since) < AGE);
        if logins.len() >= LOGINS_MAX
            && let Some(oldest) = logins.iter().min_by_key(|(_, (since, _))| *since)
        {
            let oldest = *oldest.0;
            logins.remove(&oldest);
        }
        logins.insert(binding.digest(), (now, login));
    }

    /// A login of this browser, which cannot be taken again.
    pub(super) fn take(&self, binding: &Secret) -> Option<T> {
        let (since, login) = lock(&self.logins).remove(&binding.digest())?;
        (since.elapsed() < AGE).then_some(login)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_login_is_taken_once_in_time_and_by_its_browser() {
        let pending = Pending::default();
        let secret = || Secret::for_session().unwrap();
        let (one, other) = (secret(), secret());
        pending.add(&one, 1);
        assert_eq!(pending.take(&other), None);
        assert_eq!(pending.take(&one), Some(1));
        assert_eq!(pending.take(&one), None);
        pending.add(&one, 2);
        tokio::time::advance(AGE).await;
        assert_eq!(pending.take(&one), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_ends_when_there_are_too_many() {
        let pending = Pending::default();
        let first = Secret::for_session().unwrap();
        pending.add(&first, 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        let last = Secret::for_session().unwrap();
        for number in 1..LOGINS_MAX {
            pending.add(&Secret::for_session().unwrap(), number);
        }
        pending.add(&last, LOGINS_MAX);
        assert_eq!(pending.take(&first), None);
        assert_eq!(pending.take(&last), Some(LOGINS_MAX));
    }
}
