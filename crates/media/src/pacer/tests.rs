use super::*;

const PTIME: Duration = Duration::from_millis(20);

fn pacer() -> Pacer {
    Pacer::new(PTIME, 8000, 1)
}

fn piece(playback: u64, samples: usize, last: bool) -> Chunk {
    Chunk {
        playback,
        pcm: vec![1000; samples],
        sample_rate: 8000,
        channels: 1,
        last,
        live: false,
        marks: vec![],
    }
}

fn next(pacer: &mut Pacer) -> Option<Vec<i16>> {
    let mut out = Vec::new();
    pacer.frame(&mut out).then_some(out)
}

fn told(pacer: &mut Pacer) -> Vec<Progress> {
    core::iter::from_fn(|| pacer.poll()).collect()
}

#[test]
fn a_playback_leaves_frame_by_frame_and_its_end_is_filled_with_silence() {
    let mut pacer = pacer();
    pacer.push(piece(1, 400, true)).unwrap();
    assert_eq!(next(&mut pacer), Some(vec![1000; 160]));
    assert_eq!(told(&mut pacer), [Progress::Started { playback: 1 }]);
    assert_eq!(pacer.position(), Some((1, PTIME)));
    assert_eq!(next(&mut pacer), Some(vec![1000; 160]));
    let end = next(&mut pacer).expect("the rest");
    assert_eq!((&end[..80], &end[80..]), (&[1000; 80][..], &[0; 80][..]));
    let played = Duration::from_millis(50);
    assert_eq!(told(&mut pacer), [Progress::Ended { playback: 1, played, cancelled: false }]);
    assert_eq!(next(&mut pacer), None);
    assert!(pacer.is_idle());
}

#[test]
fn an_empty_last_piece_ends_the_playback_with_the_frame_before_it() {
    let mut pacer = pacer();
    pacer.push(piece(1, 160, false)).unwrap();
    pacer.push(piece(1, 0, true)).unwrap();
    assert!(next(&mut pacer).is_some());
    assert!(matches!(told(&mut pacer)[1], Progress::Ended { cancelled: false, .. }));
    // The same when it comes after the frame has left.
    pacer.push(piece(2, 160, false)).unwrap();
    assert!(next(&mut pacer).is_some());
    pacer.push(piece(2, 0, true)).unwrap();
    assert!(next(&mut pacer).is_none());
    assert!(matches!(told(&mut pacer)[1], Progress::Ended { cancelled: false, .. }));
}

#[test]
fn a_playback_of_nothing_ends_at_once() {
    let mut pacer = pacer();
    pacer.push(piece(1, 0, true)).unwrap();
    assert_eq!(next(&mut pacer), None);
    assert_eq!(
        told(&mut pacer),
        [Progress::Ended { playback: 1, played: Duration::ZERO, cancelled: false }]
    );
}

#[test]
fn cancelling_silences_the_next_frame_and_tells_each_playback_once() {
    let mut pacer = pacer();
    pacer.push(piece(1, 8000, true)).unwrap();
    pacer.push(piece(2, 8000, false)).unwrap();
    pacer.push(piece(2, 8000, true)).unwrap();
    next(&mut pacer);
    told(&mut pacer);
    pacer.cancel(2);
    assert_eq!(next(&mut pacer), None);
    assert_eq!(
        told(&mut pacer),
        [
            Progress::Ended { playback: 1, played: PTIME, cancelled: true },
            Progress::Ended { playback: 2, played: Duration::ZERO, cancelled: true },
        ]
    );
    pacer.push(piece(2, 160, true)).unwrap();
    assert_eq!(next(&mut pacer), None, "a late piece of a cancelled playback");
    pacer.push(piece(3, 160, true)).unwrap();
    assert!(next(&mut pacer).is_some());
}

#[test]
fn what_comes_after_the_last_piece_is_dropped() {
    let mut pacer = pacer();
    pacer.push(piece(1, 160, true)).unwrap();
    assert!(next(&mut pacer).is_some());
    told(&mut pacer);
    pacer.push(piece(1, 160, false)).unwrap();
    assert!(next(&mut pacer).is_none());
    assert_eq!(told(&mut pacer), []);
}

#[test]
fn playbacks_follow_one_another_without_a_gap() {
    let mut pacer = pacer();
    pacer.push(piece(1, 320, true)).unwrap();
    pacer.push(piece(2, 320, true)).unwrap();
    let frames: Vec<bool> = (0..5).map(|_| next(&mut pacer).is_some()).collect();
    assert_eq!(frames, [true, true, true, true, false]);
}

#[test]
fn pieces_longer_than_a_frame_gain_their_lead_once() {
    // 30 ms pieces every 30 ms into frames of 20 ms: one frame's wait, then no gap.
    let mut pacer = pacer();
    let mut sent = Vec::new();
    let mut pieces = 0;
    for frame in 0..60 {
        while pieces * 30 <= frame * 20 {
            pacer.push(piece(1, 240, false)).unwrap();
            pieces += 1;
        }
        sent.push(next(&mut pacer).is_some());
    }
    let gaps = sent.iter().filter(|s| !**s).count();
    assert_eq!(gaps, 1, "{sent:?}");
}

#[test]
fn the_rest_of_a_stream_that_stops_is_held_for_one_frame_and_then_sent() {
    let mut pacer = pacer();
    pacer.push(piece(1, 200, false)).unwrap();
    assert!(next(&mut pacer).is_some());
    assert!(next(&mut pacer).is_none(), "held");
    let rest = next(&mut pacer).expect("sent");
    assert_eq!((rest[39], rest[40]), (1000, 0));
}

#[test]
fn another_rate_and_stereo_become_the_codecs_without_losing_time() {
    for (rate, channels) in [(16_000u32, 1u8), (24_000, 2), (44_100, 1), (48_000, 2)] {
        let mut pacer = pacer();
        let pcm = vec![3000; rate as usize * usize::from(channels)];
        pacer
            .push(Chunk {
                playback: 1,
                pcm,
                sample_rate: rate,
                channels,
                last: true,
                live: false,
                marks: vec![],
            })
            .unwrap();
        let mut frames = 0;
        while let Some(frame) = next(&mut pacer) {
            frames += 1;
            if (5..45).contains(&frames) {
                assert!(frame.iter().all(|s| (2950..3050).contains(s)), "{rate} {frame:?}");
            }
        }
        assert_eq!(frames, 50, "{rate}");
    }
}

#[test]
fn a_change_of_rate_within_a_playback_loses_nothing() {
    let mut pacer = pacer();
    for (rate, last) in [(16_000, false), (24_000, false), (8000, true)] {
        let pcm = vec![3000; rate as usize / 10];
        pacer
            .push(Chunk {
                playback: 1,
                pcm,
                sample_rate: rate,
                channels: 1,
                last,
                live: false,
                marks: vec![],
            })
            .unwrap();
    }
    let frames = core::iter::from_fn(|| next(&mut pacer)).count();
    assert_eq!(frames, 15);
    let ended = told(&mut pacer)[1];
    let Progress::Ended { played, .. } = ended else { panic!("{ended:?}") };
    assert!(played.abs_diff(Duration::from_millis(300)) < Duration::from_micros(300));
}

#[test]
fn a_burst_of_live_audio_is_no_delay_for_good() {
    let live = |n: usize| Chunk { live: true, ..piece(1, n * 160, false) };
    let (mut pacer, mut depth, mut sent) = (pacer(), vec![], 0);
    for frame in 0..500 {
        // The program is away for 400 ms, then forwards all that came meanwhile.
        match frame {
            100..120 => {}
            120 => pacer.push(live(21)).unwrap(),
            _ => pacer.push(live(1)).unwrap(),
        }
        sent += usize::from(next(&mut pacer).is_some());
        depth.push(pacer.queued().as_millis());
    }
    assert_eq!((depth[90], depth[121]), (0, 400));
    assert!(depth[499] <= 20, "{} ms", depth[499]);
    assert_eq!(
        sent, 480,
        "every frame's time has one packet, but for those in which there was no audio"
    );
}

#[test]
fn live_audio_in_long_pieces_keeps_what_it_needs() {
    let mut pacer = pacer();
    let mut gaps = 0;
    for frame in 0..500 {
        if frame % 5 == 0 {
            pacer.push(Chunk { live: true, ..piece(1, 800, false) }).unwrap();
        }
        gaps += usize::from(next(&mut pacer).is_none());
    }
    assert_eq!(gaps, 0);
}

#[test]
fn what_is_played_is_never_shortened() {
    let mut pacer = pacer();
    pacer.push(piece(1, 80_000, true)).unwrap();
    assert_eq!(core::iter::from_fn(|| next(&mut pacer)).count(), 500);
}

#[test]
fn what_is_queued_is_known_in_time() {
    let mut pacer = pacer();
    pacer.push(piece(1, 8000, false)).unwrap();
    assert_eq!(pacer.queued(), Duration::from_secs(1));
    next(&mut pacer);
    assert_eq!(pacer.queued(), Duration::from_millis(980));
    let pcm = vec![0; 2 * 4410];
    let stereo = Chunk {
        playback: 2,
        pcm,
        sample_rate: 44_100,
        channels: 2,
        last: true,
        live: false,
        marks: vec![],
    };
    pacer.push(stereo).unwrap();
    assert_eq!(pacer.queued(), Duration::from_millis(1080));
    pacer.cancel(1);
    assert_eq!(pacer.queued(), Duration::from_millis(100));
    while next(&mut pacer).is_some() {}
    assert_eq!(pacer.queued(), Duration::ZERO);
}
