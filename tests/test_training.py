"""The trainer: what it computes, and that neither interruptions nor processes change it."""

import importlib.util
import itertools
import json
import math
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from training import fitting
from training.batches import augmented, batches
from training.clips.rng import Rng, seeded
from training.fitting import Fitter, lattice_power, learning_rate, new_network, psnr_loss
from training.generated import GeneratedClips, make, new_pool
from training.loop import Training
from training.muon import kernels, orthogonal
from training.processes import Processes
from training.recipe import Data, Fit, Generated, Precision, Recipe, TrainingError, Validation
from training.state import read_state
from training.validation import examples, psnr, sheet
from vsgshift import load_network

SCRIPT = Path(__file__).parents[1] / "scripts" / "train.py"
CPU = torch.device("cpu")
ALONE = Processes(rank=0, count=1, device=CPU)


def recipe(task: str = "deblur", **fit: Any) -> Recipe:
    """The smallest training there is."""
    options: dict[str, Any] = {"steps": 4, "batch": 2, "warmup": 2, "floor": 1e-5, "adaptive_clip": 1.5}
    return Recipe(
        name="it",
        network=f"{task}-tiny",
        training_data="generated clips",
        licence="MIT",
        data=Data(frames=3, crop=16, subframes=(3, 5), camera=True),
        generated=Generated(pool=3, reuse=2, chapter=2, scenes=1, texels=96, speeds=(12.0, 24.0)),
        fit=Fit(**options | fit),
        validation=Validation(every=100, clips=1, frames=3, size=16, sigmas=(25.0,)),
    )


def state_of(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state in a folder that has one."""
    state = read_state(folder)
    assert state is not None
    return state


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    assert [key for key in expected if not torch.equal(actual[key], expected[key])] == []


def test_the_loss_is_minus_half_the_psnr() -> None:
    clean = torch.rand(2, 3, 8, 8)
    error = torch.tensor((0.1, 0.01)).view(2, 1, 1, 1)
    torch.testing.assert_close(psnr_loss(clean + error, clean, floor=1e-8), torch.tensor(-0.5 * 30), atol=1e-3, rtol=0)


def test_the_loss_leaves_out_the_ends_of_each_clip() -> None:
    wrong = torch.tensor((9.0, 0.1, 9.0, 9.0, 0.1, 9.0)).view(6, 1, 1, 1).expand(6, 3, 2, 2)
    loss = psnr_loss(wrong, torch.zeros_like(wrong), floor=1e-8, frames=3, ends=1)
    assert float(loss) == pytest.approx(-10, abs=1e-3)


def test_what_repeats_every_four_pixels_weighs_more() -> None:
    stripes = torch.zeros(2, 5, 3, 16, 16)
    stripes[1, ..., ::2] = 0.1
    torch.testing.assert_close(lattice_power(stripes), torch.tensor([0.0, 0.05**2]))
    # An error that is the same everywhere, that changes its sign, or that repeats otherwise is no lattice.
    torch.testing.assert_close(lattice_power(torch.full((1, 2, 3, 16, 16), 0.1)), torch.zeros(1), atol=1e-9, rtol=0)
    flashing = stripes[1:, :4] * torch.tensor((1.0, -1, 1, -1)).view(4, 1, 1, 1)
    torch.testing.assert_close(lattice_power(flashing), torch.zeros(1))
    clean = torch.zeros(5, 3, 16, 16)
    plain = psnr_loss(stripes[1], clean, floor=0.0, frames=5)
    weighed = psnr_loss(stripes[1], clean, floor=0.0, frames=5, lattice=1.0)
    assert float(weighed - plain) == pytest.approx(5 * math.log10((0.005 + 0.0025) / 0.005), rel=1e-4)


def test_the_rate_warms_up_and_follows_a_cosine() -> None:
    fit = Fit(steps=100, rate=4e-4, final_rate=1e-7, warmup=10)
    assert learning_rate(fit, step=0, done=0) == pytest.approx(4e-5)
    assert learning_rate(fit, step=50, done=0.5) == pytest.approx((4e-4 + 1e-7) / 2)
    assert learning_rate(fit, step=100, done=1) == pytest.approx(1e-7)
    assert learning_rate(fit, step=130, done=1.3) == pytest.approx(1e-7)


def test_decoder_side_shift_blocks_have_their_own_rate() -> None:
    made = recipe("denoise", climb_rate=1.5)
    fitter = Fitter(new_network(made, CPU), made.fit)
    fitter.backward(fitter.network(torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16)).sum())
    fitter.step(step=0, rate=0.01)
    rates = {}
    for group in fitter.optimizers[0].param_groups:
        for parameter in group["params"]:
            rates[id(parameter)] = group["lr"]
    for name, parameter in fitter.network.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.015 if name.startswith("core.climbs.") else 0.01)


def test_gradients_are_limited_by_their_recent_median() -> None:
    made = recipe(clip=2.0, adaptive_clip=1.5)
    fitter = Fitter(new_network(made, CPU), made.fit)
    assert fitter.limit() == 2.0
    fitter.norms.extend([0.2] * 30)
    assert fitter.limit() == pytest.approx(0.3)
    fitter.norms.extend([9.0] * 40)
    assert fitter.limit() == 2.0


def test_unusable_gradients_move_nothing_and_end_the_training_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "PATIENCE", 3)
    made = recipe()
    fitter = Fitter(new_network(made, CPU), made.fit)
    before = {name: tensor.clone() for name, tensor in fitter.network.state_dict().items()}
    for step in range(3):
        fitter.backward(fitter.network(torch.full((1, 3, 16, 16), math.nan)).sum())
        with pytest.raises(TrainingError, match="diverged") if step == 2 else nullcontext():
            fitter.step(step=step, rate=1.0)
    assert_same(fitter.network.state_dict(), before)


def test_averaged_weights_follow() -> None:
    made = recipe(average=0.5)
    fitter = Fitter(new_network(made, CPU), made.fit)
    start = fitter.averaged.to_rgb.weight.clone()
    fitter.backward((fitter.network(torch.rand(1, 3, 16, 16)) - 1).square().sum())
    fitter.step(step=1000, rate=0.01)
    torch.testing.assert_close(fitter.averaged.to_rgb.weight, (start + fitter.network.to_rgb.weight.detach()) / 2)
    assert not torch.equal(fitter.averaged.to_rgb.weight, start)


def test_an_untrained_network_can_change_nothing() -> None:
    clip = torch.rand(2, 3, 16, 16)
    assert torch.equal(new_network(recipe(output_scale=0.0), CPU)(clip), clip)
    assert not torch.equal(new_network(recipe(), CPU)(clip), clip)


def test_both_clips_are_cut_and_turned_alike() -> None:
    clip = torch.rand(3, 3, 20, 24)
    seen = set()
    for seed in range(40):
        one, other = augmented((clip, 1 - clip), Rng(seeded(seed)), crop=16, reversal=seed % 2 == 0)
        assert one.shape == (3, 3, 16, 16)
        torch.testing.assert_close(one, 1 - other)
        seen.add(float(one[0, 0, 0, 0]))
    assert len(seen) > 20


def test_hard_cuts_are_more_blurred() -> None:
    # Blurred on the right only: a hard cut is taken from there.
    clean = torch.rand(3, 3, 16, 200)
    degraded = torch.cat((clean[..., :170], clean[..., 170:].roll(1, -1)), -1)
    amount = []
    for hard in (0.0, 1.0):
        made = recipe(batch=1)
        made = replace(made, data=replace(made.data, camera=False, hard=hard))
        cuts = batches(itertools.repeat((degraded, clean)), made, range(1), 0, CPU)
        amount.append(sum(float((b.degraded != b.clean).any()) for b in itertools.islice(cuts, 30)))
    assert 0 < 1.5 * amount[0] < amount[1]


def test_muon_makes_updates_orthogonal() -> None:
    for shape in ((6, 40), (40, 6), (12, 12)):
        update = orthogonal(torch.randn(3, *shape))
        values = torch.linalg.svdvals(update)
        assert values.min() > 0.3
        assert values.max() < 1.3
    # Directions stay: an orthogonal matrix comes back as itself, but for its length.
    turn = torch.linalg.qr(torch.randn(8, 8))[0][None]
    update = orthogonal(5 * turn)
    torch.testing.assert_close(update / update.norm(), turn / turn.norm(), atol=1e-4, rtol=0)


def test_muon_trains_kernels_between_the_ends() -> None:
    made = recipe(optimizer="muon", rate=1e-9, kernel_rate=0.1, gate=0.2)
    network = new_network(made, CPU)
    chosen = kernels(network, (network.embed.weight, network.to_rgb.weight))
    parameters = dict(network.named_parameters())
    assert {"embed.weight", "to_rgb.weight"}.isdisjoint(chosen)
    assert "embed_block.conv1.weight" in chosen
    assert all(parameters[name].ndim == 4 and min(parameters[name].shape[:2]) > 1 for name in chosen)
    fitter = Fitter(network, made.fit)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fitter.backward((network(torch.rand(2, 3, 16, 16)) - 1).square().sum())
    fitter.step(step=0, rate=1e-9)
    moved = {name for name, tensor in network.state_dict().items() if float((tensor - before[name]).abs().max()) > 1e-6}
    assert moved <= chosen
    assert len(moved) > 0.9 * len(chosen)


def test_noise_is_what_the_map_says() -> None:
    made = recipe("denoise")
    made = replace(made, data=replace(made.data, camera=False, crop=64, sigma=100.0))
    clips = iter([(torch.full((3, 3, 64, 64), 0.5),) * 2] * 8)
    for batch, _ in zip(batches(clips, made, range(2), 0, CPU), range(4), strict=False):
        assert batch.noise is not None
        error = batch.degraded - batch.clean
        assert float(error.std()) == pytest.approx(float(batch.noise.mean()), rel=0.05)
        assert float(batch.noise.max()) <= 100 / 255


@pytest.mark.parametrize("task", ["deblur", "denoise"])
def test_generated_clips_can_be_made_again(task: str) -> None:
    made = recipe(task)
    first = GeneratedClips(made, range(2), CPU)
    pairs = first(0)
    seen = [next(pairs) for _ in range(16)]
    again = GeneratedClips(made, range(1, 2), CPU)(5)
    for step in (5, 6, 7):
        actual = next(again)
        assert torch.equal(actual[0], seen[2 * step + 1][0])
        assert torch.equal(actual[1], seen[2 * step + 1][1])
    # Old clips and scenes are let go.
    assert len(first.clips) <= 2 * made.generated.pool
    assert len(first.pools) <= 6


@pytest.mark.parametrize("sharp", [False, True])
def test_blurred_clips_are_blurred_and_sharp_ones_are_not(sharp: bool) -> None:
    made = recipe()
    made = replace(made, generated=replace(made.generated, texels=256))
    pool = new_pool(made, 1, CPU)
    pairs = [make(made, seeded(n), pool, frames=3, size=48, sharp=sharp) for n in range(6)]
    middle = [psnr(degraded[1:2], clean[1:2]) for degraded, clean in pairs]
    # Where all of the scenes tried rest, no shutter blurs them.
    assert sum((loss > made.generated.visible) == sharp for loss in middle) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path, optimizer: str) -> None:
    made = recipe(optimizer=optimizer)
    assert Training(made, tmp_path / "whole", ALONE, resume=False).run()
    assert not Training(made, tmp_path / "cut", ALONE, resume=False).run(steps=2)
    torch.manual_seed(99)
    assert Training(made, tmp_path / "cut", ALONE, resume=True).run(steps=2)
    whole, cut = state_of(tmp_path / "whole"), state_of(tmp_path / "cut")
    assert_same(cut[0], whole[0])
    assert cut[1]["fitter"] == whole[1]["fitter"]
    assert cut[1]["step"] == whole[1]["step"] == 4
    lines = [json.loads(line) for line in (tmp_path / "cut" / "progress.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [2, 4]
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [4]
    assert (tmp_path / "cut" / "samples" / "step-0000004.png").exists()


@pytest.mark.slow
def test_steps_lost_to_a_crash_are_done_again(tmp_path: Path) -> None:
    made = recipe("denoise", steps=3)
    assert Training(made, tmp_path / "whole", ALONE, resume=False).run()
    Training(made, tmp_path / "cut", ALONE, resume=False).run(steps=1)
    lost = Training(made, tmp_path / "cut", ALONE, resume=True)
    lost.one_step(0.0)
    lost.one_step(0.0)
    assert Training(made, tmp_path / "cut", ALONE, resume=True).run()
    assert_same(state_of(tmp_path / "cut")[0], state_of(tmp_path / "whole")[0])


def test_clips_run_together_teach_as_clips_one_by_one(tmp_path: Path) -> None:
    one, together = recipe(at_once=1, hold=True), recipe(at_once=2, hold=True)
    for made, folder in ((one, "one"), (together, "together")):
        Training(made, tmp_path / folder, ALONE, resume=False).run(steps=2)
    actual, expected = (state_of(tmp_path / folder)[0]["network.to_rgb.weight"] for folder in ("together", "one"))
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-3)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    made = tmp_path / "recipe.toml"
    made.write_text(TWO_STEPS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    command += [str(made), "--output", str(tmp_path / "two"), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert run_script([str(made), "--output", str(tmp_path / "one"), "--device", "cpu"]) == 0
    two, one = state_of(tmp_path / "two"), state_of(tmp_path / "one")
    assert two[1]["step"] == one[1]["step"] == 2
    for key in one[0]:
        torch.testing.assert_close(two[0][key], one[0][key], atol=1e-6, rtol=1e-3)
    assert two[1]["hardware"][0].startswith("2 CPU processes")


TWO_STEPS = """
name = "it"
network = "denoise-tiny"
training_data = "generated clips"
licence = "MIT"
[data]
frames = 3
crop = 16
[generated]
scenes = 1
texels = 96
[fit]
steps = 2
batch = 2
[validation]
clips = 1
frames = 3
size = 16
"""


def run_script(arguments: list[str]) -> int:
    """The script's main, in this process."""
    spec = importlib.util.spec_from_file_location("train_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    before = sys.argv
    try:
        sys.argv = ["train.py", *arguments]
        status: int = script.main()
    finally:
        sys.argv = before
    return status


def test_the_script_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gopro = SCRIPT.parent / "recipes" / "gopro.toml"
    assert run_script([str(gopro), "--root", str(tmp_path), "--output", str(tmp_path / "run"), "--device", "cpu"]) == 1
    assert "expected: <root>/blur/<video>/*.png" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_trains(tmp_path: Path, precision: Precision) -> None:
    # The scale of float16's gradients starts far too high, and is halved until they fit.
    steps = 12 if precision == "fp16" else 2
    made = recipe(precision=precision, steps=20, batch=1)
    training = Training(made, tmp_path, ALONE, resume=False)
    start = training.network.to_rgb.weight.clone()
    training.run(steps=steps)
    weight = state_of(tmp_path)[0]["network.to_rgb.weight"]
    assert weight.isfinite().all()
    assert weight.dtype == torch.float32
    assert not torch.equal(weight, start)
    assert bool(state_of(tmp_path)[1]["fitter"]["scaler"]) == (precision == "fp16")
    Training(made, tmp_path, ALONE, resume=True).run(steps=1)


def test_a_compact_state_goes_on(tmp_path: Path) -> None:
    made = replace(recipe(), state="compact")
    Training(made, tmp_path, ALONE, resume=False).run(steps=2)
    parameters = sum(p.numel() for p in new_network(made, CPU).parameters())
    tensors, _ = state_of(tmp_path)
    assert sum(t.nbytes for t in tensors.values()) < 10.1 * parameters
    resumed = Training(made, tmp_path, ALONE, resume=True)
    assert resumed.step == 2
    assert_same(resumed.network.state_dict(), {k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
    resumed.run(steps=1)


def test_weights_say_how_they_came_about(tmp_path: Path) -> None:
    Training(replace(recipe(), half=True), tmp_path, ALONE, resume=False).run()
    with safe_open(tmp_path / "it.safetensors", framework="pt") as file:
        facts = file.metadata()
    assert facts["steps"] == "4"
    assert facts["hardware"].startswith("1 CPU process")
    assert (facts["training_data"], facts["licence"]) == ("generated clips", "MIT")
    assert "dB before" in facts["validation"]
    assert load_network(tmp_path / "it.safetensors").variant.name == "deblur-tiny"


def test_training_can_start_from_weights(tmp_path: Path) -> None:
    started = new_network(replace(recipe(), initial="tiny-deblur"), CPU)
    torch.testing.assert_close(started.to_rgb.weight, load_network("tiny-deblur").to_rgb.weight)
    for wrong, message in (("tiny-denoise", "are for denoise-tiny"), ("nothing", "unknown model")):
        with pytest.raises(TrainingError, match=message):
            new_network(replace(recipe(), initial=wrong), CPU)


def test_a_training_is_not_overwritten_or_mixed_up(tmp_path: Path) -> None:
    Training(recipe(), tmp_path, ALONE, resume=False).run(steps=1)
    with pytest.raises(TrainingError, match="at step 1; add --resume"):
        Training(recipe(), tmp_path, ALONE, resume=False)
    with pytest.raises(TrainingError, match=r"another recipe: fit.rate, fit.steps differ"):
        Training(recipe(steps=5, rate=0.1), tmp_path, ALONE, resume=True)


def test_a_batch_must_be_shared_out_evenly(tmp_path: Path) -> None:
    three = Processes(rank=1, count=3, device=CPU)
    with pytest.raises(TrainingError, match="among 3 processes"):
        Training(recipe(batch=4), tmp_path, three, resume=False)
    assert three.share(6) == range(2, 4)


def test_a_schedule_of_minutes_ends(tmp_path: Path) -> None:
    made = recipe(steps=0, minutes=1.0)
    training = Training(made, tmp_path, ALONE, resume=False)
    training.run(steps=1)
    assert training.done(30.0) == pytest.approx(0.5)
    training.before = 60.0
    assert training.run()
    assert training.step == 1


def test_validation_clips_do_not_depend_on_the_training() -> None:
    made = recipe("denoise")
    one, other = (examples(replace(made, seed=seed), CPU) for seed in (1, 2))
    assert torch.equal(one[0].degraded, other[0].degraded)
    assert one[0].noise is not None
    assert float(one[0].noise.max()) == pytest.approx(25 / 255)


def test_sheets_show_input_output_and_target() -> None:
    rows = [(torch.full((3, 4, 6), 0.1), torch.full((3, 4, 6), 0.2), torch.full((3, 4, 6), 0.3))] * 2
    picture = sheet(rows)
    assert picture.shape == (3, 12, 26)
    assert picture[0, 0, [0, 10, 20]].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert torch.equal(picture[:, 8:], picture[:, :4])
