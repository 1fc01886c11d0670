//! Dial strings: digits with pauses between them, such as `12,34#`.

use core::fmt;

use super::{Digit, Method, Signal};
use crate::time::Duration;

/// What `,`, `w` or `p` stands for: half a second, as PBXes have it.
pub const PAUSE: Duration = Duration::from_millis(500);

/// Signals of one string: a bound for what is read, not for what can wait.
const LONGEST: usize = 128;

/// A string that cannot be dialled. It holds nothing of the string but what is wrong: digits are often secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadDial {
    /// A character that is neither a key nor a pause, at this place, counted from 0.
    Character {
        /// Which.
        found: char,
        /// Where.
        at: usize,
    },
    /// Nothing at all.
    Empty,
    /// More than 128 digits and pauses.
    TooLong,
}

/// Reads a dial string: `0`–`9`, `*`, `#`, `A`–`D` are digits, `,`, `w` and `p` pauses of half a second; letters in either
/// case.
pub fn parse(
    text: &str,
    duration: Duration,
    gap: Duration,
    method: Method,
) -> Result<Vec<Signal>, BadDial> {
    let mut signals = Vec::new();
    for (at, found) in text.chars().enumerate() {
        if at == LONGEST {
            return Err(BadDial::TooLong);
        }
        signals.push(match (Digit::parse(found), found) {
            (Some(digit), _) => Signal::Digit { digit, duration, gap, method },
            (None, ',' | 'w' | 'W' | 'p' | 'P') => Signal::Pause(PAUSE),
            (None, _) => return Err(BadDial::Character { found, at }),
        });
    }
    if signals.is_empty() {
        return Err(BadDial::Empty);
    }
    Ok(signals)
}

impl fmt::Display for BadDial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadDial::Character { found, at } => {
                write!(f, "{found:?} at place {at}; digits 0-9 * # A-D and pauses , w p fit")
            }
            BadDial::Empty => {
                f.write_str("nothing to dial; digits 0-9 * # A-D and pauses , w p fit")
            }
            BadDial::TooLong => write!(f, "too long; up to {LONGEST} digits and pauses fit"),
        }
    }
}

impl std::error::Error for BadDial {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn dial(text: &str) -> Result<String, BadDial> {
        let signals = parse(text, 160 * MS, 80 * MS, Method::Event)?;
        let key = |signal: &Signal| match *signal {
            Signal::Digit { digit, duration, gap, method } => {
                assert_eq!((duration, gap, method), (160 * MS, 80 * MS, Method::Event));
                digit.as_char()
            }
            Signal::Pause(span) => {
                assert_eq!(span, PAUSE);
                ','
            }
        };
        Ok(signals.iter().map(key).collect())
    }

    #[test]
    fn digits_and_pauses_are_read_in_either_case() {
        assert_eq!(dial("12,34#").unwrap(), "12,34#");
        assert_eq!(dial("*aBcD,wWpP0").unwrap(), "*ABCD,,,,,0");
        assert_eq!(dial(","), Ok(",".into()));
    }

    #[test]
    fn what_cannot_be_dialled_says_where_and_shows_no_digit() {
        assert_eq!(dial(""), Err(BadDial::Empty));
        assert_eq!(dial("49x12"), Err(BadDial::Character { found: 'x', at: 2 }));
        assert_eq!(dial(&"1".repeat(128)).map(|keys| keys.len()), Ok(128));
        assert_eq!(dial(&"1".repeat(129)), Err(BadDial::TooLong));
        let said = dial("4929 12").unwrap_err().to_string();
        assert_eq!(said, "' ' at place 4; digits 0-9 * # A-D and pauses , w p fit");
    }

    proptest! {
        #[test]
        fn any_text_is_read_whole_or_refused(text in any::<String>()) {
            let keys = |c: char| Digit::parse(c).is_some() || ",wWpP".contains(c);
            let fits = (1..=128).contains(&text.chars().count()) && text.chars().all(keys);
            prop_assert_eq!(dial(&text).is_ok(), fits);
        }

        #[test]
        fn what_fits_is_read_to_the_last_sign(text in "[0-9*#A-Da-d,wp]{1,128}") {
            prop_assert_eq!(dial(&text).unwrap().len(), text.len());
        }
    }
}
