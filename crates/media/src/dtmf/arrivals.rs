//! When packets left, as far as those around them tell.

use crate::seq::ExtSeq;
use crate::time::{Duration, Time};

/// Numbers that are remembered: more than the 100 by which a packet may be late before its source is taken for restarted
/// (RFC 3550 §A.1 MAX_MISORDER).
const REMEMBERED: usize = 128;
/// The network doubles a packet, or holds it up, for no longer than this. The same number later than that is another packet, and
/// so is an older one if none newer has come meanwhile.
const HELD_UP: Duration = Duration::from_millis(300);
/// After so many of them, one after another, the source has stepped back; fewer were held up for longer.
const STEPPED: u8 = 5;

/// The newest packets of a source, by their numbers.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    packets: Box<[Option<Arrival>; REMEMBERED]>,
    newest: Option<Arrival>,
    /// The last packet that was too late, and how many there were in a row.
    late: Option<(ExtSeq, u8)>,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    seq: ExtSeq,
    at: Time,
    event: bool,
}

impl Arrivals {
    pub(super) fn new() -> Arrivals {
        Arrivals { packets: Box::new([None; REMEMBERED]), newest: None, late: None }
    }

    /// A packet came, of an event or another. False if its number says nothing of those before it: the source has stepped back.
    pub(super) fn note(&mut self, seq: ExtSeq, at: Time, event: bool) -> bool {
        let packet = Arrival { seq, at, event };
        let place = usize::from(seq.wire().0) % REMEMBERED;
        let late = match (self.packets[place], self.newest) {
            (Some(known), _) if known.seq == seq && at - known.at <= HELD_UP => return true,
            (Some(known), _) if known.seq >= seq => true,
            (_, Some(newest)) => newest.seq > seq && at - newest.at > HELD_UP,
            _ => false,
        };
        if late {
            let row = match self.late {
                Some((last, row)) if last < seq => row + 1,
                _ => 1,
            };
            self.late = Some((seq, row));
            if row < STEPPED {
                return true;
            }
            self.forget();
        }
        self.late = None;
        self.packets[place] = Some(packet);
        if self.newest.is_none_or(|newest| newest.seq < seq) {
            self.newest = Some(packet);
        }
        !late
    }

    pub(super) fn forget(&mut self) {
        self.packets.fill(None);
        self.newest = None;
    }

    /// The latest time at which the packet could have come, were it not for its own delay: a packet that left after it was there
    /// by then.
    pub(super) fn by(&self, seq: ExtSeq, at: Time) -> Time {
        let newer = self.packets.iter().flatten().filter(|packet| packet.seq > seq);
        newer.map(|packet| packet.at).fold(at, Time::min)
    }

    /// How many packets of events the source may have sent from `from` to `to`, without the first: what was lost may have been one,
    /// but where audio goes on beside an event, which began with `first`, every other packet is audio.
    pub(super) fn events(&self, first: ExtSeq, from: ExtSeq, to: ExtSeq) -> u64 {
        let packets = to.since(from).unwrap_or(0);
        let mut since = self.packets.iter().flatten().filter(|p| p.seq > first && p.seq < to);
        if since.any(|packet| !packet.event) {
            packets.div_ceil(2)
        } else {
            packets
        }
    }
}
