"""What a speech is made of: text as sentences that a voice speaks, or audio as it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from roomkit._clock import now_ms
from roomkit._items import Items
from roomkit.hooks import HookRunner, HookTrigger
from roomkit.voice._sources import WholeChunks
from roomkit.voice._speaking import Part, Speech
from roomkit.voice.events import BeforeTTSEvent
from roomkit.voice.sentences import SentenceSplitter, speakable, split
from roomkit.voice.tts.base import TTSProvider

__all__ = ["played_parts", "spoken_parts"]

# A model gives a piece every few ms: whoever pauses for longer is busy with something else, and
# what he has said so far is to be heard meanwhile.
_PAUSE_SECONDS: Final = 0.25


async def spoken_parts(
    speech: Speech,
    text: str | Items,
    *,
    tts: TTSProvider,
    voice: str | None,
    hooks: HookRunner,
    voice_seconds: float,
    text_seconds: float | None,
) -> AsyncGenerator[Part]:
    """The sentences of `text`, each as soon as it is complete. A whole text passes BEFORE_TTS as a
    whole, one that comes in pieces sentence by sentence. The voice may take `voice_seconds` for
    each piece of audio, who gives the text `text_seconds` for each of his."""

    async def allowed(text: str) -> str:
        verdict = await hooks.run(HookTrigger.BEFORE_TTS, BeforeTTSEvent(speech.session, text))
        return str(verdict.event.text) if verdict.allowed else ""

    def spoken(sentence: str) -> Part:
        if speech.sentence_ms is None:
            speech.sentence_ms = now_ms()
        made = tts.synthesize_stream(sentence, voice=voice)
        audio = speech.pump(WholeChunks(speech.session, made), tts.name)
        return Part(audio, sentence, voice_seconds)

    async def asked(text: str, whole: bool) -> AsyncGenerator[Part]:
        """What the hooks let pass of it, and what they say themselves."""
        asking = asyncio.get_running_loop().create_task(allowed(text))
        try:
            async for inner in speech.inner_until(asking):
                yield Part(inner=inner)
            text = asking.result()
        finally:
            asking.cancel()
        for sentence in split(text) if whole and not tts.whole_texts else [text.strip()]:
            if speakable(sentence):
                yield spoken(sentence)

    if isinstance(text, str):
        if text.strip():
            async for part in asked(text, whole=True):
                yield part
        return
    pieces = speech.pump(text, "text to say")
    splitter = SentenceSplitter()
    newest_ms = now_ms()
    while True:
        inner: Speech | None = None
        ended = False
        try:
            item = await speech.next_of(pieces, _PAUSE_SECONDS)
        except StopAsyncIteration:
            ended, sentences = True, splitter.finish()
        except TimeoutError:
            sentences = splitter.ripe()
            if speech.speaks_inside:
                newest_ms = now_ms()
            elif text_seconds is not None and now_ms() - newest_ms > text_seconds * 1000:
                raise TimeoutError(f"no text came for {text_seconds:g} s") from None
        else:
            newest_ms = now_ms()
            if isinstance(item, Speech):
                # What was begun before it is said before it.
                inner, sentences = item, splitter.finish()
                splitter = SentenceSplitter()
            else:
                sentences = splitter.feed(item)
        for sentence in sentences:
            async for part in asked(sentence, whole=False):
                yield part
        if inner is not None:
            yield Part(inner=inner)
        if ended:
            return


async def played_parts(speech: Speech, audio: WholeChunks) -> AsyncGenerator[Part]:
    """Audio as it comes. What is said from within its source is said between two of its chunks."""
    chunks = speech.pump(audio, "audio to play")
    while True:
        try:
            item = await speech.next_of(chunks)
        except StopAsyncIteration:
            return
        if isinstance(item, Speech):
            yield Part(inner=item)
        else:
            yield Part(chunk=item)
