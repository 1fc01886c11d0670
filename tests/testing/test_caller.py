"""What callers do, and what comes of it here."""

from __future__ import annotations

import asyncio
import wave
from pathlib import Path
from typing import Any

import pytest

from roomkit.testing import Ear, FakeBackend, NetworkPath, speech, virtual_time
from roomkit.testing.caller import Caller
from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad.energy import level_dbfs


class Scene:
    """A caller, and what is heard of him here."""

    def __init__(self, backend: FakeBackend, session: VoiceSession) -> None:
        self.backend = backend
        self.session = session
        self.caller: Caller = backend.caller(session)
        self.frames: list[AudioFrame] = []
        self.keys: list[tuple[float, DTMFEvent]] = []
        backend.on_audio_received(lambda session, frame: self.frames.append(frame))
        backend.on_dtmf_received(
            lambda session, event: self.keys.append((self.caller.now_ms, event))
        )

    @property
    def text(self) -> str:
        ear = Ear(self.backend.sample_rate, self.backend.channels)
        words = [word for frame in self.frames for word in ear.hear(frame.data)]
        return " ".join(word.text for word in [*words, *ear.end()])


async def scene(**options: Any) -> Scene:
    backend = FakeBackend(**options)
    return Scene(backend, await backend.connect("room", "ann", "phone"))


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 1), (48000, 2)])
@virtual_time
async def test_what_he_says_can_be_read_from_what_came_in(rate: int, channels: int) -> None:
    here = await scene(sample_rate=rate, channels=channels)
    began = here.caller.now_ms
    said = await here.caller.says("two please")
    assert here.caller.now_ms - began == 600
    assert (said.what, said.text, said.begin_ms, said.end_ms) == ("says", "two please", 0, 600)
    await here.caller.waits(0.1)
    assert here.text == "two please"
    await here.backend.close()


@virtual_time
async def test_he_says_one_thing_after_another_and_does_not_wait_to_be_awaited() -> None:
    here = await scene()
    here.caller.says("one")
    last = here.caller.says("two")
    assert here.caller.now_ms == 0
    await last
    assert here.caller.now_ms == 600
    await last  # again: he has done it
    await here.caller.waits(0.1)
    assert here.text == "one two"
    await here.backend.close()


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2), (44100, 1)])
@virtual_time
async def test_his_voice_may_be_a_wav_file(tmp_path: Path, rate: int, channels: int) -> None:
    said = speech("from a file", sample_rate=rate).data
    path = tmp_path / "said.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"".join(said[at : at + 2] * channels for at in range(0, len(said), 2)))
    here = await scene()
    for audio in (str(path), path):
        await here.caller.plays(audio)
        await here.caller.waits(0.5)
    assert here.text == "from a file from a file"
    await here.backend.close()


@virtual_time
async def test_his_voice_may_be_pcm_a_chunk_or_a_frame() -> None:
    here = await scene()
    await here.caller.plays(speech("pcm").data)
    await here.caller.plays(AudioChunk(speech("chunk", sample_rate=24000).data, 24000))
    await here.caller.plays(AudioFrame(speech("frame").data, 8000))
    await here.caller.waits(0.1)
    assert here.text == "pcm chunk frame"
    with pytest.raises(TypeError, match="audio: int"):
        here.caller.plays(5)
    await here.backend.close()


@virtual_time
async def test_keys_are_told_when_they_are_let_go() -> None:
    here = await scene(path=NetworkPath(delay_ms=30))
    await here.caller.presses("1#", duration_ms=80, gap_ms=120)
    assert here.caller.now_ms == 280
    await here.caller.waits(0.1)
    assert here.keys == [(110, DTMFEvent("1", 80)), (310, DTMFEvent("#", 80))]
    for wrong in ("", "E"):
        with pytest.raises(ValueError, match="^keys: "):
            here.caller.presses(wrong)
    await here.backend.close()


@virtual_time
async def test_keys_in_the_audio_are_tones_and_silence_while_masked() -> None:
    here = await scene()
    await here.caller.presses("5", duration_ms=100, inband=True)
    await here.caller.waits(0.1)
    assert here.keys == []
    loud = [frame for frame in here.frames if level_dbfs(frame) > -20]
    assert len(loud) == 5
    here.frames.clear()
    here.backend.mask_digits(here.session)
    await here.caller.presses("5", duration_ms=100, inband=True)
    await here.caller.waits(0.1)
    assert {frame.data for frame in here.frames} == {bytes(320)}
    await here.backend.close()


@virtual_time
async def test_noise_and_music_go_on_beside_his_words_until_he_is_quiet() -> None:
    here = await scene()
    here.caller.noise(-50)
    await here.caller.waits(5)
    assert all(-52 < level_dbfs(frame) < -48 for frame in here.frames[3:])
    await here.caller.says("heard in noise")
    await here.caller.waits(0.1)
    assert here.text == "heard in noise"
    here.caller.hold_music(-20)
    here.caller.noise(-60)
    here.frames.clear()
    await here.caller.waits(9)
    levels = [level_dbfs(frame) for frame in here.frames[3:]]
    assert max(levels) > -25
    here.caller.quiet()
    await here.caller.waits(0.1)
    assert here.frames[-1].data == bytes(320)
    await here.backend.close()


@virtual_time
async def test_a_caller_who_vanishes_is_missed_and_one_who_returns_is_told() -> None:
    here = await scene(rtp_timeout=2.0)
    told: list[tuple[float, str]] = []
    here.backend.on_client_disconnected(lambda s, why: told.append((here.caller.now_ms, why)))
    here.backend.on_client_resumed(lambda s: told.append((here.caller.now_ms, "back")))
    await here.caller.waits(1)
    here.caller.vanishes()
    await here.caller.waits(4)
    here.caller.returns()
    await here.caller.waits(1)
    assert told == [(3000, "rtp_timeout"), (5020, "back")]
    await here.backend.close()


@virtual_time
async def test_packets_of_which_nothing_is_heard_are_told_after_two_seconds() -> None:
    here = await scene(rtp_timeout=3.0)
    told: list[tuple[float, str]] = []
    here.backend.on_client_disconnected(lambda s, why: told.append((here.caller.now_ms, why)))
    here.backend.on_client_unheard(lambda s, why: told.append((here.caller.now_ms, why)))
    here.backend.on_client_heard_again(lambda s: told.append((here.caller.now_ms, "again")))
    for seconds in (1, 5):
        here.caller.is_unheard("srtp_bad_tag")
        await here.caller.says("hello")
        await here.caller.waits(seconds)
        here.caller.is_heard()
        await here.caller.waits(0.1)
    assert told == [(3400, "srtp_bad_tag"), (6720, "again")]
    assert here.text == ""
    await here.backend.close()


@virtual_time
async def test_a_fault_of_the_backend_ends_the_session() -> None:
    here = await scene()
    told: list[str] = []
    here.backend.on_client_disconnected(lambda session, why: told.append(why))
    playback = here.backend.start_playback(here.session, speech("one two").data)
    here.backend.fault(here.session, "it broke")
    assert (await playback.wait()).cancelled
    assert told == ["fault: it broke"]
    assert here.session.ended
    assert here.backend.list_sessions("room") == []
    await here.backend.disconnect(here.session)


@virtual_time
async def test_nothing_comes_from_him_when_he_has_hung_up() -> None:
    here = await scene()
    told: list[str] = []
    here.backend.on_client_disconnected(lambda session, why: told.append(why))
    here.caller.says("one two three")
    await here.caller.waits(0.3)
    await here.caller.hangs_up("enough")
    assert told == ["bye"]
    await here.caller.waits(40)
    assert here.text.split()[0] == "one"
    assert "three" not in here.text
    assert told == ["bye"]
    await here.backend.close()


@virtual_time
async def test_he_hears_nothing_when_he_has_hung_up() -> None:
    here = await scene(path=NetworkPath(delay_ms=20, buffer_ms=40))
    here.backend.start_playback(here.session, speech("one two three four").data)
    await here.caller.hears("one")
    await here.caller.waits(0.1)
    heard_ms = here.caller.now_ms
    await here.caller.hangs_up()
    await here.caller.waits(2)
    await here.backend.close()
    await here.caller.waits_to_be_hung_up_on()
    assert here.caller.heard_text == "one …"
    assert here.caller.heard.spans()[-1][1] == heard_ms


@virtual_time
async def test_he_notices_that_we_hang_up_when_it_has_come_to_him_and_he_heard_the_rest() -> None:
    here = await scene(path=NetworkPath(delay_ms=100, buffer_ms=40))
    await here.backend.send_audio(here.session, speech("bye").data)
    sent_ms = here.caller.now_ms
    await here.backend.disconnect(here.session)
    assert not here.caller.hung_up_on
    await here.caller.waits_to_be_hung_up_on()
    assert here.caller.now_ms - sent_ms == 140
    assert here.caller.heard_text == "bye"
    with pytest.raises(TimeoutError):
        await (await scene()).caller.waits_to_be_hung_up_on(within=1)


@virtual_time
async def test_keys_that_we_send_arrive_at_his_end() -> None:
    here = await scene()
    here.backend.send_dtmf(here.session, "12", 100)
    assert list(here.caller.keys_heard) == []
    await here.caller.waits(0.5)
    assert [key.digit for key in here.caller.keys_heard] == ["1", "2"]
    assert [key.duration_ms for key in here.caller.keys_heard] == [100, 100]
    await here.backend.close()


@virtual_time
async def test_waiting_for_words_that_do_not_come_tells_what_came() -> None:
    here = await scene()
    here.backend.start_playback(here.session, speech("one two").data)
    assert await here.caller.hears("one") == pytest.approx(340, abs=25)
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError, match="'three'; heard: 'one two'"):
        await here.caller.hears("three", within=2)
    assert asyncio.get_running_loop().time() - began == pytest.approx(2, abs=0.02)
    await here.backend.close()
