use super::*;
use roomkit_media::dtmf::Method;
use roomkit_media::session::Session;
use roomkit_media::session::{Event, Output};
use roomkit_media::time::Time;

/// Enough that the two threads meet at every point of their ways: where cancellations were looked at after the orders,
/// one playback in fifty was never told as ended.
const ROUNDS: u64 = 10_000;
/// All rounds are a second's work, or a few where the machine is busy; what waits for so long is stuck.
const LONG: std::time::Duration = std::time::Duration::from_secs(120);

/// Runs a program on a thread of its own, beside a media thread that takes orders all the time and never comes to a
/// frame; the session as it was left, and the playbacks and batches that were told as over.
fn beside_the_media_thread(program: impl FnOnce(&Outbound) + Send) -> (Session, u64, u64) {
    let far = "192.0.2.1:20000".parse().unwrap();
    let config = SessionConfig::pcmu(Some(far));
    let mut session = Session::new(config.clone(), Time::ZERO, 7).unwrap();
    let (outbound, mut end) = open(Duration::from_secs(1), &config);
    let (mut ended, mut dialled) = (0, 0);
    std::thread::scope(|scope| {
        let program = scope.spawn(|| program(&outbound));
        let mut rounds_left = 2;
        while rounds_left > 0 {
            rounds_left -= u32::from(program.is_finished());
            end.apply(Time::ZERO, &mut session);
            while let Some(output) = session.poll() {
                match output {
                    Output::Event(Event::PlaybackEnded { .. }) => ended += 1,
                    Output::Event(Event::Dialled { batch, .. }) => {
                        dialled += 1;
                        end.dialled(batch);
                    }
                    _ => {}
                }
            }
            end.show(&session);
        }
    });
    (session, ended, dialled)
}

#[test]
fn a_playback_that_is_cancelled_while_orders_are_taken_is_told_as_ended_too() {
    let began = std::time::Instant::now();
    let (session, ended, _) = beside_the_media_thread(|outbound| {
        for playback in 1..=ROUNDS {
            while outbound.push(&[0; 320], 8000, 1, playback, true) == Ok(0) {
                if began.elapsed() > LONG {
                    return;
                }
                std::thread::yield_now();
            }
            outbound.cancel(playback);
        }
    });
    assert_eq!((ended, session.is_idle()), (ROUNDS, true));
}

#[test]
fn digits_that_are_cancelled_while_orders_are_taken_do_not_leave_later() {
    let seven = Signal::Digit {
        digit: Digit::parse('7').unwrap(),
        duration: Duration::from_millis(100),
        gap: Duration::from_millis(100),
        method: Method::Event,
    };
    let began = std::time::Instant::now();
    let (session, _, dialled) = beside_the_media_thread(|outbound| {
        for _ in 0..ROUNDS {
            while outbound.dial(&[seven]).is_err() {
                if began.elapsed() > LONG {
                    return; // what should have been dropped fills the queue
                }
                std::thread::yield_now();
            }
            outbound.cancel_dial();
        }
    });
    assert_eq!((dialled, session.dialling()), (ROUNDS, 0));
}

/// A program that is ahead: whatever room there is, it fills at once, in pieces of `piece` samples, as long as pushes fit.
struct Ahead {
    rate: u32,
    piece: usize,
    playback: u64,
    /// Pieces that make a playback, after which the next one begins.
    pieces: u64,
    pushed: u64,
    /// What is left of the piece that did not fit.
    rest: usize,
}

impl Ahead {
    fn fill(&mut self, outbound: &Outbound) {
        loop {
            if self.rest == 0 {
                self.rest = self.piece;
                self.pushed += 1;
            }
            let last = self.pushed % self.pieces == 0;
            let pcm = vec![0; 2 * self.rest];
            let taken = outbound.push(&pcm, self.rate, 1, self.playback, last).unwrap();
            self.rest -= taken / 2;
            if self.rest > 0 {
                return;
            }
            self.playback += u64::from(last);
        }
    }
}

/// A call of `seconds` to which a source is ahead, on virtual time: the least that waited in the core right before a frame once it
/// was full, and the most wakes in any second.
fn call(seconds: u64, lead_ms: u64, ptime_ms: u64, ahead: &mut Ahead) -> (Duration, usize) {
    let far = "192.0.2.1:20000".parse().unwrap();
    let ptime = Duration::from_millis(ptime_ms);
    let config = SessionConfig { ptime, ..SessionConfig::pcmu(Some(far)) };
    let mut session = Session::new(config.clone(), Time::ZERO, 7).unwrap();
    let (outbound, mut end) = open(Duration::from_millis(lead_ms), &config);
    ahead.fill(&outbound);
    let (mut least, mut wakes) = (Duration::MAX, Vec::new());
    while session.deadline() < Time::secs(seconds) {
        let now = session.deadline();
        if now > Time::secs(1) {
            least = least.min(outbound.queued());
        }
        end.apply(now, &mut session);
        session.handle_deadline(now);
        while let Some(output) = session.poll() {
            drop(output);
        }
        if end.show(&session) {
            wakes.push(now);
            ahead.fill(&outbound);
        }
    }
    assert!(wakes.len() > 1 || lead_ms > 20_000, "it was asked for more");
    // Until the lead is full, the smallest pieces come as fast as they fit.
    wakes.retain(|wake| *wake > Time::secs(1));
    let within_a_second = |first: &Time| {
        wakes.iter().filter(|wake| (*first..*first + Duration::from_secs(1)).contains(wake)).count()
    };
    (least, wakes.iter().map(within_a_second).max().unwrap())
}

#[test]
fn a_source_that_is_ahead_has_800_ms_in_the_core_at_any_time_at_ten_wakes_a_second() {
    for ptime in [10, 20, 60] {
        // Samples in a piece: a second and more, frames of synthesisers, what a socket's read happened to bring.
        for (rate, piece) in [
            (8_000, 80_000),
            (8_000, 160),
            (8_000, 3),
            (22_050, 22_050),
            (22_050, 441),
            (24_000, 100),
            (48_000, 4_801),
            (48_000, 20),
        ] {
            for pieces in [1 << 32, 40] {
                let mut ahead = Ahead { rate, piece, playback: 1, pieces, pushed: 0, rest: 0 };
                if pieces * piece as u64 * 4 < u64::from(rate) {
                    continue; // playbacks of less than a quarter of a second, of which there is no saying
                }
                let (least, wakes) = call(3, 1000, ptime, &mut ahead);
                let case = format!("ptime {ptime}, {rate} Hz, {piece} samples, {pieces} pieces");
                assert!(least >= Duration::from_millis(800), "{case}: {least:?}");
                assert!(wakes <= 10, "{case}: {wakes} wakes in a second");
            }
        }
    }
}

#[test]
fn other_leads_are_kept_as_full_in_their_measure() {
    // (lead, least, wakes a second) in ms: a tenth is asked for, but of a short lead as much as ten wakes a second bring,
    // and half of one that is shorter still.
    for (lead, least, most) in [
        (100, 30, 20),
        (200, 80, 10),
        (500, 380, 10),
        (1000, 880, 10),
        (2000, 1780, 5),
        (10_000, 8980, 1),
        (60_000, 51_980, 1),
    ] {
        let mut ahead =
            Ahead { rate: 8000, piece: 1600, playback: 1, pieces: 1 << 32, pushed: 0, rest: 0 };
        let (found, wakes) = call(8, lead, 20, &mut ahead);
        assert!(found >= Duration::from_millis(least), "lead {lead}: {found:?}");
        assert!(wakes <= most, "lead {lead}: {wakes}");
    }
}

/// How many hold the process's filter from a rate to another.
fn holders(from_hz: u32, to_hz: u32) -> usize {
    Arc::strong_count(&banks::bank(from_hz, to_hz))
}

#[test]
fn filters_are_made_where_the_program_plays_and_updates_and_the_session_has_them() {
    // No other test plays these rates.
    const VOICE: u32 = 22_051;
    const MUSIC: u32 = 37_813;
    const WIDE: u32 = 16_000;
    let config = SessionConfig::pcmu(Some("192.0.2.1:20000".parse().unwrap()));
    let mut session = Session::new(config.clone(), Time::ZERO, 7).unwrap();
    let (outbound, mut end) = open(Duration::from_secs(1), &config);
    let alone = holders(VOICE, 8000);
    for (playback, rate) in [(1, VOICE), (2, MUSIC), (3, VOICE)] {
        outbound.push(&[0; 20_000], rate, 1, playback, false).unwrap();
    }
    end.apply(Time::ZERO, &mut session);
    assert_eq!(holders(VOICE, 8000), alone + 2, "once for this end, and once for the session");
    session.handle_deadline(Time::ZERO);
    assert_eq!(holders(VOICE, 8000), alone + 3, "which uses it");

    let mut g722 = config.clone();
    g722.send_codec = roomkit_media::codec::CodecSpec::G722;
    g722.receive_codecs = vec![g722.send_codec];
    let before = [(VOICE, WIDE), (MUSIC, WIDE), (8000, WIDE)].map(|(from, to)| holders(from, to));
    outbound.update(g722).unwrap();
    end.apply(Time::ms(20), &mut session);
    session.handle_deadline(Time::ms(20));
    let after = [(VOICE, WIDE), (MUSIC, WIDE), (8000, WIDE)].map(|(from, to)| holders(from, to));
    assert_eq!(after[0], before[0] + 3, "what plays goes on through the new one");
    assert!(after[1] >= before[1] + 2 && after[2] >= before[2] + 2, "{before:?} {after:?}");
}

#[test]
fn what_is_paused_and_cancelled_alone_while_orders_are_taken_ends_and_holds_nobody_back() {
    let began = std::time::Instant::now();
    let (mut session, ended, _) = beside_the_media_thread(|outbound| {
        for playback in (1..=ROUNDS).step_by(2) {
            for playback in [playback, playback + 1] {
                while outbound.push(&[0; 320], 8000, 1, playback, true) == Ok(0) {
                    if began.elapsed() > LONG {
                        return;
                    }
                    std::thread::yield_now();
                }
                outbound.pause(playback).unwrap();
            }
            assert!(outbound.cancel_one(playback + 1), "the later one first");
            assert!(!outbound.cancel_one(playback + 1) && !outbound.resume(playback + 1));
            outbound.resume(playback);
            outbound.cancel_one(playback);
        }
    });
    session.handle_deadline(Time::ms(20));
    assert_eq!((ended, session.is_idle()), (ROUNDS, true));
}

/// Datagrams of one tick.
fn tick(end: &mut OutboundEnd, session: &mut Session) -> (usize, bool) {
    let now = session.deadline();
    end.apply(now, session);
    session.handle_deadline(now);
    let sent = std::iter::from_fn(|| session.poll());
    let packets = sent.filter(|out| matches!(out, Output::Datagram { .. })).count();
    (packets, end.show(session))
}

#[test]
fn a_pause_holds_from_the_next_tick_and_asks_for_no_audio() {
    let config = SessionConfig {
        rtcp: roomkit_media::session::RtcpMode::Off,
        ..SessionConfig::pcmu(Some("192.0.2.1:20000".parse().unwrap()))
    };
    let mut session = Session::new(config.clone(), Time::ZERO, 7).unwrap();
    let (outbound, mut end) = open(Duration::from_secs(1), &config);
    let pcm = [0; 32_000];
    assert_eq!(outbound.push(&pcm, 8000, 1, 1, false), Ok(16_000));
    assert_eq!(tick(&mut end, &mut session), (1, false));
    assert_eq!((outbound.pause(1), outbound.pause(1)), (Ok(true), Ok(true)));
    for _ in 0..100 {
        assert_eq!(tick(&mut end, &mut session), (0, false));
    }
    assert_eq!(outbound.queued(), Duration::from_millis(980));
    assert!(outbound.is_paused(1) && outbound.resume(1) && !outbound.resume(1));
    let asked = (0..9).filter(|_| tick(&mut end, &mut session) == (1, true)).count();
    assert_eq!(asked, 1);
    outbound.pause(1).unwrap();
    outbound.pause(2).unwrap();
    assert!(outbound.cancel(1), "what is paused has not ended");
    assert_eq!(outbound.push(&pcm[..640], 8000, 1, 2, true), Ok(640));
    assert_eq!(tick(&mut end, &mut session), (0, false), "the next one is paused too");
    assert_eq!((outbound.pause(1), outbound.resume(1)), (Ok(false), false));
    assert!(outbound.resume(2));
    assert_eq!(tick(&mut end, &mut session).0, 1);
    assert!(outbound.pause(0).is_err());
}

#[test]
fn of_audio_with_more_marks_than_have_room_less_is_taken() {
    let config = SessionConfig::pcmu(Some("192.0.2.1:20000".parse().unwrap()));
    let mut session = Session::new(config.clone(), Time::ZERO, 7).unwrap();
    let (outbound, mut end) = open(Duration::from_secs(1), &config);
    let marks: Vec<Mark> = (0..MOST_MARKS as u64).map(|n| Mark { at: 2 * n, id: n }).collect();
    let pcm = [0; 8000];
    assert_eq!(outbound.push_marked(&pcm, 8000, 1, 1, false, &marks), Ok(8000));
    let more = [Mark { at: 100, id: 5000 }];
    assert_eq!(outbound.push_marked(&pcm, 8000, 1, 1, true, &more), Ok(200), "up to the mark");
    tick(&mut end, &mut session);
    assert_eq!(outbound.push_marked(&pcm[200..], 8000, 1, 1, false, &more), Ok(7600 + 200));
    let unsorted = [Mark { at: 7, id: 1 }, Mark { at: 6, id: 2 }];
    let refused = outbound.push_marked(&pcm, 8000, 1, 1, false, &unsorted);
    assert!(matches!(refused, Err(PushError::Misuse(_))));
    let many = vec![Mark { at: 0, id: 1 }; MOST_MARKS + 1];
    let refused = outbound.push_marked(&pcm, 8000, 1, 1, false, &many);
    assert!(matches!(refused, Err(PushError::Misuse(_))));
}
