"""What a step finds, kept in a JSON file case by case, so that a crash or a limit costs one case."""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.base import die_with_parent

BROKEN = 3  # exit status: the device is of no more use to this process
GOING_ON = "was going on when its process ended"
Figures = dict[str, Any]


class CannotRun(Exception):
    """Why a case has nothing to say here."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a step runs, and where it may write."""

    rehearse: bool
    out: Path

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.rehearse else "cuda")

    @property
    def half(self) -> torch.dtype:
        """The interpreter multiplies the bits of bfloat16 as integers."""
        return torch.float16 if self.rehearse else torch.bfloat16

    def model(self, shape: dict[str, Any], name: str) -> Path:
        """A model of this shape with random weights, in bfloat16; one layer of it where it is interpreted."""
        from benchmarks.models import build

        shape = shape | ({"num_hidden_layers": 1} if self.rehearse else {})
        folder = self.out / "models" / name
        return folder if (folder / "config.json").exists() else build(shape, folder, str(self.device))


class Findings:
    """``cases`` by name: ``ok`` is ``None`` where one could not run, and ``why`` says why not."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.cases: dict[str, Figures] = json.loads(file.read_text()) if file.exists() else {}

    def attempt(self, name: str, work: Callable[[], Figures]) -> None:
        """Note what ``work`` gives, with ``ok``, or how it failed. A case that is known from before is left alone."""
        if name in self.cases:
            return
        began = time.perf_counter()
        self._note(name, {"ok": False, "why": GOING_ON})
        try:
            found = {"ok": True} | work()
        except CannotRun as reason:
            found = {"ok": None, "why": str(reason)}
        except Exception as error:  # whatever a kernel raises must not cost the other cases
            traceback.print_exc()
            found = {"ok": False, "why": f"{type(error).__name__}: {error}"[:2000]}
        self._note(name, found | {"seconds": round(time.perf_counter() - began, 2)})
        print(name, json.dumps(found)[:400], flush=True)
        if found["ok"] is False and _is_broken():
            os._exit(BROKEN)

    def _note(self, name: str, found: Figures) -> None:
        self.cases[name] = found
        write_json(self._file, self.cases)


def _is_broken() -> bool:
    """After an illegal address every later call of the process fails."""
    if not torch.cuda.is_available():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def write_json(file: Path, what: Any) -> None:
    """Whole or not at all."""
    draft = file.with_suffix(".tmp")
    draft.write_text(json.dumps(what, indent=1) + "\n")
    draft.replace(file)


def run_step(step: Callable[[Setting, Findings], None]) -> None:
    """The main function of a step's module."""
    die_with_parent()
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    if options.rehearse:
        torch.set_num_threads(1)
    torch.manual_seed(0)
    findings = Findings(options.file)
    if options.rehearse or torch.cuda.is_available():
        step(Setting(options.rehearse, options.file.parent), findings)
    else:
        findings.attempt("all of it", _no_device)


def _no_device() -> Figures:
    raise CannotRun("torch sees no CUDA device; --rehearse runs it on the CPU")
