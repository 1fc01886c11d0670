//! The engine whole, on real sockets on loopback: every wait is for a condition, and bounded.

use crate::*;
use roomkit_media::dtmf::{parse_dial, Method, Signal};
use roomkit_media::seq::NtpTime;
use roomkit_media::session::{FrameKind, RtcpMode, SessionConfig};
use roomkit_media::source::Policy;
use roomkit_media::time::Duration;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Instant;

mod floods;

const BOTH: crate::socket::SocketOptions = crate::socket::SocketOptions { separate: true, dscp: 0 };
const PTIME: Duration = Duration::from_millis(20);
/// Any wait that takes so long has failed.
const LONG: Duration = Duration::from_secs(10);

/// A loopback address of the test's own, where there are several: tests run side by side, and one that looks whether a
/// port is free again must not find that another test has taken it.
pub fn home() -> IpAddr {
    if !cfg!(target_os = "linux") {
        return [127, 0, 0, 1].into();
    }
    let mut hasher = DefaultHasher::new();
    std::thread::current().name().hash(&mut hasher);
    let [a, b, c, ..] = hasher.finish().to_be_bytes();
    [127, a, b, c.clamp(1, 254)].into()
}

fn options(remote: Option<SocketAddr>) -> OpenOptions {
    OpenOptions {
        local: SocketAddr::new(home(), 0),
        port_range: None,
        port_quarantine: Duration::ZERO,
        dscp: 46,
        shared: false,
        lead: Duration::from_secs(1),
        inbound: Duration::from_secs(2),
        session: SessionConfig {
            policy: Policy::Learn,
            wallclock: NtpTime::default(),
            jitter_delay: Duration::from_millis(40),
            rtp_timeout: None,
            ..SessionConfig::pcmu(remote)
        },
    }
}

/// A program: an engine and an inbox whose items are sorted by session.
struct Program {
    engine: Engine,
    inbox: Inbox,
    items: HashMap<u64, Vec<Item>>,
}

impl Program {
    fn new(engine: EngineOptions) -> Program {
        let inbox = if engine.portable { Inbox::portable() } else { Inbox::new() };
        Program {
            engine: Engine::new(engine).unwrap(),
            inbox: inbox.unwrap(),
            items: HashMap::new(),
        }
    }

    fn both_paths() -> [Program; 2] {
        [false, true].map(|portable| Program::new(EngineOptions { portable, ..Default::default() }))
    }

    fn open(&self, options: OpenOptions) -> Session {
        self.engine.open(&self.inbox, options).unwrap()
    }

    /// Two sessions that know each other.
    fn pair(&self) -> (Session, Session) {
        let a = self.open(options(None));
        let b = self.open(options(Some(a.local_addr())));
        a.retarget(b.local_addr()).unwrap();
        (a, b)
    }

    /// Drains the inbox, whenever it is rung, until `done` is content with what has come for `session`.
    fn wait(&mut self, session: &Session, what: &str, mut done: impl FnMut(&[Item]) -> bool) {
        let key = session.key();
        self.wait_key(key, what, &mut done);
    }

    fn wait_key(&mut self, key: u64, what: &str, done: &mut dyn FnMut(&[Item]) -> bool) {
        let give_up = Instant::now() + LONG;
        while !done(self.items.entry(key).or_default()) {
            assert!(Instant::now() < give_up, "{what}: not within {LONG:?}, got {:?}", self.items);
            wait_readable(&self.inbox);
            let items = &mut self.items;
            self.inbox.drain(100, |key, item| items.entry(key).or_default().push(item));
        }
    }
}

#[cfg(unix)]
fn wait_readable(inbox: &Inbox) {
    let mut poll = libc::pollfd { fd: inbox.fileno() as i32, events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd. The timeout is a bound for a test that fails.
    unsafe { libc::poll(&raw mut poll, 1, 1000) };
}

#[cfg(not(unix))]
fn wait_readable(_inbox: &Inbox) {
    std::thread::yield_now();
}

fn speech(samples: usize) -> Vec<u8> {
    let wave = |n: usize| ((n as f64 * 0.2).sin() * 8000.0) as i16;
    (0..samples).flat_map(|n| wave(n).to_le_bytes()).collect()
}

fn received(items: &[Item]) -> usize {
    let is_received = |item: &&Item| matches!(item, Item::Frame { kind: FrameKind::Received, .. });
    items.iter().filter(is_received).count()
}

fn ended(items: &[Item]) -> Option<(u64, Duration, bool)> {
    items.iter().find_map(|item| match item {
        Item::PlaybackEnded { playback, played, cancelled, .. } => {
            Some((*playback, *played, *cancelled))
        }
        _ => None,
    })
}

fn closed(items: &[Item]) -> bool {
    items.last() == Some(&Item::Closed)
}

#[test]
fn what_one_session_plays_the_other_hears_on_either_path() {
    for mut program in Program::both_paths() {
        let (a, b) = program.pair();
        let audio = speech(8000 / 2);
        assert_eq!(a.outbound().push(&audio, 8000, 1, 1, true), Ok(audio.len()));
        let held = Duration::from_millis(80);
        let seven = parse_dial("7", held, held, Method::Event).unwrap();
        assert_eq!(b.outbound().dial(&seven), Ok(1));
        program.wait(&a, "the playback's end", |items| ended(items).is_some());
        let items = &program.items[&a.key()];
        assert_eq!(ended(items), Some((1, Duration::from_millis(500), false)));
        assert!(items.contains(&Item::PlaybackStarted(1)));
        program.wait(&b, "the audio", |items| received(items) >= 24);
        program.wait(&b, "the digit's end", |items| {
            items.contains(&Item::Dialled { batch: 1, cancelled: false })
        });
        assert!(!b.outbound().cancel_dial(), "nothing is left");
        program.wait(&a, "the digit", |items| {
            items
                .iter()
                .any(|item| matches!(item, Item::Digit { digit, .. } if digit.as_char() == '7'))
        });
        let timestamps: Vec<Duration> = program.items[&b.key()]
            .iter()
            .filter_map(|item| match item {
                Item::Frame { timestamp, .. } => Some(*timestamp),
                _ => None,
            })
            .collect();
        assert!(timestamps.windows(2).all(|pair| pair[1] - pair[0] == PTIME), "{timestamps:?}");
        let counts = b.snapshot();
        assert_eq!((counts.media.packets_lost, counts.media.late, counts.items_dropped), (0, 0, 0));
        assert_eq!(a.snapshot().position, Some((1, Duration::from_millis(500))));
        assert_eq!(a.snapshot().destination, Some(b.local_addr()));
        assert_eq!(a.outbound().queued(), Duration::ZERO);
    }
}

#[test]
fn packets_leave_one_frame_apart_and_none_after_an_interruption() {
    let mut program = Program::new(EngineOptions::default());
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    far.set_read_timeout(Some(LONG)).unwrap();
    let session = program.open(options(Some(far.local_addr().unwrap())));
    let audio = speech(8000);
    assert_eq!(session.outbound().push(&audio, 8000, 1, 1, true), Ok(audio.len()));
    let mut packet = [0; 2000];
    let mut sequence = Vec::new();
    let mut times = Vec::new();
    for _ in 0..10 {
        let (length, _) = far.recv_from(&mut packet).unwrap();
        times.push(Instant::now());
        assert_eq!(length, 12 + 160);
        sequence.push(u16::from_be_bytes([packet[2], packet[3]]));
    }
    assert!(sequence.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 1));
    let span = times[9] - times[0];
    assert!(span > 8 * PTIME, "ten frames left within {span:?}");
    assert!(session.outbound().cancel(1), "it was playing");
    assert!(!session.outbound().cancel(1), "only once");
    program.wait(&session, "the cancelled end", |items| ended(items).is_some());
    let (_, played, cancelled) = ended(&program.items[&session.key()]).unwrap();
    assert!(cancelled);
    // All that was told as played has left, and no packet more: what is in the socket now is all there will be.
    far.set_nonblocking(true).unwrap();
    let mut left = 10;
    while far.recv_from(&mut packet).is_ok() {
        left += 1;
    }
    assert_eq!(PTIME * left, played);
    assert_eq!(session.outbound().queued(), Duration::ZERO);
}

#[cfg(target_os = "linux")]
#[test]
fn a_goodbye_leaves_a_frame_behind_the_last_packet() {
    use crate::mmsg::Batch;
    let mut program = Program::new(EngineOptions::default());
    let far = crate::socket::bind_pair("127.0.0.1:0".parse().unwrap(), BOTH).unwrap();
    let session = program.open(options(Some(far.rtp_addr)));
    session.outbound().push(&speech(1600), 8000, 1, 1, true).unwrap();
    program.wait(&session, "the end of the playback", |items| ended(items).is_some());
    session.close("done").unwrap();
    let newest = |socket| {
        let mut newest = None;
        let take = &mut |a: crate::socket::Arrival<'_>| newest = a.received_ns;
        Batch::new().receive(socket, 100, 2048, take).unwrap();
        newest.expect("it came")
    };
    let (audio, goodbye) = (newest(&far.rtp), newest(&far.rtcp.get().unwrap().0));
    let apart = Duration::from_nanos(goodbye.saturating_sub(audio));
    assert!(apart >= PTIME / 2, "the goodbye came {apart:?} after the last packet");
}

#[test]
fn a_push_takes_what_the_lead_has_room_for_and_says_when_there_is_more() {
    let mut program = Program::new(EngineOptions::default());
    let (a, _b) = program.pair();
    let audio = speech(16_000);
    let second = 16_000;
    assert_eq!(a.outbound().push(&audio, 8000, 1, 1, true), Ok(second));
    assert!(a.outbound().queued() <= Duration::from_secs(1));
    program.wait(&a, "room", |items| items.contains(&Item::LowWater));
    assert!(a.outbound().queued() < Duration::from_millis(900));
    let more = a.outbound().push(&audio[second..], 8000, 1, 1, true).unwrap();
    assert!(more >= second / 10 && more % 2 == 0, "{more}");
    assert!(a.outbound().cancel(u64::MAX >> 1));
    program.wait(&a, "the end", |items| ended(items).is_some());
    assert_eq!(a.outbound().push(&audio, 8000, 1, 1, true), Ok(audio.len()), "dropped at once");
    assert_eq!(a.outbound().queued(), Duration::ZERO);
}

#[test]
fn misuse_of_push_is_refused_by_name() {
    let program = Program::new(EngineOptions::default());
    let (a, _b) = program.pair();
    let refused = |rate, channels, playback, len| match a.outbound().push(
        &vec![0; len],
        rate,
        channels,
        playback,
        false,
    ) {
        Err(PushError::Misuse(message)) => message,
        other => panic!("{other:?}"),
    };
    assert!(refused(7_999, 1, 1, 2).starts_with("sample_rate 7999"));
    assert!(refused(192_001, 1, 1, 2).starts_with("sample_rate 192001"));
    assert!(refused(8000, 0, 1, 2).starts_with("channels 0"));
    assert!(refused(8000, 9, 1, 18).starts_with("channels 9"));
    assert!(refused(8000, 2, 1, 6).starts_with("data of 6 bytes"));
    assert!(refused(8000, 1, 0, 2).starts_with("playback 0"));
    assert_eq!(a.outbound().push(&[0, 0], 8000, 1, 5, true), Ok(2));
    assert!(refused(8000, 1, 4, 2).starts_with("playback 4"));
}

#[test]
fn closing_says_goodbye_and_gives_the_ports_back() {
    for mut program in Program::both_paths() {
        let (a, b) = program.pair();
        let audio = speech(1600);
        a.outbound().push(&audio, 8000, 1, 1, false).unwrap();
        b.outbound().push(&audio, 8000, 1, 1, false).unwrap();
        program.wait(&b, "the source", |items| received(items) > 0);
        let local = a.local_addr();
        let rtcp = a.rtcp_addr().unwrap();
        a.close("enough").unwrap();
        a.close("again").unwrap();
        assert!(a.is_over());
        drop((UdpSocket::bind(local).expect("free"), UdpSocket::bind(rtcp).expect("free")));
        program.wait(&a, "the last item", closed);
        assert!(ended(&program.items[&a.key()]).is_some_and(|(_, _, cancelled)| cancelled));
        program.wait(&b, "the BYE", |items| items.contains(&Item::Bye("enough".to_string())));
        assert_eq!(program.engine.sessions(), 1);
        let key = b.key();
        drop(b);
        program.wait_key(key, "the end of a dropped session", &mut closed);
        assert_eq!(program.engine.sessions(), 0);
    }
}

#[test]
fn a_panic_ends_its_session_with_an_event_and_no_other() {
    let mut program = Program::new(EngineOptions::default());
    let (a, b) = program.pair();
    let shaky = program.open(options(Some(b.local_addr())));
    let local = shaky.local_addr();
    shaky.outbound().inject_panic();
    program.wait(&shaky, "the fault", closed);
    let items = &program.items[&shaky.key()];
    assert!(matches!(&items[items.len() - 2], Item::Fault(text) if text.contains("injected")));
    assert!(shaky.is_over());
    shaky.close("too late").unwrap();
    UdpSocket::bind(local).expect("its port is free");
    a.outbound().push(&speech(3200), 8000, 1, 1, true).unwrap();
    program.wait(&b, "the others' audio", |items| received(items) >= 10);
    assert_eq!(program.engine.sessions(), 2);
}

#[test]
fn sessions_that_share_a_port_are_told_apart_and_the_port_outlives_the_first() {
    let mut program = Program::new(EngineOptions { threads: 2, ..Default::default() });
    let far: Vec<Session> = (0..3).map(|_| program.open(options(None))).collect();
    let first = program.open(OpenOptions { shared: true, ..options(Some(far[0].local_addr())) });
    let local = first.local_addr();
    let join = |remote| OpenOptions { local, shared: true, ..options(Some(remote)) };
    let others = [program.open(join(far[1].local_addr())), program.open(join(far[2].local_addr()))];
    let again = program.engine.open(&program.inbox, join(far[1].local_addr())).unwrap_err();
    let (here, there) = (local.to_string(), far[1].local_addr().to_string());
    let message = again.to_string();
    assert!(message.contains(&here) && message.contains(&there), "{message}");
    let alone = OpenOptions { shared: false, ..join("127.0.0.1:9".parse().unwrap()) };
    assert!(matches!(
        program.engine.open(&program.inbox, alone),
        Err(OpenError::Socket { error, .. }) if error.kind() == std::io::ErrorKind::AddrInUse
    ));
    for (n, session) in far.iter().enumerate() {
        session.retarget(local).unwrap();
        let loudness = (n as i16 + 1) * 5000;
        let tone: Vec<u8> = (0..3200).flat_map(|_| loudness.to_le_bytes()).collect();
        session.outbound().push(&tone, 8000, 1, 1, true).unwrap();
    }
    for (n, session) in [&first, &others[0], &others[1]].into_iter().enumerate() {
        let loudness = (n as i16 + 1) * 5000;
        program.wait(session, "its own remote's audio", |items| {
            items.iter().any(|item| match item {
                Item::Frame { pcm, kind: FrameKind::Received, .. } => {
                    pcm.iter().all(|sample| (sample - loudness).abs() < 300)
                }
                _ => false,
            })
        });
    }
    first.close("").unwrap();
    assert!(UdpSocket::bind(local).is_err(), "the others still have it");
    let late = program.open(join(far[0].local_addr()));
    for session in others.iter().chain([&late]) {
        session.close("").unwrap();
    }
    UdpSocket::bind(local).expect("free after the last");
}

#[test]
fn strangers_and_junk_change_nothing_for_the_call() {
    for mut program in Program::both_paths() {
        let (a, b) = program.pair();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        a.outbound().push(&speech(8000), 8000, 1, 1, true).unwrap();
        program.wait(&b, "the call", |items| received(items) >= 3);
        for n in 0..2_000u32 {
            let junk = n.to_be_bytes().repeat(1 + n as usize % 40);
            let _ = stranger.send_to(&junk[..n as usize % junk.len()], b.local_addr());
            let _ = stranger.send_to(&junk, b.rtcp_addr().unwrap());
        }
        let _ = stranger.send_to(&vec![0x80; 60_000], b.local_addr());
        program.wait(&b, "all of the call", |items| received(items) >= 49);
        let counts = b.snapshot().media;
        assert_eq!((counts.packets_received, counts.packets_lost), (50, 0));
        assert!(counts.malformed + counts.stranger > 0);
    }
}

#[test]
fn rtcp_modes_have_the_sockets_they_say() {
    let program = Program::new(EngineOptions::default());
    for (mode, same) in [(RtcpMode::Mux, true), (RtcpMode::Off, false)] {
        let mut options = options(None);
        options.session.rtcp = mode;
        let session = program.open(options);
        let expected = same.then_some(session.local_addr());
        assert_eq!(session.rtcp_addr(), expected);
        let next = session.local_addr().port() + 1;
        UdpSocket::bind((home(), next)).expect("the next port is not ours");
    }
}

/// What a session is told that changes nothing but the way of RTCP.
fn turned(remote: SocketAddr, rtcp: RtcpMode) -> SessionConfig {
    let rtcp_interval = Duration::from_millis(100);
    SessionConfig { rtcp, rtcp_interval, ..options(Some(remote)).session }
}

#[test]
fn rfc5761_5_1_1_reports_arrive_whichever_way_rtcp_goes_over_to() {
    for mut program in Program::both_paths() {
        for first in [RtcpMode::Mux, RtcpMode::Separate] {
            let far =
                program.open(OpenOptions { session: turned(local(9), first), ..options(None) });
            let to_far = turned(far.local_addr(), first);
            let near = program.open(OpenOptions { session: to_far, ..options(None) });
            let second = [RtcpMode::Mux, RtcpMode::Separate][usize::from(first == RtcpMode::Mux)];
            for (playback, mode) in (1..).zip([first, second, first, second]) {
                far.update(turned(near.local_addr(), mode)).unwrap();
                near.update(turned(far.local_addr(), mode)).unwrap();
                for session in [&near, &far] {
                    let own = session.local_addr().port();
                    let port = if mode == RtcpMode::Mux { own } else { own + 1 };
                    assert_eq!(session.rtcp_addr().map(|addr| addr.port()), Some(port));
                }
                let before = [&near, &far].map(|session| session.snapshot().media.rtcp_received);
                // What was on its way from before is at most one report of each end.
                let speech = speech(16_000);
                near.outbound().push(&speech, 8000, 1, playback, false).unwrap();
                far.outbound().push(&speech, 8000, 1, playback, false).unwrap();
                program.wait(&near, "reports both ways", |_| {
                    let now = [&near, &far].map(|session| session.snapshot().media.rtcp_received);
                    now.iter().zip(before).all(|(now, before)| *now >= before + 3)
                });
                near.outbound().cancel(playback);
                far.outbound().cancel(playback);
            }
            let stats = near.snapshot();
            assert_eq!((stats.media.rtcp_stranger, stats.socket.unmatched), (0, 0));
        }
    }
}

#[test]
fn a_port_of_its_own_for_rtcp_that_cannot_be_had_is_named_and_nothing_has_changed() {
    let program = Program::new(EngineOptions::default());
    let mut muxed = options(Some(local(9)));
    muxed.session.rtcp = RtcpMode::Mux;
    let session = program.open(muxed.clone());
    let own = session.local_addr();
    let next = SocketAddr::new(own.ip(), own.port() + 1);
    let taken = UdpSocket::bind(next).unwrap();
    let separate = turned(local(9), RtcpMode::Separate);
    let error = session.update(separate.clone()).unwrap_err().to_string();
    assert!(error.contains(&format!("RTCP socket to {next}")), "{error}");
    assert!(error.contains("RFC 5761"), "{error}");
    assert_eq!(session.rtcp_addr(), Some(own));
    drop(taken);
    session.update(separate.clone()).unwrap();
    assert_eq!(session.rtcp_addr(), Some(next));
    // It stays while RTCP shares the port again, and is given back with the session.
    session.update(turned(local(9), RtcpMode::Mux)).unwrap();
    UdpSocket::bind(next).unwrap_err();
    session.close("").unwrap();
    UdpSocket::bind(next).expect("it was given back");
    // A range that a firewall lets through ends where it ends.
    muxed.local.set_port(0);
    muxed.port_range = Some((own.port(), own.port()));
    let last = program.open(muxed);
    let error = last.update(separate).unwrap_err().to_string();
    assert!(error.contains("port_range ends"), "{error}");
}

#[test]
fn sessions_that_share_an_address_share_the_socket_that_one_of_them_adds() {
    let program = Program::new(EngineOptions::default());
    let shared = |port, rtcp| {
        let mut options = options(Some(local(port)));
        (options.shared, options.session.rtcp) = (true, rtcp);
        options
    };
    let first = program.open(shared(9, RtcpMode::Mux));
    let join = |port, rtcp| OpenOptions { local: first.local_addr(), ..shared(port, rtcp) };
    let second = program.open(join(11, RtcpMode::Mux));
    first.update(turned(local(9), RtcpMode::Separate)).unwrap();
    second.update(turned(local(11), RtcpMode::Separate)).unwrap();
    let third = program.open(join(13, RtcpMode::Separate));
    let next = first.local_addr().port() + 1;
    for session in [&first, &second, &third] {
        assert_eq!(session.rtcp_addr().map(|addr| addr.port()), Some(next));
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(home(), port)
}

#[test]
fn a_refused_session_leaves_nothing_open() {
    let program = Program::new(EngineOptions::default());
    let free = program.open(options(None)).local_addr();
    let mut bad = options(None);
    bad.local = free;
    bad.session.ptime = Duration::from_millis(21);
    let give_up = Instant::now() + LONG;
    while program.engine.sessions() > 0 {
        assert!(Instant::now() < give_up, "the dropped session is not closed");
        std::thread::yield_now();
    }
    let error = program.engine.open(&program.inbox, bad).unwrap_err();
    assert!(error.to_string().contains("ptime"), "{error}");
    // Another test may have been given the port meanwhile, and gives it back.
    let next = (free.ip(), free.port() + 1);
    while UdpSocket::bind(free).is_err() || UdpSocket::bind(next).is_err() {
        assert!(Instant::now() < give_up, "the refused session holds its ports");
        std::thread::yield_now();
    }
    assert_eq!(program.engine.sessions(), 0);
    assert!(Engine::new(EngineOptions { threads: 0, ..Default::default() }).is_err());
    assert!(Engine::new(EngineOptions { threads: 65, ..Default::default() }).is_err());
}

#[test]
fn a_slow_program_loses_the_newest_frames_and_hears_how_many() {
    let mut program = Program::new(EngineOptions::default());
    let (a, _) = program.pair();
    let mut options = options(Some(a.local_addr()));
    options.inbound = 2 * PTIME;
    let slow = program.open(options);
    a.retarget(slow.local_addr()).unwrap();
    a.outbound().push(&speech(3200), 8000, 1, 1, true).unwrap();
    let give_up = Instant::now() + LONG;
    while slow.snapshot().items_dropped < 5 {
        assert!(Instant::now() < give_up, "nothing was dropped");
        std::thread::yield_now();
    }
    slow.close("").unwrap();
    program.wait(&slow, "the end", closed);
    let items = &program.items[&slow.key()];
    let frames = items.iter().filter(|item| matches!(item, Item::Frame { .. })).count();
    assert!((1..=2).contains(&frames), "an event may take one's place: {frames}");
}

#[cfg(target_os = "linux")]
#[test]
fn stopping_ends_threads_and_returns_every_descriptor() {
    // Tests run beside this one, so it counts what it can know: its own threads, and descriptors by what they are.
    let program = Program::new(EngineOptions { threads: 3, ..Default::default() });
    assert_eq!(program.engine.threads(), 0, "they start with the first session");
    let sessions: Vec<Session> = (0..9).map(|_| program.open(options(None))).collect();
    assert_eq!((program.engine.threads(), program.engine.sessions()), (3, 9));
    let ports: Vec<SocketAddr> =
        sessions.iter().flat_map(|s| [Some(s.local_addr()), s.rtcp_addr()]).flatten().collect();
    program.engine.stop();
    program.engine.stop();
    assert_eq!((program.engine.threads(), program.engine.sessions()), (0, 0));
    for port in ports {
        UdpSocket::bind(port).expect("free");
    }
    assert!(sessions.iter().all(Session::is_over));
    sessions[0].close("after the end").unwrap();
    let error = program.engine.open(&program.inbox, options(None)).unwrap_err();
    assert!(matches!(error, OpenError::Stopped));
}

#[test]
fn digits_wait_up_to_a_bound_all_or_none_and_are_cancelled_together() {
    for mut program in Program::both_paths() {
        let (a, b) = program.pair();
        let minute = Signal::Pause(Duration::from_secs(60));
        let digit = parse_dial("1", Duration::ZERO, Duration::ZERO, Method::Event).unwrap()[0];
        assert_eq!(a.outbound().dial(&[digit, minute]), Ok(1));
        assert_eq!(a.outbound().dial(&[digit; 100]), Ok(2));
        assert!(matches!(a.outbound().dial(&[digit; 100]), Err(PushError::Full(_))));
        assert_eq!(a.outbound().dial(&[digit; 20]), Ok(3));
        assert!(a.outbound().cancel_dial());
        program.wait(&a, "the end of all three", |items| {
            (1..=3).all(|batch| items.contains(&Item::Dialled { batch, cancelled: true }))
        });
        assert!(!a.outbound().cancel_dial());
        assert_eq!(a.outbound().dial(&[digit]), Ok(4));
        program.wait(&a, "a digit after that", |items| {
            items.contains(&Item::Dialled { batch: 4, cancelled: false })
        });
        assert!(b
            .outbound()
            .inject_dtmf(roomkit_media::dtmf::Digit::parse('8').unwrap(), Duration::ZERO)
            .is_ok());
        program.wait(&b, "the injected digit", |items| {
            items
                .iter()
                .any(|item| matches!(item, Item::Digit { digit, .. } if digit.as_char() == '8'))
        });
    }
}
