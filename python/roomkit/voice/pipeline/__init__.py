"""What inbound audio goes through before the conversation hears of it."""

from roomkit.voice.pipeline.base import (
    AudioPipelineConfig,
    DTMFDetector,
    RecorderProvider,
    Recording,
)
from roomkit.voice.pipeline.dtmf import GoertzelDTMF
from roomkit.voice.pipeline.engine import PipelineEngine
from roomkit.voice.pipeline.recorder import WavRecorder

__all__ = [
    "AudioPipelineConfig",
    "DTMFDetector",
    "GoertzelDTMF",
    "PipelineEngine",
    "RecorderProvider",
    "Recording",
    "WavRecorder",
]
