//! While digits are masked, nobody who takes the frames hears them.
//!
//! A tone is recognised some time after it began, so frames are held back for [`HOLD`] before they are delivered: what
//! turns out to belong to a key is silenced in them. Their media time stays what it is.

use std::collections::VecDeque;

use crate::playout::{Frame, FrameKind};
use crate::time::{Duration, Time};

/// How long frames are held back. A window of 13 ms that shows a tone may end up to 5 ms before the frame that completes the
/// next one; with the margin before the tone that is 58 ms.
pub(super) const HOLD: Duration = Duration::from_millis(60);
/// What is silenced before and behind what was recognised: a part of the tone that is too short to be.
const MARGIN: Duration = Duration::from_millis(40);
/// What is silenced before the first and behind the last packet of a signalled digit: a gateway recognises the tone, and then
/// cuts it off, only after up to 50 ms.
const LEAK: Duration = Duration::from_millis(60);
/// Stretches that are kept: those that still reach into frames held back, a handful.
const STRETCHES: usize = 64;

/// Frames held back, and what is to be silenced in them. All times are deadlines of frames.
#[derive(Debug, Default)]
pub(super) struct Mask {
    /// From when to when, and what.
    held: VecDeque<(Time, Time, Frame)>,
    stretches: VecDeque<(Time, Time)>,
    /// It is to end as soon as nothing of a digit is left.
    ending: Option<Ending>,
}

/// How far the end of a mask is.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// It was asked for; nothing was listened to since.
    Asked,
    /// What began before `pressed` on its way here, or before `played` among the frames, may have been pressed while masked.
    Since { pressed: Time, played: Time },
}

impl Mask {
    /// It is to end, or to go on after all.
    pub(super) fn set_ending(&mut self, ending: bool) {
        match (ending, self.ending) {
            (false, _) => self.ending = None,
            (true, None) => self.ending = Some(Ending::Asked),
            (true, Some(_)) => {}
        }
    }

    /// The audio from `from` to `to` may hold a key's tones.
    pub(super) fn tones(&mut self, from: Time, to: Time) {
        self.silence(from.back(MARGIN), to + MARGIN);
    }

    /// A packet of a signalled digit came, beside audio that is due at `due`.
    pub(super) fn signalled(&mut self, due: Time) {
        self.silence(due.back(LEAK), due + LEAK);
    }

    /// Takes the frame that is due at `due` and lasts until `end`.
    pub(super) fn hold(&mut self, due: Time, end: Time, frame: Frame) {
        self.held.push_back((due, end, frame));
    }

    /// The next frame that may be delivered at `now`; with `all`, whether its time has come or not.
    pub(super) fn release(&mut self, now: Time, all: bool) -> Option<Frame> {
        let &(due, end, _) = self.held.front()?;
        if !all && end + HOLD > now {
            return None;
        }
        let silent = self.reaches(due, end);
        while self.stretches.front().is_some_and(|&(_, to)| to <= due) {
            self.stretches.pop_front();
        }
        let (.., mut frame) = self.held.pop_front()?;
        if silent {
            hush(&mut frame);
        }
        Some(frame)
    }

    /// Whether all that came before it was to end has been listened to. Asked for at every deadline of a frame, whether there is
    /// one or not; `delay` is from the arrival of audio to that.
    pub(super) fn is_played(&mut self, due: Time, delay: Duration) -> bool {
        if let Some(ending @ Ending::Asked) = &mut self.ending {
            *ending = Ending::Since { pressed: due + HOLD, played: due + delay + HOLD };
        }
        matches!(self.ending, Some(Ending::Since { played, .. }) if due >= played)
    }

    /// Whether what came at `came` is of a key that may have been pressed before it was to end.
    pub(super) fn covers_signal(&self, came: Time) -> bool {
        !matches!(self.ending, Some(Ending::Since { pressed, .. }) if came >= pressed)
    }

    /// The same of a tone in what is due at `due`.
    pub(super) fn covers_tone(&self, due: Time) -> bool {
        !matches!(self.ending, Some(Ending::Since { played, .. }) if due >= played)
    }

    /// Whether it is to go on: all that is pressed is masked.
    pub(super) fn goes_on(&self) -> bool {
        self.ending.is_none()
    }

    /// Whether nothing of a digit is left in what is held, nor right behind it.
    pub(super) fn is_clear(&self, now: Time) -> bool {
        let first = self.held.front().map_or(now, |&(due, ..)| due);
        !self.stretches.iter().any(|&(_, to)| to > first)
    }

    fn silence(&mut self, from: Time, to: Time) {
        if let Some(last) = self.stretches.back_mut().filter(|last| last.1 >= from && last.0 <= to)
        {
            *last = (last.0.min(from), last.1.max(to));
            return;
        }
        if self.stretches.len() >= STRETCHES {
            // More than there can be: rather too much is silenced than too little.
            self.stretches[1].0 = self.stretches[0].0;
            self.stretches.pop_front();
        }
        self.stretches.push_back((from, to));
    }

    fn reaches(&self, from: Time, to: Time) -> bool {
        self.stretches.iter().any(|&(a, b)| a < to && b > from)
    }
}

/// Makes silence of a frame.
pub(super) fn hush(frame: &mut Frame) {
    frame.pcm.fill(0);
    frame.kind = FrameKind::Silence;
}
