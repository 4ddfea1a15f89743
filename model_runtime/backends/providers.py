"""The name of a device in, ONNX Runtime's execution providers out, or a clear word on why it cannot be had.

Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import onnxruntime as ort

from model_runtime.errors import ModelError

Provider = Literal["cpu", "cuda", "tensorrt"]

_NAMES: dict[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_CURE = "install Lacuna with the extra gpu in place of cpu on a machine with an NVIDIA driver, or set provider to cpu"

Chosen = tuple[str, Mapping[str, str]]


def chosen(provider: Provider, cache: Path) -> list[Chosen]:
    """The providers of a session, best first; what TensorRT cannot do CUDA does. cache: where TensorRT keeps engines.

    Raises ModelError when this ONNX Runtime was built without them.
    """
    options: dict[Provider, Mapping[str, str]] = {
        "cpu": {},
        "cuda": {},
        "tensorrt": {
            "trt_fp16_enable": "1",
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(cache / "tensorrt"),
        },
    }
    wanted: list[Provider] = ["tensorrt", "cuda", "cpu"]
    wanted = wanted[wanted.index(provider) :]
    if _NAMES[provider] not in ort.get_available_providers():
        raise ModelError(f"provider is {provider}, but this ONNX Runtime has no {_NAMES[provider]}; {_CURE}")
    return [(_NAMES[one], options[one]) for one in wanted]


def check(session: ort.InferenceSession, provider: Provider) -> None:
    """Raises ModelError when ONNX Runtime fell back to the processor, as it does without a word to the program."""
    if _NAMES[provider] not in session.get_providers():
        raise ModelError(
            f"provider is {provider}, but {_NAMES[provider]} could not be started: a driver or a library of CUDA is "
            f"missing, or too old; {_CURE}"
        )
