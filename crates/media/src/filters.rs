//! Resampling filters that were made beforehand: on a media thread every other call waits for one that is made.

use std::sync::Arc;

use crate::resample::Bank;

/// Filters at hand, one per pair of rates; of more than [`MOST`](Self::MOST) the one that was added first goes.
///
/// Who adds the same ones in the same order has the same ones, and so knows what another one has.
#[derive(Clone, Debug, Default)]
pub struct Filters(Vec<Arc<Bank>>);

impl Filters {
    /// Many more than the rates that a call has to do with.
    pub const MOST: usize = 32;

    /// The one from a rate to another, if it is there.
    pub fn find(&self, from_hz: u32, to_hz: u32) -> Option<&Arc<Bank>> {
        self.0.iter().find(|bank| bank.rates() == (from_hz, to_hz))
    }

    /// Adds one, unless there is one from and to the same rates.
    pub fn add(&mut self, bank: Arc<Bank>) {
        let (from_hz, to_hz) = bank.rates();
        if self.find(from_hz, to_hz).is_some() {
            return;
        }
        if self.0.len() == Self::MOST {
            self.0.remove(0);
        }
        self.0.push(bank);
    }

    /// Adds those that another one has.
    pub fn add_all(&mut self, others: &Filters) {
        for bank in &others.0 {
            self.add(Arc::clone(bank));
        }
    }

    /// The one from a rate to another, both from 8000 to 192 000 Hz, made and added if it is not there.
    pub fn have(&mut self, from_hz: u32, to_hz: u32) -> Arc<Bank> {
        if let Some(bank) = self.find(from_hz, to_hz) {
            return Arc::clone(bank);
        }
        let bank = Arc::new(Bank::new(from_hz, to_hz).expect("who asks has checked the rates"));
        self.add(Arc::clone(&bank));
        bank
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Bank>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_made_once_and_the_oldest_goes_where_there_are_too_many() {
        let mut filters = Filters::default();
        let first = filters.have(16_000, 8_000);
        assert!(Arc::ptr_eq(&first, &filters.have(16_000, 8_000)));
        filters.add(Arc::new(Bank::new(16_000, 8_000).unwrap()));
        assert!(Arc::ptr_eq(&first, filters.find(16_000, 8_000).unwrap()), "the first one stays");
        let mut others = Filters::default();
        for rate in (1..=Filters::MOST as u32).map(|n| 8_000 + 1_000 * n) {
            others.have(rate, 8_000);
        }
        filters.add_all(&others);
        assert_eq!(filters.iter().count(), Filters::MOST);
        assert!(
            Arc::ptr_eq(filters.find(16_000, 8_000).unwrap(), &first),
            "the others had one too"
        );
        filters.have(8_000, 16_000);
        assert_eq!(filters.iter().count(), Filters::MOST);
        assert!(filters.find(16_000, 8_000).is_none());
        assert!(filters.find(8_000, 16_000).is_some() && filters.find(9_000, 8_000).is_some());
    }
}
