//! What the keys sound like: two tones each, ITU-T Q.23 §6.

use super::Digit;

/// The tones of the rows, in Hz.
pub(crate) const LOW_HZ: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
/// The tones of the columns, in Hz.
pub(crate) const HIGH_HZ: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
/// The keypad: a row for each low tone, a column for each high one.
const KEYPAD: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// The power of a sine that just fills 16 bits, in dBm0 (ITU-T G.711: 3.14 for A-law, 3.17 for µ-law).
const FULL_SCALE_DBM0: f64 = 3.17;
const FULL_SCALE: f64 = 32_768.0;

/// The key of a row and a column, each 0 to 3.
pub(crate) fn key_at(row: usize, column: usize) -> Digit {
    Digit::parse(KEYPAD[row & 3][column & 3]).expect("the keypad holds only keys")
}

/// The low and the high tone of a key, in Hz.
pub(crate) fn frequencies(digit: Digit) -> (f64, f64) {
    for (row, keys) in KEYPAD.iter().enumerate() {
        if let Some(column) = keys.iter().position(|&key| key == digit.as_char()) {
            return (LOW_HZ[row], HIGH_HZ[column]);
        }
    }
    unreachable!("every key is on the keypad")
}

/// The peak of a sine of so many dBm0, in steps of 16 bits.
pub(crate) fn amplitude(dbm0: f64) -> f64 {
    FULL_SCALE * 10_f64.powf((dbm0 - FULL_SCALE_DBM0) / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q23_every_key_has_a_row_and_a_column_of_its_own() {
        for event in 0..16 {
            let digit = Digit::from_event(event).unwrap();
            let (low, high) = frequencies(digit);
            let row = LOW_HZ.iter().position(|&hz| hz == low).unwrap();
            let column = HIGH_HZ.iter().position(|&hz| hz == high).unwrap();
            assert_eq!(key_at(row, column), digit);
        }
        assert_eq!(frequencies(Digit::parse('5').unwrap()), (770.0, 1336.0));
        assert_eq!(frequencies(Digit::parse('d').unwrap()), (941.0, 1633.0));
    }

    #[test]
    fn g711_a_sine_that_fills_16_bits_has_3_dbm0() {
        assert!((amplitude(3.17) - 32_768.0).abs() < 1e-6);
        assert!((amplitude(3.17 - 20.0) - 3_276.8).abs() < 1e-6);
    }
}
