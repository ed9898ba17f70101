"""What ``serve`` asks of its engines: how many, on which devices, with how much of the machine each."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from chatapp.serve import engine_options
from chatapp.serve.engine_options import EngineOptions, visible_devices
from inference.packaged import packaged_model


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Eight cores, no GPU, nothing set."""
    for name in (
        "CUDA_VISIBLE_DEVICES",
        "CHATAPP_DEVICE",
        "CHATAPP_TORCH_THREADS",
        "CHATAPP_KV_MB",
        "CHATAPP_MODEL",
        "CHATAPP_MODEL_NAME",
    ):
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


def test_without_a_word_the_packaged_model_answers_by_its_own_name(monkeypatch):
    options = EngineOptions.from_environment()
    assert (options.model, options.card.label, options.demo) == (
        "smollm2-135m-instruct",
        "SmolLM2 135M Instruct",
        False,
    )
    assert asked(options, "--model") == "smollm2-135m-instruct"
    assert asked(options, "--path") == str(packaged_model())
    assert options.label == "SmolLM2 135M Instruct, Apache-2.0"
    assert options.explain_absence() == ""
    monkeypatch.setenv("CHATAPP_MODEL", "demo")
    assert EngineOptions.from_environment().model == "demo"


def test_where_it_cannot_be_had_the_demo_model_answers_and_says_so(monkeypatch):
    monkeypatch.setattr(engine_options, "packaged_model", lambda: None)
    options = EngineOptions.from_environment()
    assert (options.model, options.card.label, options.demo) == ("demo", "Demo model", True)
    assert options.explain_absence() == engine_options.MISSING


def test_who_asks_for_the_demo_model_is_told_nothing():
    options = EngineOptions.from_environment("demo")
    assert (options.demo, options.explain_absence()) == (True, "")


def test_no_path_of_the_server_is_a_name(tmp_path):
    (tmp_path / "House Model").mkdir()
    options = EngineOptions.from_environment(str(tmp_path / "House Model"))
    assert (options.model, asked(options, "--model")) == ("house-model", "house-model")
    assert asked(options, "--path") == str(tmp_path / "House Model")


def test_an_operator_may_name_it(monkeypatch):
    monkeypatch.setenv("CHATAPP_MODEL_NAME", "house")
    assert EngineOptions.from_environment("Qwen/Qwen3-0.6B").card.label == "house"
    assert asked(EngineOptions.from_environment("Qwen/Qwen3-0.6B"), "--model") == "house"


def test_what_is_made_of_a_model_lies_with_the_data(monkeypatch, settings):
    monkeypatch.delenv("CHATAPP_MODEL_CACHE", raising=False)
    assert EngineOptions.from_environment().model_cache == str(settings.VAR_DIR / "models")
    monkeypatch.setenv("CHATAPP_MODEL_CACHE", "/elsewhere")
    assert EngineOptions.from_environment().model_cache == "/elsewhere"
