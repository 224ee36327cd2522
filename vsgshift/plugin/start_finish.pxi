"""Start and Finish, the two ends of every graph: one frame in, one frame out, no Python."""

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
