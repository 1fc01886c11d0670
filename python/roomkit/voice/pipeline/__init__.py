"""What a call's audio goes through before the conversation hears of it, and what records it."""

from roomkit.voice.pipeline.base import (
    AudioPipelineConfig,
    DTMFDetector,
    Record,
    RecorderProvider,
    Recording,
    Stage,
)
from roomkit.voice.pipeline.dtmf import GoertzelDTMF
from roomkit.voice.pipeline.engine import (
    PipelineEngine,
    PipelineSink,
    StageStats,
    open_recording,
)
from roomkit.voice.pipeline.recorder import WavRecorder
from roomkit.voice.pipeline.stages import Gain, NoiseGate

__all__ = [
    "AudioPipelineConfig",
    "DTMFDetector",
    "Gain",
    "GoertzelDTMF",
    "NoiseGate",
    "PipelineEngine",
    "PipelineSink",
    "Record",
    "RecorderProvider",
    "Recording",
    "Stage",
    "StageStats",
    "WavRecorder",
    "open_recording",
]
