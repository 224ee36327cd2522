"""Several places of one clip restored side by side, each by a stream of its own.

One stream is at one place. A script that shows two places at once, or several consumers that each walk
through a part of the clip, ask for frames here and there in turns, and one stream would start anew for
nearly every frame. With a stream for each place, each goes on where it was.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from vsgshift.plugin._bridge import Frame
from vsgshift.plugin.restorer import Key, Restorer

FORGOTTEN = 1024
"""Requests without an answer after which those that VapourSynth gave up are forgotten."""


class Places:
    """The processor behind a filter with several streams.

    A request goes to the stream that is nearest, as long as it is near; else to one that has no place
    yet; else to the one whose place has been left longest.

    Args:
        make: makes the processor of one stream.
        count: of streams.
    """

    def __init__(self, make: Callable[[], Restorer], count: int) -> None:
        self._restorers = [make() for _ in range(count)]
        first = self._restorers[0]
        # Two requests this near could be served by one run of the stream, also backwards.
        self._near = 2 * (first.radius + first.options.block) + first.core.num_threads
        self._lock = threading.Lock()
        self._places: OrderedDict[int, int] = OrderedDict()
        """The frame last asked for of each stream, by its index; that left longest first."""
        self._asked: dict[int, int] = {}
        """The streams of requests that have no answer yet, by frame number."""

    def request(self, n: int) -> Frame | list[Key]:
        """A request has come; see `Restorer.request`."""
        return self._answer(n, self._restorer(n).request(n))

    def ready(self, n: int, frames: Mapping[Key, Frame]) -> Frame | list[Key]:
        """Source frames have come; see `Restorer.ready`."""
        restorer = self._restorer(n)
        try:
            return self._answer(n, restorer.ready(n, frames))
        except BaseException:
            self._forget(n)
            raise

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
            self._asked.pop(n, None)

    def _restorer(self, n: int) -> Restorer:
        """The stream for a frame; the same until the frame is there."""
        with self._lock:
            index = self._asked.get(n)
            if index is None:
                index = self._nearest(n)
                if len(self._asked) >= FORGOTTEN:
                    self._asked.clear()
                self._asked[n] = index
                self._places[index] = n
                self._places.move_to_end(index)
            return self._restorers[index]

    def _nearest(self, n: int) -> int:
        index = min(self._places, key=lambda index: abs(n - self._places[index]), default=None)
        if index is not None and abs(n - self._places[index]) <= self._near:
            return index
        if len(self._places) < len(self._restorers):
            return len(self._places)
        return next(iter(self._places))
