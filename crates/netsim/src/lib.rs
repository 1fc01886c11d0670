//! A seeded network link on virtual time, for tests.
//!
//! Two state machines and a [`Link`] each way make a call on a bad network that runs in milliseconds and, from one seed,
//! bit for bit the same every time. Nothing here knows RTP: a payload is whatever the test sends. Time is the span since
//! an origin the test chooses.
//!
//! ```
//! use roomkit_netsim::{Link, LinkConfig, Loss};
//! use std::time::Duration;
//! let ms = Duration::from_millis;
//! let config = LinkConfig { delay: ms(40), loss: Loss::Random(0.1), ..LinkConfig::default() };
//! let mut link = Link::new(config, 7);
//! for n in 0..50 {
//!     link.send(ms(20 * n), n);
//! }
//! let arrived: Vec<_> = std::iter::from_fn(|| link.receive(Duration::MAX)).collect();
//! assert!(arrived.len() > 35 && arrived.len() < 50);
//! assert!(arrived.iter().all(|(at, n)| *at == ms(20 * n + 40)));
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod drift;
mod link;
mod loss;
mod rng;

pub use drift::DriftClock;
pub use link::{Bottleneck, Jitter, Link, LinkConfig, LinkCounts, Reorder};
pub use loss::Loss;
