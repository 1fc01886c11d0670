//! From one channel count to another, and from one frame into the next.

/// Appends `pcm`, interleaved over `from` channels, to `out`, interleaved over `to` channels.
///
/// One channel is repeated for all; several are averaged first. A level is kept either way: the average cannot clip, and
/// mono → stereo → mono gives back the same samples. Equal counts are a copy. Samples after the last whole frame are
/// left out; zero channels on either side are no audio.
pub fn to_channels(pcm: &[i16], from: u8, to: u8, out: &mut Vec<i16>) {
    let (from, to) = (usize::from(from), usize::from(to));
    if from == 0 || to == 0 {
        return;
    }
    let whole = pcm.len() - pcm.len() % from;
    if from == to {
        out.extend_from_slice(&pcm[..whole]);
        return;
    }
    out.reserve(whole / from * to);
    for frame in pcm[..whole].chunks_exact(from) {
        let mono = average(frame);
        out.extend(core::iter::repeat_n(mono, to));
    }
}

/// Fades from one frame into the other over their whole length: what two frames held is heard in the time of one.
pub(crate) fn cross_fade(from: &mut [i16], to: &[i16], channels: u8) {
    let channels = usize::from(channels);
    let length = (from.len() / channels).max(1) as i32;
    for (i, (a, b)) in from.iter_mut().zip(to).enumerate() {
        let place = (i / channels) as i32;
        *a = ((i32::from(*a) * (length - place) + i32::from(*b) * place) / length) as i16;
    }
}

/// The mean of a frame's samples, halves rounded up; of at most 255 samples, so that `i32` holds the sum.
fn average(frame: &[i16]) -> i16 {
    let sum: i32 = frame.iter().map(|&s| i32::from(s)).sum();
    let n = frame.len() as i32;
    (sum + n / 2).div_euclid(n) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mixed(pcm: &[i16], from: u8, to: u8) -> Vec<i16> {
        let mut out = vec![];
        to_channels(pcm, from, to, &mut out);
        out
    }

    #[test]
    fn mono_is_repeated_and_stereo_is_averaged_without_clipping() {
        assert_eq!(mixed(&[1, -2], 1, 2), [1, 1, -2, -2]);
        assert_eq!(mixed(&[i16::MAX, i16::MAX, i16::MIN, i16::MIN], 2, 1), [i16::MAX, i16::MIN]);
        assert_eq!(mixed(&[i16::MAX, i16::MIN, 3, 4, -3, -4], 2, 1), [0, 4, -3]);
    }

    #[test]
    fn a_cut_frame_and_zero_channels_are_left_out() {
        assert_eq!(mixed(&[1, 2, 3], 2, 2), [1, 2]);
        assert_eq!(mixed(&[1, 2, 3], 2, 1), [2]);
        assert!(mixed(&[1, 2], 0, 1).is_empty() && mixed(&[1, 2], 1, 0).is_empty());
    }

    proptest! {
        #[test]
        fn any_counts_keep_the_number_of_frames_and_the_range(
            pcm in proptest::collection::vec(any::<i16>(), 0..600), from in 1u8..=255, to in 1u8..=8
        ) {
            let out = mixed(&pcm, from, to);
            prop_assert_eq!(out.len(), pcm.len() / usize::from(from) * usize::from(to));
            let low = pcm.iter().min().copied().unwrap_or(0);
            let high = pcm.iter().max().copied().unwrap_or(0);
            prop_assert!(out.iter().all(|s| (low..=high).contains(s)));
        }

        #[test]
        fn mono_through_any_count_is_the_same_again(
            pcm in proptest::collection::vec(any::<i16>(), 0..200), through in 1u8..=255
        ) {
            prop_assert_eq!(mixed(&mixed(&pcm, 1, through), through, 1), pcm);
        }
    }
}
