"""VapourSynth's C API as three Python classes, and filters whose frames Python makes.

See _bridge.pyi for the contract of every public name. Two rules hold throughout this file:

- VapourSynth is never called with the GIL held where it may block or call back: getFrame, invoke,
  freeNode, freeFrame, createVideoFilter, logMessage. Looking something up (a stride, a property, an
  entry of a map) is fine.
- VapourSynth's threads come in between gshift_enter() and gshift_leave() only (threads.h).
"""

import atexit
import traceback

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, strdup


cdef extern from "VapourSynth4.h" nogil:
    ctypedef struct VSFrame
    ctypedef struct VSNode
    ctypedef struct VSCore
    ctypedef struct VSPlugin
    ctypedef struct VSMap
    ctypedef struct VSFrameContext

    ctypedef struct VSVideoFormat:
        int colorFamily, sampleType, bitsPerSample, bytesPerSample, subSamplingW, subSamplingH, numPlanes

    ctypedef struct VSVideoInfo:
        VSVideoFormat format
        int64_t fpsNum, fpsDen
        int width, height, numFrames

    ctypedef struct VSCoreInfo:
        int numThreads

    ctypedef struct VSFilterDependency:
        VSNode *source
        int requestPattern

    enum:
        cfUndefined, cfGray, cfRGB, cfYUV
        stInteger, stFloat
        fmParallel, fmParallelRequests
        arInitial, arAllFramesReady
        mtVideo
        ptInt, ptFloat, ptData, ptVideoNode
        rpGeneral, rpStrictSpatial
        dtBinary, dtUtf8
        maReplace, maAppend
        mtDebug, mtInformation, mtWarning, mtCritical
        pfGray8

    ctypedef struct VSAPI

    ctypedef const VSFrame *(*VSFilterGetFrame)(
        int n, int reason, void *instance, void **frame_data, VSFrameContext *context, VSCore *core,
        const VSAPI *api) noexcept nogil
    ctypedef void (*VSFilterFree)(void *instance, VSCore *core, const VSAPI *api) noexcept nogil

    ctypedef struct VSAPI:
        VSNode *createVideoFilter2(
            const char *name, const VSVideoInfo *info, VSFilterGetFrame get_frame, VSFilterFree free, int mode,
            const VSFilterDependency *dependencies, int count, void *instance, VSCore *core) noexcept nogil
        void freeNode(VSNode *node) noexcept nogil
        VSNode *addNodeRef(VSNode *node) noexcept nogil
        int getNodeType(VSNode *node) noexcept nogil
        const VSVideoInfo *getVideoInfo(VSNode *node) noexcept nogil
        VSFrame *newVideoFrame(const VSVideoFormat *format, int width, int height, const VSFrame *props,
                               VSCore *core) noexcept nogil
        void freeFrame(const VSFrame *frame) noexcept nogil
        const VSFrame *addFrameRef(const VSFrame *frame) noexcept nogil
        VSFrame *copyFrame(const VSFrame *frame, VSCore *core) noexcept nogil
        const VSMap *getFramePropertiesRO(const VSFrame *frame) noexcept nogil
        VSMap *getFramePropertiesRW(VSFrame *frame) noexcept nogil
        ptrdiff_t getStride(const VSFrame *frame, int plane) noexcept nogil
        const uint8_t *getReadPtr(const VSFrame *frame, int plane) noexcept nogil
        uint8_t *getWritePtr(VSFrame *frame, int plane) noexcept nogil
        const VSVideoFormat *getVideoFrameFormat(const VSFrame *frame) noexcept nogil
        int getFrameWidth(const VSFrame *frame, int plane) noexcept nogil
        int getFrameHeight(const VSFrame *frame, int plane) noexcept nogil
        int getVideoFormatName(const VSVideoFormat *format, char *buffer) noexcept nogil
        int getVideoFormatByID(VSVideoFormat *format, uint32_t id, VSCore *core) noexcept nogil
        const VSFrame *getFrameFilter(int n, VSNode *node, VSFrameContext *context) noexcept nogil
        void requestFrameFilter(int n, VSNode *node, VSFrameContext *context) noexcept nogil
        void releaseFrameEarly(VSNode *node, int n, VSFrameContext *context) noexcept nogil
        void setFilterError(const char *message, VSFrameContext *context) noexcept nogil
        VSMap *createMap() noexcept nogil
        void freeMap(VSMap *map) noexcept nogil
        void clearMap(VSMap *map) noexcept nogil
        void copyMap(const VSMap *source, VSMap *target) noexcept nogil
        void mapSetError(VSMap *map, const char *message) noexcept nogil
        const char *mapGetError(const VSMap *map) noexcept nogil
        int mapNumKeys(const VSMap *map) noexcept nogil
        const char *mapGetKey(const VSMap *map, int index) noexcept nogil
        int mapNumElements(const VSMap *map, const char *key) noexcept nogil
        int mapGetType(const VSMap *map, const char *key) noexcept nogil
        int64_t mapGetInt(const VSMap *map, const char *key, int index, int *error) noexcept nogil
        int mapSetInt(VSMap *map, const char *key, int64_t value, int append) noexcept nogil
        double mapGetFloat(const VSMap *map, const char *key, int index, int *error) noexcept nogil
        int mapSetFloat(VSMap *map, const char *key, double value, int append) noexcept nogil
        const char *mapGetData(const VSMap *map, const char *key, int index, int *error) noexcept nogil
        int mapGetDataSize(const VSMap *map, const char *key, int index, int *error) noexcept nogil
        int mapSetData(VSMap *map, const char *key, const char *data, int size, int type, int append) noexcept nogil
        VSNode *mapGetNode(const VSMap *map, const char *key, int index, int *error) noexcept nogil
        int mapSetNode(VSMap *map, const char *key, VSNode *node, int append) noexcept nogil
        const VSFrame *mapGetFrame(const VSMap *map, const char *key, int index, int *error) noexcept nogil
        int mapConsumeFrame(VSMap *map, const char *key, const VSFrame *frame, int append) noexcept nogil
        VSPlugin *getPluginByNamespace(const char *namespace, VSCore *core) noexcept nogil
        VSMap *invoke(VSPlugin *plugin, const char *name, const VSMap *arguments) noexcept nogil
        void getCoreInfo(VSCore *core, VSCoreInfo *info) noexcept nogil
        void logMessage(int type, const char *message, VSCore *core) noexcept nogil

cdef extern from "abi.h" nogil:
    ctypedef void (*GShiftCall)(const char *name, const VSMap *args, VSMap *out, VSCore *core,
                                const VSAPI *api) noexcept nogil
    ctypedef struct GShiftABI:
        uint32_t version
        GShiftCall call
    const uint32_t GSHIFT_ABI_VERSION
    const char *GSHIFT_CAPSULE

cdef extern from "threads.h" nogil:
    int gshift_open()
    int gshift_enter()
    void gshift_leave()
    void gshift_close()
    int gshift_visitors()

cdef extern from "unistd.h" nogil:
    int usleep(unsigned int microseconds)


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


# ---- Core -----------------------------------------------------------------------------------------

cdef dict LOG_LEVELS = {
    "debug": mtDebug, "information": mtInformation, "warning": mtWarning, "critical": mtCritical,
}


cdef class Core:
    cdef VSCore *c
    cdef const VSAPI *api
    cdef int users  # the running plugin function and the filters made from this handle

    def __init__(self):
        raise TypeError("a Core comes as the first argument of a plugin function")

    cdef int check(self) except -1:
        if self.users == 0:
            raise RuntimeError("the core may be gone: a Core serves its function call and the filters made in it")
        return 0

    @property
    def num_threads(self):
        self.check()
        cdef VSCoreInfo info
        self.api.getCoreInfo(self.c, &info)
        return info.numThreads

    def log(self, str level, str message):
        self.check()
        if level not in LOG_LEVELS:
            raise ValueError(f"unknown log level {level!r}: use one of {', '.join(LOG_LEVELS)}")
        cdef int c_level = LOG_LEVELS[level]
        cdef bytes text = message.encode("utf-8", "replace")
        cdef const char *c_text = text
        with nogil:
            self.api.logMessage(c_level, c_text, self.c)

    def invoke(self, str namespace, str function, /, **args):
        self.check()
        cdef bytes space = namespace.encode(), name = function.encode()
        cdef const char *c_space = space
        cdef const char *c_name = name
        cdef VSPlugin *plugin
        cdef VSMap *result = NULL
        cdef VSNode *node = NULL
        cdef const char *c_error
        with nogil:
            plugin = self.api.getPluginByNamespace(c_space, self.c)
        if plugin == NULL:
            raise RuntimeError(f"no plugin has the namespace {namespace!r}: install the plugin that provides it")
        cdef VSMap *arguments = self.api.createMap()
        try:
            for key, value in args.items():
                set_map(self.api, arguments, key, value)
            with nogil:
                result = self.api.invoke(plugin, c_name, arguments)
            c_error = self.api.mapGetError(result)
            if c_error != NULL:
                raise RuntimeError((<bytes>c_error).decode("utf-8", "replace"))
            node = self.api.mapGetNode(result, b"clip", 0, NULL)
            if node == NULL:
                raise RuntimeError(f"{namespace}.{function} returns no clip: invoke functions that do")
            return make_node(node, self.api)
        finally:
            with nogil:
                self.api.freeMap(arguments)
                self.api.freeMap(result)

    def new_frame(self, like not None, Frame props_from=None):
        self.check()
        cdef const VSVideoFormat *format
        cdef int width, height
        cdef const VSFrame *props = NULL
        cdef VSFrame *frame
        if isinstance(like, Node):
            if not like.is_constant:
                raise ValueError("the clip's format or size varies: name a frame to take them from")
            format = &(<Node>like).info.format
            width, height = (<Node>like).info.width, (<Node>like).info.height
        elif isinstance(like, Frame):
            (<Frame>like).check()
            format = self.api.getVideoFrameFormat((<Frame>like).c)
            width = self.api.getFrameWidth((<Frame>like).c, 0)
            height = self.api.getFrameHeight((<Frame>like).c, 0)
        else:
            raise TypeError(f"new_frame takes its format from a Frame or a Node, not from {type(like).__name__}")
        if props_from is not None:
            props_from.check()
            props = props_from.c
        with nogil:
            frame = self.api.newVideoFrame(format, width, height, props, self.c)
        return make_frame(frame, self.api, True)

    def create_filter(self, str name, Node video_info_of not None, list inputs not None, processor not None, *,
                      format=None):
        self.check()
        for method in ("request", "ready", "close"):
            if not callable(getattr(processor, method, None)):
                raise TypeError(f"{type(processor).__name__} is no processor: it has no method {method}")
        cdef VSVideoInfo info = video_info_of.info[0]
        cdef uint32_t format_id
        if format is not None:
            format_id = format.id if isinstance(format, Format) else format
            if not (self.api.getVideoFormatByID(&info.format, format_id, self.c)
                    and info.format.colorFamily != cfUndefined):
                raise ValueError(f"no video format has the id {format_id}: use the id of an existing format")
        cdef Filter *self_ = <Filter *>make_inputs(sizeof(Filter), inputs, self.api)
        self_.info = info
        self_.name = strdup(<bytes>name.encode())
        self_.processor = <PyObject *>processor
        self_.core = <PyObject *>self
        Py_INCREF(processor)
        Py_INCREF(self)
        self.users += 1
        LIVE_FILTERS.add(<uintptr_t>self_)
        return self.create(name, &info, filter_get_frame, filter_free, fmParallelRequests, rpGeneral,
                           &self_.inputs, self_)

    def remember_props(self, Node node not None, int matrix_by_default):
        self.check()
        cdef Remember *self_ = <Remember *>make_inputs(sizeof(Remember), [node], self.api)
        self_.matrix_by_default = matrix_by_default
        return self.create("Start", node.info, remember_get_frame, native_free, fmParallel, rpStrictSpatial,
                           &self_.inputs, self_)

    def restore_props(self, Node node not None, dict back not None):
        self.check()
        if -1 not in back:
            raise ValueError("back has no entry for -1: name the clip for colours that are not in the table")
        cdef const VSVideoInfo *info = (<Node?>back[-1]).info
        cdef const VSVideoInfo *other
        for value in back.values():
            other = (<Node?>value).info
            if not (same_format(&info.format, &other.format) and info.width == other.width
                    and info.height == other.height and other.numFrames == node.info.numFrames):
                raise ValueError("the clips in back differ in format, size or length: convert all to one")
        # Many keys may share a clip.
        cdef list clips = list({id(value): value for value in back.values()}.values())
        cdef Restore *self_ = <Restore *>make_inputs(sizeof(Restore), clips, self.api)
        cdef int i
        self_.count = <int>len(back)
        self_.ways = <Way *>malloc(self_.count * sizeof(Way))
        for i, (colour, value) in enumerate(back.items()):
            self_.ways[i].colour = colour
            self_.ways[i].clip = clips.index(value)
            if colour == -1:
                self_.default = self_.guess = self_.ways[i].clip
        return self.create("Finish", info, restore_get_frame, restore_free, fmParallel, rpStrictSpatial,
                           &self_.inputs, self_)

    cdef Node create(self, str name, const VSVideoInfo *info, VSFilterGetFrame get_frame, VSFilterFree free_filter,
                     int mode, int pattern, Inputs *inputs, void *instance):
        """Makes the node; the core frees `instance` through `free_filter`, now if it refuses."""
        cdef bytes encoded = name.encode()
        cdef const char *c_name = encoded
        cdef VSNode *node
        cdef VSFilterDependency *dependencies = <VSFilterDependency *>malloc(
            inputs.count * sizeof(VSFilterDependency) + 1)
        cdef int i
        for i in range(inputs.count):
            dependencies[i].source = inputs.nodes[i]
            dependencies[i].requestPattern = pattern
        with nogil:
            node = self.api.createVideoFilter2(c_name, info, get_frame, free_filter, mode, dependencies,
                                               inputs.count, instance, self.c)
            free(dependencies)
        if node == NULL:
            raise RuntimeError(f"VapourSynth refused to create the filter {name}: see its log")
        return make_node(node, self.api)


cdef Core make_core(VSCore *c, const VSAPI *api):
    cdef Core core = Core.__new__(Core)
    core.c = c
    core.api = api
    return core


# ---- Maps -----------------------------------------------------------------------------------------

cdef int set_map(const VSAPI *api, VSMap *map, str key, value) except -1:
    """Stores a value, or each of a list, under `key`. None stores nothing."""
    cdef bytes name = key.encode(), data
    cdef int failed = 0
    for item in value if isinstance(value, (list, tuple)) else [] if value is None else [value]:
        if isinstance(item, Node):
            failed |= api.mapSetNode(map, name, (<Node>item).c, maAppend)
        elif isinstance(item, str):
            data = item.encode()
            failed |= api.mapSetData(map, name, data, <int>len(data), dtUtf8, maAppend)
        elif isinstance(item, bytes):
            data = item
            failed |= api.mapSetData(map, name, data, <int>len(data), dtBinary, maAppend)
        elif isinstance(item, int):
            failed |= api.mapSetInt(map, name, item, maAppend)
        elif isinstance(item, float):
            failed |= api.mapSetFloat(map, name, item, maAppend)
        else:
            raise TypeError(f"{key} is a {type(item).__name__}, which VapourSynth cannot hold")
    if failed:
        raise ValueError(f"VapourSynth does not take {key}: give it a valid name and values of one type")
    return 0


cdef object get_map(const VSAPI *api, const VSMap *map, const char *key):
    """One value, or a list where there are several."""
    cdef int kind = api.mapGetType(map, key)
    cdef int i
    cdef list values = []
    cdef const char *data
    for i in range(api.mapNumElements(map, key)):
        if kind == ptInt:
            values.append(api.mapGetInt(map, key, i, NULL))
        elif kind == ptFloat:
            values.append(api.mapGetFloat(map, key, i, NULL))
        elif kind == ptData:
            data = api.mapGetData(map, key, i, NULL)
            try:
                values.append(data[:api.mapGetDataSize(map, key, i, NULL)].decode())
            except UnicodeDecodeError:
                raise ValueError(f"{key.decode()} is not valid UTF-8: pass text") from None
        elif kind == ptVideoNode:
            values.append(make_node(api.mapGetNode(map, key, i, NULL), api))
        else:
            raise TypeError(f"argument {key.decode()} has a type that no function of this plugin takes")
    return values[0] if len(values) == 1 else values


# ---- Errors ---------------------------------------------------------------------------------------

# What code raises to tell the user something. Any other exception is a mistake of ours.
cdef tuple TOLD = (ValueError, RuntimeError, OSError, MemoryError, ImportError, EOFError, KeyboardInterrupt)


cdef bytes error_message(str name, error, Core core):
    """One line for the user. The traceback of a mistake of ours goes to the core's log."""
    message = " ".join(str(error).split())
    if not isinstance(error, TOLD) or isinstance(error, (NotImplementedError, RecursionError)):
        message = f"internal error ({type(error).__name__}: {message})"
        core.log("critical", "".join(traceback.format_exception(error)))
    elif not message:
        message = type(error).__name__
    if not message.startswith(f"{name}: "):
        message = f"{name}: {message}"
    return message.encode("utf-8", "replace")


# ---- Plugin functions -----------------------------------------------------------------------------

cdef dict FUNCTIONS = {
    "Deblur": "deblur",
    "Denoise": "denoise",
    "Version": "version",
    "DeviceProperties": "device_properties",
    "Models": "models",
}


cdef void call_function(const char *name, const VSMap *args, VSMap *out, VSCore *core,
                        const VSAPI *api) noexcept nogil:
    if not gshift_enter():
        api.mapSetError(out, b"gshift: Python is shutting down: create filters before the script ends")
        return
    with gil:
        call_python(name, args, out, core, api)
    gshift_leave()


cdef void call_python(const char *c_name, const VSMap *args, VSMap *out, VSCore *c_core,
                      const VSAPI *api) noexcept:
    cdef Core core = make_core(c_core, api)
    cdef str name = (<bytes>c_name).decode()
    cdef const char *key
    cdef dict arguments = {}
    cdef bytes message
    cdef int i
    core.users += 1
    try:
        # Importing here keeps torch out of processes that load the plugin and never use it.
        from vsgshift.plugin import functions

        for i in range(api.mapNumKeys(args)):
            key = api.mapGetKey(args, i)
            if api.mapNumElements(args, key) > 0:
                arguments[(<bytes>key).decode()] = get_map(api, args, key)
        result = getattr(functions, FUNCTIONS[name])(core, **arguments)
        if isinstance(result, Node):
            set_map(api, out, "clip", result)
        elif isinstance(result, dict):
            for item in result:
                set_map(api, out, item, result[item])
        else:
            raise TypeError(f"{FUNCTIONS[name]} returned a {type(result).__name__}, not a Node or a dict")
    except BaseException as error:
        message = error_message(name, error, core)
        api.clearMap(out)
        api.mapSetError(out, message)
    finally:
        core.users -= 1


# ---- Filters --------------------------------------------------------------------------------------

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


cdef void *make_inputs(size_t size, list nodes, const VSAPI *api) except NULL:
    """A zeroed struct of `size` bytes that begins with Inputs, holding references to `nodes`."""
    for node in nodes:
        if not isinstance(node, Node):
            raise TypeError(f"inputs must be Nodes, not {type(node).__name__}")
    cdef Inputs *inputs = <Inputs *>calloc(1, size)
    inputs.count = <int>len(nodes)
    inputs.nodes = <VSNode **>calloc(inputs.count + 1, sizeof(VSNode *))
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


cdef const VSFrame *ask_processor(Filter *self, int n, Requests *asked, const VSFrame **c_frames, void **frame_data,
                                  VSFrameContext *context, const VSAPI *api) noexcept:
    """Calls request() (c_frames is NULL) or ready(). Takes over the references in c_frames."""
    cdef dict frames
    cdef Frame frame
    cdef list wanted
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
        wanted = answer
        requests = <Requests *>malloc(sizeof(Requests) + len(wanted) * sizeof(Pending))
        requests.count = 0
        frame_data[0] = requests
        for pair in wanted:
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
    if gshift_enter():
        with gil:
            close_filter(self)
            (<Core>self.core).users -= 1
            Py_DECREF(<object>self.core)
        gshift_leave()
    free_inputs(&self.inputs, api)
    free(self.name)
    free(self)


cdef void close_filter(Filter *self) noexcept:
    """Closes the processor and lets go of it, with all the nodes and frames it holds."""
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
            usleep(1000)
        waited += 1
        PyErr_CheckSignals()
    for address in list(LIVE_FILTERS):
        close_filter(<Filter *><uintptr_t>address)


# ---- Start and Finish: one frame in, one frame out, no Python ---------------------------------------

ctypedef struct Remember:
    Inputs inputs
    int matrix_by_default

ctypedef struct Way:
    int64_t colour
    int clip  # index into Restore.inputs

ctypedef struct Restore:
    Inputs inputs  # the clips of `back`, each once
    Way *ways
    int count  # of ways
    int default  # where a colour has no way
    int guess  # the clip that the last frame came from

cdef const char *PROPS = b"_GShiftProps"
cdef const char *COLOUR = b"_GShiftColour"
cdef int UNSPECIFIED = 2


cdef void native_free(void *instance, VSCore *core, const VSAPI *api) noexcept nogil:
    free_inputs(<Inputs *>instance, api)
    free(instance)


cdef void restore_free(void *instance, VSCore *core, const VSAPI *api) noexcept nogil:
    free((<Restore *>instance).ways)
    native_free(instance, core, api)


cdef const VSFrame *remember_get_frame(int n, int reason, void *instance, void **frame_data,
                                       VSFrameContext *context, VSCore *core, const VSAPI *api) noexcept nogil:
    cdef Remember *self = <Remember *>instance
    cdef const VSFrame *source
    cdef VSFrame *result
    cdef VSMap *props
    cdef VSVideoFormat gray
    cdef int64_t matrix, full, siting
    cdef int unset = 0
    cdef int family
    if reason == arInitial:
        api.requestFrameFilter(n, self.inputs.nodes[0], context)
        return NULL
    if reason != arAllFramesReady:
        return NULL

    source = api.getFrameFilter(n, self.inputs.nodes[0], context)
    result = api.copyFrame(source, core)
    props = api.getFramePropertiesRW(result)
    api.getVideoFormatByID(&gray, pfGray8, core)
    api.mapConsumeFrame(props, PROPS, api.newVideoFrame(&gray, 1, 1, source, core), maReplace)
    family = api.getVideoFrameFormat(source).colorFamily
    matrix = api.mapGetInt(props, b"_Matrix", 0, &unset)
    if unset or matrix == UNSPECIFIED:
        matrix = self.matrix_by_default
        if family == cfYUV:
            api.mapSetInt(props, b"_Matrix", matrix, maReplace)
    full = api.mapGetInt(props, b"_Range", 0, &unset)
    if unset:
        # The property's older name counts the other way round.
        full = api.mapGetInt(props, b"_ColorRange", 0, &unset)
        full = (1 if family == cfRGB else 0) if unset else (0 if full else 1)
        api.mapSetInt(props, b"_Range", full, maReplace)
    siting = api.mapGetInt(props, b"_ChromaLocation", 0, &unset)
    if unset or siting < 0 or siting > 5:
        siting = 0
    api.mapSetInt(props, COLOUR, (matrix & 15) + (16 if full else 0) + 32 * siting, maReplace)
    api.freeFrame(source)
    return result


cdef const VSFrame *restore_get_frame(int n, int reason, void *instance, void **frame_data,
                                      VSFrameContext *context, VSCore *core, const VSAPI *api) noexcept nogil:
    """Colours hardly ever change within a clip, so the last frame's clip is tried first.

    Asking the processed clip for its colour would fetch each of its frames twice, here and in the
    converter, far enough apart for the frame to have left the cache and be computed again.
    """
    cdef Restore *self = <Restore *>instance
    cdef const VSFrame *converted
    cdef const VSFrame *remembered
    cdef VSFrame *result = NULL
    cdef VSMap *props
    cdef int asked, right
    cdef int unset = 0
    if reason == arInitial:
        asked = self.guess
        frame_data[0] = <void *><uintptr_t>asked
        api.requestFrameFilter(n, self.inputs.nodes[asked], context)
        return NULL
    if reason != arAllFramesReady:
        return NULL

    asked = <int><uintptr_t>frame_data[0]
    converted = api.getFrameFilter(n, self.inputs.nodes[asked], context)
    right = way_back(self, api.getFramePropertiesRO(converted), api)
    if right != asked:
        self.guess = right
        frame_data[0] = <void *><uintptr_t>right
        api.freeFrame(converted)
        api.requestFrameFilter(n, self.inputs.nodes[right], context)
        return NULL

    remembered = api.mapGetFrame(api.getFramePropertiesRO(converted), PROPS, 0, &unset)
    if remembered == NULL:
        api.setFilterError(b"gshift: a frame came without its remembered properties: keep all frame "
                           b"properties between Start and Finish", context)
    else:
        result = api.copyFrame(converted, core)
        props = api.getFramePropertiesRW(result)
        api.clearMap(props)
        api.copyMap(api.getFramePropertiesRO(remembered), props)
        api.freeFrame(remembered)
    api.freeFrame(converted)
    return result


cdef int way_back(Restore *self, const VSMap *props, const VSAPI *api) noexcept nogil:
    """The index of the clip for a frame with these properties."""
    cdef int unset = 0
    cdef int64_t colour = api.mapGetInt(props, COLOUR, 0, &unset)
    cdef int i
    if not unset:
        for i in range(self.count):
            if self.ways[i].colour == colour:
                return self.ways[i].clip
    return self.default


# ---- What the plugin file finds ---------------------------------------------------------------------

cdef GShiftABI ABI
ABI.version = GSHIFT_ABI_VERSION
ABI.call = call_function

if not gshift_open():
    raise ImportError("this Python has no way to tell that it is shutting down: use CPython 3.12 or later")
_c_api = PyCapsule_New(&ABI, GSHIFT_CAPSULE, NULL)
atexit.register(_close_all)
