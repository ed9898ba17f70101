"""Compiles ``kernels.c`` for this machine's processor, once, and loads it.

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

import torch

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("kernels.c")
NEEDED = {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16"}
FLAGS = (
    *("-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp", "-fno-math-errno", "-fno-trapping-math"),
    *("-shared", "-fPIC", "-w"),
)
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
        # torch's own OpenMP is in the process already and serves both: their threads are the same ones.
        library = ctypes.CDLL(str(_compiled(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        return _without(f"compiling them failed: {error}")
    for name, arguments in SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, None
    return library


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


def _compiled(compiler: str) -> Path:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=COMPILE_SECONDS).stdout
    features = " ".join(sorted(_processor_features())).encode()
    key = hashlib.sha256(b"\0".join((SOURCE.read_bytes(), version, features, " ".join(FLAGS).encode())))
    target = _cache_folder() / f"kernels-{key.hexdigest()[:16]}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            fresh = Path(folder) / target.name
            command = [compiler, *FLAGS, str(SOURCE), "-o", str(fresh), "-lm"]
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


def address(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def pages(num_bytes: int) -> torch.Tensor:
    """Zeroed bytes, on huge pages where they fill some: the kernels read megabytes in order."""
    if num_bytes < HUGE_PAGE:
        return torch.zeros(num_bytes, dtype=torch.uint8)
    area = mmap.mmap(-1, -(-num_bytes // HUGE_PAGE) * HUGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel built without them
        area.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(area, dtype=torch.uint8)
