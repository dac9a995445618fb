"""The models on one device: what they make of a batch, and how many views of it they are given."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kitsolve.inference.bundle import Blend, Bundle, Preprocessing
from kitsolve.inference.combine import combine
from kitsolve.inference.deadline import Plan, choose_views
from kitsolve.inference.devices import free_memory, keep_memory
from kitsolve.inference.images import normalise
from kitsolve.inference.members import ACTIVATIONS, VIEWS, Member, load_member, widen

ROOM = 0.6
"""Share of a device's free memory for the weights; the rest is for what the models make of the images."""
TURNS = 16
"""Batches for which a group of models stays on the device, where not all fit: the way there then takes little time."""


@dataclass(frozen=True)
class Batch:
    """Images of all sizes that the members want, uint8 (images, height, width, channels), and the numbers beside them.

    `lost`: by their place why images could not be read, which are black.
    """

    sized: Mapping[Preprocessing, Tensor]
    beside: np.ndarray | None = None
    lost: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of images."""
        return len(next(iter(self.sized.values())))


@dataclass
class Ensemble:
    """The members on one device.

    `blend`: how their runs are mixed. `at_once`: images that go through a model together; fewer once they did not fit
    into the device's memory. `groups`: places of members that are on the device together. `costs_s`: seconds that one
    view of an image takes each member, once measured.
    """

    members: list[Member]
    device: torch.device
    blend: Blend
    at_once: int
    groups: Sequence[Sequence[int]]
    costs_s: list[float] = field(default_factory=list)
    warm: bool = False

    @property
    def batch_size(self) -> int:
        """Images of a batch."""
        return self.at_once * (TURNS if len(self.groups) > 1 else 1)

    @property
    def kinds(self) -> list[Preprocessing]:
        """What the members want to be made of an image."""
        return list(dict.fromkeys(member.preprocessing for member in self.members))

    @torch.inference_mode()
    def predict(self, batch: Batch, allowed_s: float = math.inf) -> tuple[np.ndarray, Plan]:
        """(images, outputs) float32 of a batch, and what went into them.

        Args:
            allowed_s: for an image.
        """
        plan = self.plan(allowed_s)
        spent = [0.0] * len(self.members)
        outputs: dict[str, list[np.ndarray]] = {name: [] for name in self.blend.runs}
        for group in self.groups:
            self._bring(group)
            views = {place: plan.views[place] for place in group if plan.views[place]}
            for place, means in self._predict_group(batch, views, spent).items():
                outputs[self.members[place].run].append(means)
        self._learn(plan, spent, len(batch))
        runs = [name for name in self.blend.runs if outputs[name]]
        means_of_runs = [np.mean(outputs[name], axis=0) for name in runs]
        return combine(means_of_runs, self.blend.only(runs), activation=self.members[0].activation), plan

    def plan(self, allowed_s: float) -> Plan:
        """How many views each member gets; all, before it is known what they cost."""
        wanted = tuple(len(member.views) for member in self.members)
        if not self.costs_s:
            return Plan(wanted, wanted)
        weights = dict(zip(self.blend.runs, self.blend.weights, strict=True))
        sizes = Counter(member.run for member in self.members)
        shares = [weights[member.run] / sizes[member.run] for member in self.members]
        return Plan(tuple(choose_views(self.costs_s, wanted, shares, allowed_s)), wanted, tuple(self.costs_s))

    def _bring(self, group: Sequence[int]) -> None:
        """Have these members on the device, the others in the machine's memory."""
        if len(self.groups) > 1:
            for places, device in ((set(range(len(self.members))) - set(group), "cpu"), (group, self.device)):
                for place in places:
                    self.members[place].model.to(device)

    def _predict_group(self, batch: Batch, views: Mapping[int, int], spent: list[float]) -> dict[int, np.ndarray]:
        """(images, outputs) of each member, the mean over its views; in as large parts as the device's memory holds."""
        parts: list[dict[int, Tensor]] = []
        start = 0
        while start < len(batch):
            part = slice(start, start + self.at_once)
            try:
                parts.append(self._predict_part(batch, part, views, spent))
                start = part.stop
                continue
            except torch.OutOfMemoryError:
                if self.at_once == 1:
                    raise
            # Outside of the handler, which holds on to the tensors of the part that did not fit.
            self.at_once //= 2
            torch.cuda.empty_cache()
        return {place: torch.cat([part[place] for part in parts]).numpy() for place in views}

    def _predict_part(
        self, batch: Batch, part: slice, views: Mapping[int, int], spent: list[float]
    ) -> dict[int, Tensor]:
        """The means over the views in float32, on the CPU; each view is laid once for all members that want it."""
        beside = () if batch.beside is None else (torch.from_numpy(batch.beside[part]).to(self.device),)
        sums: dict[int, Tensor] = {}
        for kind, sized in batch.sized.items():
            images = normalise(sized[part].to(self.device), kind)
            wanted = {p: self.members[p].views[:n] for p, n in views.items() if self.members[p].preprocessing == kind}
            for view in dict.fromkeys(name for names in wanted.values() for name in names):
                seen = VIEWS[view](images).contiguous(memory_format=torch.channels_last)
                for place in (place for place, names in wanted.items() if view in names):
                    started = time.perf_counter()
                    outputs = ACTIVATIONS[self.members[place].activation](self._logits(place, seen, beside)).cpu()
                    sums[place] = sums[place] + outputs if place in sums else outputs
                    spent[place] += time.perf_counter() - started
        return {place: total / views[place] for place, total in sums.items()}

    def _logits(self, place: int, seen: Tensor, beside: tuple[Tensor, ...]) -> Tensor:
        """Of one member, in float32; where it comes to numbers that float16 does not have, it is widened for good.

        What was trained in bfloat16 may exceed the 65,504 of float16, which is all that older GPUs have.
        """
        member = self.members[place]
        logits = member.forward(seen, *beside).float()
        if member.dtype is torch.float16 and not logits.isfinite().all():
            print(f"warning: a model of {member.run} exceeds float16, and goes on in float32", file=sys.stderr)
            self.members[place] = widen(member)
            return self._logits(place, seen, beside)
        return logits

    def _learn(self, plan: Plan, spent: Sequence[float], images: int) -> None:
        """Note what the members cost; not from the first batch, in which the device still gets ready."""
        if self.warm:
            known = self.costs_s or [0.0] * len(spent)
            self.costs_s = [
                total / (images * count) if count else cost
                for total, count, cost in zip(spent, plan.views, known, strict=True)
            ]
        self.warm = True


def load_ensemble(bundle: Bundle, folder: Path, device: torch.device) -> Ensemble:
    """The models of a bundle on a device; those that its memory does not hold together form groups."""
    keep_memory(device)
    room = ROOM * free_memory(device)
    members: list[Member] = []
    sizes: list[int] = []
    for spec in bundle.models:
        member = load_member(spec, folder, device)
        sizes.append(sum(tensor.nbytes for tensor in member.model.state_dict().values()))
        if sum(sizes) > room:
            member.model.cpu()
        members.append(member)
    groups = group_members(sizes, room)
    if bundle.compiled and len(groups) == 1:  # compiled code holds on to the weights
        for member in members:
            member.model.compile(options={"freezing": True})
    return Ensemble(members, device, bundle.blend, bundle.batch_size, groups)


def group_members(sizes: Sequence[int], room: float) -> list[list[int]]:
    """The places of members in groups, in their order, each of which fits into the room; one too large stands alone."""
    groups: list[list[int]] = [[]]
    used = 0
    for place, size in enumerate(sizes):
        if groups[-1] and used + size > room:
            groups.append([])
            used = 0
        groups[-1].append(place)
        used += size
    return groups


def one_member(member: Member, device: torch.device, *, batch_size: int) -> Ensemble:
    """The ensemble of a model alone."""
    return Ensemble([member], device, Blend((member.run,), "mean", (1.0,)), batch_size, [[0]])
