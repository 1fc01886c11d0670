//! Which playbacks are held back and which are cancelled alone, as the media thread sees it before every packet.
//!
//! It is a table of atomics and no queue: an order does not wait behind audio, what was said last holds, and who says it a
//! thousand times takes no more room. Whoever writes holds the writer's lock; the media thread takes none.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::OnceLock;

/// What is said of a playback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is held back.
    Paused,
    /// It is cancelled, and those before it are not.
    Dropped,
}

/// The table; made when something is said for the first time.
#[derive(Debug, Default)]
pub struct States {
    /// Twice the playback, and one more if it is dropped; zero is a free place.
    places: OnceLock<Box<[AtomicU64]>>,
    /// Places from here on were never used, or are free again.
    used: AtomicUsize,
    /// Counts changes, each after it was made.
    version: AtomicU64,
}

impl States {
    /// Places: as many as playbacks may be open, and as many again for those of which nothing was pushed yet.
    pub const PLACES: usize = 8192;

    /// Says something of a playback, instead of what was said before; false if there is no place.
    pub fn put(&self, playback: u64, state: State) -> bool {
        let places =
            self.places.get_or_init(|| (0..Self::PLACES).map(|_| AtomicU64::new(0)).collect());
        let used = self.used.load(Ordering::SeqCst);
        let find = |wanted: u64| {
            places[..used].iter().position(|place| place.load(Ordering::SeqCst) >> 1 == wanted)
        };
        let Some(place) =
            find(playback).or_else(|| find(0)).or((used < Self::PLACES).then_some(used))
        else {
            return false;
        };
        let value = playback << 1 | u64::from(state == State::Dropped);
        if places[place].swap(value, Ordering::SeqCst) != value {
            self.used.store(used.max(place + 1), Ordering::SeqCst);
            self.version.fetch_add(1, Ordering::SeqCst);
        }
        true
    }

    /// How many places are taken, and free ones between them.
    pub fn places_used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    /// What is said of a playback.
    pub fn get(&self, playback: u64) -> Option<State> {
        self.all().find(|(of, _)| *of == playback).map(|(_, state)| state)
    }

    /// Nothing is said of the playbacks up to this one any more.
    pub fn forget(&self, upto: u64) {
        self.clear(|playback| playback <= upto);
    }

    /// Nothing is said of this one any more; true if it was held back.
    pub fn resume(&self, playback: u64) -> bool {
        self.get(playback) == Some(State::Paused) && self.clear(|each| each == playback)
    }

    /// What is said of all, if that has changed since the version that was `seen`.
    pub fn changed(&self, seen: &mut u64) -> Option<impl Iterator<Item = (u64, State)> + '_> {
        // The version is read first: a change that is made meanwhile is seen now, and looked at once more.
        let version = self.version.load(Ordering::SeqCst);
        (core::mem::replace(seen, version) != version).then(|| self.all())
    }

    fn all(&self) -> impl Iterator<Item = (u64, State)> + '_ {
        let places = self.places.get().map_or(&[][..], |places| places);
        let used = self.used.load(Ordering::SeqCst);
        places[..used.min(places.len())].iter().filter_map(|place| {
            let value = place.load(Ordering::SeqCst);
            let state = if value & 1 == 1 { State::Dropped } else { State::Paused };
            (value != 0).then_some((value >> 1, state))
        })
    }

    fn clear(&self, which: impl Fn(u64) -> bool) -> bool {
        let mut used = self.used.load(Ordering::SeqCst);
        let Some(places) = self.places.get().filter(|_| used > 0) else { return false };
        let mut changed = false;
        for place in &places[..used] {
            let value = place.load(Ordering::SeqCst);
            if value != 0 && which(value >> 1) {
                place.store(0, Ordering::SeqCst);
                changed = true;
            }
        }
        while used > 0 && places[used - 1].load(Ordering::SeqCst) == 0 {
            used -= 1;
        }
        self.used.store(used, Ordering::SeqCst);
        if changed {
            self.version.fetch_add(1, Ordering::SeqCst);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_last_holds_and_takes_one_place() {
        let (states, mut seen) = (States::default(), 0);
        assert!(states.changed(&mut seen).is_none());
        for _ in 0..2 * States::PLACES {
            assert!(states.put(7, State::Paused));
        }
        assert!(states.put(9, State::Paused) && states.put(9, State::Dropped));
        let all: Vec<_> = states.changed(&mut seen).unwrap().collect();
        assert_eq!(all, [(7, State::Paused), (9, State::Dropped)]);
        assert!(states.changed(&mut seen).is_none(), "seen");
        assert!(states.resume(7) && !states.resume(7) && !states.resume(9));
        states.forget(9);
        assert_eq!(states.changed(&mut seen).unwrap().count(), 0);
        assert_eq!(states.used.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn places_are_bounded_and_given_again() {
        let states = States::default();
        assert!((1..=States::PLACES as u64).all(|playback| states.put(playback, State::Paused)));
        assert!(!states.put(9999, State::Paused));
        assert!(states.put(5, State::Dropped), "it has a place");
        states.forget(4);
        assert!(states.put(9999, State::Paused));
        assert_eq!(states.get(9999), Some(State::Paused));
        assert_eq!(states.get(4), None);
    }
}
