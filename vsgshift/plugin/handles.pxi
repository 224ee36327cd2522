"""Nodes, frames and their planes as Python objects that own a reference."""

# ---- Formats --------------------------------------------------------------------------------------

cdef dict FAMILY_NAMES = {cfUndefined: "UNDEFINED", cfGray: "GRAY", cfRGB: "RGB", cfYUV: "YUV"}


cdef class Format:
    cdef VSVideoFormat c
    cdef readonly str name

    def __init__(self):
        raise TypeError("a Format comes from a Node or a Frame: read its .format")

    @property
    def color_family(self):
        return FAMILY_NAMES[self.c.colorFamily]

    @property
    def sample_type(self):
        return "float" if self.c.sampleType == stFloat else "integer"

    @property
    def bits(self):
        return self.c.bitsPerSample

    @property
    def bytes_per_sample(self):
        return self.c.bytesPerSample

    @property
    def subsampling_w(self):
        return self.c.subSamplingW

    @property
    def subsampling_h(self):
        return self.c.subSamplingH

    @property
    def num_planes(self):
        return self.c.numPlanes

    @property
    def id(self):
        if self.c.colorFamily == cfUndefined:
            return 0
        return (self.c.colorFamily << 28 | self.c.sampleType << 24 | self.c.bitsPerSample << 16
                | self.c.subSamplingW << 8 | self.c.subSamplingH)

    def __eq__(self, other):
        return isinstance(other, Format) and self.id == other.id

    def __hash__(self):
        return hash(self.id)

    def __repr__(self):
        return f"<Format {self.name}>"


cdef Format make_format(const VSVideoFormat *c, const VSAPI *api):
    cdef char name[32]
    cdef Format format = Format.__new__(Format)
    format.c = c[0]
    if c.colorFamily != cfUndefined and api.getVideoFormatName(c, name):
        format.name = (<bytes>name).decode()
    else:
        format.name = "UNDEFINED"
    return format


cdef bint same_format(const VSVideoFormat *a, const VSVideoFormat *b) noexcept nogil:
    return (a.colorFamily == b.colorFamily and a.sampleType == b.sampleType
            and a.bitsPerSample == b.bitsPerSample and a.subSamplingW == b.subSamplingW
            and a.subSamplingH == b.subSamplingH)


# ---- Node -----------------------------------------------------------------------------------------

cdef class Node:
    cdef VSNode *c
    cdef const VSVideoInfo *info
    cdef const VSAPI *api
    cdef Format _format

    def __init__(self):
        raise TypeError("a Node comes from an argument of a plugin function or from a method of Core")

    def __dealloc__(self):
        if self.c != NULL:
            with nogil:
                self.api.freeNode(self.c)

    @property
    def width(self):
        return self.info.width

    @property
    def height(self):
        return self.info.height

    @property
    def num_frames(self):
        return self.info.numFrames

    @property
    def format(self):
        if self._format is None:
            self._format = make_format(&self.info.format, self.api)
        return self._format

    @property
    def is_constant(self):
        return self.info.format.colorFamily != cfUndefined and self.info.width > 0 and self.info.height > 0

    def __repr__(self):
        return f"<Node {self.format.name} {self.width}x{self.height}, {self.num_frames} frames>"


cdef Node make_node(VSNode *c, const VSAPI *api):
    """Takes over the reference `c`."""
    cdef Node node = Node.__new__(Node)
    node.c = c
    node.api = api
    node.info = api.getVideoInfo(c)
    return node


# ---- Frame and Plane ------------------------------------------------------------------------------

cdef class Frame:
    cdef const VSFrame *c
    cdef const VSAPI *api
    cdef bint writable
    cdef bint released
    cdef int views  # exported buffers: the memory has to outlive them
    cdef Format _format

    def __init__(self):
        raise TypeError("a Frame comes from ready() or from Core.new_frame")

    def __dealloc__(self):
        self.free()

    cdef void free(self) noexcept:
        cdef const VSFrame *c = self.c
        self.c = NULL
        if c != NULL:
            with nogil:
                self.api.freeFrame(c)

    cdef int check(self) except -1:
        if self.released:
            raise RuntimeError("the frame has been released: call release() after its last use")
        return 0

    def release(self):
        self.released = True
        if self.views == 0:
            self.free()

    def plane(self, int index):
        self.check()
        cdef const VSVideoFormat *format = self.api.getVideoFrameFormat(self.c)
        if not 0 <= index < format.numPlanes:
            raise IndexError(f"a frame of {format.numPlanes} planes has no plane {index}")
        cdef Plane plane = Plane.__new__(Plane)
        plane.frame = self
        plane.shape[0] = self.api.getFrameHeight(self.c, index)
        plane.shape[1] = self.api.getFrameWidth(self.c, index)
        plane.strides[0] = self.api.getStride(self.c, index)
        plane.strides[1] = format.bytesPerSample
        if format.sampleType == stFloat:
            plane.format = b"e" if format.bytesPerSample == 2 else b"f"
        elif format.bytesPerSample == 1:
            plane.format = b"B"
        else:
            plane.format = b"H" if format.bytesPerSample == 2 else b"I"
        if self.writable:
            plane.data = self.api.getWritePtr(<VSFrame *>self.c, index)
        else:
            plane.data = <void *>self.api.getReadPtr(self.c, index)
        if plane.data == NULL:
            raise RuntimeError("the frame lies in GPU memory: put std.GPUDownload before this filter")
        return plane

    @property
    def width(self):
        self.check()
        return self.api.getFrameWidth(self.c, 0)

    @property
    def height(self):
        self.check()
        return self.api.getFrameHeight(self.c, 0)

    @property
    def num_planes(self):
        self.check()
        return self.api.getVideoFrameFormat(self.c).numPlanes

    @property
    def format(self):
        self.check()
        if self._format is None:
            self._format = make_format(self.api.getVideoFrameFormat(self.c), self.api)
        return self._format

    def int_property(self, str key, default):
        self.check()
        cdef bytes name = key.encode()
        cdef int error = 0
        cdef int64_t value = self.api.mapGetInt(self.api.getFramePropertiesRO(self.c), name, 0, &error)
        return default if error else value

    def float_property(self, str key, default):
        self.check()
        cdef bytes name = key.encode()
        cdef int error = 0
        cdef double value = self.api.mapGetFloat(self.api.getFramePropertiesRO(self.c), name, 0, &error)
        return default if error else value

    def set_property(self, str key, value):
        self.check()
        if not self.writable:
            raise RuntimeError("the frame is read-only: set properties of a frame of Core.new_frame "
                               "not yet handed over")
        cdef VSMap *props = self.api.getFramePropertiesRW(<VSFrame *>self.c)
        self.api.mapDeleteKey(props, key.encode())
        set_map(self.api, props, key, value)

    def has_property(self, str key):
        self.check()
        cdef bytes name = key.encode()
        return self.api.mapNumElements(self.api.getFramePropertiesRO(self.c), name) >= 0


cdef Frame make_frame(const VSFrame *c, const VSAPI *api, bint writable):
    """Takes over the reference `c`."""
    cdef Frame frame = Frame.__new__(Frame)
    frame.c = c
    frame.api = api
    frame.writable = writable
    return frame


cdef class Plane:
    cdef Frame frame
    cdef void *data
    cdef bytes format
    cdef Py_ssize_t shape[2]
    cdef Py_ssize_t strides[2]

    def __init__(self):
        raise TypeError("a Plane comes from Frame.plane")

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        buffer.obj = None
        self.frame.check()
        if flags & PyBUF_WRITABLE and not self.frame.writable:
            raise BufferError("the plane is read-only: write to a frame of Core.new_frame not yet handed over")
        if flags & PyBUF_STRIDES != PyBUF_STRIDES:
            raise BufferError("the plane has padded rows: ask for a buffer with strides")
        buffer.buf = self.data
        buffer.obj = self
        buffer.len = self.shape[0] * self.shape[1] * self.strides[1]
        buffer.itemsize = self.strides[1]
        buffer.readonly = not self.frame.writable
        buffer.ndim = 2
        buffer.format = <char *>self.format if flags & PyBUF_FORMAT else NULL
        buffer.shape = self.shape
        buffer.strides = self.strides
        buffer.suboffsets = NULL
        buffer.internal = NULL
        self.frame.views += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.frame.views -= 1
        if self.frame.released and self.frame.views == 0:
            self.frame.free()
