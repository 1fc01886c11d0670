//! The resampling filters of the process: each is made once, on a thread of the program's, and shared by all sessions.

use roomkit_media::dtmf::InbandDetector;
use roomkit_media::filters::Filters;
use roomkit_media::resample::Bank;
use roomkit_media::session::SessionConfig;
use std::sync::{Arc, Mutex, TryLockError};

/// Coefficients that are kept for sessions to come, 4 bytes each: those of some twenty pairs of usual rates, or of four of
/// the largest. Sessions keep what they use.
const MOST_COEFFICIENTS: usize = 1 << 20;

/// Those that were made last, the newest at the end.
static MADE: Mutex<Vec<Arc<Bank>>> = Mutex::new(Vec::new());

/// The filter from a rate to another, both of which have been checked. It may take tens of milliseconds to make, once.
pub fn bank(from_hz: u32, to_hz: u32) -> Arc<Bank> {
    let rates = (from_hz, to_hz);
    if let Some(bank) = with_made(|made| made.iter().find(|bank| bank.rates() == rates).cloned()) {
        return bank;
    }
    let bank = Arc::new(Bank::new(from_hz, to_hz).expect("rates have been checked"));
    with_made(|made| {
        if let Some(other) = made.iter().find(|bank| bank.rates() == rates) {
            return other.clone(); // another thread was faster
        }
        made.push(bank.clone());
        let mut kept: usize = made.iter().map(|bank| bank.coefficients()).sum();
        while kept > MOST_COEFFICIENTS && made.len() > 1 {
            kept -= made.remove(0).coefficients();
        }
        bank.clone()
    })
}

/// Those with which a session turns what it hears into frames at `frame_hz`, and listens in these for digits.
pub fn of_inbound(config: &SessionConfig, frame_hz: u32) -> Filters {
    let mut filters = Filters::default();
    let codecs = config.receive_codecs.iter().map(|codec| (codec.sample_rate, frame_hz));
    for (from_hz, to_hz) in codecs.chain([(frame_hz, InbandDetector::RATE)]) {
        if from_hz != to_hz {
            filters.add(bank(from_hz, to_hz));
        }
    }
    filters
}

fn with_made<T>(work: impl FnOnce(&mut Vec<Arc<Bank>>) -> T) -> T {
    match MADE.try_lock() {
        Ok(mut made) => work(&mut made),
        Err(TryLockError::Poisoned(made)) => work(&mut made.into_inner()),
        // Another thread is looking, or one was when this process was forked off: then nobody will ever give it back, and
        // what is made is made for one session.
        Err(TryLockError::WouldBlock) => work(&mut Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_made_once_for_all_and_only_so_many_are_kept() {
        let first = bank(22_050, 8_000);
        assert!(Arc::ptr_eq(&first, &bank(22_050, 8_000)));
        // Each of these has 640 phases of 432 coefficients.
        for rate in 0..6 {
            let large = bank(191_990 + rate, 191_000);
            assert!(Arc::ptr_eq(&large, &bank(191_990 + rate, 191_000)));
        }
        let kept: usize = with_made(|made| made.iter().map(|bank| bank.coefficients()).sum());
        assert!(kept <= MOST_COEFFICIENTS, "{kept}");
        assert!(!Arc::ptr_eq(&first, &bank(22_050, 8_000)), "it had to go");
    }
}
