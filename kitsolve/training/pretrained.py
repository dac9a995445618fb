"""Weights of a file of one's own, whichever framework saved them, loaded into a backbone."""

from __future__ import annotations

import pickle
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals
from tqdm import tqdm

from kitsolve.errors import KitsolveError
from kitsolve.inference.members import with_versions
from kitsolve.training.optim import find_head

FIRST_CHOICES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "state_dict", "model_state_dict", "model")
"""Keys under which a checkpoint holds weights, the averaged ones first, as timm's load_state_dict has it."""
WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.")
"""What torch.compile, activation checkpointing and FSDP put into the names of tensors."""
MOST_DEPTH = 3
SHOWN = 3


@dataclass(frozen=True)
class Found:
    """Tensors of a file that may be a model's: `name` is their key in the file, `prefix` was taken off their names."""

    name: str
    prefix: str
    tensors: Mapping[str, Tensor]


def load_pretrained(model: nn.Module, path: Path) -> int:
    """Load the tensors of a .safetensors file or a torch checkpoint into `model`; a head of another size stays new.

    Of a checkpoint nothing but tensors is made: classes that its pickle names are neither imported nor called. One
    common prefix is taken off the names where that makes them the model's. Says what was loaded.

    Returns:
        The number of tensors that were loaded.

    Raises:
        KitsolveError: no such file, no weights in it, or not those of this backbone.
    """
    own, head = model.state_dict(keep_vars=True), find_head(model).state_dict(keep_vars=True)
    new = {id(tensor) for tensor in head.values()}
    content = _read_content(path)
    if isinstance(content, _Unknown):
        raise _no_weights(path, f"a whole {type(content).__name__}, not its weights")
    found = _choose(list(_list_dicts(content)), own, path)
    fitting = {name: tensor for name, tensor in found.tensors.items() if _fits(tensor, own.get(name))}
    # Files of old versions lack BatchNorm's counters, which nothing needs.
    wanted = [
        name for name, tensor in own.items() if id(tensor) not in new and not name.endswith("num_batches_tracked")
    ]
    lacking = [name for name in wanted if name not in fitting]
    if lacking or not fitting:
        raise _misfit(path, own, lacking, found=found, fitting=len(fitting))
    odd = [name for name, tensor in fitting.items() if not torch.isfinite(tensor).all()]
    if odd:
        raise KitsolveError(
            f"{path}: {len(odd)} tensors hold NaN or infinity, first: {odd[0]}.", hint="take another checkpoint."
        )
    model.load_state_dict(with_versions(fitting, model), strict=False)
    left = [name for name, tensor in own.items() if id(tensor) in new and name not in fitting]
    tqdm.write(_describe(path, found, loaded=len(fitting), count=len(own), left=left), file=sys.stderr)
    return len(fitting)


def _describe(path: Path, found: Found, *, loaded: int, count: int, left: list[str]) -> str:
    said = f"{loaded} of {count} tensors from {path}"
    if found.name:
        said += f", its {found.name!r}"
    if found.prefix:
        said += f", without the prefix {found.prefix!r}"
    if not left:
        return f"{said}, the head too"
    given = [found.tensors[name] for name in left if name in found.tensors]
    return f"{said}; the head ({', '.join(left)}) starts anew" + (
        f": there it has {len(given[0])} outputs" if given else ""
    )


class _Unknown:
    """Stands for an object of a class that a checkpoint names: made of nothing, and does nothing."""

    def __new__(cls, *_: object, **__: object) -> _Unknown:
        """Take any arguments, and forget them."""
        return object.__new__(cls)

    def __setstate__(self, _: object) -> None:
        """Forget the state."""


def _read_content(path: Path) -> Any:  # noqa: ANN401  (whatever a checkpoint holds)
    if not path.is_file():
        raise KitsolveError(
            f"pretrained = {str(path)!r} is no file.",
            hint="give a .safetensors file or a torch checkpoint (.pth, .pt, .bin, .ckpt, .pth.tar), true or false.",
        )
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        return _read_checkpoint(path)
    except SafetensorError as error:
        raise _no_weights(path, f"no safetensors ({_first_line(error)})") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError,
            OSError) as error:  # fmt: skip
        what = "code that only a pickle would run, or it is no checkpoint"
        raise _no_weights(path, f"{what} ({_first_line(error)})") from error


def _read_checkpoint(path: Path) -> Any:  # noqa: ANN401
    """The content of a checkpoint, with objects of classes that torch does not know as _Unknown.

    torch's own restricted unpickler does it; modules that run programs (os, sys) are refused by it in any case.
    """
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    foreign = get_unsafe_globals_in_checkpoint(path) if is_zip else []
    # A class of its own for each, since torch tells them apart by identity.
    known: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (type(name.rpartition(".")[2], (_Unknown,), {}), name) for name in foreign
    ]
    with safe_globals(known):
        return torch.load(path, map_location="cpu", weights_only=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _list_dicts(content: object, name: str = "", depth: int = 0) -> Iterator[Found]:
    """All mappings of names to tensors in a checkpoint, those of FIRST_CHOICES first."""
    if not isinstance(content, Mapping):
        return
    tensors = {
        WRAPPERS.sub("", key): value for key, value in content.items() if isinstance(key, str) and _is_dense(value)
    }
    if tensors:
        yield Found(name, "", tensors)
    keys = [key for key in FIRST_CHOICES if key in content]
    keys += [key for key in content if isinstance(key, str) and key not in FIRST_CHOICES]
    for key in keys if depth < MOST_DEPTH else ():
        yield from _list_dicts(content[key], f"{name}.{key}" if name else key, depth + 1)


def _is_dense(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided


def _fits(tensor: Tensor, own: Tensor | None) -> bool:
    return own is not None and own.shape == tensor.shape


def _choose(dicts: list[Found], own: Mapping[str, Tensor], path: Path) -> Found:
    """Of all mappings and prefixes those that give the model most tensors.

    Raises:
        KitsolveError: there are no tensors, or two prefixes of one mapping fit alike.
    """
    if not dicts:
        raise _no_weights(path, "no tensors under names")
    best, most = dicts[0], 0
    for found in dicts:
        (prefix, count), *others = _rank_prefixes(found.tensors, own)
        if count <= most:
            continue
        if prefix and others and others[0][1] == count:
            raise KitsolveError(
                f"{path} holds two models that fit, {prefix!r} and {others[0][0]!r}.",
                hint="save the state_dict of the one that is wanted, and give that file.",
            )
        tensors = {key.removeprefix(prefix): value for key, value in found.tensors.items() if key.startswith(prefix)}
        best, most = Found(found.name, prefix, tensors), count
    return best


def _rank_prefixes(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[tuple[str, int]]:
    """Prefixes that tensors of the model have, with how many fit: the most first, of equal ones no prefix at all."""
    counts = Counter({"": 0})
    for key, tensor in tensors.items():
        starts = [0, *(match.end() for match in re.finditer(r"\.", key))]
        counts.update(key[:start] for start in starts if _fits(tensor, own.get(key[start:])))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0] != "", item[0]))


def _no_weights(path: Path, what: str) -> KitsolveError:
    return KitsolveError(
        f"{path} holds {what}.",
        hint="save model.state_dict() with torch.save or safetensors where the model was made, and give that file.",
    )


def _misfit(path: Path, own: Mapping[str, Tensor], lacking: list[str], *, found: Found, fitting: int) -> KitsolveError:
    """What the model has and the file has not, with the first names of both sides, or their shapes."""
    other = [name for name in lacking if name in found.tensors]
    if other:
        shapes = [f"{tuple(side[other[0]].shape)}" for side in (found.tensors, own)]
        why = f"{other[0]} has the shape {shapes[0]} there and {shapes[1]} in the model"
    else:
        there = [name for name in found.tensors if name not in own] or list(found.tensors)
        why = f"without: {', '.join(lacking[:SHOWN])}; in the file are: {', '.join(there[:SHOWN])}"
    return KitsolveError(
        f"{path} fits {fitting} of the model's {len(own)} tensors; {why}.",
        hint="give the weights of the same backbone, image size and number of channels.",
    )
