"""Fifty steps of small models under every update rule, schedule and way to train, in PyTorch and float64: losses and weights."""

import json

import numpy as np
import torch
from fixture import folder
from torch import nn
from torch.optim import swa_utils
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, SequentialLR, StepLR

STEPS, BATCH, RATE, DECAY = 50, 8, 0.01, 0.1


def values(shape, speed):
    """sin(speed), sin(2 speed) ... in row-major order, as f32."""
    count = torch.arange(1, 1 + torch.tensor(shape).prod().item(), dtype=torch.float64)
    return torch.sin(speed * count).reshape(shape).float().double()


def batch(t):
    return {
        "x": values([BATCH, 6], 0.7 + 0.1 * (t % 5)),
        "y": values([BATCH, 6], 1.9 + 0.1 * (t % 3)),
        "label": torch.tensor([(3 * i + t) % 4 for i in range(BATCH)]),
    }


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(6, 5), nn.Linear(5, 4)

    def forward(self, x, y, label):
        return nn.functional.cross_entropy(self.out(nn.functional.gelu(self.hidden(x))), label)


class Towers(nn.Module):
    """Radford et al. 2021, figure 3."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(6, 5), nn.Linear(6, 5)
        self.warmth = nn.Parameter(torch.zeros(()))

    def forward(self, x, y, label):
        left, right = (nn.functional.normalize(v, dim=-1) for v in (self.left(x), self.right(y)))
        logits, own = self.warmth.exp() * left @ right.T, torch.arange(len(x))
        return (nn.functional.cross_entropy(logits, own) + nn.functional.cross_entropy(logits.T, own)) / 2


class LowRank(nn.Module):
    """Hu et al. 2021, section 4.1: rank 2, alpha 3; nothing else is learned."""

    def __init__(self):
        super().__init__()
        self.base = seeded(Classifier()).requires_grad_(False)
        self.down, self.up = nn.Parameter(values([2, 6], 2.3)), nn.Parameter(values([5, 2], 0.4))

    def forward(self, x, y, label):
        hidden = self.base.hidden(x) + 1.5 * (x @ self.down.T) @ self.up.T
        return nn.functional.cross_entropy(self.base.out(nn.functional.gelu(hidden)), label)


def rounded_to_int8(weight):
    """A scale for each row, an f16 no less than the largest magnitude over 127; halves are rounded up."""
    least = weight.abs().amax(1).numpy() / 127
    scale = least.astype(np.float16)
    scale = np.where(scale < least, np.nextafter(scale, np.float16(np.inf)), scale).astype(np.float64)
    return torch.from_numpy(np.minimum(np.floor(weight.numpy() / scale[:, None] + 0.5), 127) * scale[:, None])


class Frozen(nn.Module):
    """A layer that does not learn, kept as integers, between two that do."""

    def __init__(self):
        super().__init__()
        self.lift, self.middle, self.out = nn.Linear(6, 48), nn.Linear(48, 48), nn.Linear(48, 4)

    def settle(self):
        self.middle.requires_grad_(False)
        self.middle.weight.data = rounded_to_int8(self.middle.weight.data)
        return self

    def update(self, h):
        return 0

    def forward(self, x, y, label):
        h = nn.functional.gelu(self.lift(x))
        return nn.functional.cross_entropy(self.out(nn.functional.gelu(self.middle(h) + self.update(h))), label)


class FrozenLowRank(Frozen):
    """Dettmers et al. 2023, arXiv:2305.14314, in 8 bits: nothing but an update of the layer in integers is learned."""

    def settle(self):
        super().settle().requires_grad_(False)
        for layer in (self.lift, self.out):  # too few to be integers
            layer.weight.data = layer.weight.data.half().double()
        self.down, self.up = nn.Parameter(values([2, 48], 2.3)), nn.Parameter(values([48, 2], 0.4))
        return self

    def update(self, h):
        return 1.5 * (h @ self.down.T) @ self.up.T


class Lamb(torch.optim.Optimizer):
    """You et al. 2019, arXiv:1904.00962, algorithm 2, with corrected moments; no clamp of norms."""

    def __init__(self, groups, lr, eps=1e-6):
        super().__init__(groups, dict(lr=lr, weight_decay=0.0))
        self.eps, self.t = eps, 0

    @torch.no_grad()
    def step(self):
        self.t += 1
        for group in self.param_groups:
            for p in group["params"]:
                s = self.state[p]
                m, v = s.get("m", torch.zeros_like(p)), s.get("v", torch.zeros_like(p))
                s["m"], s["v"] = m, v = 0.9 * m + 0.1 * p.grad, 0.999 * v + 0.001 * p.grad**2
                r = (m / (1 - 0.9**self.t)) / ((v / (1 - 0.999**self.t)).sqrt() + self.eps)
                u = r + group["weight_decay"] * p
                trust = p.norm() / u.norm() if p.norm() > 0 and u.norm() > 0 else 1.0
                p -= group["lr"] * trust * u


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, arXiv:2302.06675, program 1: beta 0.9 and 0.99."""

    def __init__(self, groups, lr):
        super().__init__(groups, dict(lr=lr, weight_decay=0.0))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].get("m", torch.zeros_like(p))
                p -= group["lr"] * ((0.9 * m + 0.1 * p.grad).sign() + group["weight_decay"] * p)
                self.state[p]["m"] = 0.99 * m + 0.01 * p.grad


def seeded(model):
    for i, p in enumerate(model.parameters()):
        p.data = values(list(p.shape), 1.1 + 0.3 * i) * (0.5 if p.ndim > 1 else 0.1) if p.ndim else torch.tensor(1.0).double()
        p.data = p.data.float().double()
    return model


def warm_cosine(o):
    warm, fall = LinearLR(o, 0.2, 1.0, total_iters=4), CosineAnnealingLR(o, T_max=45, eta_min=RATE / 10)
    return SequentialLR(o, [warm, fall], milestones=[5])


def warm_steps(o):
    return SequentialLR(o, [LinearLR(o, 0.25, 1.0, total_iters=3), StepLR(o, 10, 0.5)], milestones=[4])


adamw = lambda groups: torch.optim.AdamW(groups, lr=RATE)  # noqa: E731
momentum = lambda nesterov: lambda groups: torch.optim.SGD(groups, lr=RATE, momentum=0.9, nesterov=nesterov)  # noqa: E731

CASES = {
    "adamw": {},
    "adam": dict(optimizer=lambda groups: torch.optim.Adam(groups, lr=RATE)),
    "sgd": dict(optimizer=lambda groups: torch.optim.SGD(groups, lr=RATE)),
    "momentum": dict(optimizer=momentum(False)),
    "nesterov": dict(optimizer=momentum(True)),
    "lamb": dict(optimizer=lambda groups: Lamb(groups, RATE)),
    "lion": dict(optimizer=lambda groups: Lion(groups, RATE)),
    "warm-up and cosine": dict(schedule=warm_cosine),
    "linear": dict(schedule=lambda o: LinearLR(o, 1.0, 0.2, total_iters=40)),
    "steps": dict(schedule=lambda o: StepLR(o, 10, 0.5)),
    "steps listed": dict(schedule=lambda o: MultiStepLR(o, [20, 35], 0.1)),
    "one after another": dict(schedule=warm_steps),
    "clip": dict(clip=0.3),
    "ema": dict(ema=0.9),
    "accumulate": dict(parts=4),
    "lora": dict(model=LowRank),
    "int8": dict(model=Frozen),
    "int8 below lora, averaged": dict(model=FrozenLowRank, ema=0.9, parts=2, clip=0.5),
    "towers": dict(model=Towers, optimizer=momentum(False)),
    "lamb with all": dict(
        optimizer=lambda groups: Lamb(groups, RATE), schedule=warm_steps, clip=0.3, ema=0.9, parts=4
    ),
    "lion with all": dict(
        optimizer=lambda groups: Lion(groups, RATE),
        schedule=lambda o: LinearLR(o, 1.0, 0.2, total_iters=40),
        clip=0.3,
        ema=0.8,
        parts=2,
    ),
    "nesterov of lora with all": dict(
        model=LowRank, optimizer=momentum(True), schedule=warm_cosine, clip=0.2, ema=0.9, parts=4
    ),
}


def run(model=Classifier, optimizer=adamw, schedule=None, clip=None, ema=None, parts=1):
    model = model() if model is LowRank else seeded(model().double())
    model = model.settle() if isinstance(model, Frozen) else model
    learned = [p for p in model.parameters() if p.requires_grad]
    groups = [
        dict(params=[p for p in learned if p.ndim > 1], weight_decay=DECAY),
        dict(params=[p for p in learned if p.ndim <= 1], weight_decay=0.0),
    ]
    optimizer = optimizer([g for g in groups if g["params"]])
    schedule = schedule and schedule(optimizer)
    average = ema and swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(ema))
    if average:
        average.update_parameters(model)  # the first update copies: the average begins as the weights do
    losses = []
    for t in range(STEPS):
        optimizer.zero_grad()
        data, total = batch(t), 0.0
        for i in range(parts):
            rows = slice(i * BATCH // parts, (i + 1) * BATCH // parts)
            loss = model(**{k: v[rows] for k, v in data.items()}) / parts
            loss.backward()
            total += loss.item()
        if clip:
            nn.utils.clip_grad_norm_(learned, clip)
        optimizer.step()
        if schedule:
            schedule.step()
        if average:
            average.update_parameters(model)
        losses.append(total)
    kept = (average.module if average else model).state_dict()
    if isinstance(model, Frozen):  # what is frozen is written as it was given, which both sides know
        kept = {n: p for n, p in (average.module if average else model).named_parameters() if p.requires_grad}
    return {"losses": losses, "weights": {name: w.flatten().tolist() for name, w in kept.items()}}


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    result = {name: run(**case) for name, case in CASES.items()}
    rounded = json.loads(json.dumps(result), parse_float=lambda x: float(f"{float(x):.9g}"))
    (folder.parent / "training" / "optimizers.json").write_text(json.dumps(rounded, separators=(",", ":")) + "\n")
