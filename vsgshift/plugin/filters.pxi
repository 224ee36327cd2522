"""Filters whose frames a Python processor makes."""

ctypedef struct Inputs:
    int count
    VSNode **nodes

ctypedef struct Filter:
    Inputs inputs
    VSVideoInfo info
    char *name
    PyObject *processor  # NULL once closed
    PyObject *core

ctypedef struct Pending:  # what a call of request() or ready() asked for: one frame of one input
    int input
    int n

ctypedef struct Requests:
    int count
    Pending pending[1]  # `count` of them


cdef void *allocate(size_t size) except NULL:
    """Zeroed memory, for free()."""
    cdef void *memory = calloc(1, size)
    if memory == NULL:
        raise MemoryError("out of memory")
    return memory


cdef void *make_inputs(size_t size, list nodes, const VSAPI *api) except NULL:
    """A zeroed struct of `size` bytes that begins with Inputs, holding references to `nodes`."""
    for node in nodes:
        if not isinstance(node, Node):
            raise TypeError(f"inputs must be Nodes, not {type(node).__name__}")
    cdef Inputs *inputs = <Inputs *>allocate(size)
    try:
        inputs.nodes = <VSNode **>allocate((len(nodes) + 1) * sizeof(VSNode *))
    except MemoryError:
        free(inputs)
        raise
    inputs.count = <int>len(nodes)
    cdef int i
    for i in range(inputs.count):
        inputs.nodes[i] = api.addNodeRef((<Node>nodes[i]).c)
    return inputs


cdef void free_inputs(Inputs *inputs, const VSAPI *api) noexcept nogil:
    cdef int i
    for i in range(inputs.count):
        api.freeNode(inputs.nodes[i])
    free(inputs.nodes)


# Filters whose processor has not been closed, as addresses. Touched with the GIL held.
cdef set LIVE_FILTERS = set()


cdef const VSFrame *filter_get_frame(int n, int reason, void *instance, void **frame_data, VSFrameContext *context,
                                     VSCore *core, const VSAPI *api) noexcept nogil:
    cdef Filter *self = <Filter *>instance
    cdef Requests *requests = <Requests *>frame_data[0]
    cdef const VSFrame **frames = NULL
    cdef const VSFrame *result = NULL
    cdef Pending *pending
    cdef int i

    frame_data[0] = NULL
    if reason == arAllFramesReady:
        frames = <const VSFrame **>malloc(requests.count * sizeof(VSFrame *))
        if frames == NULL:
            api.setFilterError(b"gshift: out of memory", context)
            reason = arError
    if reason == arAllFramesReady:
        for i in range(requests.count):
            pending = &requests.pending[i]
            frames[i] = api.getFrameFilter(pending.n, self.inputs.nodes[pending.input], context)
        # Or the core would hold every frame of every round until frame n is finished. A loop of its
        # own, since two numbers past the end mean the same frame.
        for i in range(requests.count):
            pending = &requests.pending[i]
            api.releaseFrameEarly(self.inputs.nodes[pending.input], pending.n, context)
    elif reason != arInitial:  # an input failed; the core passes its error on
        free(requests)
        if gshift_enter():
            with gil:
                report_failure(self, n)
            gshift_leave()
        return NULL

    if gshift_enter():
        with gil:
            result = ask_processor(self, n, requests, frames, frame_data, context, api)
        gshift_leave()
    else:
        api.setFilterError(b"gshift: Python is shutting down", context)
        if frames != NULL:
            for i in range(requests.count):
                api.freeFrame(frames[i])
    free(frames)
    free(requests)

    requests = <Requests *>frame_data[0]
    if requests != NULL:
        for i in range(requests.count):
            api.requestFrameFilter(requests.pending[i].n, self.inputs.nodes[requests.pending[i].input], context)
    return result


cdef void report_failure(Filter *self, int n) noexcept:
    """Tells the processor that frame n has failed with a frame that it asked for."""
    if self.processor == NULL:
        return
    try:
        (<object>self.processor).failed(n)
    except BaseException as error:
        (<Core>self.core).log("critical", "".join(traceback.format_exception(error)))


cdef const VSFrame *ask_processor(Filter *self, int n, Requests *asked, const VSFrame **c_frames, void **frame_data,
                                  VSFrameContext *context, const VSAPI *api) noexcept:
    """Calls request() (c_frames is NULL) or ready(). Takes over the references in c_frames."""
    cdef dict frames
    cdef Frame frame
    cdef list keys
    cdef Requests *requests
    cdef bytes message
    cdef int i, input, number
    try:
        if c_frames == NULL:
            if self.processor == NULL:
                raise RuntimeError("Python is shutting down")
            answer = (<object>self.processor).request(n)
        else:
            frames = {}
            for i in range(asked.count):
                frames[(asked.pending[i].input, asked.pending[i].n)] = make_frame(c_frames[i], api, False)
            if self.processor == NULL:
                raise RuntimeError("Python is shutting down")
            answer = (<object>self.processor).ready(n, frames)

        if isinstance(answer, Frame):
            frame = answer
            frame.check()
            if not fits(frame.c, &self.info, api):
                raise TypeError(f"frame {n} is {frame.format.name} {frame.width}x{frame.height}, "
                                "not what the filter announced")
            frame.writable = False  # others read it from now on
            return api.addFrameRef(frame.c)

        if not isinstance(answer, list) or not answer:
            raise TypeError(f"the processor answered frame {n} with neither a Frame nor a list of requests")
        keys = answer
        requests = <Requests *>allocate(sizeof(Requests) + len(keys) * sizeof(Pending))
        frame_data[0] = requests
        for pair in keys:
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise TypeError(f"the processor requested {pair!r}, not an (input, frame number) pair")
            input, number = pair
            if not 0 <= input < self.inputs.count:
                raise IndexError(f"the processor requested from input {input} of {self.inputs.count}")
            requests.pending[requests.count].input = input
            requests.pending[requests.count].n = number
            requests.count += 1
    except BaseException as error:
        free(frame_data[0])
        frame_data[0] = NULL
        message = error_message((<bytes>self.name).decode(), error, <Core>self.core)
        api.setFilterError(message, context)
    return NULL


cdef bint fits(const VSFrame *frame, const VSVideoInfo *info, const VSAPI *api) noexcept:
    """Whether the core will take the frame: it ends the process over one that is not as announced."""
    if info.format.colorFamily != cfUndefined:
        if not same_format(api.getVideoFrameFormat(frame), &info.format):
            return False
    return (info.width == 0 or api.getFrameWidth(frame, 0) == info.width) and (
        info.height == 0 or api.getFrameHeight(frame, 0) == info.height)


cdef void filter_free(void *instance, VSCore *core, const VSAPI *api) noexcept nogil:
    cdef Filter *self = <Filter *>instance
    free_inputs(&self.inputs, api)
    # At the interpreter's exit _close_all() may be about to close this very filter: the struct is left to it.
    if gshift_enter():
        with gil:
            close_filter(self)
            (<Core>self.core).users -= 1
            Py_DECREF(<object>self.core)
        gshift_leave()
        free(self.name)
        free(self)


cdef void close_filter(Filter *self) noexcept:
    """Closes the processor and releases it, with all the nodes and frames it holds."""
    cdef PyObject *processor = self.processor
    if processor == NULL:
        return
    LIVE_FILTERS.discard(<uintptr_t>self)
    self.processor = NULL
    try:
        (<object>processor).close()
    except BaseException as error:
        (<Core>self.core).log("critical", "".join(traceback.format_exception(error)))
    Py_DECREF(<object>processor)


# ms. A thread inside computes one batch of frames at most; one that takes longer is given up.
cdef int MAX_EXIT_WAIT = 60_000


def _close_all():
    """At the interpreter's exit: lets no thread in, waits for those inside, closes all processors."""
    gshift_close()
    cdef int waited = 0
    while gshift_visitors() > 0 and waited < MAX_EXIT_WAIT:
        with nogil:
            gshift_pause(1)
        waited += 1
        PyErr_CheckSignals()
    for address in list(LIVE_FILTERS):
        close_filter(<Filter *><uintptr_t>address)
