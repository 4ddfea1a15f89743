"""A Hugging Face checkpoint and rows in, a checkpoint of the same kind out, tuned: by adapters or by its own weights.

    lora      matrices of low rank beside every linear layer (Hu et al. 2021), added to it in the end
    adalora   the same, with ranks that go where they are worth most (Zhang et al. 2023)
    freeze    the last quarter of the layers, the others as they were
    full      everything

Runs on one device, or on as many as `accelerate launch` starts: copies of the model, FSDP or DeepSpeed, as its
configuration says. Ignores where the rows come from and how good the result is.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import peft
import torch
import transformers
from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from training import packing
from training.schedule import TrainingProgress, factor

Method = Literal["full", "lora", "adalora", "freeze"]

RATES: dict[Method, float] = {"full": 2e-5, "lora": 2e-4, "adalora": 1e-3, "freeze": 5e-5}
WARMUP = 20  # steps
_RANK = 16
_SPOKEN = 10  # steps between two lines of figures
_NOTHING = -100  # what transformers does not learn
_WEIGHTS = ("*.safetensors", "*.bin", "*.index.json", "*.pt", "*.pth", "*.gguf")


class Job(msgspec.Struct, frozen=True):
    """What is to be tuned. source, out: folders of checkpoints; data: of shards.

    batch: tokens a step and process; rate: what the usual rate is multiplied by; markers: ids that are never learnt.
    dry: take one step and write nothing.
    """

    source: Path
    method: Method
    data: Path
    out: Path
    steps: int
    batch: int
    rate: float
    device: str
    markers: tuple[int, ...]
    dry: bool = False

    @property
    def moved(self) -> Path:
        """The weights that have moved."""
        return self.out.with_name("moved.safetensors")


def encoded(job: Job) -> bytes:
    """A job for another process, for `decoded`."""
    return msgspec.json.encode(job, enc_hook=str)


def decoded(raw: bytes) -> Job:
    """What `encoded` was given."""
    return msgspec.json.decode(raw, type=Job, dec_hook=lambda kind, value: kind(value))


def tuned(job: Job) -> None:
    """Tune on every shard; what has moved is in `job.moved`, for `write`. Raises OSError, ValueError."""
    accelerator = _accelerator(job.device)
    model = adapted(job.source, job.method, job.steps)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], weight_decay=0.0)
    if accelerator.is_main_process:
        _speak_of(model, accelerator)
    model, optimizer = accelerator.prepare(model, optimizer)
    _learn(job, accelerator, model, optimizer)
    if job.dry:
        return
    moved = _moved(accelerator, model)
    if accelerator.is_main_process:
        save_file({name: one.contiguous() for name, one in moved.items()}, job.moved)
    accelerator.wait_for_everyone()


def write(job: Job) -> None:
    """Write the merged checkpoint of a job that is `tuned`, whole or not at all, beside all that is not weights.

    In a process of its own, where nothing is shared out. Raises OSError.
    """
    model = adapted(job.source, job.method, job.steps)
    model.load_state_dict(load_file(job.moved), strict=False)  # the rest is what it was
    partial = job.out.with_name(job.out.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(job.source, partial, ignore=shutil.ignore_patterns(*_WEIGHTS))
    kept = (partial / "config.json").read_bytes()
    merged(model).save_pretrained(partial)
    (partial / "config.json").write_bytes(kept)  # the network is the same, and the base's own words are the plainest
    partial.rename(job.out)


def _accelerator(device: str) -> Accelerator:
    """What the configuration says. On processors, too, FSDP shares weights out, so that it can be tried there."""
    found = Accelerator(cpu=device == "cpu")
    if device == "cpu" and os.environ.get("ACCELERATE_USE_FSDP") == "true":  # which accelerate leaves to GPUs
        found.state.fsdp_plugin = FullyShardedDataParallelPlugin()
        found.state.distributed_type = DistributedType.FSDP
    return found


def _learn(job: Job, accelerator: Accelerator, model: Any, optimizer: Any) -> None:
    model.train()
    steps = max(1, job.steps // accelerator.num_processes)
    own = islice(_batches(job), accelerator.process_index, None, accelerator.num_processes)
    heard: list[float] = []
    for step, (tokens, labels) in enumerate(islice(own, 1 if job.dry else steps)):
        now = RATES[job.method] * job.rate * factor(TrainingProgress(step=step, cool_steps=steps), WARMUP)
        for group in optimizer.param_groups:
            group["lr"] = now
        there = [torch.from_numpy(one).to(accelerator.device) for one in (tokens, labels)]
        loss = model(input_ids=there[0], labels=there[1], use_cache=False).loss
        accelerator.backward(loss)
        optimizer.step()
        if job.method == "adalora":
            accelerator.unwrap_model(model).base_model.update_and_allocate(step)
        optimizer.zero_grad()
        heard.append(float(loss.detach()))
        if accelerator.is_main_process and (job.dry or len(heard) % _SPOKEN == 0):
            print(f"step {step + 1} of {steps}: {np.mean(heard[-_SPOKEN:]):.3f} nats a token", flush=True)


def adapted(source: Path, method: Method, steps: int) -> Any:
    """The checkpoint with what is tuned of it, in float32. steps: of the whole tuning."""
    model = transformers.AutoModelForCausalLM.from_pretrained(source, local_files_only=True, dtype=torch.float32)
    if method == "lora":
        plan = peft.LoraConfig(r=_RANK, lora_alpha=2 * _RANK, target_modules="all-linear", task_type="CAUSAL_LM")
        return peft.get_peft_model(model, plan)
    if method == "adalora":
        plan = peft.AdaLoraConfig(
            init_r=_RANK,
            target_r=_RANK // 2,
            lora_alpha=2 * _RANK,
            tinit=steps // 10,
            tfinal=steps // 3,
            deltaT=max(1, steps // 50),
            total_step=steps,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        return peft.get_peft_model(model, plan)
    if method == "freeze":
        layers = max((one for one in model.modules() if isinstance(one, nn.ModuleList)), key=len)
        model.requires_grad_(False)
        for layer in layers[-max(1, len(layers) // 4) :]:
            layer.requires_grad_(True)
    return model


def merged(model: Any) -> Any:
    """The model alone, with what its adapters have learnt added to its weights."""
    return model.merge_and_unload() if isinstance(model, peft.PeftModel) else model


def _batches(job: Job) -> Iterator[tuple[Any, Any]]:
    """tokens, labels: [n, length] int64, of every shard; a label is the token itself or nothing."""
    for number, path in enumerate(sorted(job.data.glob("train-*.npz"))):
        for tokens, classes in packing.batches(packing.load(path), job.batch, number, job.markers):
            labels = np.where(classes != 0, tokens[:, 1:], _NOTHING)
            yield tokens[:, :-1], np.pad(labels, ((0, 0), (1, 0)), constant_values=_NOTHING)[:, :-1]


def _speak_of(model: Any, accelerator: Accelerator) -> None:
    moved = sum(one.numel() for one in model.parameters() if one.requires_grad)
    whole = sum(one.numel() for one in model.parameters())
    how = accelerator.distributed_type.value.lower().replace("_", " ")
    print(f"{moved:,} of {whole:,} weights move, on {accelerator.num_processes} processes ({how})", flush=True)


def _moved(accelerator: Accelerator, model: Any) -> dict[str, Tensor]:
    """The weights that have moved, each in one piece, on the processor. To be called in every process."""
    own = accelerator.unwrap_model(model)
    names = {name for name, one in own.named_parameters() if one.requires_grad}
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        return {name: one.float() for name, one in accelerator.get_state_dict(model).items() if name in names}
    found = {name: one.detach() for name, one in own.named_parameters() if name in names}
    return {name: (one.full_tensor() if isinstance(one, DTensor) else one).cpu() for name, one in found.items()}


if __name__ == "__main__":
    tuned(decoded(Path(sys.argv[1]).read_bytes()))
