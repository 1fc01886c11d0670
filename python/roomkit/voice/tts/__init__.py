"""Voices and prompts: text to speech."""

from roomkit.voice.tts.base import TTSProvider
from roomkit.voice.tts.command import EspeakTTS, FliteTTS
from roomkit.voice.tts.wav import WavPrompts, read_wav

__all__ = ["EspeakTTS", "FliteTTS", "TTSProvider", "WavPrompts", "read_wav"]
