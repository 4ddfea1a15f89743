"""A graph in, the same with its weights in the order of ONNX Runtime's kernels out: to be mapped, not held.

ONNX Runtime brings weights into its kernels' order when it loads them, in memory of the process's own. It can save what
it made, and map that the next time. What it saves (1.31) begins anywhere, and kernels that look for the next
multiple of 64 then read beside their numbers; so everything is laid on such multiples here. The order is the
processor's: what is made on one is of no use on another.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from model_runtime.errors import ModelError
from model_runtime.graph.storage import load

_ALIGNED = 64  # bytes
_TOKENS = 16  # of the text on which the two graphs have to agree
_CPU = ["CPUExecutionProvider"]


def write(source: Path, target: Path) -> None:
    """Writes target, and target.data beside it; and what is in the way of that, which is of no use afterwards.

    Raises ModelError where it does not compute what the source does, and OSError.
    """
    saved = target.with_name("saved.onnx")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(saved)
    for key, value in (
        ("optimized_model_external_initializers_file_name", saved.name + ".data"),
        ("optimized_model_external_initializers_min_size_in_bytes", "1024"),
        ("save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(f"session.{key}", value)
    try:
        expected = _said(ort.InferenceSession(str(source), options, providers=_CPU))
        _align(saved, target)
        found = _said(ort.InferenceSession(str(target), providers=_CPU))
    except OSError:
        raise
    except Exception as error:  # ONNX Runtime raises bare kinds of its own
        raise ModelError(f"{source} cannot be prepacked: {error}") from error
    if not all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True)):
        raise ModelError(f"{source} is another network once it is prepacked")


def _align(saved: Path, target: Path) -> None:
    model = load(saved)
    with saved.with_name(saved.name + ".data").open("rb") as read, Path(f"{target}.data").open("wb") as written:

        def moved(offset: str, length: str) -> str:
            read.seek(int(offset))
            at = written.seek(-(-written.tell() // _ALIGNED) * _ALIGNED)
            written.write(read.read(int(length)))
            return str(at)

        for tensor in _external(model):
            where = {pair.key: pair for pair in tensor.external_data}
            where["location"].value = f"{target.name}.data"
            where["offset"].value = moved(where["offset"].value, where["length"].value)
            for key, pair in where.items():
                if key.startswith("prepacked"):  # kernel|offset;length;check|…
                    kernel, *blobs = pair.value.split("|")
                    parts = [blob.split(";", 2) for blob in blobs]
                    laid = [";".join([moved(offset, length), length, *rest]) for offset, length, *rest in parts]
                    pair.value = "|".join([kernel, *laid])
    target.write_bytes(model.SerializeToString())


def _external(model: ModelProto) -> list[TensorProto]:
    return [one for one in model.graph.initializer if one.data_location == TensorProto.EXTERNAL]


def _said(session: ort.InferenceSession) -> list[NDArray[np.float32]]:
    """The keys and values of a short text and of one token more, and their logits where the graph gives them."""
    sizes = {one.name: one.shape for one in session.get_inputs()}
    held = {
        name: np.zeros((1, size[1], _TOKENS + 1, size[3]), np.float32)
        for name, size in sizes.items()
        if name.startswith("past.")
    }
    said = []
    for start, count in ((0, _TOKENS), (_TOKENS, 1)):
        binding = session.io_binding()
        for name, array in held.items():
            value = ort.OrtValue.ortvalue_from_numpy(array)  # shares the memory
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(name.replace("past", "present"), value)
        asked = {
            "tokens": np.arange(start, start + count)[None],
            "rows": np.arange(count),
            "length": np.array([start + count - 1], np.int32),
            "total": np.array(start + count, np.int32),
        }
        for name in asked.keys() & sizes.keys():
            binding.bind_cpu_input(name, asked[name])
        if any(one.name == "logits" for one in session.get_outputs()):
            binding.bind_output("logits")
        session.run_with_iobinding(binding)
        said.append(binding.get_outputs()[-1].numpy())  # the last: logits, where there are any
    return [*held.values(), *said]
