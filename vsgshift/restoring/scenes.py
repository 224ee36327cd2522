"""Marking scene changes, for scripts that have no other detector."""

import vapoursynth as vs

SMALL = 64, 36
"""Width and height of the copy that is compared: noise and motion count for little in it."""


def mark_scene_changes(clip: vs.VideoNode, threshold: float = 0.1) -> vs.VideoNode:
    """Set `_SceneChangePrev` and `_SceneChangeNext` where the picture changes at once.

    Args:
        clip: constant format and size.
        threshold: mean change of brightness between two frames that parts scenes, as a share of its range.

    Returns:
        The same frames, each with both properties, 0 or 1.
    """
    small = clip.resize.Bilinear(*SMALL, format=vs.GRAY8)
    into = small.std.PlaneStats(small[0] + small, prop="Change")[: len(small)]
    out_of = into[1:] + into[0]

    def mark(n: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        frame = f[0].copy()
        frame.props["_SceneChangePrev"] = int(f[1].props["ChangeDiff"] > threshold)
        frame.props["_SceneChangeNext"] = int(f[2].props["ChangeDiff"] > threshold)
        return frame

    return clip.std.ModifyFrame([clip, into, out_of], mark)
