"""Which device a filter runs on, with stand-ins for cards: one that cannot be used is told of, and not used."""

import importlib.util
from collections.abc import Callable

import pytest
import torch

from vsgshift.cli.options import device_number
from vsgshift.doctor import libraries, questions
from vsgshift.plugin import devices

Cards = Callable[..., None]


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Cards:
    """Puts cards of these compute capabilities into the machine, with or without CuPy."""

    def put(*capabilities: tuple[int, int], cupy: bool = True, built: tuple[str, ...] = ("sm_80", "sm_90")) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(capabilities))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: capabilities[number])
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"Card {number}")
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(built))
        found = importlib.util.find_spec
        monkeypatch.setattr(devices, "find_spec", lambda name: cupy or None if name == "cupy" else found(name))
        devices._warn_once.cache_clear()

    return put


def test_apples_gpu_is_used_if_it_is_asked_for(cards: Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    cards()
    with pytest.raises(ValueError, match="device_id=-2 is Apple's GPU, which is not here; -1 is the CPU"):
        devices.choose(devices.APPLE)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.choose(None) == torch.device("cpu")
    assert devices.choose(devices.APPLE) == torch.device("mps")
    assert devices.properties(devices.APPLE)["device_id"] == device_number("mps") == -2


def test_the_first_card_that_can_be_used_is_the_default(cards: Cards, caplog: pytest.LogCaptureFixture) -> None:
    cards((8, 6), (9, 0))
    assert devices.choose(None) == torch.device("cuda", 0)
    assert devices.choose(1) == torch.device("cuda", 1)
    cards((6, 1), (9, 0))
    assert devices.choose(None) == torch.device("cuda", 1)
    cards()
    assert devices.choose(None) == devices.choose(-1) == torch.device("cpu")
    assert not caplog.records


def test_without_cupy_the_default_is_the_cpu(cards: Cards, caplog: pytest.LogCaptureFixture) -> None:
    cards((8, 6), cupy=False)
    assert devices.choose(None) == devices.choose(None) == torch.device("cpu")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "the GPU is not used, filters run on the CPU: CuPy is not installed; pip install 'vsgshift[cuda]'"
    )
    with pytest.raises(ValueError, match=r"^device_id=0 cannot be used: CuPy is not installed; pip install"):
        devices.choose(0)


def test_a_card_that_torch_has_no_kernels_for(cards: Cards, caplog: pytest.LogCaptureFixture) -> None:
    cards((6, 1))
    assert devices.choose(None) == devices.choose(None) == torch.device("cpu")
    (record,) = caplog.records
    assert "has no kernels for Card 0, of compute capability 6.1, but for sm_80, sm_90; " in record.getMessage()
    with pytest.raises(ValueError, match=r"^device_id=0 cannot be used: torch .*; or .* with device_id=-1$"):
        devices.choose(0)


@pytest.mark.parametrize(
    ("built", "capability", "runs"),
    [
        ("sm_80", (8, 0), True),
        ("sm_80", (8, 9), True),
        ("sm_86", (8, 0), False),
        ("sm_80", (9, 0), False),
        ("sm_90a", (9, 0), True),
        ("sm_100a", (10, 3), False),
        ("sm_100f", (10, 3), True),
        ("sm_120", (12, 0), True),
        ("compute_90", (12, 0), True),
        ("compute_90", (8, 0), False),
        ("gfx90a", (9, 0), False),
    ],
)
def test_what_is_built_for_one_architecture_runs_on_others(
    cards: Cards, built: str, capability: tuple[int, int], runs: bool
) -> None:
    cards(capability, built=(built,))
    assert (devices.choose(None).type == "cuda") == runs


def test_half_precision_is_the_default_where_its_kernels_run(cards: Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    cards((7, 5), (8, 0), (12, 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: [(7, 5), (8, 0), (12, 0)][device.index])
    defaults = [devices.precision(torch.device("cuda", number), None) for number in range(3)]
    assert defaults == [torch.float32, torch.float16, torch.float16]
    assert devices.precision(torch.device("cuda", 0), True) == torch.float16
    assert devices.precision(torch.device("cuda", 1), False) == torch.float32


def test_half_precision_of_a_cpu_is_bfloat16_if_it_has_that(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert devices.precision(cpu, None) == torch.float32
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert devices.precision(cpu, True) == torch.bfloat16
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert devices.precision(cpu, False) == torch.float32
    with pytest.raises(ValueError, match="fp16=True needs a GPU or a CPU with bfloat16 arithmetic"):
        devices.precision(cpu, True)


def test_the_doctor_tells_why_a_card_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    card = """
import torch
cards = torch.cuda
cards.is_available = lambda: True
torch.cuda.device_count = lambda: 1
torch.cuda.get_device_capability = lambda number: (6, 1)
torch.cuda.get_device_name = lambda number: "An old card"
torch.cuda.get_arch_list = lambda: ["sm_80"]
"""
    monkeypatch.setattr(questions, "_PREAMBLE", questions._PREAMBLE + card)
    finding = libraries._usable()
    assert finding.state == "warning"
    assert "the GPU is not used, filters run on the CPU: torch" in finding.text
    assert "has no kernels for An old card" in finding.text
    assert finding.advice == "install a build of torch that has them"
