//! Playbacks that are held back, cancelled alone, marked and asked about, in any order.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use proptest::prelude::*;

/// A program's audio: samples whose value says which one it is.
fn counted(from: u64, samples: usize) -> Vec<i16> {
    (0..samples as u64).map(|n| (1 + (from + n) % 30_000) as i16).collect()
}

fn piece(playback: u64, from: u64, samples: usize, last: bool) -> Chunk {
    let pcm = counted(from, samples);
    Chunk { playback, pcm, sample_rate: 8000, channels: 1, last, ..Chunk::default() }
}

fn speech(samples: usize, rate: u32, channels: u8) -> Vec<i16> {
    let wave = |n: usize| (f64::from(n as u32) * 2600.0 / f64::from(rate)).sin() * 9000.0;
    (0..samples).flat_map(|n| (0..channels).map(move |_| wave(n) as i16)).collect()
}

fn frame(pacer: &mut Pacer) -> Option<Vec<i16>> {
    let mut out = Vec::new();
    pacer.frame(&mut out).then_some(out)
}

fn told(pacer: &mut Pacer) -> Vec<Progress> {
    core::iter::from_fn(|| pacer.poll()).collect()
}

fn pacer(ptime_ms: u64, rate: u32, channels: u8) -> Pacer {
    Pacer::new(Duration::from_millis(ptime_ms), rate, channels)
}

#[test]
fn what_left_before_a_pause_and_after_it_is_the_audio_bit_for_bit() {
    for (rate, channels, codec, codec_channels) in [
        (8000, 1, 8000, 1),
        (16_000, 1, 8000, 1),
        (24_000, 1, 8000, 1),
        (22_050, 2, 8000, 1),
        (44_100, 1, 48_000, 2),
        (8000, 1, 16_000, 1),
        (11_025, 1, 8000, 1),
    ] {
        for ptime in [10, 20, 30, 40, 60] {
            let run = |pauses: &dyn Fn(usize) -> bool| {
                let mut pacer = pacer(ptime, codec, codec_channels);
                // In pieces of no frame's length, which come as they are needed.
                let pcm = speech(rate as usize / 2, rate, channels);
                let size = 173 * usize::from(channels);
                let mut pieces = pcm.chunks(size).peekable();
                let (mut heard, mut silent) = (Vec::new(), 0);
                for tick in 0..400 {
                    while pacer.queued() < Duration::from_millis(100) {
                        let Some(pcm) = pieces.next() else { break };
                        let last = pieces.peek().is_none();
                        let pcm = pcm.to_vec();
                        let chunk = Chunk {
                            playback: 1,
                            pcm,
                            sample_rate: rate,
                            channels,
                            last,
                            ..Chunk::default()
                        };
                        pacer.push(chunk).unwrap();
                    }
                    if pauses(tick) {
                        pacer.pause(1);
                    } else {
                        pacer.resume(1);
                    }
                    match frame(&mut pacer) {
                        Some(frame) => heard.extend(frame),
                        None => silent += 1,
                    }
                }
                let ended = told(&mut pacer).pop();
                (heard, ended, silent)
            };
            let whole = run(&|_| false);
            let played = span(u64::from(rate / 2), rate);
            assert_eq!(whole.1, Some(Progress::Ended { playback: 1, played, cancelled: false }));
            for every in [1, 2, 3, 7] {
                let cut = run(&|tick| tick % (2 * every) >= every);
                assert!(cut.0 == whole.0, "{rate} Hz to {codec}, {ptime} ms, every {every}");
                assert_eq!(cut.1, whole.1);
            }
        }
    }
}

#[test]
fn a_piece_that_was_held_back_leaves_whole_after_a_pause() {
    let mut pacer = pacer(20, 8000, 1);
    pacer.push(piece(1, 0, 200, false)).unwrap();
    let mut heard = frame(&mut pacer).unwrap();
    assert_eq!(frame(&mut pacer), None, "the rest is held back");
    pacer.pause(1);
    pacer.push(piece(1, 200, 280, true)).unwrap();
    assert_eq!(frame(&mut pacer), None);
    pacer.resume(1);
    heard.extend(frame(&mut pacer).unwrap());
    heard.extend(frame(&mut pacer).unwrap());
    assert_eq!(heard, counted(0, 480));
}

#[test]
fn one_that_is_paused_before_its_turn_does_not_begin_and_those_behind_it_wait() {
    let mut pacer = pacer(20, 8000, 1);
    for playback in 1..=3 {
        pacer.push(piece(playback, 0, 160, true)).unwrap();
    }
    pacer.pause(2);
    pacer.pause(2);
    assert!(frame(&mut pacer).is_some());
    assert_eq!((0..9).filter(|_| frame(&mut pacer).is_some()).count(), 0);
    assert_eq!(told(&mut pacer).len(), 2, "the first began and ended");
    pacer.resume(2);
    assert_eq!((0..9).filter(|_| frame(&mut pacer).is_some()).count(), 2);
    pacer.pause(2);
    pacer.push(piece(4, 0, 160, true)).unwrap();
    assert!(frame(&mut pacer).is_some(), "pausing what is over holds nobody back");
}

#[test]
fn cancelling_what_is_paused_ends_it_at_once_and_the_next_begins() {
    let mut pacer = pacer(20, 8000, 1);
    pacer.push(piece(1, 0, 800, true)).unwrap();
    pacer.push(piece(2, 0, 160, true)).unwrap();
    frame(&mut pacer);
    pacer.pause(1);
    assert_eq!(frame(&mut pacer), None);
    told(&mut pacer);
    pacer.cancel(1);
    let played = Duration::from_millis(20);
    assert_eq!(told(&mut pacer), [Progress::Ended { playback: 1, played, cancelled: true }]);
    assert!(frame(&mut pacer).is_some());
}

#[test]
fn one_that_is_cancelled_alone_leaves_the_others_alone() {
    let mut pacer = pacer(20, 8000, 1);
    for playback in 1..=3 {
        pacer.push(piece(playback, 1000 * playback, 160, false)).unwrap();
        pacer.push(piece(playback, 1000 * playback + 160, 160, playback != 2)).unwrap();
    }
    frame(&mut pacer);
    told(&mut pacer);
    pacer.cancel_one(2);
    let ended = Progress::Ended { playback: 2, played: Duration::ZERO, cancelled: true };
    assert_eq!(told(&mut pacer), [ended], "at once");
    assert_eq!(pacer.queued(), Duration::from_millis(60));
    pacer.push(piece(2, 2320, 160, true)).unwrap();
    pacer.cancel_one(2);
    let rest: Vec<i16> = core::iter::from_fn(|| frame(&mut pacer)).flatten().collect();
    assert_eq!(rest, [counted(1160, 160), counted(3000, 320)].concat());
    assert!(pacer.is_idle() && pacer.over() == 3);
    assert!(!told(&mut pacer).contains(&ended), "it was told");
}

#[test]
fn live_audio_that_is_paused_stays_and_does_not_pass_on_hold() {
    let mut pacer = pacer(20, 8000, 1);
    pacer.push(Chunk { live: true, ..piece(1, 0, 320, false) }).unwrap();
    pacer.pause(1);
    pacer.pass_live();
    pacer.resume(1);
    assert_eq!(frame(&mut pacer).unwrap(), counted(0, 160));
    pacer.pass_live();
    assert_eq!(pacer.position(), Some((1, Duration::from_millis(20))), "what passed has not left");
}

#[test]
fn a_mark_is_told_with_the_frame_that_has_its_sample_and_those_behind_the_end_with_the_last() {
    let mut pacer = pacer(20, 8000, 1);
    let marks = [0, 159, 160, 399, 900].into_iter().enumerate();
    let marks = marks.map(|(id, at)| Mark { at, id: id as u64 }).collect();
    pacer.push(Chunk { marks, ..piece(1, 0, 400, true) }).unwrap();
    assert_eq!(pacer.marks(), 5);
    let mut frames = Vec::new();
    while frame(&mut pacer).is_some() {
        let told = told(&mut pacer);
        let ids = |told: &Progress| match told {
            Progress::Mark { id, position, .. } => Some((*id, position.as_micros())),
            _ => None,
        };
        frames.push(told.iter().filter_map(ids).collect::<Vec<_>>());
    }
    let expected = [vec![(0, 0), (1, 19_875)], vec![(2, 20_000)], vec![(3, 49_875), (4, 50_000)]];
    assert_eq!(frames, expected);
    assert_eq!(pacer.marks(), 0);
}

#[test]
fn marks_out_of_order_or_behind_a_piece_that_others_follow_are_refused() {
    let mut pacer = pacer(20, 8000, 1);
    let marked = |at: &[u64], last| {
        let marks = at.iter().map(|&at| Mark { at, id: at }).collect();
        Chunk { marks, ..piece(1, 0, 100, last) }
    };
    assert_eq!(pacer.push(marked(&[5, 4], true)), Err(BadChunk::Mark(4)));
    assert_eq!(pacer.push(marked(&[100], false)), Err(BadChunk::Mark(100)));
    assert_eq!(pacer.push(marked(&[99, 99], false)), Ok(()));
    assert_eq!(pacer.marks(), 2);
    pacer.cancel(1);
    assert_eq!((pacer.marks(), told(&mut pacer).len()), (0, 1), "of what never left none is told");
}

/// What a program may do.
#[derive(Clone, Debug)]
enum Order {
    Push { next: bool, samples: usize, rate: u32, last: bool, marks: Vec<u64> },
    Pause(u64),
    Resume(u64),
    Cancel(u64),
    CancelOne(u64),
    Format { ptime_ms: u64, rate: u32 },
    Frames(u8),
}

fn order(rates: &'static [u32]) -> impl Strategy<Value = Order> {
    let rate = proptest::sample::select(rates);
    let codec = proptest::sample::select(rates);
    prop_oneof![
        6 => (any::<bool>(), 0usize..900, rate, any::<bool>(), proptest::collection::vec(0u64..900, 0..3))
            .prop_map(|(next, samples, rate, last, marks)| Order::Push { next, samples, rate, last, marks }),
        2 => (0u64..3).prop_map(Order::Pause),
        3 => (0u64..3).prop_map(Order::Resume),
        1 => (0u64..3).prop_map(Order::Cancel),
        1 => (0u64..3).prop_map(Order::CancelOne),
        1 => (1u64..=6, codec).prop_map(|(n, rate)| Order::Format { ptime_ms: 10 * n, rate }),
        6 => (1u8..4).prop_map(Order::Frames),
    ]
}

/// A program and its pacer, with what has to be true of what leaves.
struct Call {
    pacer: Pacer,
    newest: u64,
    /// The newest has had its last piece.
    complete: bool,
    /// Per playback: what was pushed, at which rates.
    pushed: BTreeMap<u64, Vec<(i16, u32)>>,
    marks: BTreeMap<u64, (u64, u64)>,
    mark: u64,
    paused: BTreeSet<u64>,
    cancelled: BTreeSet<u64>,
    ended: BTreeMap<u64, Duration>,
    started: BTreeSet<u64>,
    /// The newest that was heard, and how far.
    position: (u64, Duration),
    /// Program samples that left, per playback.
    left: BTreeMap<u64, u64>,
    told_marks: Vec<u64>,
    rate: u32,
    /// Nothing is converted on the way.
    exact: bool,
}

impl Call {
    fn new(rate: u32) -> Call {
        let mut pacer = Pacer::new(Duration::from_millis(20), rate, 1);
        pacer.tells_left = true;
        Call {
            pacer,
            newest: 1,
            complete: false,
            pushed: BTreeMap::new(),
            marks: BTreeMap::new(),
            mark: 0,
            paused: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            ended: BTreeMap::new(),
            started: BTreeSet::new(),
            position: (0, Duration::ZERO),
            left: BTreeMap::new(),
            told_marks: Vec::new(),
            rate,
            exact: rate == 8000,
        }
    }

    fn obey(&mut self, order: &Order) {
        let back = |n: &u64| self.newest.saturating_sub(*n);
        match order {
            Order::Push { next, samples, rate, last, marks } => {
                self.newest += u64::from(*next || self.complete);
                self.complete = *last;
                let playback = self.newest;
                let pushed = self.pushed.entry(playback).or_default();
                let from = pushed.len() as u64;
                let mut places: Vec<u64> =
                    marks.iter().copied().filter(|at| *at < *samples as u64 || *last).collect();
                places.sort_unstable();
                let pcm = counted(from, *samples);
                pushed.extend(pcm.iter().map(|&sample| (sample, *rate)));
                let marks = places
                    .into_iter()
                    .map(|at| {
                        self.mark += 1;
                        self.marks.insert(self.mark, (playback, from + at));
                        Mark { at, id: self.mark }
                    })
                    .collect();
                let chunk = Chunk {
                    playback,
                    pcm,
                    sample_rate: *rate,
                    channels: 1,
                    last: *last,
                    live: false,
                    marks,
                };
                self.pacer.push(chunk).unwrap();
            }
            Order::Pause(n) => {
                let playback = back(n);
                self.pacer.pause(playback);
                if !self.ended.contains_key(&playback) {
                    self.paused.insert(playback);
                }
            }
            Order::Resume(n) => {
                let playback = back(n);
                self.pacer.resume(playback);
                self.paused.remove(&playback);
            }
            Order::Cancel(n) => {
                let upto = back(n);
                self.pacer.cancel(upto);
                self.cancelled.extend(1..=upto);
                self.listen();
            }
            Order::CancelOne(n) => {
                let playback = back(n);
                self.pacer.cancel_one(playback);
                self.listen();
                if self.ended.contains_key(&playback) {
                    self.cancelled.insert(playback);
                }
            }
            Order::Format { ptime_ms, rate } => {
                self.pacer.set_format(Duration::from_millis(*ptime_ms), *rate, 1);
                self.rate = *rate;
            }
            Order::Frames(count) => (0..*count).for_each(|_| self.frame()),
        }
    }

    fn frame(&mut self) {
        let mut out = Vec::new();
        let before = self.pacer.position();
        let leaves = self.pacer.frame(&mut out);
        let left: Vec<Left> = self.pacer.left().to_vec();
        assert!(leaves || left.is_empty());
        for left in &left {
            assert!(!self.paused.contains(&left.playback), "nothing of what is paused leaves");
            assert!(!self.cancelled.contains(&left.playback), "nor of what was cancelled");
            assert!(!self.ended.contains_key(&left.playback));
            let so_far = self.left.entry(left.playback).or_default();
            assert_eq!(left.from, *so_far, "in order, none twice, none left out");
            *so_far += left.samples;
            let pushed = &self.pushed[&left.playback];
            assert!(*so_far <= pushed.len() as u64);
            let here = &pushed[left.from as usize..][..left.samples as usize];
            if here.iter().all(|(_, rate)| *rate == self.rate) && left.samples > 0 && self.exact {
                let pcm: Vec<i16> = here.iter().map(|(sample, _)| *sample).collect();
                assert_eq!(out[..pcm.len()], pcm, "bit for bit");
            }
        }
        if let (Some(before), Some(after)) = (before, self.pacer.position()) {
            assert!(after >= before, "the position does not go back: {before:?} {after:?}");
        }
        self.listen();
    }

    fn listen(&mut self) {
        while let Some(progress) = self.pacer.poll() {
            match progress {
                Progress::Started { playback } => {
                    assert!(self.started.insert(playback) && self.position.0 < playback);
                    self.position = (playback, Duration::ZERO);
                }
                Progress::Mark { playback, id, position } => {
                    assert!(!self.ended.contains_key(&playback));
                    let (of, at) = self.marks[&id];
                    assert_eq!(of, playback);
                    assert!(self.told_marks.last().is_none_or(|last| *last < id), "in order");
                    self.told_marks.push(id);
                    let left = self.left.get(&playback).copied().unwrap_or(0);
                    let length = self.pushed[&playback].len() as u64;
                    assert!(
                        at < left
                            || self.is_all(playback, left)
                            || !self.exact && self.is_near(playback, at, left),
                        "{at} of {length} when {left} had left"
                    );
                    let place = self.span(playback, at.min(length));
                    assert!(
                        position.abs_diff(place) < Duration::from_micros(400),
                        "{position:?} {place:?}"
                    );
                }
                Progress::Ended { playback, played, cancelled } => {
                    let left = self.left.get(&playback).copied().unwrap_or(0);
                    let place = self.span(playback, left);
                    assert!(
                        played.abs_diff(place) < Duration::from_millis(1),
                        "{played:?} {place:?}"
                    );
                    assert_eq!(self.ended.insert(playback, played), None, "told once");
                    if !cancelled {
                        assert!(self.is_all(playback, left), "all of it left");
                        let untold = self
                            .marks
                            .iter()
                            .any(|(id, (of, _))| *of == playback && !self.told_marks.contains(id));
                        assert!(!untold, "all marks are told");
                    }
                }
            }
        }
    }

    /// Whether no more is left of it than pieces too short to become a sample of the codec.
    fn is_all(&self, playback: u64, left: u64) -> bool {
        let all = self.pushed[&playback].len() as u64;
        self.span(playback, all) - self.span(playback, left) < Duration::from_millis(1)
    }

    /// Whether two places are as near as conversions may move them: a few samples.
    fn is_near(&self, playback: u64, one: u64, other: u64) -> bool {
        let apart = self.span(playback, one).abs_diff(self.span(playback, other));
        apart < Duration::from_micros(400)
    }

    /// How long the first samples of a playback last.
    fn span(&self, playback: u64, samples: u64) -> Duration {
        let pushed = self.pushed.get(&playback).map_or(&[][..], |pushed| pushed);
        let nanos = pushed[..samples as usize].iter().map(|(_, rate)| 1e9 / f64::from(*rate));
        Duration::from_nanos(nanos.sum::<f64>() as u64)
    }

    /// All go on, and end.
    fn finish(&mut self) {
        for playback in std::mem::take(&mut self.paused) {
            self.pacer.resume(playback);
        }
        self.obey(&Order::Push { next: false, samples: 10, rate: 8000, last: true, marks: vec![] });
        for _ in 0..5000 {
            self.frame();
        }
        assert!(self.pacer.is_idle(), "nothing is stuck");
        assert_eq!((self.pacer.queued(), self.pacer.marks()), (Duration::ZERO, 0));
        assert_eq!(
            self.ended.len(),
            self.pushed.keys().filter(|p| self.ended.contains_key(p)).count()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_ordered_the_audio_that_leaves_is_the_audio_pushed(
        orders in proptest::collection::vec(order(&[8000]), 1..60)
    ) {
        let mut call = Call::new(8000);
        orders.iter().for_each(|order| call.obey(order));
        call.finish();
    }

    #[test]
    fn so_it_is_at_any_rates_and_their_changes(
        orders in proptest::collection::vec(order(&[8000, 11_025, 16_000, 44_100, 48_000]), 1..60)
    ) {
        let mut call = Call::new(16_000);
        orders.iter().for_each(|order| call.obey(order));
        call.finish();
    }
}
