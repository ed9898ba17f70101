"""Engines of the benchmark on a small model: what they are asked is what they answer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.figures import Answer
from benchmarks.loads import Ask, Case, Lengths, streams
from benchmarks.models import find_model
from benchmarks.peers import continuous, generate, ours
from benchmarks.peers.base import Drive, Spec
from benchmarks.peers.known import known
from benchmarks.peers.process import ROOT, Peer, PeerFailed
from benchmarks.scenarios import multi_turn

CASE = streams(Lengths(prefix=40, prompt=7, output=9, vocabulary=600), 3)


def spec(model: Path, case: Case = CASE, **options: Any) -> Spec:
    return Spec(str(model), "cpu", 1, case.streams, case.longest, case.prefix, options)


def play(engine: Any, asks: list[Ask], limit: float = 60) -> dict[str, Answer]:
    answers = Drive(engine, asks, limit).play()["answers"]
    engine.close()
    return {name: Answer(**answer) for name, answer in answers.items()}


def written(answers: dict[str, Answer]) -> dict[str, list[int]]:
    return {name: answer.token_ids for name, answer in sorted(answers.items())}


def test_all_engines_write_the_same_greedy_answers(llama: Path) -> None:
    (wave,) = CASE.waves(0)[:1]
    expected = play(ours.build(spec(llama, dtype="float32")), wave)
    alone = play(generate.build(spec(llama, dtype="float32", sequential=True)), wave)
    static = play(generate.build(spec(llama, dtype="float32")), wave)
    batched = play(continuous.build(spec(llama, dtype="float32")), wave)
    assert written(alone) == written(expected)
    assert written(static) == written(expected)
    assert written(batched) == written(expected)
    for answers in (expected, alone, static, batched):
        assert {(len(a.at), len(a.token_ids), a.finished) for a in answers.values()} == {(9, 9, True)}
        assert all(a.at == sorted(a.at) and a.at[0] > 0 for a in answers.values())


@pytest.mark.parametrize("engine", [ours, generate, continuous])
def test_answers_go_on_past_ends_of_text(engine: Any, llama: Path, tmp_path: Path) -> None:
    ending = shutil.copytree(llama, tmp_path / "ending")
    settings = {"eos_token_id": list(range(600)), "do_sample": True}
    (ending / "generation_config.json").write_text(json.dumps(settings))
    (wave,) = CASE.waves(0)[:1]
    answers = play(engine.build(spec(ending, dtype="float32")), wave)
    assert {len(answer.at) for answer in answers.values()} == {9}


def test_static_batches_take_prompts_of_different_lengths(llama: Path) -> None:
    asks = [Ask("short", list(range(20, 25)), 4), Ask("long", list(range(30, 60)), 6)]
    expected = play(ours.build(spec(llama, dtype="float32")), asks)
    assert written(play(generate.build(spec(llama, dtype="float32")), asks)) == written(expected)


def test_a_conversation_goes_on_from_its_answers_and_finds_them_cached(llama: Path) -> None:
    case = multi_turn(Lengths(prefix=32, prompt=5, output=11, vocabulary=600), 2, 3)
    answers = play(ours.build(spec(llama, case)), case.waves(0)[0])
    assert [answers[f"0.{turn}"].prompt_tokens for turn in range(3)] == [37, 53, 69]
    assert [answers[f"0.{turn}"].cached_tokens for turn in (1, 2)] == [32, 48]
    assert answers["0.1"].due >= answers["0.0"].at[-1]


def test_asks_wait_until_they_are_due(llama: Path) -> None:
    answers = play(ours.build(spec(llama)), [Ask("now", [20, 21], 2), Ask("later", [22, 23], 2, due=0.3)])
    assert answers["later"].at[0] >= 0.3
    assert answers["later"].due == 0.3


@pytest.mark.parametrize("engine", [ours, generate, continuous])
def test_an_engine_that_takes_too_long_is_given_up_and_asked_again(engine: Any, llama: Path) -> None:
    long = Case("long", 1, 30_000, lambda number: [[Ask("0", [20, 21], 29_000)]])
    built = engine.build(spec(llama, long, dtype="float32"))
    cut = Drive(built, long.waves(0)[0], limit=1.0).play()["answers"]["0"]
    assert 0 < len(cut["at"]) < 29_000
    assert not cut["finished"]
    assert play(built, [Ask("0", [20, 21], 3)])["0"].finished


def wait_until_stopped(peer: Peer) -> None:
    """A signal takes a moment to arrive."""
    stat, deadline = Path(f"/proc/{peer._process.pid}/stat"), time.monotonic() + 5
    while stat.read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_engine_is_stopped_while_it_is_not_asked(llama: Path, tmp_path: Path) -> None:
    peer = Peer("ours", spec(llama), sys.executable, tmp_path / "log")
    try:
        wait_until_stopped(peer)
        (wave,) = peer.play(CASE.waves(0)[:1], 60)
        wait_until_stopped(peer)
        assert {len(answer.at) for answer in wave.values()} == {9}
        assert peer.peak_bytes() > 100e6
    finally:
        peer.close()


def test_stopped_engines_end_with_the_benchmark_that_was_killed(llama: Path, tmp_path: Path) -> None:
    starter = (
        "import sys\nfrom pathlib import Path\n"
        "from benchmarks.peers.base import Spec\nfrom benchmarks.peers.process import Peer\n"
        "peer = Peer('ours', Spec(sys.argv[1], 'cpu', 1, 1, 64), sys.executable, Path(sys.argv[2]))\n"
        "print(peer._process.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", starter, str(llama), str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as benchmark:
        assert benchmark.stdout
        engine = Path("/proc") / benchmark.stdout.readline().strip()
        assert engine.exists()
        benchmark.kill()
    deadline = time.monotonic() + 5
    while engine.exists() and (engine / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_engine_that_dies_says_why(tmp_path: Path) -> None:
    with pytest.raises(PeerFailed, match="There is no folder"):
        Peer("ours", spec(tmp_path / "nothing"), sys.executable, tmp_path / "log")


def test_peers_that_are_not_there_are_named_with_what_would_get_them(tmp_path: Path) -> None:
    missing = {peer.name: peer.missing for peer in known({}, tmp_path / "none", tmp_path / "none") if peer.missing}
    assert sorted(missing) == ["llama.cpp bf16", "llama.cpp q8_0", "vllm"]
    assert all("benchmarks.peers.install" in why for why in missing.values())


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(SystemExit, match="neither a folder with a model nor one of demo, tiny"):
        find_model("nothing")
