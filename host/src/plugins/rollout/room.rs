//! The room for decisions that wait for a shadow: bounded in number and in bytes.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The decisions that may wait for a shadow, and the bytes that they may take with all their
/// inputs. The one that the shadow works on counts as well.
pub(super) const WAITING_MAX: usize = 1_024;
pub(super) const WAITING_BYTES_MAX: usize = 16 << 20;

#[derive(Default)]
pub(super) struct Room {
    taken: Mutex<Taken>,
    given: Condvar,
}

#[derive(Clone, Copy, Default)]
struct Taken {
    decisions: usize,
    bytes: usize,
}

impl Taken {
    fn has_room(self, bytes: usize) -> bool {
        self.decisions < WAITING_MAX && self.bytes + bytes <= WAITING_BYTES_MAX
    }
}

/// How a decision got its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    AtOnce,
    Waited,
    None,
}

impl Room {
    /// Takes room for a decision. Waits for it at most this long.
    pub(super) fn take(&self, bytes: usize, wait: Duration) -> Place {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let had_room = taken.has_room(bytes);
        // A decision that never fits does not wait.
        let wait = if bytes <= WAITING_BYTES_MAX { wait } else { Duration::ZERO };
        let waited = self.given.wait_timeout_while(taken, wait, |taken| !taken.has_room(bytes));
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !taken.has_room(bytes) {
            return Place::None;
        }
        taken.decisions += 1;
        taken.bytes += bytes;
        if had_room { Place::AtOnce } else { Place::Waited }
    }

    /// Returns the room of a decision.
    pub(super) fn give(&self, bytes: usize) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.decisions -= 1;
        taken.bytes -= bytes;
        drop(taken);
        self.given.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn room_is_bounded_in_number_and_in_bytes() {
        let room = Room::default();
        let all = (0..WAITING_MAX).map(|_| room.take(1, Duration::ZERO));
        assert!(all.eq(std::iter::repeat_n(Place::AtOnce, WAITING_MAX)));
        assert_eq!(room.take(1, Duration::ZERO), Place::None);
        room.give(1);
        assert_eq!(room.take(WAITING_BYTES_MAX, Duration::ZERO), Place::None);
        assert_eq!(room.take(WAITING_BYTES_MAX - WAITING_MAX + 1, Duration::ZERO), Place::AtOnce);
    }

    #[test]
    fn a_decision_waits_for_room_no_longer_than_it_may() {
        let room = Arc::new(Room::default());
        assert_eq!(room.take(WAITING_BYTES_MAX, Duration::ZERO), Place::AtOnce);
        assert_eq!(room.take(1, Duration::from_millis(1)), Place::None);
        // Longer than any test: the decision never fits, and does not wait.
        assert_eq!(room.take(WAITING_BYTES_MAX + 1, Duration::from_secs(3_600)), Place::None);
        let other = Arc::clone(&room);
        let waiting = std::thread::spawn(move || other.take(1, Duration::from_secs(3_600)));
        room.give(WAITING_BYTES_MAX);
        assert_ne!(waiting.join().unwrap(), Place::None);
        assert_eq!(room.take(WAITING_BYTES_MAX, Duration::ZERO), Place::None);
    }
}
