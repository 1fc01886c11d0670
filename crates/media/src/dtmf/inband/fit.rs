//! Two sines in a few milliseconds of audio: how strong, at which frequencies exactly, and how much else there is.
//!
//! A filter bank over 13 ms is 80 Hz wide and cannot tell a tone that is 1.5 % off, which must be accepted, from one that
//! is 3.5 % off, which must not, nor a pure pair of tones from a vowel. Fitting the pair by least squares can: it gives
//! the frequencies to about one Hz, and what is left over is all that is not the two tones.

/// Samples that are looked at together: 13 ms at 8 kHz.
pub(super) const WINDOW: usize = 104;
/// Even and odd halves around the middle of the window, in which cosines and sines fall apart.
const HALF: usize = WINDOW / 2;
/// From the best filter, at most 3.5 % away, two steps lead to within a tenth of a Hz; the third settles noisy ones.
const STEPS: usize = 3;
/// A step is never wider, in radians per sample (60 Hz at 8 kHz): from noise it could lead anywhere.
const WIDEST_STEP: f64 = 0.05;

/// A pair of sines as fitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// Frequencies in radians per sample.
    pub(super) low: f64,
    pub(super) high: f64,
    /// Mean squares, of a signal in steps of 16 bits.
    pub(super) low_power: f64,
    pub(super) high_power: f64,
    /// The share of the window's energy that the two make up, 0 to 1.
    pub(super) purity: f64,
}

/// Fits two sines that are near `low` and `high`, in radians per sample; `None` if that leads nowhere.
pub(super) fn fit(window: &[f32; WINDOW], low: f64, high: f64) -> Option<Pair> {
    let (mut even, mut odd) = ([0.0; HALF], [0.0; HALF]);
    for n in 0..HALF {
        let (after, before) = (f64::from(window[HALF + n]), f64::from(window[HALF - 1 - n]));
        even[n] = after + before;
        odd[n] = after - before;
    }
    let (mut low, mut high) = (low, high);
    for _ in 0..STEPS {
        let (a, b) = step(&even, &odd, low, high)?;
        low += a.clamp(-WIDEST_STEP, WIDEST_STEP);
        high += b.clamp(-WIDEST_STEP, WIDEST_STEP);
    }
    // A window of nothing but one tone pulls both to it.
    if high - low < WIDEST_STEP {
        return None;
    }
    let mut cosines = Normal::<2>::default();
    let mut sines = Normal::<2>::default();
    for (n, (cos, sin)) in Waves::new(low, high).take(HALF).enumerate() {
        cosines.add(cos, even[n]);
        sines.add(sin, odd[n]);
    }
    let (a, b) = (cosines.solve()?, sines.solve()?);
    // Each sample of a half stands for itself and its mirror image: the sums above see half of the even part and half of
    // the odd one.
    let explained = cosines.explained(&a) + sines.explained(&b);
    let total: f64 = window.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    if total <= 0.0 {
        return None;
    }
    let power = |k: usize| (a[k] * a[k] + b[k] * b[k]) / 8.0;
    Some(Pair {
        low,
        high,
        low_power: power(0),
        high_power: power(1),
        purity: (explained / (2.0 * total)).clamp(0.0, 1.0),
    })
}

/// One Gauss-Newton step: how far off the two frequencies are, to first order.
///
/// The model is A·cos ωt + B·sin ωt for each tone. Its derivative by ω adds t·sin ωt and t·cos ωt, which are left free;
/// a tone that swells or fades within the window then does not look like one that is off.
fn step(even: &[f64; HALF], odd: &[f64; HALF], low: f64, high: f64) -> Option<(f64, f64)> {
    let mut evens = Normal::<4>::default();
    let mut odds = Normal::<4>::default();
    for (n, (cos, sin)) in Waves::new(low, high).take(HALF).enumerate() {
        // In units of half a window, so that the columns are of like size.
        let t = (n as f64 + 0.5) / HALF as f64;
        evens.add([cos[0], cos[1], t * sin[0], t * sin[1]], even[n]);
        odds.add([sin[0], sin[1], t * cos[0], t * cos[1]], odd[n]);
    }
    let (e, o) = (evens.solve()?, odds.solve()?);
    // d/dω (A cos ωt + B sin ωt) = t (B cos ωt − A sin ωt): the column t·cos tells B·δ, t·sin tells −A·δ.
    let off = |k: usize| {
        let (a, b, c, d) = (e[k], o[k], e[k + 2], o[k + 2]);
        let power = a * a + b * b;
        (power > 0.0).then(|| (b * d - a * c) / power / HALF as f64)
    };
    Some((off(0)?, off(1)?))
}

/// cos ωt and sin ωt of both tones at t = ½, 1½, 2½ …
struct Waves {
    cos: [f64; 2],
    sin: [f64; 2],
    turn: [(f64, f64); 2],
}

impl Waves {
    fn new(low: f64, high: f64) -> Waves {
        let w = [low, high];
        Waves {
            cos: w.map(|w| (w / 2.0).cos()),
            sin: w.map(|w| (w / 2.0).sin()),
            turn: w.map(|w| (w.cos(), w.sin())),
        }
    }
}

impl Iterator for Waves {
    type Item = ([f64; 2], [f64; 2]);

    fn next(&mut self) -> Option<Self::Item> {
        let now = (self.cos, self.sin);
        for k in 0..2 {
            let (c, s) = self.turn[k];
            self.cos[k] = now.0[k] * c - now.1[k] * s;
            self.sin[k] = now.1[k] * c + now.0[k] * s;
        }
        Some(now)
    }
}

/// The normal equations of a least squares problem of `N` unknowns.
#[derive(Clone, Copy)]
struct Normal<const N: usize> {
    gram: [[f64; N]; N],
    right: [f64; N],
}

impl<const N: usize> Default for Normal<N> {
    fn default() -> Self {
        Normal { gram: [[0.0; N]; N], right: [0.0; N] }
    }
}

impl<const N: usize> Normal<N> {
    fn add(&mut self, row: [f64; N], value: f64) {
        for i in 0..N {
            for j in 0..=i {
                self.gram[i][j] += row[i] * row[j];
            }
            self.right[i] += row[i] * value;
        }
    }

    /// By Cholesky's factors; `None` if the columns are not independent.
    fn solve(&self) -> Option<[f64; N]> {
        let mut l = self.gram;
        for i in 0..N {
            for j in 0..=i {
                let dot: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
                let sum = l[i][j] - dot;
                if i != j {
                    l[i][j] = sum / l[j][j];
                } else if sum > 1e-9 {
                    l[i][i] = sum.sqrt();
                } else {
                    return None;
                }
            }
        }
        let mut x = self.right;
        for i in 0..N {
            for k in 0..i {
                x[i] -= l[i][k] * x[k];
            }
            x[i] /= l[i][i];
        }
        for i in (0..N).rev() {
            for k in i + 1..N {
                x[i] -= l[k][i] * x[k];
            }
            x[i] /= l[i][i];
        }
        Some(x)
    }

    /// The sum of squares that a solution accounts for.
    fn explained(&self, solution: &[f64; N]) -> f64 {
        solution.iter().zip(&self.right).map(|(x, r)| x * r).sum()
    }
}
