"""Recognisers: speech to text."""

from roomkit.voice.stt.base import STTProvider, TranscriptionResult

__all__ = ["STTProvider", "TranscriptionResult"]
