use super::*;

const FRAME: u32 = 160;

fn digit(key: char) -> Digit {
    Digit::parse(key).unwrap()
}

/// Runs `frames` frames from timestamp `from`; the packets with the number of the frame each left in.
fn run(
    sender: &mut Sender,
    from: RtpTime,
    frame: u32,
    frames: u32,
) -> Vec<(u32, EventPacket, EventPayload)> {
    (0..frames)
        .filter_map(|n| {
            let packet = sender.next(from.plus(n * frame), frame)?;
            Some((n, packet, EventPayload::parse(&packet.payload).unwrap()))
        })
        .collect()
}

#[test]
fn rfc4733_2_5_1_2_one_packet_a_frame_with_a_fixed_timestamp_and_a_growing_duration() {
    let mut sender = Sender::new(8000);
    sender.push(digit('5'), Duration::from_millis(100)).unwrap();
    let train = run(&mut sender, RtpTime(u32::MAX - 200), FRAME, 20);
    assert_eq!(train.iter().map(|(n, ..)| *n).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    assert!(train.iter().all(|(_, packet, _)| packet.timestamp == RtpTime(u32::MAX - 200)));
    let durations: Vec<_> = train.iter().map(|(.., payload)| payload.duration).collect();
    assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800]);
    assert!(train.iter().all(|(.., payload)| payload.event == 5 && payload.volume == 10));
}

#[test]
fn rfc4733_2_2_2_the_marker_is_on_the_first_packet_of_each_event_only() {
    let mut sender = Sender::new(8000);
    sender.push(digit('1'), Duration::from_millis(60)).unwrap();
    sender.push(digit('1'), Duration::from_millis(60)).unwrap();
    let train = run(&mut sender, RtpTime(7), FRAME, 40);
    let marked: Vec<_> = train.iter().map(|(_, packet, _)| packet.marker).collect();
    assert_eq!(marked, [true, false, false, false, false, true, false, false, false, false]);
}

#[test]
fn rfc4733_2_5_1_4_the_final_packet_leaves_three_times_in_three_frames() {
    for ptime in [10, 20, 30, 40, 60] {
        let frame = 8 * ptime;
        let mut sender = Sender::new(8000);
        sender.push(digit('#'), Duration::from_millis(160)).unwrap();
        let train = run(&mut sender, RtpTime(0), frame, 60);
        let ends: Vec<_> = train.iter().filter(|(.., payload)| payload.end).collect();
        let [(a, _, x), (b, _, y), (c, _, z)] = ends[..] else {
            panic!("{} ends at {ptime} ms", ends.len())
        };
        assert_eq!((b - a, c - b), (1, 1), "{ptime} ms frames");
        assert!(x == y && y == z && u32::from(x.duration) == 1280_u32.next_multiple_of(frame));
    }
}

#[test]
fn the_gap_between_two_digits_is_at_least_50_ms_and_holds_all_repeats() {
    for (ptime, gap_ms) in [(10, 80), (20, 80), (30, 90), (40, 80), (60, 120)] {
        let frame = 8 * ptime;
        let mut sender = Sender::new(8000);
        sender.push(digit('1'), Duration::from_millis(120)).unwrap();
        sender.push(digit('1'), Duration::from_millis(120)).unwrap();
        let train = run(&mut sender, RtpTime(0), frame, 60);
        let second = train.iter().rfind(|(_, packet, _)| packet.marker).unwrap();
        assert_eq!(second.1.timestamp, RtpTime(8 * (120 + gap_ms)), "{ptime} ms frames");
        assert_eq!(second.1.timestamp, RtpTime(second.0 * frame), "starts in its frame");
    }
}

#[test]
fn rfc4733_2_5_1_3_an_event_beyond_0xffff_ticks_is_sent_in_segments() {
    let mut sender = Sender::new(8000);
    sender.push(digit('9'), Duration::from_secs(10)).unwrap();
    let train = run(&mut sender, RtpTime(1000), FRAME, 600);
    assert_eq!(train.len(), 500 + 2, "every frame of ten seconds, and the end twice more");
    let (first, second): (Vec<_>, Vec<_>) =
        train.iter().partition(|(_, packet, _)| packet.timestamp == RtpTime(1000));
    assert!(second.iter().all(|(_, packet, _)| packet.timestamp == RtpTime(1000 + 0xffff)));
    assert!(second.iter().all(|(_, packet, _)| !packet.marker));

    // §2.5.1.3: the full segment is reported, without E; §2.5.1.4: three times.
    let full: Vec<_> = first.iter().filter(|(.., p)| p.duration == 0xffff).collect();
    assert_eq!(full.len(), 3);
    assert!(first.iter().all(|(.., payload)| !payload.end));

    // The second one grows on from the time that has passed meanwhile, and ends the event.
    let (n, _, payload) = second[0];
    assert_eq!(u32::from(payload.duration), (n + 1) * FRAME - 0xffff);
    let last = second.last().unwrap().2;
    assert!(last.end);
    assert_eq!(0xffff + u32::from(last.duration), 80_000);
    assert_eq!(second.iter().filter(|(.., payload)| payload.end).count(), 3);
}

#[test]
fn an_event_of_exactly_one_full_segment_ends_in_it_and_one_tick_more_needs_another() {
    // A frame of one tick is no real ptime, but lets the edge be met exactly.
    let run_ticks = |ticks: u64| {
        let mut sender = Sender::new(1000);
        // At 1 kHz a tick is a millisecond, so 60 s are 60 000 ticks: set the total by hand to pass 0xFFFF.
        sender.push(digit('0'), Duration::from_secs(1)).unwrap();
        sender.start(RtpTime(0), 1);
        let Some(Sending { form: Form::Event(train), .. }) = &mut sender.now else { panic!() };
        train.total = ticks;
        run(&mut sender, RtpTime(0), 1, 0x1_0010)
    };
    let exact = run_ticks(0xffff);
    assert_eq!(exact.iter().filter(|(.., p)| p.end && p.duration == 0xffff).count(), 3);
    assert_eq!(exact.len(), 0xffff + 2);

    let over = run_ticks(0x1_0000);
    assert_eq!(over.iter().filter(|(.., p)| !p.end && p.duration == 0xffff).count(), 3);
    let ends: Vec<_> = over.iter().filter(|(.., p)| p.end).collect();
    assert_eq!(ends.len(), 3);
    assert!(ends
        .iter()
        .all(|(_, packet, p)| packet.timestamp == RtpTime(0xffff) && p.duration == 1));
}

#[test]
fn the_event_clock_is_the_stream_clock() {
    for rate in [8_000, 16_000, 48_000] {
        let mut sender = Sender::new(rate);
        sender.push(digit('A'), Duration::from_millis(160)).unwrap();
        let train = run(&mut sender, RtpTime(0), rate / 50, 30);
        assert_eq!(u32::from(train.last().unwrap().2.duration), rate / 1000 * 160);
        assert_eq!(train.len(), 8 + 2);
    }
}

#[test]
fn durations_are_held_between_40_ms_and_a_minute() {
    for (asked, frames) in [
        (Duration::ZERO, 2),
        (Duration::from_millis(40), 2),
        (Duration::from_millis(41), 3),
        (Duration::MAX, 3000),
    ] {
        let mut sender = Sender::new(8000);
        sender.push(digit('1'), asked).unwrap();
        // Each of the seven full segments of the longest digit is within its frames; only the end adds two.
        assert_eq!(run(&mut sender, RtpTime(0), FRAME, 4000).len(), frames + 2, "{asked:?}");
    }
}

#[test]
fn the_queue_is_full_at_128_and_takes_one_more_when_one_has_started() {
    let mut sender = Sender::new(8000);
    for _ in 0..128 {
        sender.push(digit('1'), SHORTEST_DIGIT).unwrap();
    }
    assert_eq!(sender.push(digit('1'), SHORTEST_DIGIT), Err(QueueFull));
    assert!(!sender.is_active());
    sender.next(RtpTime(0), FRAME);
    assert!(sender.is_active());
    assert_eq!((sender.queued(), sender.push(digit('1'), SHORTEST_DIGIT)), (127, Ok(())));
}

#[test]
fn it_is_active_from_the_first_packet_to_the_last_repeat() {
    let mut sender = Sender::new(8000);
    sender.push(digit('1'), Duration::from_millis(60)).unwrap();
    let active: Vec<_> = (0..7)
        .map(|n| {
            sender.next(RtpTime(n * FRAME), FRAME);
            sender.is_active()
        })
        .collect();
    // After the fifth packet nothing more of it will come.
    assert_eq!(active, [true, true, true, true, false, false, false]);
}

/// Runs `frames` frames of 20 ms at 8 kHz with tones; for each its packet's key and end, and what took the audio's place.
fn run_all(sender: &mut Sender, frames: u32) -> Vec<(Option<EventPayload>, Option<Vec<i16>>)> {
    (0..frames)
        .map(|n| {
            let packet = sender.next(RtpTime(n * FRAME), FRAME);
            let mut pcm = vec![77; 160];
            let quiet = sender.fill(&mut pcm, 8000, 1);
            assert!(quiet || pcm == [77; 160], "the audio is left alone");
            let payload = packet.map(|packet| EventPayload::parse(&packet.payload).unwrap());
            (payload, quiet.then_some(pcm))
        })
        .collect()
}

fn signal(key: char, ms: u64, gap: u64, method: Method) -> Signal {
    let (duration, gap) = (Duration::from_millis(ms), Duration::from_millis(gap));
    Signal::Digit { digit: digit(key), duration, gap, method }
}

#[test]
fn gaps_and_pauses_are_as_long_as_asked_for() {
    let mut sender = Sender::new(8000);
    let pause = Signal::Pause(Duration::from_millis(500));
    let two = |gap| [signal('1', 100, gap, Method::Event), signal('2', 100, gap, Method::Event)];
    sender.dial(1, &two(200)).unwrap();
    sender.dial(2, &[pause]).unwrap();
    sender.dial(3, &two(40)).unwrap();
    let frames = run_all(&mut sender, 100);
    let starts: Vec<usize> =
        (0..100).filter(|&n| frames[n].0.is_some_and(|payload| payload.duration == 160)).collect();
    // 100 ms of tone and 200 ms of gap; then 500 ms of pause; then 100 ms of tone and 40 ms of gap.
    assert_eq!(starts, [0, 15, 15 + 15 + 25, 15 + 15 + 25 + 7]);
}

#[test]
fn a_batch_is_told_when_the_last_packet_of_its_last_digit_leaves() {
    let mut sender = Sender::new(8000);
    sender.dial(7, &[signal('1', 60, 80, Method::Event)]).unwrap();
    sender.dial(9, &[signal('2', 60, 80, Method::Tone)]).unwrap();
    let mut told = Vec::new();
    for n in 0..30 {
        sender.next(RtpTime(n * FRAME), FRAME);
        sender.fill(&mut [0; 160], 8000, 1);
        told.extend(core::iter::from_fn(|| sender.poll()).map(|d| (n, d.batch, d.cancelled)));
    }
    assert_eq!(told, [(4, 7, false), (9, 9, false)]);
}

#[test]
fn cancelled_the_event_on_its_way_ends_and_nothing_more_is_sent() {
    for (after, length) in [(1, 320), (5, 800), (7, 1120)] {
        let mut sender = Sender::new(8000);
        sender
            .dial(1, &[signal('1', 160, 80, Method::Event), signal('2', 160, 80, Method::Event)])
            .unwrap();
        sender.dial(2, &[signal('3', 160, 80, Method::Event)]).unwrap();
        sender.dial(3, &[signal('4', 160, 80, Method::Event)]).unwrap();
        run_all(&mut sender, after);
        sender.cancel(2);
        assert_eq!(sender.poll(), Some(Dialled { batch: 1, cancelled: true }));
        assert_eq!(sender.poll(), Some(Dialled { batch: 2, cancelled: true }));
        assert_eq!(sender.poll(), None);
        sender.cancel(2);
        assert_eq!(sender.poll(), None, "cancelled twice is told once");
        let rest: Vec<EventPayload> = run_all(&mut sender, 60).iter().filter_map(|f| f.0).collect();
        let ends: Vec<&EventPayload> = rest.iter().filter(|p| p.end && p.event == 1).collect();
        assert_eq!(ends.len(), 3, "cancelled after {after} frames");
        assert!(ends.iter().all(|p| p.duration == length), "{ends:?}");
        assert!(rest.iter().all(|p| p.event == 1 || p.event == 4), "what came later is still sent");
        assert_eq!(sender.poll(), Some(Dialled { batch: 3, cancelled: false }));
    }
}

#[test]
fn cancelled_in_a_pause_the_next_digit_starts_at_once() {
    let mut sender = Sender::new(8000);
    let pause = Signal::Pause(Duration::from_secs(60));
    sender.dial(1, &[pause, signal('1', 60, 80, Method::Event)]).unwrap();
    run_all(&mut sender, 3);
    sender.cancel(1);
    sender.dial(2, &[signal('2', 60, 80, Method::Event)]).unwrap();
    let frames = run_all(&mut sender, 1);
    assert_eq!(frames[0].0.map(|payload| payload.event), Some(2));
}

#[test]
fn q23_tones_take_the_place_of_the_audio_and_of_the_gap_between_them() {
    let mut sender = Sender::new(8000);
    sender
        .dial(1, &[signal('5', 90, 70, Method::Tone), signal('D', 40, 40, Method::Tone)])
        .unwrap();
    let frames = run_all(&mut sender, 20);
    // 90 ms are five frames; 70 ms of gap are held from its end on; 40 ms are two frames, and 40 ms of quiet.
    let quiet = frames.iter().filter(|(_, pcm)| pcm.is_some()).count();
    assert_eq!(quiet, 5 + 4 + 2 + 2);
    assert!(frames.iter().all(|(packet, _)| packet.is_none()));
    let mut detector = crate::dtmf::InbandDetector::new(8000, 1).unwrap();
    for (_, pcm) in &frames {
        detector.process(pcm.as_deref().unwrap_or(&[0; 160]));
    }
    let heard: Vec<char> =
        core::iter::from_fn(|| detector.poll()).map(|heard| heard.digit.as_char()).collect();
    assert_eq!(heard, ['5', 'D']);
}

#[test]
fn a_cancelled_tone_fades_in_its_next_frame() {
    let mut sender = Sender::new(8000);
    sender.dial(1, &[signal('5', 1000, 80, Method::Tone)]).unwrap();
    run_all(&mut sender, 10);
    sender.cancel(1);
    let frames = run_all(&mut sender, 10);
    let pcm = frames[0].1.as_deref().unwrap();
    assert!(pcm[0] != 0 || pcm[1] != 0);
    assert!(pcm[17..].iter().all(|&s| s == 0));
    assert!(frames[1].1.as_deref().is_none_or(|pcm| pcm.iter().all(|&s| s == 0)));
    assert!(!sender.is_active());
}

#[test]
fn where_the_far_end_takes_no_events_every_digit_is_a_tone() {
    let mut sender = Sender::new(8000);
    sender.set_events(None);
    sender.push(digit('7'), Duration::from_millis(100)).unwrap();
    let frames = run_all(&mut sender, 10);
    assert!(frames.iter().all(|(packet, _)| packet.is_none()) && frames[0].1.is_some());
}

#[test]
fn an_event_whose_clock_changes_where_a_segment_ends_goes_on() {
    // From 48 000 to 8000 Hz a segment becomes six times as long, also while the end of one is repeated.
    for at in 1..200 {
        let mut sender = Sender::new(48_000);
        sender.push(digit('7'), Duration::from_secs(9)).unwrap();
        run(&mut sender, RtpTime(0), 960, at);
        sender.set_events(Some(8000));
        let rest = run(&mut sender, RtpTime(at * 960), 960, 500);
        let (last, _, payload) = rest.last().unwrap();
        assert!(payload.end, "{at}");
        assert_eq!(at + last, 9000 / 20 + 1, "{at}: its end and two repeats");
        for (n, packet, _) in &rest {
            let now = RtpTime((at + n) * 960);
            assert!(packet.timestamp.ahead_of(now) <= 0, "{at}: never in the future");
        }
    }
}

#[test]
fn what_is_cancelled_leaves_a_later_pause_its_length() {
    let mut sender = Sender::new(8000);
    let key = Signal::Digit {
        digit: digit('1'),
        duration: Duration::from_millis(40),
        gap: GAP,
        method: Method::Event,
    };
    sender.dial(2, &[Signal::Pause(Duration::from_secs(1)), key]).unwrap();
    assert!(run(&mut sender, RtpTime(0), FRAME, 5).is_empty());
    sender.cancel(1);
    let train = run(&mut sender, RtpTime(800), FRAME, 60);
    assert!(train[0].0 >= 44, "{}", train[0].0);
}
