//! Calls that listen while the port of another call is flooded with the datagrams that cost most.
//!
//! After the calls' ports and the one that the flooded call takes for its far end's, it reads: the flooded call's ports for RTP
//! and RTCP, and the SSRC of a source that this call knows. The flood is sent from the far end's own port, as if its address
//! were forged, on the last core, as fast as `BITS` a second on the wire allow or the thread can. The calls are
//! listened to for as long without it, one half before and the other behind. With `SINK` 1 the same datagrams go to a port that
//! nobody reads meanwhile: then what the flood adds is what the server makes of it, and not what the generator takes of the
//! machine.

use crate::clock;
use crate::udp::{bind_pairs, Collector};
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;

const MS: u64 = 1_000_000;
const PTIME: u64 = 20 * MS;
/// What comes so long after a change is neither of the calm nor of the flood.
const EDGE: u64 = 300 * MS;
/// What the server needs to come to rest after its start.
const SETTLED: u64 = 1000 * MS;
/// Datagrams made in advance, sent in turn.
const MADE: usize = 64;
/// The largest payload of UDP.
const LARGEST: usize = 65_507;
/// The longest that is read of RTP in G.711, and of RTCP.
const READ: usize = 2048;
/// Octets of one datagram on the wire beyond its payload: UDP, IP, Ethernet with its preamble and gap.
const AROUND: u64 = 8 + 20 + 38;

pub fn run(kind: &str, calls: usize, seconds: u64, bits: u64, sink: bool) -> io::Result<()> {
    // All of it: what it takes to listen is not to be taken from the server either.
    on_the_last_core()?;
    let pairs = bind_pairs(calls + 1)?;
    crate::print_ports(pairs.iter().map(|pair| pair.port))?;
    let [rtp, rtcp, ssrc] = crate::read_numbers()?[..] else {
        panic!("two ports and an SSRC are expected");
    };
    let whole = seconds * 1000 * MS;
    let begin = clock::now() + SETTLED;
    let (flood_begins, flood_ends) = (begin + whole / 2, begin + whole / 2 + whole);
    let end = flood_ends + EDGE + whole / 2;
    let (sent, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let flood = thread::spawn({
        let blows = blows(kind, rtp as u16, rtcp as u16, ssrc as u32);
        let (socket, counts) = (pairs[calls].rtp.try_clone()?, (sent.clone(), refused.clone()));
        let nobody = UdpSocket::bind("127.0.0.1:0")?;
        let port = nobody.local_addr()?.port();
        let lost: Vec<Blow> = blows.iter().map(|(_, bytes)| (port, bytes.clone())).collect();
        move || {
            let _unread = nobody;
            let uncounted = (Arc::default(), Arc::default());
            if sink {
                flood(&socket, &lost, bits, begin, flood_begins, &uncounted);
            }
            flood(&socket, &blows, bits, flood_begins, flood_ends, &counts);
            if sink {
                flood(&socket, &lost, bits, flood_ends, end, &uncounted);
            }
        }
    });
    clock::promptly();
    let sockets: io::Result<Vec<UdpSocket>> =
        pairs[..calls].iter().map(|pair| pair.rtp.try_clone()).collect();
    let mut collector = Collector::new(sockets?)?;
    let mut last = vec![0u64; calls];
    let (mut calm, mut flooded): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
    while clock::now() < end {
        collector.look(|call, arrival, bytes| {
            // A report between two packets is none of them.
            if bytes.len() < 100 {
                return;
            }
            let interval = arrival.saturating_sub(last[call]);
            let off = (interval.abs_diff(PTIME) / 1000) as u32;
            let within = |from: u64, to: u64| last[call] >= from && arrival < to;
            if within(begin, flood_begins) || within(flood_ends + EDGE, end) {
                calm.push(off);
            } else if within(flood_begins + EDGE, flood_ends) {
                flooded.push(off);
            }
            last[call] = arrival;
        })?;
    }
    flood.join().expect("the flooding thread");
    // The first and the last interval of each call are not wholly within.
    let expected = calls as u64 * ((seconds * 1000 * MS - EDGE) / PTIME - 1);
    let count = flooded.len();
    println!(
        "{{\"sent\":{},\"unsent\":{},\"intervals\":{count},\"expected\":{expected},\"calm_us\":{},\"flooded_us\":{}}}",
        sent.load(Ordering::SeqCst),
        refused.load(Ordering::SeqCst),
        clock::summary(&mut calm),
        clock::summary(&mut flooded)
    );
    Ok(())
}

/// A datagram and the port it is for.
type Blow = (u16, Vec<u8>);

fn blows(kind: &str, rtp: u16, rtcp: u16, known: u32) -> Vec<Blow> {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        // xorshift64: what matters is that it is never the same.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let report = |ssrc: u32| [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes()].concat();
    let fill = |part: &[u8], len: usize| {
        let mut bytes = report(known);
        bytes.extend(part.repeat((len - bytes.len()) / part.len()));
        bytes
    };
    (0..MADE)
        .map(|n| match kind {
            // As many as can be, which are nothing.
            "tiny" => (rtp, vec![0x80; 1 + n % 11]),
            // Audio of sources that are made up: each might be the first word of the far end.
            "audio" => (rtp, audio(next() as u32, next() as u16, 172)),
            // The largest there are, as audio of one source and as reports of very many packets.
            "largest" if n % 2 == 0 => (rtp, audio(known, n as u16, LARGEST)),
            "largest" => (rtcp, fill(&[0x80, 210, 0, 0], LARGEST)),
            // The longest reports that are read, of as many chunks and items as fit.
            "reports" => (rtcp, fill(&chunks(), READ)),
            // The longest audio that is authenticated, in vain: under an SSRC that is known, and under made up ones.
            "forged" if n % 2 == 0 => (rtp, audio(known, 40_000 + n as u16, READ)),
            "forged" => (rtp, audio(next() as u32, next() as u16, READ)),
            _ => panic!("{kind:?}: tiny, audio, largest, reports or forged is expected"),
        })
        .collect()
}

fn audio(ssrc: u32, seq: u16, len: usize) -> Vec<u8> {
    let mut packet = vec![0x55; len];
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&seq.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(seq) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    packet
}

/// A source description of 15 sources with 5 empty items each.
fn chunks() -> Vec<u8> {
    let chunk = [&[0, 0, 0, 5][..], &[1, 0].repeat(5), &[0, 0]].concat();
    [&[0x80 | 15, 202, 0, (15 * chunk.len() / 4) as u8][..], &chunk.repeat(15)].concat()
}

fn flood(
    socket: &UdpSocket,
    blows: &[Blow],
    bits: u64,
    begin: u64,
    end: u64,
    (sent, refused): &(Arc<AtomicU64>, Arc<AtomicU64>),
) {
    clock::exact_timers();
    let mut names: Vec<libc::sockaddr_in> = blows.iter().map(|(port, _)| name(*port)).collect();
    let mut parts: Vec<libc::iovec> = blows
        .iter()
        .map(|(_, packet)| libc::iovec {
            iov_base: packet.as_ptr().cast_mut().cast(),
            iov_len: packet.len(),
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = names
        .iter_mut()
        .zip(&mut parts)
        .map(|(name, part)| {
            // SAFETY: a mmsghdr is plain data; its pointers are set next.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = (&raw mut *name).cast();
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    clock::sleep_until(begin);
    let mut at = 0;
    let mut due = begin;
    while due < end && clock::now() < end {
        // A batch every millisecond, or of the largest one at a time: what they take on the wire is when the next is due.
        let mut count = 0;
        let mut taken = 0;
        while at + count < blows.len() && (count == 0 || taken < MS / 4) {
            taken += (blows[at + count].1.len() as u64 + AROUND) * 8 * 1_000_000_000 / bits;
            count += 1;
        }
        // SAFETY: every message points to its name, to its part and through that to its packet, all of which outlive the call.
        let done = unsafe {
            libc::sendmmsg(socket.as_raw_fd(), messages[at..].as_mut_ptr(), count as u32, 0)
        };
        match done {
            1.. => sent.fetch_add(done as u64, Ordering::SeqCst),
            _ => refused.fetch_add(1, Ordering::SeqCst),
        };
        at = (at + count) % blows.len();
        // Who cannot keep up goes on at its own pace, and does not owe the rest.
        due = (due + taken).max(clock::now().saturating_sub(MS));
        if due > clock::now() {
            clock::sleep_until(due);
        }
    }
}

fn name(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}

/// Where the servers of the bench are not.
fn on_the_last_core() -> io::Result<()> {
    let cores = thread::available_parallelism()?.get();
    // SAFETY: a cpu_set_t is plain data, and lives through the call; the core is one of those that there are.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cores - 1, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
