"""Token ids in, the loss of a llama-like decoder out. PyTorch's side of the network and nothing else.

The parameter names are the contract with `export`: the runtime's graph is built from them.
Knows nothing of files, samples, optimizers or checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_runtime.manifest import Shape

_CHUNK = 2048  # rows of the loss computed at once on a CPU: their logits stay near it
_CHUNK_GPU = 16_384


class Norm(nn.Module):
    """RMSNorm over the last axis (Zhang & Sennrich 2019), with a learned weight."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., size] → the same shape and type."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)
        return (wide * self.weight).to(x.dtype)


def rotation(shape: Shape, length: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Cosines and sines of RoPE (Su et al. 2021), each [length, head_size / 2], float32."""
    half = torch.arange(0, shape.head_size, 2, dtype=torch.float64, device=device) / shape.head_size
    angles = torch.arange(length, dtype=torch.float64, device=device)[:, None] * shape.rope_theta**-half
    return angles.cos().float(), angles.sin().float()


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)  # half-split form: element i turns with element i + head_size / 2
    return torch.cat((left * cosine - right * sine, right * cosine + left * sine), dim=-1).to(x.dtype)


class Layer(nn.Module):
    """One block: grouped-query attention, with normed queries and keys where the shape has them, then SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        wide, narrow, size = shape.heads * shape.head_size, shape.kv_heads * shape.head_size, shape.hidden_size
        self.shape = shape
        self.attention_norm = Norm(size, shape.norm_epsilon)
        self.q = nn.Linear(size, wide, bias=False)
        self.k = nn.Linear(size, narrow, bias=False)
        self.v = nn.Linear(size, narrow, bias=False)
        self.q_norm = Norm(shape.head_size, shape.norm_epsilon) if shape.qk_norm else nn.Identity()
        self.k_norm = Norm(shape.head_size, shape.norm_epsilon) if shape.qk_norm else nn.Identity()
        self.o = nn.Linear(wide, size, bias=False)
        self.ffn_norm = Norm(size, shape.norm_epsilon)
        self.gate = nn.Linear(size, shape.ffn_size, bias=False)
        self.up = nn.Linear(size, shape.ffn_size, bias=False)
        self.down = nn.Linear(shape.ffn_size, size, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Any = None) -> Tensor:
        """x: [B, T, D] → [B, T, D]. cosine, sine: [T, head_size / 2]. mask: a FlexAttention block mask, or None."""
        x = x + self._attend(self.attention_norm(x), cosine, sine, mask)
        inner = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(inner)) * self.up(inner))

    def _attend(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Any) -> Tensor:
        rows, length, _ = x.shape
        q, k, v = (
            project(x).view(rows, length, -1, self.shape.head_size).transpose(1, 2)  # [B, heads, T, head_size]
            for project in (self.q, self.k, self.v)
        )
        q, k = _rotate(self.q_norm(q), cosine, sine), _rotate(self.k_norm(k), cosine, sine)
        if mask is None:
            shared = self.shape.heads // self.shape.kv_heads
            k, v = k.repeat_interleave(shared, dim=1), v.repeat_interleave(shared, dim=1)
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            from torch.nn.attention.flex_attention import flex_attention

            mixed = flex_attention(q, k, v, block_mask=mask, enable_gqa=True)
        return self.o(mixed.transpose(1, 2).reshape(rows, length, -1))


class Decoder(nn.Module):
    """The network. Weights are kept in float32; run it under autocast for bf16 arithmetic."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.hidden_size, shape.norm_epsilon)

    def start(self, seed: int) -> None:
        """First weights, the same for the same seed on every machine: drawn on the CPU."""
        generator = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            if weight.ndim < 2:
                continue
            deviation = 0.02 if name == "embed.weight" else weight.shape[1] ** -0.5
            if name.endswith(("o.weight", "down.weight")):
                deviation *= (2 * self.shape.layers) ** -0.5
            drawn = torch.randn(weight.shape, generator=generator) * deviation
            with torch.no_grad():
                weight.copy_(drawn)

    def hidden(self, tokens: Tensor, mask: Any = None) -> Tensor:
        """tokens: [B, T] → the last hidden states after the final norm, [B, T, D]."""
        cosine, sine = rotation(self.shape, tokens.shape[1], tokens.device)
        x = self.embed(tokens)
        if torch.is_autocast_enabled(tokens.device.type):
            x = x.to(torch.get_autocast_dtype(tokens.device.type))
        for layer in self.layers:
            x = layer(x, cosine, sine, mask)
        normed: Tensor = self.norm(x)
        return normed

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: [B, T] → logits [B, T, V]."""
        return F.linear(self.hidden(tokens), self.embed.weight)


def _log_partition(logits: Tensor) -> Tensor:
    return torch.logsumexp(logits.float(), -1)


def _slope(logits: Tensor, partition: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    likely = (logits.float() - partition[:, None]).exp()
    hit = torch.arange(logits.shape[1], device=logits.device)[None, :] == targets[:, None]
    return (torch.where(hit, likely - 1, likely) * weights[:, None]).to(logits.dtype)


class Kernels:
    """The two pointwise pieces of the loss, compiled or not."""

    def __init__(self, compiled: bool) -> None:
        self.log_partition = torch.compile(_log_partition, dynamic=False) if compiled else _log_partition
        self.slope = torch.compile(_slope, dynamic=False) if compiled else _slope


@dataclass(frozen=True)
class TeacherOutput:
    """What another network expects, at the positions that shall keep to it: no label, but its whole distribution.

    hidden: [N, D], its last hidden states; embed: [V, D], its embeddings, of the same type; here: [N], the positions.
    """

    hidden: Tensor
    embed: Tensor
    here: Tensor

    def slope(self, part: slice, logits: Tensor, weights: Tensor) -> Tensor:
        """That of the divergence from the other network, at the positions of a chunk that keep to it."""
        here = self.here[part]
        wanted = (self.hidden[part][here] @ self.embed.T).float().softmax(-1)
        return ((logits[here].float().softmax(-1) - wanted) * weights[here, None]).to(logits.dtype)


class _ChunkedLoss(torch.autograd.Function):
    """Cross-entropy against tied embeddings; never holds more than a chunk of logits.

    The gradient is made in the forward pass, chunk by chunk, while the logits are warm.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        embed: Tensor,
        targets: Tensor,
        weights: Tensor,
        kernels: Kernels,
        kept: TeacherOutput | None,
    ) -> Any:
        narrow = embed.to(hidden.dtype)
        slope_hidden, slope_embed = torch.empty_like(hidden), torch.zeros_like(embed)
        total = torch.zeros((), device=hidden.device)
        each = torch.empty(hidden.shape[0], device=hidden.device)
        chunk = _CHUNK_GPU if hidden.is_cuda else _CHUNK
        for start in range(0, hidden.shape[0], chunk):
            part = slice(start, start + chunk)
            logits = hidden[part] @ narrow.T  # [chunk, V]
            partition = kernels.log_partition(logits)
            hit = logits.gather(1, targets[part, None])[:, 0].float()
            each[part] = partition - hit
            total += (each[part] * weights[part]).sum()
            slope = kernels.slope(logits, partition, targets[part], weights[part])
            if kept is not None:
                slope[kept.here[part]] = kept.slope(part, logits, weights[part])
            slope_hidden[part] = slope @ narrow
            slope_embed += slope.T @ hidden[part]
        ctx.save_for_backward(slope_hidden, slope_embed)
        ctx.mark_non_differentiable(each)
        return total, each

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        slope_hidden, slope_embed = ctx.saved_tensors
        return slope_hidden * slopes[0], slope_embed * slopes[0], None, None, None, None


def loss(
    hidden: Tensor, embed: Tensor, targets: Tensor, weights: Tensor, kernels: Kernels, kept: TeacherOutput | None = None
) -> tuple[Tensor, Tensor]:
    """Sum over positions of weight times the negative log-likelihood, in nats; and that of each position.

    hidden: [N, D]; embed: [V, D]; targets: [N], int64; weights: [N], float32, 0 where nothing is learnt.
    kept: where the slope is that of the divergence from another network instead (Li & Hoiem 2016).
    """
    total, each = _ChunkedLoss.apply(hidden, embed, targets, weights, kernels, kept)
    return total, each
