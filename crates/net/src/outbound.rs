//! The outbound half of a session's border: audio, digits and orders on their way from the program to the media thread.
//!
//! Programs' threads are put in a row by a mutex that the media thread never takes. What it has to see at once, above
//! all an interruption, does not queue behind audio: it is an atomic that the media thread reads before every packet.

use crate::banks;
use crate::error::OpenError;
use crate::states::{State, States};
use roomkit_media::dtmf::{Digit, Signal};
use roomkit_media::filters::Filters;
use roomkit_media::pacer::Chunk;
use roomkit_media::resample::Bank;
use roomkit_media::session::{Mark, SessionConfig};
use roomkit_media::time::Duration;
use rtrb::{Producer, RingBuffer};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod end;

pub use end::OutboundEnd;

/// Orders that may wait between two ticks. A program that forwards frames pushes one or two; one whose source comes in
/// pieces of a quarter of a millisecond still fills a tenth of a second at a time.
const ORDERS: usize = 512;
/// Places in it that audio leaves to the ends of playbacks, digits and other orders.
const ORDER_ROOM: usize = 32;
/// Digits and pauses that may wait, here and in the session, whose own queue takes as many.
const DIGITS: u32 = 128;
/// Marks that may wait to be told, here and in the session, and that one push may have.
pub const MOST_MARKS: usize = 1024;
/// Sample rates and channels that can be pushed: what the session's resampler and mixer take.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=192_000;
const CHANNELS: std::ops::RangeInclusive<u8> = 1..=8;

/// What a full lead has to have lost before the program is asked for more: then it is asked ten times a second at the most,
/// and of the usual second nine tenths are there when a stall of the program begins.
const STEP: Duration = Duration::from_millis(100);

/// Kept small, as there is room for many: what is large is in a box.
enum Order {
    Play(Box<Chunk>),
    Dial(u64, Box<[Signal]>),
    Inject(Digit, Duration),
    Retarget(SocketAddr),
    /// For audio behind it.
    Filter(Arc<Bank>),
    Update(Box<SessionConfig>),
    #[cfg(test)]
    Panic,
}

/// What both ends see.
#[derive(Debug, Default)]
struct Gauges {
    /// Audio in the ring, in ns.
    in_ring_ns: AtomicU64,
    /// Audio in the session, in ns, as of its last tick.
    in_session_ns: AtomicU64,
    /// Playbacks up to this id are to be dropped.
    cancelled: AtomicU64,
    /// Those that are held back, and those that are to be dropped alone.
    states: States,
    /// The playbacks up to this one have ended.
    ended: AtomicU64,
    /// Marks in the ring, and in the session as of its last tick.
    marks_in_ring: AtomicUsize,
    marks_in_session: AtomicUsize,
    /// A push did not fit: say when there is room.
    short: AtomicBool,
    /// Digits and pauses in the ring, and in the session as of its last tick.
    digits_in_ring: AtomicU32,
    digits_in_session: AtomicU32,
    /// What was dialled up to this number is to be dropped.
    dial_cancelled: AtomicU64,
    /// The newest of it that has left or was dropped.
    dialled: AtomicU64,
    input_muted: AtomicBool,
    digits_masked: AtomicBool,
    tells_left: AtomicBool,
    /// An update waits: packets that come after it was ordered are to be judged by it.
    changes: AtomicBool,
    over: AtomicBool,
}

impl Gauges {
    /// Marks that wait.
    fn marks(&self) -> usize {
        self.marks_in_ring.load(Ordering::SeqCst) + self.marks_in_session.load(Ordering::SeqCst)
    }

    fn queued_ns(&self) -> u64 {
        // The ring is read first: a chunk on its way from there into the session is then counted twice rather than not
        // at all, and the bound holds.
        self.in_ring_ns.load(Ordering::SeqCst) + self.in_session_ns.load(Ordering::SeqCst)
    }
}

/// Why a push or an order was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushError {
    /// An argument does not fit: which, its value, and what would fit.
    Misuse(String),
    /// Too many of this wait already.
    Full(&'static str),
    /// So many bytes of audio cannot be had of memory. Nothing was taken.
    Memory(usize),
}

/// Opens the outbound border of a session that begins with `config`, for at most `lead` of audio that waits.
pub fn open(lead: Duration, config: &SessionConfig) -> (Outbound, OutboundEnd) {
    let (orders, taker) = RingBuffer::new(ORDERS);
    let gauges = Arc::new(Gauges::default());
    let lead_ns = lead.as_nanos() as u64;
    // A longer lead need not be asked for as often; a short one has not more to give than half.
    let low_ns = lead_ns - (lead_ns / 10).max(STEP.as_nanos() as u64).min(lead_ns / 2);
    let writer = Mutex::new(Writer {
        orders,
        open: VecDeque::new(),
        newest: 0,
        dialled: 0,
        frame_hz: config.sample_rate,
        codec_hz: config.send_codec.sample_rate,
        filters: config.filters.clone(),
    });
    let end = OutboundEnd::new(taker, gauges.clone(), low_ns);
    (Outbound { writer, gauges, lead_ns, pid: std::process::id() }, end)
}

/// The program's end.
pub struct Outbound {
    writer: Mutex<Writer>,
    gauges: Arc<Gauges>,
    lead_ns: u64,
    /// The process that opened it: in a fork of it nobody takes orders.
    pid: u32,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").field("gauges", &self.gauges).finish_non_exhaustive()
    }
}

struct Writer {
    orders: Producer<Order>,
    /// Playbacks that may not have ended yet, ascending.
    open: VecDeque<u64>,
    newest: u64,
    /// The number of what was dialled last.
    dialled: u64,
    /// Samples per second of the frames that the program gets.
    frame_hz: u32,
    /// And of what is encoded, as of the last update.
    codec_hz: u32,
    /// What the session has, or has on its way to it.
    filters: Filters,
}

/// Playbacks that may be open at once; each stands for audio that waits, so a program is far from it.
const OPEN_PLAYBACKS: usize = 4096;

impl Outbound {
    /// Queues PCM (`i16`, little endian, interleaved) of a playback as far as it fits; says how many bytes were taken.
    pub fn push(
        &self,
        bytes: &[u8],
        sample_rate: u32,
        channels: u8,
        playback: u64,
        last: bool,
    ) -> Result<usize, PushError> {
        self.push_marked(bytes, sample_rate, channels, playback, last, &[])
    }

    /// As [`push`](Self::push), of audio with marks in rising order. Of them those go along that lie before the end of what was taken,
    /// or, where `last` counts, all.
    pub fn push_marked(
        &self,
        bytes: &[u8],
        sample_rate: u32,
        channels: u8,
        playback: u64,
        last: bool,
        marks: &[Mark],
    ) -> Result<usize, PushError> {
        check_marks(marks)?;
        let piece = Piece { bytes, sample_rate, channels, playback };
        self.push_as(&piece, last, false, marks)
    }

    /// As [`push`](Self::push), of audio that is forwarded as it is made.
    pub fn push_live(
        &self,
        bytes: &[u8],
        sample_rate: u32,
        channels: u8,
        playback: u64,
    ) -> Result<usize, PushError> {
        self.push_as(&Piece { bytes, sample_rate, channels, playback }, false, true, &[])
    }

    fn push_as(
        &self,
        piece: &Piece<'_>,
        last: bool,
        live: bool,
        marks: &[Mark],
    ) -> Result<usize, PushError> {
        let Piece { bytes, sample_rate, channels, playback } = *piece;
        check_format(bytes.len(), sample_rate, channels)?;
        let Some(mut writer) = self.writer() else { return Ok(bytes.len()) };
        if playback == 0 || playback < writer.newest {
            return Err(PushError::Misuse(format!(
                "playback {playback}: ids ascend from 1, and {} was pushed already",
                writer.newest
            )));
        }
        let gauges = &self.gauges;
        let cancelled = playback <= gauges.cancelled.load(Ordering::SeqCst)
            || gauges.states.get(playback) == Some(State::Dropped);
        if cancelled || gauges.over.load(Ordering::SeqCst) {
            // Nobody waits for it any more: taken, and dropped at once.
            return Ok(bytes.len());
        }
        writer.forget_ended(gauges);
        let width = 2 * usize::from(channels);
        let offered = bytes.len() / width;
        let room_ns = self.lead_ns.saturating_sub(gauges.queued_ns());
        let fits = (u128::from(room_ns) * u128::from(sample_rate) / 1_000_000_000) as usize;
        let full = writer.orders.slots() <= ORDER_ROOM || writer.open.len() >= OPEN_PLAYBACKS;
        let mut taken = if full { 0 } else { offered.min(fits) };
        // Of audio with more marks than have room, what is before the first that has none.
        let marks_fit = MOST_MARKS.saturating_sub(gauges.marks());
        if let Some(mark) = marks.get(marks_fit).filter(|mark| mark.at < taken as u64) {
            taken = mark.at as usize;
        }
        if taken < offered {
            gauges.short.store(true, Ordering::SeqCst);
        }
        let last = last && taken == offered;
        if taken == 0 && !last {
            return Ok(0);
        }
        if taken > 0 {
            writer.provide(sample_rate);
        }
        let pcm = samples(&bytes[..taken * width])?;
        let span_ns = span_ns(taken, sample_rate);
        gauges.in_ring_ns.fetch_add(span_ns, Ordering::SeqCst);
        let with = marks.iter().filter(|mark| last || mark.at < taken as u64);
        let marks: Vec<Mark> = with.copied().collect();
        let marked = marks.len();
        gauges.marks_in_ring.fetch_add(marked, Ordering::SeqCst);
        let chunk = Chunk { playback, pcm, sample_rate, channels, last, live, marks };
        if writer.orders.push(Order::Play(Box::new(chunk))).is_err() {
            gauges.in_ring_ns.fetch_sub(span_ns, Ordering::SeqCst);
            gauges.marks_in_ring.fetch_sub(marked, Ordering::SeqCst);
            return Err(PushError::Full("too many orders wait for the media thread"));
        }
        if writer.newest < playback {
            writer.newest = playback;
            writer.open.push_back(playback);
        }
        Ok(taken * width)
    }

    /// Drops the playbacks up to `upto` before the next packet leaves; true if one of them had not ended.
    pub fn cancel(&self, upto: u64) -> bool {
        let Some(mut writer) = self.writer() else { return false };
        writer.forget_ended(&self.gauges);
        let (gauges, states) = (&self.gauges, &self.gauges.states);
        let before = gauges.cancelled.fetch_max(upto, Ordering::SeqCst);
        let mut these = writer.open.iter().filter(|&&each| each > before && each <= upto);
        let found = these.any(|&playback| states.get(playback) != Some(State::Dropped));
        // Behind the cancellation, so that nobody sees one that is neither paused nor cancelled.
        states.forget(upto);
        found
    }

    /// Drops one playback before the next packet leaves, and those before and behind it play on; true if it had not ended.
    pub fn cancel_one(&self, playback: u64) -> bool {
        let Some(mut writer) = self.writer() else { return false };
        writer.forget_ended(&self.gauges);
        let (gauges, states) = (&self.gauges, &self.gauges.states);
        let known = writer.open.contains(&playback)
            && playback > gauges.cancelled.load(Ordering::SeqCst)
            && states.get(playback) != Some(State::Dropped);
        if !known {
            states.resume(playback);
            return false;
        }
        let mut before = writer.open.iter().take_while(|&&each| each < playback);
        let first = before.all(|&each| states.get(each) == Some(State::Dropped));
        if first || !states.put(playback, State::Dropped) {
            gauges.cancelled.fetch_max(playback, Ordering::SeqCst);
            states.forget(playback);
        }
        true
    }

    /// Holds a playback back, pushed already or not: nothing more of it leaves from the next packet on, and what is behind it
    /// waits. False if it has ended.
    pub fn pause(&self, playback: u64) -> Result<bool, PushError> {
        let Some(mut writer) = self.writer() else { return Ok(false) };
        writer.forget_ended(&self.gauges);
        let gauges = &self.gauges;
        if playback == 0 || playback > u64::MAX >> 1 {
            return Err(PushError::Misuse(format!("playback {playback}: ids ascend from 1")));
        }
        let gone = playback <= gauges.ended.load(Ordering::SeqCst)
            || playback <= gauges.cancelled.load(Ordering::SeqCst)
            || gauges.states.get(playback) == Some(State::Dropped)
            || gauges.over.load(Ordering::SeqCst);
        if gone {
            return Ok(false);
        }
        // Those that are open have places of their own.
        let is_open = writer.open.contains(&playback);
        if !is_open && gauges.states.places_used() >= States::PLACES - OPEN_PLAYBACKS
            || !gauges.states.put(playback, State::Paused)
        {
            return Err(PushError::Full("too many playbacks are paused"));
        }
        Ok(true)
    }

    /// Goes on with the sample after the last that left; true if it was held back.
    pub fn resume(&self, playback: u64) -> bool {
        let Some(_writer) = self.writer() else { return false };
        self.gauges.states.resume(playback)
    }

    /// Whether it is held back.
    pub fn is_paused(&self, playback: u64) -> bool {
        self.gauges.states.get(playback) == Some(State::Paused)
    }

    /// Whether [`Session::take_left`](crate::Session::take_left) is to tell what leaves.
    pub fn tell_left(&self, tells: bool) {
        self.gauges.tells_left.store(tells, Ordering::SeqCst);
    }

    /// Queues digits and pauses, all or none; the number under which [`Item::Dialled`](crate::Item::Dialled) tells of them.
    pub fn dial(&self, signals: &[Signal]) -> Result<u64, PushError> {
        let full = PushError::Full("too many digits wait to be sent");
        let Some(mut writer) = self.writer() else { return Err(full) };
        let gauges = &self.gauges;
        let count = u32::try_from(signals.len()).unwrap_or(u32::MAX);
        // The ring is read first, as with audio: what moves meanwhile is counted twice rather than not at all.
        let waiting = gauges.digits_in_ring.load(Ordering::SeqCst)
            + gauges.digits_in_session.load(Ordering::SeqCst);
        if waiting.saturating_add(count) > DIGITS {
            return Err(full);
        }
        let batch = writer.dialled + 1;
        gauges.digits_in_ring.fetch_add(count, Ordering::SeqCst);
        writer.orders.push(Order::Dial(batch, signals.into())).map_err(|_| {
            gauges.digits_in_ring.fetch_sub(count, Ordering::SeqCst);
            full
        })?;
        writer.dialled = batch;
        Ok(batch)
    }

    /// Drops what was dialled so far before the next packet leaves; true if not all of it had left.
    pub fn cancel_dial(&self) -> bool {
        let Some(upto) = self.writer().map(|writer| writer.dialled) else { return false };
        let before = self.gauges.dial_cancelled.fetch_max(upto, Ordering::SeqCst);
        upto > before.max(self.gauges.dialled.load(Ordering::SeqCst))
    }

    /// A key was pressed until now, as the program has it from signalling.
    pub fn inject_dtmf(&self, digit: Digit, duration: Duration) -> Result<(), PushError> {
        self.order(Order::Inject(digit, duration))
    }

    /// Sends to another address from the next tick on.
    pub fn retarget(&self, remote: SocketAddr) -> Result<(), PushError> {
        self.order(Order::Retarget(remote))
    }

    /// Goes over to another configuration, which has been checked, at the next tick.
    pub fn update(&self, mut config: SessionConfig) -> Result<(), PushError> {
        let full = PushError::Full("too many orders wait for the media thread");
        let Some(mut writer) = self.writer() else { return Ok(()) };
        let codec_hz = config.send_codec.sample_rate;
        config.filters = writer.filters_for(&config);
        let filters = config.filters.clone();
        writer.orders.push(Order::Update(Box::new(config))).map_err(|_| full)?;
        writer.filters.add_all(&filters);
        writer.codec_hz = codec_hz;
        self.gauges.changes.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Whether digits are to be silenced in inbound frames.
    pub fn mask_digits(&self, masked: bool) {
        self.gauges.digits_masked.store(masked, Ordering::SeqCst);
    }

    /// Whether inbound frames are to be silenced.
    pub fn set_input_muted(&self, muted: bool) {
        self.gauges.input_muted.store(muted, Ordering::SeqCst);
    }

    /// Audio that was pushed and has not left yet.
    pub fn queued(&self) -> Duration {
        Duration::from_nanos(self.gauges.queued_ns())
    }

    /// Makes the session panic at its next tick, to test that only it ends.
    #[cfg(test)]
    pub fn inject_panic(&self) {
        let _ = self.order(Order::Panic);
    }

    fn order(&self, order: Order) -> Result<(), PushError> {
        let full = PushError::Full("too many orders wait for the media thread");
        let Some(mut writer) = self.writer() else { return Ok(()) };
        writer.orders.push(order).map_err(|_| full)
    }

    /// The writer; in a fork none, as a thread that is not there may hold it for ever.
    fn writer(&self) -> Option<MutexGuard<'_, Writer>> {
        let here = std::process::id() == self.pid;
        here.then(|| self.writer.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Writer {
    /// Makes sure that audio of this rate finds its filter when its frame is due.
    fn provide(&mut self, from_hz: u32) {
        if from_hz == self.codec_hz || self.filters.find(from_hz, self.codec_hz).is_some() {
            return;
        }
        let bank = banks::bank(from_hz, self.codec_hz);
        // Where there is no room, the session makes its own.
        if self.orders.push(Order::Filter(bank.clone())).is_ok() {
            self.filters.add(bank);
        }
    }

    /// What a session needs that goes over to `config`; what waits to be played is of rates that were played before.
    fn filters_for(&self, config: &SessionConfig) -> Filters {
        let mut filters = banks::of_inbound(config, self.frame_hz);
        let codec_hz = config.send_codec.sample_rate;
        if codec_hz != self.codec_hz {
            filters.add(banks::bank(self.codec_hz, codec_hz));
            for (from_hz, to_hz) in self.filters.iter().map(|bank| bank.rates()) {
                if to_hz == self.codec_hz && from_hz != codec_hz {
                    filters.add(banks::bank(from_hz, codec_hz));
                }
            }
        }
        filters
    }

    fn forget_ended(&mut self, gauges: &Gauges) {
        let ended = gauges.ended.load(Ordering::SeqCst);
        while self.open.front().is_some_and(|&playback| playback <= ended) {
            self.open.pop_front();
        }
        gauges.states.forget(ended);
    }
}

/// Audio as the program pushes it.
struct Piece<'a> {
    bytes: &'a [u8],
    sample_rate: u32,
    channels: u8,
    playback: u64,
}

fn span_ns(samples: usize, sample_rate: u32) -> u64 {
    samples as u64 * 1_000_000_000 / u64::from(sample_rate)
}

/// The program says how many: a minute of eight channels at 192 kHz are 184 MB.
fn samples(bytes: &[u8]) -> Result<Vec<i16>, PushError> {
    let mut pcm = Vec::new();
    pcm.try_reserve_exact(bytes.len() / 2).map_err(|_| PushError::Memory(bytes.len()))?;
    pcm.extend(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
    Ok(pcm)
}

fn check_marks(marks: &[Mark]) -> Result<(), PushError> {
    if marks.len() > MOST_MARKS {
        return Err(PushError::Misuse(format!("{} marks: up to {MOST_MARKS} fit", marks.len())));
    }
    match marks.windows(2).find(|pair| pair[1].at < pair[0].at) {
        Some(pair) => Err(PushError::Misuse(format!(
            "a mark at sample {} behind one at {}: rising order fits",
            pair[1].at, pair[0].at
        ))),
        None => Ok(()),
    }
}

fn check_format(len: usize, sample_rate: u32, channels: u8) -> Result<(), PushError> {
    if !RATES.contains(&sample_rate) {
        return Err(PushError::Misuse(format!(
            "sample_rate {sample_rate}: {} to {} Hz fit",
            RATES.start(),
            RATES.end()
        )));
    }
    if !CHANNELS.contains(&channels) {
        return Err(PushError::Misuse(format!(
            "channels {channels}: {} to {} fit",
            CHANNELS.start(),
            CHANNELS.end()
        )));
    }
    let width = 2 * usize::from(channels);
    if len % width != 0 {
        return Err(PushError::Misuse(format!(
            "data of {len} bytes: a multiple of {width} fits (16 bit samples, {channels} channel(s))"
        )));
    }
    Ok(())
}

impl From<PushError> for OpenError {
    fn from(error: PushError) -> OpenError {
        match error {
            PushError::Misuse(message) => OpenError::Config(message),
            PushError::Full(what) => OpenError::Full(what),
            PushError::Memory(_) => OpenError::Full("there is no memory for it"),
        }
    }
}

#[cfg(test)]
mod tests;
