"""`Conversation`: the rules of turns between a caller and us, as a state machine that is told the
time.

It is told what hearing, the recogniser, speaking and whoever answers have noticed, and is drained
for what to do::

    conversation.speech_started(now_ms, at_ms)  # or any other `…ed`, or tick(now_ms)
    while (command := conversation.poll()) is not None:
        obey(command)
    wake_at(conversation.deadline_ms())  # and call tick then

It awaits nothing and reads no clock, so a conversation runs in microseconds, twice the same.

**An utterance** is what a recogniser gets in one piece: from the start of speech until the caller
has been quiet for `Turns.min_silence_ms`. **A turn** is one utterance or several, over once he has
been quiet for as long as `Turns` asks, all its texts are there, and nothing plays.

**What plays** is held back as soon as he speaks and then cut off or resumed (`BargeIn`). Something
that is about to begin while he speaks waits until he has finished; if it is the answer to what he
had said before, and he said more, that answer is dropped and his turn goes on. What he says over
our voice is a turn of its own after it, except back-channels: these count only if what played ends
so soon after them that they may be the reply to it ("…, is that right?" "Yes").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from roomkit.errors import check_text
from roomkit.voice._caller import Pauses, Texts, Turn, TurnQueue, Utterance, joined, takes_the_word
from roomkit.voice._floor import Floor, Playing
from roomkit.voice._timers import NEVER, Timers
from roomkit.voice.commands import (
    BargedIn,
    CancelPlayback,
    CloseReason,
    CloseUtterance,
    Command,
    Confirmation,
    DropAnswer,
    EndTurn,
    OpenUtterance,
    PausePlayback,
    Phase,
    ResumePlayback,
    ResumeReason,
    TraceEntry,
    traced,
)
from roomkit.voice.turns import BargeIn, Turns, check_rules

__all__ = [
    "BargedIn",
    "CancelPlayback",
    "CloseUtterance",
    "Command",
    "Conversation",
    "DropAnswer",
    "EndTurn",
    "OpenUtterance",
    "PausePlayback",
    "Phase",
    "ResumePlayback",
    "TraceEntry",
]

# Entries of the trace that are kept: some minutes of a lively call.
_TRACE: Final = 512
# How late a detector tells the end of speech, until it has told one; and at most.
_HANGOVER_MS: Final = 300.0
_LONGEST_HANGOVER_MS: Final = 500.0
# Nobody replies to what he has heard of in so short a time.
_REACTION_MS: Final = 400.0
# A back-channel this shortly before the end of what plays may be the reply to it.
_REPLY_MS: Final = 1500.0
# Utterances of one turn, with those joined from dropped answers. Whoever speaks on for longer has
# said enough for an answer: it is not dropped.
_UTTERANCES: Final = 100


class Conversation:
    """One call's. `recognises`: utterances go to a recogniser, whose texts come back.

    Times are ms of one clock, whatever its origin; a `now_ms` that goes back counts as the newest
    that was told, and an `at_ms` lies between the event before it and now. What does not fit (the
    end of speech that never began, the text of an unknown utterance) is traced and changes nothing.
    Raises `TypeError` for settings that are none.
    """

    def __init__(
        self,
        turns: Turns | None = None,
        barge_in: BargeIn | None = None,
        *,
        recognises: bool = False,
    ) -> None:
        check_rules(turns, barge_in)
        self._rules = Turns() if turns is None else turns
        self._barge_in = BargeIn() if barge_in is None else barge_in
        self._recognises = recognises
        self._commands: deque[Command] = deque()
        self._trace: deque[TraceEntry] = deque(maxlen=_TRACE)
        self._time = Timers(self._actions())
        self._due = self._time.due
        # What the caller does.
        self._speech: float | None = None  # since when he speaks
        self._speech_at_ms = 0.0
        self._hangover_ms = _HANGOVER_MS
        self._utterance: Utterance | None = None
        self._opened = 0
        self._texts = Texts()
        self._turns = TurnQueue(recognises)
        self._pauses = Pauses(self._rules)
        self._partials = False  # the recogniser gives some
        # What we do.
        self._floor = Floor(self._command)
        self._told_turn = Turn()  # the newest that was told
        self._finished = False

    # --- told by hearing -------------------------------------------------------------------

    def speech_started(self, now_ms: float, at_ms: float) -> None:
        """The detector says that speech began at `at_ms`."""
        self._time.enter(now_ms)
        if self._speech is not None or self._finished:
            self._note("stray", "speech_started")
            return
        at_ms, at = self._time.dated(at_ms)
        self._time.advance(at_ms)
        self._note("speech_started")
        self._speech, self._speech_at_ms = at, at_ms
        self._learn_pause(at)
        turn = self._turns.current
        turn.decided_ms = None
        self._due["close"] = self._due["silence"] = self._due["resume"] = NEVER
        if self._due["watchdog"] == NEVER:
            self._due["watchdog"] = at + self._rules.longest_ms
        if self._utterance is None:
            self._open(at_ms)
        self._over(self._utterance)
        self._due["confirm"] = at + self._barge_in.after_ms + self._hangover_ms
        self._hold_back()
        self._time.advance(self._time.now_ms)

    def speech_ended(self, now_ms: float, at_ms: float) -> None:
        """The detector says that speech ended at `at_ms`: earlier than now, by its hangover."""
        self._time.enter(now_ms)
        if self._speech is None or self._finished:
            self._note("stray", "speech_ended")
            return
        at_ms, at = self._time.dated(at_ms)
        self._time.advance(at_ms)
        self._note("speech_ended")
        if not self._time.held:
            self._hangover_ms = min(self._time.now - at, _LONGEST_HANGOVER_MS)
        utterance, turn = self._utterance, self._turns.current
        assert utterance is not None
        spoke_ms = at - self._speech
        utterance.speech_ms += spoke_ms
        utterance.long |= spoke_ms >= self._barge_in.after_ms
        utterance.ended, utterance.ended_ms = at, at_ms
        self._speech = None
        turn.ended, turn.ended_ms = at, at_ms
        self._due["confirm"] = NEVER
        self._due["close"] = at + self._rules.min_silence_ms
        self._ask()
        self._judge(utterance)
        if not self._recognises:
            self._settle_pause(utterance)
        self._time.advance(self._time.now_ms)

    def partial(self, now_ms: float, utterance: int, text: str) -> None:
        """The recogniser's text of that utterance so far."""
        check_text(text, "text")
        self._time.advance_to(now_ms)
        found = self._texts.waiting.get(utterance)
        if found is None:
            self._note("stray", f"partial {utterance}")
            return
        found.partial = text.strip()
        self._partials |= bool(found.partial)
        self._note("partial", f"utterance {utterance}")
        self._judge(found)
        self._ask()
        self._time.advance(self._time.now_ms)

    def recognised(self, now_ms: float, utterance: int, text: str) -> None:
        """The whole text of that utterance; "" for nothing, also when the recogniser failed."""
        check_text(text, "text")
        self._time.advance_to(now_ms)
        text = text.strip()
        found, overdue = self._texts.take(utterance)
        if found is None or (overdue and not text):
            self._note("stray", f"recognised {utterance}")
            return
        if overdue:
            self._turns.welcome(found, self._time.now_ms)
        self._note("recognised", f"utterance {utterance}{'' if text else ' nothing'}")
        found.text = text
        self._due["text"] = self._texts.due()
        if text and found.over and self._floor.busy and self._barge_in.is_back_channel(text):
            found.back_channel = True
            self._due["reply"] = self._time.now + _REPLY_MS
        self._judge(found)
        self._settle_pause(found)
        self._ask()
        self._settle()
        self._time.advance(self._time.now_ms)

    def key(self, now_ms: float) -> None:
        """The caller pressed a key. What that interrupts is not a rule of turns: it is noted."""
        self._time.advance_to(now_ms)
        self._note("key")

    # --- told by speaking, and by whoever answers -----------------------------------------------

    def playing(self, now_ms: float, playback: int, *, interruptible: bool = True) -> None:
        """The first audio of that playback is about to leave."""
        self._time.advance_to(now_ms)
        if self._finished or playback in self._floor.playing:
            self._note("stray", f"playing {playback}")
            return
        self._note("playing", f"playback {playback}")
        begun = self._floor.begin(playback, interruptible)
        if self._may_pause(begun) and (self._speech is not None or self._in_doubt()):
            self._pause(playback)
            if self._speech is None and self._utterance is None:
                self._due["resume"] = self._time.now + self._barge_in.resume_after_ms
        else:
            self._floor.sound(begun, self._time.now)
            if self._speech is not None:
                self._over(self._utterance)
                self._due["confirm"] = self._time.now + self._barge_in.after_ms
        self._time.advance(self._time.now_ms)

    def played(self, now_ms: float, playback: int) -> None:
        """That playback is over, however it ended."""
        self._time.advance_to(now_ms)
        if self._floor.playing.pop(playback, None) is None:
            self._note("stray", f"played {playback}")
            return
        self._note("played", f"playback {playback}")
        self._released()
        self._settle()
        self._time.advance(self._time.now_ms)

    def answering(self, now_ms: float, turn: int) -> None:
        """Somebody begins to make an answer to that turn."""
        self._time.advance_to(now_ms)
        if self._finished or not self._floor.answering(turn):
            self._note("stray", f"answering {turn}")
            return
        self._note("answering", f"turn {turn}")
        self._over(self._utterance)
        for utterance in self._turns.utterances():
            self._judge(utterance)
        self._time.advance(self._time.now_ms)

    def answered(self, now_ms: float, turn: int) -> None:
        """No more of that answer will come: its playbacks are over."""
        self._time.advance_to(now_ms)
        if not self._floor.answered(turn):
            self._note("stray", f"answered {turn}")
            return
        self._note("answered", f"turn {turn}")
        self._settle()
        self._time.advance(self._time.now_ms)

    def hold(self, now_ms: float, held: bool) -> None:
        """The call is on hold, or no longer: until then all timers stop. Idempotent."""
        self._time.advance_to(now_ms)
        if held != self._time.held:
            self._note("hold" if held else "unhold")
            self._time.hold(held)

    def finish(self, now_ms: float) -> None:
        """The call is over: an open utterance is closed, and nothing is commanded after that.
        Idempotent."""
        self._time.advance_to(now_ms)
        if self._finished:
            return
        if self._utterance is not None:
            self._close("finished")
        self._note("finished")
        self._finished = True
        self._speech = None
        self._time.stop()
        self._texts.clear()
        self._floor.clear()
        self._turns.clear()

    # --- drained ---------------------------------------------------------------------------------

    def tick(self, now_ms: float) -> None:
        """Does what has become due."""
        self._time.advance_to(now_ms)

    def deadline_ms(self) -> float | None:
        """When `tick` is wanted next; None: not before something is told."""
        return self._time.deadline_ms()

    def poll(self) -> Command | None:
        """The next thing to do; None: no more for now."""
        return self._commands.popleft() if self._commands else None

    @property
    def phase(self) -> Phase:
        """Whose move it is."""
        return self._floor.phase

    @property
    def trace(self) -> tuple[TraceEntry, ...]:
        """What happened, oldest first: the newest 512 entries."""
        return tuple(self._trace)

    # --- time ------------------------------------------------------------------------------------

    def _actions(self) -> dict[str, Callable[[], None]]:
        """What there is to become due; of two at one time the upper goes first."""
        return {
            "confirm": self._confirm,
            "longest_pause": self._paused_for_long,
            "text": self._text_overdue,
            "resume": self._resume_unrecognised,
            "close": self._quiet,
            "silence": self._decide,
            "watchdog": self._watchdog,
            "reply": self._no_reply,
        }

    def _note(self, what: str, detail: str = "") -> None:
        self._trace.append(TraceEntry(self._time.now_ms, what, detail))

    def _command(self, command: Command) -> None:
        self._commands.append(command)
        self._note(*traced(command))

    # --- utterances and turns --------------------------------------------------------------------

    def _open(self, at_ms: float) -> None:
        self._opened += 1
        utterance = Utterance(self._opened, at_ms)
        self._utterance = utterance
        self._turns.current.utterances.append(utterance)
        if self._recognises:
            self._texts.waiting[self._opened] = utterance
        self._command(OpenUtterance(self._opened, at_ms))

    def _close(self, reason: CloseReason) -> None:
        utterance = self._utterance
        assert utterance is not None
        self._utterance = None
        self._due["close"] = NEVER
        utterance.open = False
        if self._speech is not None:
            utterance.ended, utterance.ended_ms = self._time.now, self._time.now_ms
        if not self._recognises:
            utterance.text = ""
        elif utterance.text is None:
            utterance.due = self._time.now + self._rules.text_within_ms
            self._due["text"] = self._texts.due()
        self._command(CloseUtterance(utterance.number, utterance.ended_ms, reason))

    def _quiet(self) -> None:
        """Quiet for long enough that the utterance is over."""
        utterance = self._utterance
        assert utterance is not None
        self._close("silence")
        if utterance.text is None and self._floor.any_paused:
            self._due["resume"] = self._time.now + self._barge_in.resume_after_ms
        self._settle_pause(utterance)
        self._settle()

    def _learn_pause(self, at: float) -> None:
        """He speaks on: if the quiet before lay within a turn, that is how he pauses."""
        turn = self._turns.current
        within = bool(turn.utterances)
        # The turn was told, and he was not finished: we had not begun, or too short a time ago for
        # this to be his reply.
        since = self._floor.audible_since
        cut = not within and bool(self._told_turn.utterances)
        cut = cut and (since is None or at - since <= _REACTION_MS)
        pause_ms = at - (turn if within else self._told_turn).ended
        if within or cut:
            self._pauses.learn(pause_ms, turn if within else None)

    def _ask(self) -> None:
        """How much quiet ends the turn that is going on, by what is known of it now."""
        turn = self._turns.current
        if self._speech is not None or not turn.utterances:
            return
        needed_ms, failed = self._pauses.silence_ms(turn)
        if failed is not None:
            self._note("detector_failed", type(failed).__name__)
        ends = turn.ended + needed_ms
        if turn.decided_ms is None or ends > self._time.now:
            turn.decided_ms = None
            self._due["silence"] = ends
            if self._due["watchdog"] == NEVER:
                self._due["watchdog"] = self._time.now + self._rules.longest_ms

    def _decide(self) -> None:
        """Quiet for long enough that the turn is over."""
        self._turns.current.decided_ms = self._time.now_ms
        self._due["watchdog"] = NEVER
        self._note("turn_decided")
        if not self._in_doubt():
            # He has finished: what waited for that begins.
            self._resume("silence", begun=False)
        self._settle()

    def _watchdog(self) -> None:
        utterance, speech, turn = self._utterance, self._speech, self._turns.current
        if utterance is not None:
            if speech is not None:
                utterance.speech_ms += self._time.now - speech
            self._close("watchdog")
        if speech is not None:
            turn.ended, turn.ended_ms = self._time.now, self._time.now_ms
        turn.decided_ms = self._time.now_ms
        self._due["silence"] = NEVER
        self._note("turn_decided", "watchdog")
        self._turns.close()
        if speech is not None and utterance is not None:
            self._speech, self._speech_at_ms = self._time.now, self._time.now_ms
            self._open(self._time.now_ms)
            assert self._utterance is not None
            self._utterance.given_up = utterance.given_up
            self._over(self._utterance)
            self._due["watchdog"] = self._time.now + self._rules.longest_ms
        self._settle()

    def _settle(self) -> None:
        """Tells the turns that can be told."""
        while not self._finished:
            turn = self._turns.take(self._floor.busy)
            if turn is None or turn.decided_ms is None:
                return
            if not turn.utterances:
                self._note("nothing_said")
                continue
            self._told_turn = turn
            self._command(
                EndTurn(
                    self._floor.tell_turn(),
                    tuple(one.number for one in turn.utterances),
                    joined(turn.utterances),
                    turn.ended_ms,
                    turn.decided_ms,
                    "watchdog" if turn.closed else "silence",
                )
            )

    def _no_reply(self) -> None:
        """What played went on after the back-channels: they were no more than that."""
        if self._floor.busy:
            self._turns.forget_back_channels()
        self._settle()

    def _text_overdue(self) -> None:
        for utterance in self._texts.lapse(self._time.now):
            self._note("text_overdue", f"utterance {utterance.number}")
            self._settle_pause(utterance)
        self._due["text"] = self._texts.due()
        self._settle()

    # --- what plays ------------------------------------------------------------------------------

    def _over(self, utterance: Utterance | None) -> None:
        if utterance is not None and self._floor.sounding:
            utterance.over = True

    def _may_pause(self, playing: Playing) -> bool:
        given_up = self._utterance is not None and self._utterance.given_up
        return playing.interruptible and self._barge_in.pauses and not given_up

    def _hold_back(self) -> None:
        """He speaks while something plays."""
        assert self._utterance is not None
        if self._barge_in.mode == "immediate" and self._interrupt(self._utterance, "immediate"):
            return
        for number, playing in self._floor.playing.items():
            if not playing.paused and self._may_pause(playing):
                self._pause(number)

    def _pause(self, playback: int) -> None:
        if self._due["longest_pause"] == NEVER:
            self._due["longest_pause"] = self._time.now + self._barge_in.longest_pause_ms
        self._floor.pause(playback)

    def _confirm(self) -> None:
        """He has spoken for long enough."""
        if self._utterance is not None:
            self._utterance.long = True
            self._judge(self._utterance)

    def _judge(self, utterance: Utterance) -> None:
        """Whether this, by what is known of it now, takes the word."""
        goes_on, by = takes_the_word(utterance, self._barge_in, self._recognises, self._partials)
        if goes_on and self._droppable():
            self._drop()
        if by is not None:
            self._interrupt(utterance, by)

    def _interrupt(self, utterance: Utterance, by: Confirmation) -> bool:
        if self._barge_in.mode == "off" or utterance.back_channel:
            return False
        playback = self._floor.interruptible()
        if playback is None or not utterance.over:
            return False
        utterance.confirmed = True
        self._command(BargedIn(utterance.number, playback, self._speech_at_ms, by))
        self._floor.drop_answers()
        self._cancel()
        return True

    def _cancel(self) -> None:
        self._floor.cancel()
        self._released()
        self._settle()

    def _droppable(self) -> bool:
        """Whether his newest turn is being answered and nothing of that was heard."""
        if not self._floor.unheard:
            return False
        utterances = len(self._told_turn.utterances) + len(self._turns.oldest.utterances)
        return utterances <= _UTTERANCES

    def _in_doubt(self) -> bool:
        """Whether it is still to be seen if he went on with a turn that is being answered."""
        return self._droppable() and any(one.text is None for one in self._turns.current.utterances)

    def _drop(self) -> None:
        told, turn = self._told_turn, self._turns.oldest
        self._told_turn = Turn()
        dropped = self._floor.told
        self._floor.answered(dropped)
        self._command(DropAnswer(dropped))
        turn.join(told)
        if self._floor.any_paused:
            self._cancel()

    def _settle_pause(self, utterance: Utterance) -> None:
        """What is held back goes on, if that utterance did not want the word and none is left of
        which that is not known."""
        if self._speech is not None or not self._floor.any_paused:
            return
        if self._recognises and (
            self._texts.waiting or (self._utterance is not None and self._utterance.text is None)
        ):
            return
        said = bool(utterance.text) if self._recognises else utterance.long
        if not said or utterance.back_channel:
            self._resume("back_channel" if utterance.back_channel else "false_alarm")
            return
        self._resume("false_alarm", begun=True)
        if self._turns.current.decided_ms is not None:
            self._resume("silence", begun=False)

    def _resume(self, reason: ResumeReason, begun: bool | None = None) -> None:
        self._floor.resume(reason, self._time.now, begun)
        self._released()
        self._over(self._utterance)

    def _released(self) -> None:
        if not self._floor.any_paused:
            self._due["resume"] = self._due["longest_pause"] = NEVER

    def _resume_unrecognised(self) -> None:
        """He is quiet, and no text has come."""
        self._resume("silence")

    def _paused_for_long(self) -> None:
        utterance = self._utterance
        if utterance is not None:
            if (
                self._speech is not None
                and not self._recognises
                and self._interrupt(utterance, "speech")
            ):
                return
            utterance.given_up = True
        self._resume("silence")
