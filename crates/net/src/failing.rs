//! Whether anything of what a session sends leaves: a network that is down, a filter, a far end without a route.

use roomkit_media::time::{Duration, Time};

/// For so long everything must fail before the program is told: a route that changes is back by then.
const NOTHING_LEAVES: Duration = Duration::from_secs(1);

/// The failures of a session since something of it left.
#[derive(Debug, Default)]
pub struct Failing {
    since: Option<Time>,
    /// Datagrams that the session had made when it was last judged.
    made: u64,
    /// Those that have failed since.
    failed: u64,
    told: bool,
}

impl Failing {
    /// A datagram has not left.
    pub fn failed(&mut self) {
        self.failed += 1;
    }

    /// To be asked after failures, when all of the `made` datagrams so far have left or failed: true if for a second none has
    /// left, once until one does.
    pub fn is_to_be_told(&mut self, now: Time, made: u64) -> bool {
        let failed = std::mem::take(&mut self.failed);
        if failed == 0 {
            return false; // it has been judged in this pass
        }
        let all = made - self.made <= failed;
        self.made = made;
        if !all {
            (self.since, self.told) = (None, false);
        }
        let since = *self.since.get_or_insert(now);
        now - since >= NOTHING_LEAVES && !std::mem::replace(&mut self.told, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the frames of a session, one in 20 ms, tells that nothing leaves; `fails` says of which frames.
    fn told(frames: u64, fails: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut failing = Failing::default();
        let tells = |frame: &u64| {
            let fails = fails(*frame);
            if fails {
                failing.failed();
            }
            fails && failing.is_to_be_told(Time::ms(20 * frame), frame + 1)
        };
        (0..frames).filter(tells).collect()
    }

    #[test]
    fn a_second_without_a_packet_is_told_once_in_each_episode() {
        assert_eq!(told(500, |_| true), [50]);
        assert_eq!(told(500, |frame| frame >= 100), [150]);
        assert_eq!(told(500, |frame| frame != 200), [50, 251], "something left in between");
        assert_eq!(told(500, |frame| !(200..300).contains(&frame)), [50, 350]);
    }

    #[test]
    fn who_gets_a_packet_through_now_and_then_is_told_nothing() {
        assert_eq!(told(500, |frame| frame % 49 != 0), []);
        assert_eq!(told(500, |frame| frame % 2 == 0), []);
        assert_eq!(told(500, |_| false), []);
        assert_eq!(told(49, |_| true), []);
    }

    #[test]
    fn several_packets_of_a_pass_are_judged_together() {
        let mut failing = Failing::default();
        for pass in 0..60 {
            for _ in 0..3 {
                failing.failed();
            }
            let now = Time::ms(20 * pass);
            assert_eq!(failing.is_to_be_told(now, 3 * (pass + 1)), pass == 50);
            assert!(!failing.is_to_be_told(now, 3 * (pass + 1)), "it has been asked already");
        }
    }
}
