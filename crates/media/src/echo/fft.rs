//! A real Fourier transform of 512 samples, the one length that the guard needs.

/// Samples of a transform.
pub(super) const LEN: usize = 512;
/// Bins of a real signal's spectrum: from 0 Hz to half the rate.
pub(super) const BINS: usize = LEN / 2 + 1;
const HALF: usize = LEN / 2;

/// A real signal's spectrum, real and imaginary parts apart so that the compiler makes vectors of them.
#[derive(Clone, Debug)]
pub(super) struct Spectrum {
    pub re: [f32; BINS],
    pub im: [f32; BINS],
}

impl Spectrum {
    pub const ZERO: Spectrum = Spectrum { re: [0.0; BINS], im: [0.0; BINS] };

    pub fn times(&self, other: &Spectrum) -> Spectrum {
        let mut product = Spectrum::ZERO;
        for k in 0..BINS {
            product.re[k] = self.re[k] * other.re[k] - self.im[k] * other.im[k];
            product.im[k] = self.re[k] * other.im[k] + self.im[k] * other.re[k];
        }
        product
    }

    /// Adds `conj(a) · b`.
    pub fn add_correlation(&mut self, a: &Spectrum, b: &Spectrum) {
        for k in 0..BINS {
            self.re[k] += a.re[k] * b.re[k] + a.im[k] * b.im[k];
            self.im[k] += a.re[k] * b.im[k] - a.im[k] * b.re[k];
        }
    }
}

/// The sum of `term(a, b)` over two signals: in eight parts, so that the compiler makes vectors of them.
#[inline]
pub(super) fn sum<A: Copy, B: Copy>(a: &[A], b: &[B], term: impl Fn(A, B) -> f32) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| term(*x, *y)).sum();
    for (a, b) in a.zip(b) {
        for k in 0..LANES {
            sums[k] += term(a[k], b[k]);
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// The sum of their squares.
pub(super) fn energy(samples: &[f32]) -> f32 {
    sum(samples, samples, |x, y| x * y)
}

/// The sines of the transform.
#[derive(Clone, Debug)]
pub(super) struct Fft {
    cos: [f32; LEN],
    sin: [f32; LEN],
}

impl Fft {
    pub fn new() -> Fft {
        let mut fft = Fft { cos: [0.0; LEN], sin: [0.0; LEN] };
        for k in 0..LEN {
            let angle = core::f64::consts::TAU * k as f64 / LEN as f64;
            fft.cos[k] = angle.cos() as f32;
            fft.sin[k] = angle.sin() as f32;
        }
        fft
    }

    pub fn forward(&self, signal: &[f32; LEN], out: &mut Spectrum) {
        let mut re = [0.0; HALF];
        let mut im = [0.0; HALF];
        for k in 0..HALF {
            re[k] = signal[2 * k];
            im[k] = signal[2 * k + 1];
        }
        self.complex(&mut re, &mut im);
        (out.re[0], out.im[0]) = (re[0] + im[0], 0.0);
        (out.re[HALF], out.im[HALF]) = (re[0] - im[0], 0.0);
        // In slices of one length, and the other half backwards: the compiler makes vectors of that.
        const BETWEEN: usize = HALF - 1;
        let between = |x: &[f32]| -> [f32; BETWEEN] { core::array::from_fn(|n| x[n + 1]) };
        let backwards = |x: &[f32]| -> [f32; BETWEEN] { core::array::from_fn(|n| x[BETWEEN - n]) };
        let (re_a, im_a) = (between(&re), between(&im));
        let (re_b, im_b) = (backwards(&re), backwards(&im));
        let (cosines, sines) = (&self.cos[1..HALF], &self.sin[1..HALF]);
        let (to_re, to_im) = (&mut out.re[1..HALF], &mut out.im[1..HALF]);
        for n in 0..BETWEEN {
            let (even_re, even_im) = (re_a[n] + re_b[n], im_a[n] - im_b[n]);
            let (odd_re, odd_im) = (im_a[n] + im_b[n], re_b[n] - re_a[n]);
            let (cos, sin) = (cosines[n], -sines[n]);
            to_re[n] = 0.5 * (even_re + cos * odd_re - sin * odd_im);
            to_im[n] = 0.5 * (even_im + cos * odd_im + sin * odd_re);
        }
    }

    pub fn inverse(&self, spectrum: &Spectrum, out: &mut [f32; LEN]) {
        let mut re = [0.0; HALF];
        let mut im = [0.0; HALF];
        let Spectrum { re: s, im: t } = spectrum;
        for k in 0..HALF {
            let b = HALF - k;
            let (even_re, even_im) = (s[k] + s[b], t[k] - t[b]);
            let (odd_re, odd_im) = (s[k] - s[b], t[k] + t[b]);
            let (cos, sin) = (self.cos[k], self.sin[k]);
            let (turned_re, turned_im) = (odd_re * cos - odd_im * sin, odd_re * sin + odd_im * cos);
            // Conjugated in and out: the forward transform is the inverse one.
            re[k] = even_re - turned_im;
            im[k] = -(even_im + turned_re);
        }
        self.complex(&mut re, &mut im);
        let scale = 1.0 / LEN as f32;
        for k in 0..HALF {
            out[2 * k] = re[k] * scale;
            out[2 * k + 1] = -im[k] * scale;
        }
    }

    /// Radix 4 after Stockham: four passes between two buffers, and the result in order.
    fn complex(&self, re: &mut [f32; HALF], im: &mut [f32; HALF]) {
        let mut re_b = [0.0; HALF];
        let mut im_b = [0.0; HALF];
        self.pass::<1>(re, im, &mut re_b, &mut im_b);
        self.pass::<4>(&re_b, &im_b, re, im);
        self.pass::<16>(re, im, &mut re_b, &mut im_b);
        self.pass::<64>(&re_b, &im_b, re, im);
    }

    fn pass<const STRIDE: usize>(
        &self,
        re: &[f32; HALF],
        im: &[f32; HALF],
        to_re: &mut [f32; HALF],
        to_im: &mut [f32; HALF],
    ) {
        let quarter = HALF / 4;
        for p in 0..quarter / STRIDE {
            let turn = 2 * STRIDE * p;
            let (c1, s1) = (self.cos[turn], -self.sin[turn]);
            let (c2, s2) = (self.cos[2 * turn], -self.sin[2 * turn]);
            let (c3, s3) = (self.cos[3 * turn], -self.sin[3 * turn]);
            let from = p * STRIDE;
            let to = 4 * p * STRIDE;
            for q in 0..STRIDE {
                let at = from + q;
                let (ar, ai) = (re[at], im[at]);
                let (br, bi) = (re[at + quarter], im[at + quarter]);
                let (cr, ci) = (re[at + 2 * quarter], im[at + 2 * quarter]);
                let (dr, di) = (re[at + 3 * quarter], im[at + 3 * quarter]);
                let (sum_r, sum_i) = (ar + cr, ai + ci);
                let (dif_r, dif_i) = (ar - cr, ai - ci);
                let (sub_r, sub_i) = (br + dr, bi + di);
                let (jr, ji) = (di - bi, br - dr);
                to_re[to + q] = sum_r + sub_r;
                to_im[to + q] = sum_i + sub_i;
                let (xr, xi) = (dif_r - jr, dif_i - ji);
                to_re[to + STRIDE + q] = xr * c1 - xi * s1;
                to_im[to + STRIDE + q] = xr * s1 + xi * c1;
                let (xr, xi) = (sum_r - sub_r, sum_i - sub_i);
                to_re[to + 2 * STRIDE + q] = xr * c2 - xi * s2;
                to_im[to + 2 * STRIDE + q] = xr * s2 + xi * c2;
                let (xr, xi) = (dif_r + jr, dif_i + ji);
                to_re[to + 3 * STRIDE + q] = xr * c3 - xi * s3;
                to_im[to + 3 * STRIDE + q] = xr * s3 + xi * c3;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn a_spectrum_is_what_the_definition_says_and_goes_back() {
        let mut rng = Rng::new(1);
        let mut signal = [0.0; LEN];
        signal.fill_with(|| rng.unit() as f32 - 0.5);
        let fft = Fft::new();
        let mut spectrum = Spectrum::ZERO;
        fft.forward(&signal, &mut spectrum);
        for k in 0..BINS {
            let (mut re, mut im) = (0.0, 0.0);
            for (n, x) in signal.iter().enumerate() {
                let angle = core::f64::consts::TAU * (k * n % LEN) as f64 / LEN as f64;
                re += f64::from(*x) * angle.cos();
                im -= f64::from(*x) * angle.sin();
            }
            assert!((f64::from(spectrum.re[k]) - re).abs() < 1e-4, "{k}: {re}");
            assert!((f64::from(spectrum.im[k]) - im).abs() < 1e-4, "{k}: {im}");
        }
        let mut back = [0.0; LEN];
        fft.inverse(&spectrum, &mut back);
        for (a, b) in signal.iter().zip(&back) {
            assert!((a - b).abs() < 1e-5);
        }
    }
}
