//! Comfort noise: what a far end says of the noise around it while nobody talks, and noise that sounds like it (RFC 3389).
//!
//! A [`NoiseShape`] is a payload's meaning: a level, and reflection coefficients of the spectrum if it has any. A
//! [`NoiseGenerator`] makes noise of that shape: white noise through an all-pole lattice filter, whose gain is known from
//! the coefficients, so that the level is met whatever the spectrum is. The same seed makes the same noise.

use crate::rng::Rng;

/// Coefficients beyond these are left out, as RFC 3389 §3 allows. Encoders in the field send up to 12.
const MAX_ORDER: usize = 12;

/// A payload longer than this describes nothing that anyone sends: a level and five times the coefficients in use.
const MAX_PAYLOAD: usize = 64;

/// A coefficient is held below this: the filter is stable for any below 1, but rings the longer the nearer it is. The
/// outermost indices of RFC 3389 §3.2 mean ±0.99994, a whistle of a second.
const MAX_COEFFICIENT: f32 = 0.98;

/// Between two descriptions the level glides by this much per sample, so that an update is not heard as a step: at
/// 8 kHz two thirds of the way in 12 ms.
const GLIDE: f32 = 0.01;

/// Far less than half a step of a sample, also after a filter: it rounds to nothing.
const INAUDIBLE: f32 = 1e-4;

/// What a comfort noise payload says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseShape {
    /// The level in −dBov, 0 to 127: 0 is the power of a square wave at the overload point (RFC 3389 §3.1).
    pub level: u8,
    coefficients: [f32; MAX_ORDER],
    order: usize,
}

/// Why a payload is no description of noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadNoise {
    /// No level.
    Empty,
    /// Far more coefficients than a description of noise has.
    Long,
    /// An index that the RFC reserves (§3.2).
    Reserved,
}

impl NoiseShape {
    /// White noise of a level in −dBov; 127 at the most.
    pub const fn white(level: u8) -> NoiseShape {
        let level = if level > 127 { 127 } else { level };
        NoiseShape { level, coefficients: [0.0; MAX_ORDER], order: 0 }
    }

    /// Reads a payload.
    pub fn parse(payload: &[u8]) -> Result<NoiseShape, BadNoise> {
        let (&level, indices) = payload.split_first().ok_or(BadNoise::Empty)?;
        if payload.len() > MAX_PAYLOAD {
            return Err(BadNoise::Long);
        }
        if indices.contains(&255) {
            return Err(BadNoise::Reserved);
        }
        // The most significant bit is unused (§3.1).
        let mut shape = NoiseShape::white(level & 0x7f);
        shape.order = indices.len().min(MAX_ORDER);
        for (coefficient, &index) in shape.coefficients.iter_mut().zip(indices) {
            *coefficient = dequantized(index);
        }
        Ok(shape)
    }

    /// The payload that says this level and no spectrum, which every receiver understands (§2).
    pub const fn level_payload(&self) -> [u8; 1] {
        [self.level]
    }

    /// The same level without the spectrum: for audio of another rate than the spectrum was taken at.
    #[must_use]
    pub const fn without_spectrum(self) -> NoiseShape {
        NoiseShape::white(self.level)
    }

    /// The reflection coefficients, none for white noise.
    pub fn coefficients(&self) -> &[f32] {
        &self.coefficients[..self.order]
    }

    /// The root mean square of the noise, in units of a 16-bit sample. 127 is silence: no sample is that small.
    fn rms(&self) -> f32 {
        if self.level == 127 {
            return 0.0;
        }
        32_768.0 * 10f32.powf(-f32::from(self.level) / 20.0)
    }
}

/// §3.2: 255 steps from −1 to 1, 127 being none.
fn dequantized(index: u8) -> f32 {
    let steps = f32::from(index) - 127.0;
    (258.0 * steps / 32_768.0).clamp(-MAX_COEFFICIENT, MAX_COEFFICIENT)
}

/// Makes noise of a shape.
#[derive(Clone, Debug)]
pub struct NoiseGenerator {
    rng: Rng,
    shape: Option<NoiseShape>,
    /// The root mean square of the noise that is asked for, and what it is on its way there.
    target: f32,
    level: f32,
    /// What of it the excitation has, for the filter amplifies.
    excitation: f32,
    /// The backward errors of the lattice.
    state: [f32; MAX_ORDER],
}

impl NoiseGenerator {
    /// Silent until it is told a shape.
    pub fn new(seed: u64) -> NoiseGenerator {
        NoiseGenerator {
            rng: Rng::new(seed),
            shape: None,
            target: 0.0,
            level: 0.0,
            excitation: 1.0,
            state: [0.0; MAX_ORDER],
        }
    }

    /// The noise is of this shape from now on. The first after an end sets in at its level; later ones glide.
    pub fn describe(&mut self, shape: NoiseShape) {
        // An all-pole lattice amplifies white noise by 1 / ∏(1 − k²): excite it by as much less.
        let room: f32 = shape.coefficients().iter().map(|k| 1.0 - k * k).product();
        self.excitation = room.sqrt();
        self.target = shape.rms();
        if self.shape.replace(shape).is_none() {
            self.level = self.target;
            self.state = [0.0; MAX_ORDER];
        }
    }

    /// There is no noise any more.
    pub fn end(&mut self) {
        self.shape = None;
    }

    /// Whether a description holds.
    pub fn is_on(&self) -> bool {
        self.shape.is_some()
    }

    /// Adds noise to `out`, the same in each of the interleaved `channels`.
    pub fn add_to(&mut self, out: &mut [i16], channels: u8) {
        let Some(shape) = self.shape else { return };
        for frame in out.chunks_mut(usize::from(channels).max(1)) {
            self.level += (self.target - self.level) * GLIDE;
            let noise = self.next(&shape).round();
            for sample in frame {
                // Saturates: a level near 0 dBov has peaks beyond the overload point.
                *sample = (f32::from(*sample) + noise) as i16;
            }
        }
        self.settle();
    }

    /// What glides to silence would come to numbers that are ever smaller, and below 10⁻³⁸ a processor takes a hundred times
    /// as long for each.
    fn settle(&mut self) {
        if self.target == 0.0 && self.level < INAUDIBLE {
            self.level = 0.0;
            if self.state.iter().all(|error| error.abs() < INAUDIBLE) {
                self.state = [0.0; MAX_ORDER];
            }
        }
    }

    /// One sample: uniform white noise through the lattice. The signs are those that encoders in the field use: a
    /// low-passed noise has a negative first coefficient.
    fn next(&mut self, shape: &NoiseShape) -> f32 {
        // Uniform in ±√3, whose root mean square is 1.
        let white = (self.rng.unit() as f32 * 2.0 - 1.0) * 3f32.sqrt();
        let mut forward = white * self.level * self.excitation;
        for stage in (0..shape.order).rev() {
            let k = shape.coefficients[stage];
            forward -= k * self.state[stage];
            let backward = self.state[stage] + k * forward;
            if stage + 1 < shape.order {
                self.state[stage + 1] = backward;
            }
        }
        if shape.order > 0 {
            self.state[0] = forward;
        }
        forward
    }
}

#[cfg(test)]
mod tests;
