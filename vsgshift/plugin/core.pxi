"""The core as a Python object: makes frames and filters, calls other plugins, reports errors."""

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
        for method in ("request", "ready", "failed", "close"):
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
        if self_.name == NULL:
            free_inputs(&self_.inputs, self.api)
            free(self_)
            raise MemoryError("out of memory")
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

    def uncached(self, Node node not None):
        self.check()
        self.api.setCacheMode(node.c, cmForceDisable)
        return node

    def restore_props(self, Node node not None, convert not None):
        self.check()
        cdef Handover *handover = <Handover *>make_inputs(sizeof(Handover), [], self.api)
        gshift_lock_make(&handover.lock)
        cdef Node handed = self.create("Handover", node.info, handover_get_frame, handover_free, fmParallel,
                                       rpStrictSpatial, &handover.inputs, handover)
        # Each of its frames is taken once.
        self.uncached(handed)
        cdef dict back = convert(handed)
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
        cdef list clips = [node, *{id(value): value for value in back.values()}.values()]
        cdef Converter *converters = <Converter *>allocate(len(back) * sizeof(Converter))
        cdef Restore *self_
        try:
            self_ = <Restore *>make_inputs(sizeof(Restore), clips, self.api)
        except BaseException:
            free(converters)
            raise
        self_.handover = handover
        self_.handover_node = self.api.addNodeRef(handed.c)
        cdef int i
        self_.count = <int>len(back)
        self_.converters = converters
        for i, (colour, value) in enumerate(back.items()):
            self_.converters[i].colour = colour
            self_.converters[i].clip = clips.index(value)
            if colour == -1:
                self_.default = self_.converters[i].clip
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
        if dependencies == NULL:
            with nogil:
                free_filter(instance, self.c, self.api)
            raise MemoryError("out of memory")
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
    """One value, or a list of several."""
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
cdef tuple USER_ERRORS = (ValueError, RuntimeError, OSError, MemoryError, ImportError, EOFError, KeyboardInterrupt)


cdef bytes error_message(str name, error, Core core):
    """One line for the user. The traceback of a mistake of ours goes to the core's log."""
    message = " ".join(str(error).split())
    if not isinstance(error, USER_ERRORS) or isinstance(error, (NotImplementedError, RecursionError)):
        message = f"internal error ({type(error).__name__}: {message})"
        core.log("critical", "".join(traceback.format_exception(error)))
    elif not message:
        message = type(error).__name__
    if not message.startswith(f"{name}: "):
        message = f"{name}: {message}"
    return message.encode("utf-8", "replace")
