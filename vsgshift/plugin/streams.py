"""Several streams over one clip, each at a position of its own.

A script that shows two positions at once, or several consumers that each walk through a part of the clip, request
frames here and there in turns, and one stream would begin again for nearly every frame. With a stream for each
position, each goes on where it was.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from vsgshift.plugin._bridge import Frame
from vsgshift.plugin.restorer import Restorer
from vsgshift.plugin.schedule import Key


class StreamPool:
    """The processor of a filter with several streams, each a processor that ``make`` makes.

    A request goes to the stream with the nearest position, if it is near; else to one that has no position yet; else to
    the one that was used longest ago.
    """

    def __init__(self, make: Callable[[], Restorer], count: int) -> None:
        self._restorers = [make() for _ in range(count)]
        first = self._restorers[0]
        # Two requests this near could be served by one run of the stream, also backwards.
        self._near = 2 * (first.network.radius + first.options.block) + first.core.num_threads
        self._lock = threading.Lock()
        # Guarded by the lock:
        self._positions: OrderedDict[int, int] = OrderedDict()
        """The frame last requested of each stream, by its index; that used longest ago first."""
        self._serving: dict[int, int] = {}
        """The streams of requests that have no answer yet, by frame number."""

    def request(self, n: int) -> Frame | list[Key]:
        """Frame n has been requested; see `Restorer.request`."""
        return self._answer(n, self._restorer(n).request(n))

    def ready(self, n: int, frames: Mapping[Key, Frame]) -> Frame | list[Key]:
        """Source frames have come; see `Restorer.ready`."""
        try:
            return self._answer(n, self._restorer(n).ready(n, frames))
        except BaseException:
            self._forget(n)
            raise

    def failed(self, n: int) -> None:
        """A source frame has failed, and frame n with it."""
        self._restorer(n).failed(n)
        self._forget(n)

    def close(self) -> None:
        """The filter is gone: give back every frame."""
        for restorer in self._restorers:
            restorer.close()

    def _answer(self, n: int, answer: Frame | list[Key]) -> Frame | list[Key]:
        if not isinstance(answer, list):
            self._forget(n)
        return answer

    def _forget(self, n: int) -> None:
        with self._lock:
            self._serving.pop(n, None)

    def _restorer(self, n: int) -> Restorer:
        """The stream for a frame; the same until the frame is there."""
        with self._lock:
            index = self._serving.get(n)
            if index is None:
                index = self._nearest(n)
                self._serving[n] = index
                self._positions[index] = n
                self._positions.move_to_end(index)
            return self._restorers[index]

    def _nearest(self, n: int) -> int:
        index = min(self._positions, key=lambda index: abs(n - self._positions[index]), default=None)
        if index is not None and abs(n - self._positions[index]) <= self._near:
            return index
        if len(self._positions) < len(self._restorers):
            return len(self._positions)
        return next(iter(self._positions))
