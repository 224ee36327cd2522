"""Shift-Net: the whole network, written once for every variant and every way of running it."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsgshift.network.core import Core
from vsgshift.network.frame_unet import FrameUNet
from vsgshift.network.layers import ResidualBlock, SplitConv, conv, depth_to_space, space_to_depth
from vsgshift.network.merge import Merge
from vsgshift.network.merged import MergedInput, MergedOutput
from vsgshift.network.timeline import Timeline, Waiting, WholeClip, WindowTimeline
from vsgshift.network.variants import Variant


class FrameUNets(nn.ModuleList):
    """Frame-UNets in sequence; in deblurring networks a skip goes around all of them."""

    def __init__(self, variant: Variant) -> None:
        super().__init__(
            FrameUNet(variant.width, variant.unet_step, variant.reduction, variant.task) for _ in range(variant.unets)
        )
        self.residual = variant.task == "deblur"

    def forward(self, x: Tensor) -> Tensor:
        skip = x
        for unet in self:
            x = unet(x)
        return x + skip if self.residual else x


class ShiftNet(nn.Module):
    """Video restoration with grouped spatial-temporal shift (Li et al., CVPR 2023).

    Attributes:
        variant: widths, depths and rules of this member of the family.
        name: name of the weights ("" for a network that was not loaded from any).
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        self.name = ""
        width = variant.width
        deblur = variant.task == "deblur"
        self.merger = Merge(variant.merge) if variant.merge else None
        self.merged_input, self.merged_output = MergedInput(), MergedOutput()
        self.embed = conv(variant.input_channels, width, 3, bias=True)
        self.embed_slope = nn.Parameter(torch.full((1,), 0.25))
        self.embed_block = ResidualBlock(width, variant.reduction)
        self.unets_before = FrameUNets(variant)
        self.transition = conv(width, width, 3, bias=True)
        self.core = Core(variant)
        self.merge = SplitConv((width, width, width), width, late=2, bias=deblur)
        self.merge_activation = nn.Identity() if deblur else nn.PReLU()
        self.unets_after = FrameUNets(variant)
        self.to_rgb = conv(width, 3 * variant.shuffle**2, 5 if deblur else 3)

    @property
    def radius(self) -> int:
        """Frames on each side that a restored frame depends on."""
        return self.variant.radius

    def forward(
        self, clip: Tensor, noise: Tensor | None = None, *, cuts: Iterable[int] = (), context: int = 0
    ) -> Tensor:
        """Restore a whole clip at once, with the variant's published boundary rule.

        Args:
            clip: (T, 3, H, W), RGB in [0, 1], gamma-encoded; H and W multiples of `variant.multiple`.
            noise: (T, 1, H, W), noise standard deviation on the same scale; for denoising networks only.
            cuts: indices of frames that start a segment; a cut turns the "wrap" rule into "hold".
            context: frames at both ends of each segment that are merged onto others and not restored.

        Returns:
            (T, 3, H, W), not clamped; without the context.

        Raises:
            ValueError: shapes, types or devices do not fit the network, or the noise map is missing or not wanted.
        """
        self.check_tensors(clip, noise)
        self.check(clip, noise)
        cuts = tuple(cuts)
        return self.run(
            clip,
            noise,
            WholeClip(len(clip), boundary="hold" if cuts else self.variant.boundary, cuts=cuts, context=context),
        )

    def run(self, clip: Tensor, noise: Tensor | None, time: Timeline, *, strength: float = 1.0) -> Tensor:
        """Restore the frames that ``time`` lets through; arguments as in `forward`, unchecked.

        ``strength`` scales what the network adds to the source. Where the clip and the noise are of more precision
        than the network, so is the result: what the network leaves alone stays as it is.
        """
        if self.merger is None:
            # No name here holds the input, so that `_restored` can let go of it.
            return self._restored(
                space_to_depth(clip if noise is None else torch.cat((clip, noise), 1), self.variant.shuffle),
                clip,
                None,
                time,
                strength,
            )
        assert noise is not None
        assert isinstance(time, WindowTimeline)
        return self.run_merged(*self._merged(self.merger, clip, noise, time), time, strength=strength)

    def run_merged(
        self, clip: Tensor, change: Tensor, noise: Tensor, left: Tensor, time: Timeline, *, strength: float = 1.0
    ) -> Tensor:
        """`run` after the merge, for variants that merge.

        Args:
            clip: (T, 3, H, W).
            change: (T, 3, H, W), what merging adds to the frames.
            noise: (T, 1, H / 2, W / 2), the frames' noise standard deviation.
            left: (T, 3, H / 2, W / 2), what is left of it after merging, as `Merge.forward` tells it.
        """
        merged = time.keep(change), time.keep(noise)
        return self._restored(self.merged_input(clip, change, noise, left), clip, merged, time, strength)

    def _restored(
        self, x: Tensor, clip: Tensor, merged: tuple[Waiting, Waiting] | None, time: Timeline, strength: float
    ) -> Tensor:
        """`run` from the network's input on; ``merged`` waits with the frames: what merging adds, and the noise."""
        x = x.to(self.embed.weight.dtype).contiguous(memory_format=torch.channels_last)
        early = self.embed_block(self.embed(x), self.embed_slope)
        single = self.unets_before(early)
        features = self.transition(single)
        frames = time.keep(clip)
        waiting = time.keep(self.merge.early(early, single if self.variant.task == "deblur" else features))
        # What is needed of these waits with the skip. Memory peaks in the core, and should not hold them.
        del x, early, single
        temporal = self.core(features, time)

        x = self.merge_activation(self.merge.late(waiting(), temporal))
        x = self.to_rgb(self.unets_after(x))
        source = frames()
        if merged is None:
            return torch.add(source, depth_to_space(x, self.variant.shuffle), alpha=strength)
        change, level = merged
        out: Tensor = self.merged_output(x, source, change(), level(), strength)
        return out

    def _merged(
        self, merger: Merge, clip: Tensor, noise: Tensor, time: WindowTimeline
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The frames that have their neighbours, and the rest of what `run_merged` takes."""
        frames, levels = time.keep(clip), time.keep(F.avg_pool2d(noise, 2))
        window = time.window(merger.keep(clip), merger.reach)
        clip, noise = frames(), levels()
        change, remaining = merger(window, noise)
        return clip, change, noise, noise * remaining.sqrt()

    def check_tensors(self, clip: Tensor, noise: Tensor | None) -> None:
        """Raise ValueError if the tensors have dimensions, a type or a device that the network does not take."""
        device = self.embed.weight.device
        for name, tensor in (("clip", clip), ("noise", noise)):
            if tensor is None:
                continue
            if not isinstance(tensor, Tensor):
                raise ValueError(f"{name} must be a torch.Tensor, not {type(tensor).__name__}")
            if tensor.ndim != 4 or tensor.shape[1] != (3 if name == "clip" else 1) or 0 in tensor.shape:
                wanted = "(T, 3, H, W)" if name == "clip" else "(T, 1, H, W)"
                raise ValueError(f"{name} must be {wanted} with T >= 1, not {tuple(tensor.shape)}")
            if not tensor.is_floating_point():
                raise ValueError(f"{name} is {tensor.dtype}; values in [0, 1] are wanted: {name}.float() / 255")
            if tensor.device != device:
                raise ValueError(f"{name} is on {tensor.device}, the network on {device}: {name}.to({str(device)!r})")

    def check(self, clip: Tensor, noise: Tensor | None) -> None:
        """Raise ValueError if the arguments of `forward` do not fit the network."""
        multiple = self.variant.multiple
        if clip.shape[2] % multiple or clip.shape[3] % multiple:
            raise ValueError(
                f"{self.variant.name} needs height and width that are multiples of {multiple}, not "
                f"{clip.shape[2]}x{clip.shape[3]}; vsgshift.restore pads by itself"
            )
        if self.variant.task == "deblur" and noise is not None:
            raise ValueError(f"{self.variant.name} takes no noise map")
        if self.variant.task == "denoise" and (noise is None or noise.shape != (len(clip), 1, *clip.shape[2:])):
            given = "none" if noise is None else tuple(noise.shape)
            raise ValueError(f"noise must be {(len(clip), 1, *clip.shape[2:])}, not {given}")
