//! What has been received under one key from one source, so that nothing is taken twice (RFC 3711 §3.3.2).

/// Packets back that are told apart: twice what RFC 3711 §3.3.2 asks for, and 2.5 s of 20 ms, so that no packet is refused
/// here that the jitter buffer would still take.
const SIZE: u64 = 128;

/// A sliding window over indices.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    newest: Option<u64>,
    /// Bit `n` is set if `newest - n` has come.
    seen: u128,
}

impl Window {
    /// The newest index that has come.
    pub(super) fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Whether a packet of that index may still come: it has not, and is not too old to know.
    pub(super) fn admits(&self, index: u64) -> bool {
        match self.newest {
            Some(newest) if index <= newest => {
                let back = newest - index;
                back < SIZE && self.seen >> back & 1 == 0
            }
            _ => true,
        }
    }

    /// It has come, and is what it says it is. Before that is known, nothing may be noted.
    pub(super) fn note(&mut self, index: u64) {
        match self.newest {
            Some(newest) if index <= newest => {
                let back = newest - index;
                if back < SIZE {
                    self.seen |= 1 << back;
                }
            }
            newest => {
                let step = newest.map_or(SIZE, |newest| index - newest);
                self.seen = if step < SIZE { self.seen << step } else { 0 };
                self.seen |= 1;
                self.newest = Some(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rfc3711_3_3_2_the_window_at_its_edge_and_one_past_it() {
        let mut window = Window::default();
        assert!(window.admits(0));
        window.note(1000);
        assert!(!window.admits(1000));
        assert!(window.admits(873), "127 back, never seen");
        assert!(!window.admits(872), "128 back: too old to know");
        window.note(873);
        assert!(!window.admits(873));
        window.note(1001);
        assert!(!window.admits(873), "it has slid out");
        assert!(window.admits(874));
        window.note(1128);
        assert!(!window.admits(1001), "seen, at the edge");
        window.note(5000);
        assert!(window.admits(4999) && !window.admits(1128));
    }

    proptest! {
        #[test]
        fn it_admits_each_index_once_and_what_slid_out_never(
            indices in prop::collection::vec(0u64..600, 1..400),
        ) {
            let mut window = Window::default();
            let mut seen = BTreeSet::new();
            for index in indices {
                let newest = seen.last().copied().unwrap_or(0);
                let fits = !seen.contains(&index) && index + SIZE > newest;
                prop_assert_eq!(window.admits(index), fits);
                if fits {
                    window.note(index);
                    seen.insert(index);
                }
            }
        }
    }
}
