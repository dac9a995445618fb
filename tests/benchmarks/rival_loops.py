"""Other people's ways to train an image classifier, timed alike: python tests/benchmarks/rival_loops.py

Each reads the same JPEG files, trains the same backbone of timm with AdamW on one torch thread of the CPU, and does
the rest as its users do. Bare, a bfloat16 step on one batch in memory, is the limit, up to the noise. They take turns,
since machines are noisy. Needs `pip install ".[bench]"`.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial, wraps
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import timm
import torch
from photos import CLASSES, write_photos
from PIL import Image
from timm.data import create_dataset, create_loader
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.utils import AverageMeter, ModelEmaV3
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from tqdm import tqdm

LR = 1e-3
WARM = 5
"""Steps before the clock starts: oneDNN prepares its kernels, workers fill their queue."""
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@dataclass(frozen=True)
class Load:
    """What every loop trains on."""

    paths: list[Path]
    labels: list[int]
    backbone: str = "resnet18"
    image_size: int = 224
    batch_size: int = 32
    workers: int = 1

    def rows(self, steps: int) -> list[tuple[Path, int]]:
        """The images of the warm-up and of `steps` steps as one epoch: no loop pays for the start of a second."""
        return list(islice(cycle(zip(self.paths, self.labels, strict=True)), (WARM + steps) * self.batch_size))

    def model(self) -> nn.Module:
        """A new model on one torch thread, its convolutions' weights not yet in channels_last."""
        torch.set_num_threads(1)
        torch.manual_seed(0)
        return timm.create_model(self.backbone, pretrained=False, num_classes=CLASSES).train()


@dataclass
class Watch:
    """When each step ended, on a clock of seconds, and its loss."""

    ends: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def step(self, loss: float) -> None:
        """Count a step that has just ended."""
        self.ends.append(time.perf_counter())
        self.losses.append(loss)

    def rate(self, batch_size: int) -> float:
        """Images per second from the end of the warm-up to the last step, loading included."""
        return batch_size * (len(self.ends) - WARM) / (self.ends[-1] - self.ends[WARM - 1])


Loop = Callable[..., float]
"""(load, steps, watch=None) to images per second; the watch is for who wants the losses."""


def timed(train: Callable[..., None]) -> Loop:
    """A loop of a function that trains for WARM + steps and tells the watch of each."""

    @wraps(train)
    def loop(load: Load, steps: int, watch: Watch | None = None, **chosen: Path) -> float:
        watch = watch or Watch()
        train(load, steps, watch, **chosen)
        assert len(watch.ends) == WARM + steps, f"{train.__name__} made {len(watch.ends)} steps of {WARM + steps}"
        return watch.rate(load.batch_size)

    return loop


class Photos(Dataset[tuple[Tensor, int]]):
    """Rows read by PIL, with a transform that takes a PIL image."""

    def __init__(self, rows: list[tuple[Path, int]], transform: Callable[[Image.Image], Tensor]) -> None:
        self.rows, self.transform = rows, transform

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        path, label = self.rows[number]
        return self.transform(Image.open(path).convert("RGB")), label

    def __len__(self) -> int:
        return len(self.rows)


@timed
def bare(load: Load, steps: int, watch: Watch) -> None:
    """The arithmetic alone: bfloat16, channels_last, fused AdamW."""
    model = load.model().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)
    place = [v2.Resize((load.image_size, load.image_size)), v2.ToImage()]
    prepare = v2.Compose([*place, v2.ToDtype(torch.float32, scale=True), v2.Normalize(**IMAGENET)])
    # Of the same photos: with random pixels the same arithmetic was 3 % slower.
    images, targets = next(iter(DataLoader(Photos(load.rows(steps), prepare), load.batch_size)))
    images = images.contiguous(memory_format=torch.channels_last)
    for _ in range(WARM + steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(images)
        loss = cross_entropy(logits.float(), targets)
        loss.backward()
        optimizer.step()
        watch.step(loss.item())


@timed
def handwritten(load: Load, steps: int, watch: Watch) -> None:
    """The loop of most Kaggle notebooks: PIL, albumentations with a normalisation image by image, float32."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks PyPI at import
    import albumentations as A  # noqa: N812
    from albumentations.pytorch import ToTensorV2

    affine = A.Affine(translate_percent=(-0.0625, 0.0625), scale=(0.9, 1.1), rotate=(-15, 15), p=0.5)
    colour = [A.RandomBrightnessContrast(p=0.5), A.CoarseDropout(p=0.5), A.Normalize(**IMAGENET), ToTensorV2()]
    transforms = A.Compose([A.Resize(load.image_size, load.image_size), A.HorizontalFlip(p=0.5), affine, *colour])
    photos = Photos(load.rows(steps), lambda image: transforms(image=np.array(image))["image"])
    loader = DataLoader(photos, load.batch_size, shuffle=True, num_workers=load.workers, drop_last=True)
    model, criterion = load.model(), nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    bar = tqdm(loader)
    for images, targets in bar:
        optimizer.zero_grad()
        loss = criterion(model(images), targets)
        loss.backward()
        optimizer.step()
        watch.step(loss.item())
        bar.set_postfix(loss=f"{watch.losses[-1]:.4f}")


@timed
def timm_train(load: Load, steps: int, watch: Watch) -> None:
    """timm's train.py in its own parts: its loader with RandAugment, random erasing and prefetcher, EMA, bfloat16."""
    model = load.model().to(memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=LR, weight_decay=2e-5)
    ema, criterion, losses = ModelEmaV3(model, decay=0.9998), LabelSmoothingCrossEntropy(0.1), AverageMeter()
    augment = {"auto_augment": "rand-m9-mstd0.5-inc1", "re_prob": 0.25, "re_mode": "pixel", "interpolation": "random"}
    chosen = {"is_training": True, "num_workers": load.workers, "device": torch.device("cpu"), **augment, **IMAGENET}
    with tempfile.TemporaryDirectory() as folder:
        link_folder(Path(folder), load.rows(steps))
        images = create_dataset("", root=folder, split="train", is_training=True)
        for inputs, targets in create_loader(images, (3, load.image_size, load.image_size), load.batch_size, **chosen):
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.update(loss.item(), len(inputs))
            optimizer.zero_grad()
            ema.update(model, step=len(watch.ends) + 1)
            watch.step(losses.val)


def link_folder(folder: Path, rows: list[tuple[Path, int]]) -> None:
    """Links as torchvision's ImageFolder wants them, train/LABEL/NUMBER.jpg."""
    for number, (path, label) in enumerate(rows):
        link = folder / "train" / str(label) / f"{number:06}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())


TIMM_FLAGS = (
    "--device cpu --amp --amp-dtype bfloat16 --channels-last --opt adamw --model-ema --aa rand-m9-mstd0.5-inc1 "
    f"--reprob 0.25 --lr {LR} --warmup-epochs 0 --epochs 1 --log-interval 1 --val-split="
)


@timed
def timm_script(load: Load, steps: int, watch: Watch, *, script: Path) -> None:
    """timm's train.py itself, in a process of its own; the seconds of each step are those of its log."""
    flags = f"--model {load.backbone} --num-classes {CLASSES} --img-size {load.image_size} "
    flags += f"--batch-size {load.batch_size} --workers {load.workers} {TIMM_FLAGS}"
    with tempfile.TemporaryDirectory() as folder:
        link_folder(Path(folder), load.rows(steps))
        command = [sys.executable, str(script), "--data-dir", folder, "--output", f"{folder}/out", *flags.split()]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script} failed; its last words:\n{done.stderr[-2000:]}")
    lines = re.findall(r"Train: .*?Loss: *(\S+) .*?Time: *([\d.]+)s", done.stderr)
    watch.losses += [float(loss) for loss, _ in lines]
    watch.ends += np.cumsum([float(seconds) for _, seconds in lines]).tolist()


@timed
def lightning(load: Load, steps: int, watch: Watch) -> None:
    """Lightning's Trainer with its bar, transforms of torchvision, bfloat16, channels_last."""
    import lightning as L  # noqa: N812

    class Classifier(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = load.model().to(memory_format=torch.channels_last)

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            loss = cross_entropy(self.model(batch[0].contiguous(memory_format=torch.channels_last)), batch[1])
            self.log("train_loss", loss, prog_bar=True)
            return loss

        def on_train_batch_end(self, outputs: dict[str, Tensor], *_: object) -> None:
            watch.step(outputs["loss"].item())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=LR)

    place = [v2.ToImage(), v2.RandomResizedCrop(load.image_size, antialias=True), v2.RandomHorizontalFlip()]
    colour = [v2.ColorJitter(0.2, 0.2, 0.2), v2.ToDtype(torch.float32, scale=True), v2.Normalize(**IMAGENET)]
    photos = Photos(load.rows(steps), v2.Compose(place + colour))
    loader = DataLoader(photos, load.batch_size, shuffle=True, num_workers=load.workers, drop_last=True)
    chosen = {"accelerator": "cpu", "precision": "bf16-mixed", "enable_checkpointing": False, "logger": False}
    L.Trainer(max_epochs=1, **chosen).fit(Classifier(), loader)


@timed
def fastai(load: Load, steps: int, watch: Watch) -> None:
    """fastai's Learner: Resize in the workers, aug_transforms on whole batches in the main process, bfloat16."""
    import fastai.vision.all as fa
    from fastai.callback.channelslast import ChannelsLast

    class CpuMixedPrecision(fa.MixedPrecision):
        """`to_bf16` asks for CUDA's autocast, which leaves a CPU at float32."""

        def before_fit(self) -> None:
            super().before_fit()
            self.autocast = torch.autocast("cpu", dtype=torch.bfloat16)

    class Tell(fa.Callback):
        def after_batch(self) -> None:
            if self.training:
                watch.step(self.loss.item())

    block = fa.DataBlock(
        blocks=(fa.ImageBlock, fa.CategoryBlock(vocab=list(range(CLASSES)))),
        get_x=fa.ItemGetter(0),
        get_y=fa.ItemGetter(1),
        splitter=fa.IndexSplitter(range(load.batch_size)),  # fastai must validate; that is not timed
        item_tfms=fa.Resize(256),
        batch_tfms=[*fa.aug_transforms(size=load.image_size), fa.Normalize.from_stats(*fa.imagenet_stats)],
    )
    chosen = {"bs": load.batch_size, "num_workers": load.workers, "device": torch.device("cpu")}
    callbacks = [ChannelsLast(), CpuMixedPrecision(amp_mode="bf16"), Tell()]
    loaders = block.dataloaders(load.rows(steps + 1), **chosen)
    fa.Learner(loaders, load.model(), loss_func=fa.CrossEntropyLossFlat(), cbs=callbacks).fit_one_cycle(1, LR)


RIVALS = {"hand-written": handwritten, "timm train.py": timm_train, "Lightning": lightning, "fastai": fastai}
PACKAGES = {"hand-written": "albumentations", "timm train.py": "timm", "Lightning": "lightning", "fastai": "fastai"}


def available(timm_train_py: Path | None = None) -> dict[str, Loop]:
    """The rivals whose packages are installed; timm's as train.py itself where that file is given."""
    script = {"timm train.py": partial(timm_script, script=timm_train_py)} if timm_train_py else {}
    return {name: loop for name, loop in (RIVALS | script).items() if find_spec(PACKAGES[name])}


def take_turns(loops: dict[str, Loop], load: Load, *, steps: int, rounds: int) -> dict[str, list[Watch]]:
    """Each loop's watch of each round; what the loops print is thrown away."""
    watches: dict[str, list[Watch]] = {name: [Watch() for _ in range(rounds)] for name in loops}
    for number in range(rounds):
        for name, loop in loops.items():
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
                loop(load, steps, watches[name][number])
    return watches


def main() -> None:
    """Print each loop's rates, the best as a share of the best bare rate, and the loss of its first and last steps.

    Best to best, since what else runs on a machine only ever takes away.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=20, help="timed steps of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timm-train", type=Path, help="train.py of a checkout of timm, to run that itself")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photos(Path(folder), 320)
        labels = [number % CLASSES for number in range(len(paths))]
        load = Load(paths, labels, given.backbone, given.image_size)
        loops = {"bare": bare, **available(given.timm_train)}
        watches = take_turns(loops, load, steps=given.steps, rounds=given.rounds)
    print(f"{load.backbone}, {load.image_size} px, batch {load.batch_size}, 1 worker, load {os.getloadavg()[0]:.1f}")
    print(f"{'loop':<14}  {'median img/s':>12}  {'best':>6}  {'best of bare':>12}  loss")
    rates = {name: [watch.rate(load.batch_size) for watch in those] for name, those in watches.items()}
    for name, those in rates.items():
        share, losses = max(those) / max(rates["bare"]), watches[name][-1].losses
        loss = f"{statistics.mean(losses[:5]):.2f} to {statistics.mean(losses[-5:]):.2f}"
        print(f"{name:<14}  {statistics.median(those):>12.1f}  {max(those):>6.1f}  {share:>12.3f}  {loss}")


if __name__ == "__main__":
    main()
