"""Compiles ``kernels.c`` for this machine's processor, with AVX-512 VNNI and BF16 or with AVX2, once, and loads it.

The compiler is the system's (``cc``), which takes two seconds; the result is kept in the user's cache
folder under a name made of source, compiler and processor. Where there is no compiler, or the processor
lacks the instructions, ``load`` returns ``None`` and the engine computes with torch alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import mmap
import os
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("kernels.c")
HEADERS = tuple(map(SOURCE.with_name, ("team.h", "jobs.h", "avx512.h", "avx2.h")))  # one of the last two is used
NEEDED = {"avx2", "fma"}
FLAGS = (
    *("-O3", "-march=native", "-mprefer-vector-width=512", "-pthread", "-fno-math-errno", "-fno-trapping-math"),
    *("-shared", "-fPIC", "-w"),
)
WIDE = {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16"}
NARROW_FLAGS = (
    *FLAGS,
    "-mno-avx512f",
    "-fno-tree-pre",
)  # with that, gcc keeps sums in memory rather than in AVX2's sixteen registers
COMPILE_SECONDS = 120
HUGE_PAGE = 1 << 21
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
KEPT_BYTES = 1 << 28

_POINTER, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
SIGNATURES = {
    "linear": (_POINTER, _POINTER, _POINTER, _INT),
    "pack": (_POINTER, _INT, _INT, _INT, _POINTER, _POINTER),
    "rms_norm": (_POINTER, _POINTER, _POINTER, _INT, _INT, _FLOAT),
    "gate": (_POINTER, _POINTER, _INT, _INT, _INT),
    "attention": (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _INT, _POINTER),
    "decode": (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _INT, _POINTER),
}
ALLOCATING = ("linear", "attention", "decode")


@lru_cache(maxsize=1)
def load() -> ctypes.CDLL | None:
    """The kernels, or ``None`` where this machine cannot have them; the reason is logged."""
    missing = missing_features()
    compiler = shutil.which("cc") or shutil.which("gcc")
    if missing:
        return _without(f"this processor lacks {', '.join(missing)}")
    if compiler is None:
        return _without("there is no C compiler (Debian: apt-get install gcc libc6-dev)")
    try:
        return opened(compiled(compiler, FLAGS if is_wide() else NARROW_FLAGS))
    except (OSError, subprocess.SubprocessError) as error:
        return _without(f"compiling them failed: {error}")


def is_wide() -> bool:
    """Whether the kernels use AVX-512 here, or AVX2."""
    return _processor_features() >= WIDE


def opened(file: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(file))
    for name, arguments in SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = _checked if name in ALLOCATING else None
    library.activation_levels.restype = library.evictions.restype = _INT
    return library


def _checked(status: int) -> None:
    if status:
        raise MemoryError("the CPU kernels got no memory to compute in")


def _without(reason: str) -> ctypes.CDLL | None:
    logger.warning("the engine runs without its CPU kernels, several times slower: %s", reason)
    return None


def missing_features() -> list[str]:
    """Instructions that the kernels need and this processor lacks."""
    return sorted(NEEDED - _processor_features())


def _processor_features() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split(":")[1].split()) for line in lines if line.startswith("flags")), set())


def compiled(compiler: str, flags: tuple[str, ...]) -> Path:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=COMPILE_SECONDS).stdout
    features = " ".join(sorted(_processor_features())).encode()
    sources = [file.read_bytes() for file in (SOURCE, *HEADERS)]
    key = hashlib.sha256(b"\0".join((*sources, version, features, " ".join(flags).encode())))
    target = _cache_folder() / f"kernels-{key.hexdigest()[:16]}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            fresh = Path(folder) / target.name
            command = [compiler, *flags, str(SOURCE), "-o", str(fresh), "-lm"]
            subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_SECONDS)
            fresh.replace(target)  # whole or not at all, for a worker that starts beside this one
    return target


def _cache_folder() -> Path:
    """A folder that only this user can write: what lies in it is run."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chatapp"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):
        logger.debug("%s cannot be used", folder, exc_info=True)
    return Path(tempfile.mkdtemp(prefix="chatapp-"))


def keep_memory() -> None:
    """Let the allocator keep what is freed: the next step wants as much, and fresh pages come one fault at a time."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def trim_memory() -> None:
    """Give back what is free, such as what loading took."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def fields(pointers: str, numbers: str, floats: str = "") -> list[tuple[str, Any]]:
    """Of a structure in kernels.c, which has its members in this order."""
    kinds = ((pointers, _POINTER), (numbers, _INT), (floats, _FLOAT))
    return [(name, kind) for names, kind in kinds for name in names.split()]


def pages(num_bytes: int) -> torch.Tensor:
    """Zeroed bytes, on huge pages where they fill some: the kernels read megabytes in order."""
    if num_bytes < HUGE_PAGE:
        return torch.zeros(num_bytes, dtype=torch.uint8)
    area = mmap.mmap(-1, -(-num_bytes // HUGE_PAGE) * HUGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel built without them
        area.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(area, dtype=torch.uint8)
