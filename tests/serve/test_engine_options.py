"""What ``serve`` asks of its engines: how many, on which devices, with how much of the machine each."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from chatapp.serve import engine_options
from chatapp.serve.engine_options import EngineOptions, visible_devices


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Eight cores, no GPU, nothing set."""
    for name in ("CUDA_VISIBLE_DEVICES", "CHATAPP_DEVICE", "CHATAPP_TORCH_THREADS", "CHATAPP_KV_MB", "CHATAPP_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(engine_options, "count_cores", lambda: 8)
    monkeypatch.setattr(engine_options, "GPUS", tmp_path / "no-gpus")


@pytest.fixture
def two_gpus(monkeypatch, tmp_path):
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / name).mkdir(parents=True)
    monkeypatch.setattr(engine_options, "GPUS", tmp_path / "gpus")


def asked(options: EngineOptions, name: str) -> str:
    arguments = options.arguments()
    return arguments[arguments.index(name) + 1]


def test_one_engine_has_the_machine_to_itself():
    options = EngineOptions.from_environment("some/model")
    assert options.worker_names() == ["embedded"]
    assert (asked(options, "--threads"), asked(options, "--kv-megabytes"), options.environment(0)) == ("0", "0", {})


def test_without_a_gpu_engines_share_cores_and_memory():
    options = EngineOptions.from_environment("some/model", 3)
    assert options.worker_names() == ["embedded", "embedded-2", "embedded-3"]
    assert asked(options, "--threads") == "2"
    one = EngineOptions.from_environment("some/model", 2)
    assert int(asked(one, "--kv-megabytes")) == pytest.approx(1.5 * int(asked(options, "--kv-megabytes")), abs=2)
    assert [options.environment(number) for number in range(3)] == [{}] * 3


def test_what_is_set_is_taken_for_each_of_them(monkeypatch):
    monkeypatch.setenv("CHATAPP_TORCH_THREADS", "5")
    monkeypatch.setenv("CHATAPP_KV_MB", "700")
    options = EngineOptions.from_environment("some/model", 2)
    assert (asked(options, "--threads"), asked(options, "--kv-megabytes")) == ("5", "700")


def test_the_demo_model_takes_a_core_and_no_share_of_the_memory():
    options = EngineOptions.from_environment("demo", 4)
    assert (asked(options, "--threads"), asked(options, "--kv-megabytes")) == ("1", "0")


def test_each_engine_sees_a_gpu_of_its_own(two_gpus):
    options = EngineOptions.from_environment("some/model", 2)
    assert [options.environment(number) for number in range(2)] == [
        {"CUDA_VISIBLE_DEVICES": "0"},
        {"CUDA_VISIBLE_DEVICES": "1"},
    ]
    assert (asked(options, "--threads"), asked(options, "--kv-megabytes")) == ("0", "0")


def test_a_single_engine_is_left_to_choose_its_gpu(two_gpus):
    assert EngineOptions.from_environment("some/model").environment(0) == {}


def test_devices_that_were_chosen_before_are_the_ones_that_are_shared(two_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7, GPU-abc")
    options = EngineOptions.from_environment("some/model", 2)
    assert options.environment(1) == {"CUDA_VISIBLE_DEVICES": "GPU-abc"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_devices() == []


@pytest.mark.parametrize(
    ("workers", "device", "expected"),
    [
        (3, "auto", "--workers 3 needs as many CUDA devices; 2 can be seen"),
        (2, "cuda:1", "CHATAPP_DEVICE=cuda:1 is one device"),
        (0, "auto", "at least 1"),
        (-2, "auto", "at least 1"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(two_gpus, monkeypatch, workers, device, expected):
    monkeypatch.setenv("CHATAPP_DEVICE", device)
    with pytest.raises(CommandError, match=expected):
        call_command("serve", workers=workers)


def test_more_engines_than_gpus_run_on_the_cpu_when_that_is_asked_for(two_gpus, monkeypatch):
    monkeypatch.setenv("CHATAPP_DEVICE", "cpu")
    options = EngineOptions.from_environment("some/model", 4)
    assert (asked(options, "--threads"), options.environment(3)) == ("2", {})
