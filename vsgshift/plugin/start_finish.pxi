"""Start and Finish, the two ends of every graph, and Handover: one frame in, one out, no Python.

Which converter a frame needs on its way back depends on its properties. So Finish fetches the frame itself, puts it down
for Handover, from which all converters take their frames, and asks the right one. If the converters fetched from the
processed clip, Finish would have to fetch there twice or guess, and a frame that left the core's cache in between would
be computed again.
"""

ctypedef struct Remember:
    Inputs inputs
    int matrix_by_default

ctypedef struct Converter:
    int64_t colour
    int clip  # index into Restore.inputs

ctypedef struct Parcel:  # a frame on its way from Finish to a converter
    int n
    const VSFrame *frame
    Parcel *next

ctypedef struct Handover:  # its Inputs are empty: frames are put here
    Inputs inputs
    GShiftLock lock
    Parcel *parcels

ctypedef struct Restore:
    Inputs inputs  # the processed clip, then the clips of `back`, each once
    Converter *converters
    int count  # of converters
    int default  # for a colour that has no converter
    VSNode *handover_node  # holds `handover`
    Handover *handover

cdef const char *PROPS = b"_GShiftProps"
cdef const char *COLOUR = b"_GShiftColour"
cdef int UNSPECIFIED = 2


cdef void native_free(void *instance, VSCore *core, const VSAPI *api) noexcept nogil:
    free_inputs(<Inputs *>instance, api)
    free(instance)


cdef void restore_free(void *instance, VSCore *core, const VSAPI *api) noexcept nogil:
    cdef Restore *self = <Restore *>instance
    free(self.converters)
    api.freeNode(self.handover_node)
    native_free(instance, core, api)


cdef void handover_free(void *instance, VSCore *core, const VSAPI *api) noexcept nogil:
    cdef Handover *self = <Handover *>instance
    cdef Parcel *parcel
    while self.parcels != NULL:
        parcel = self.parcels
        self.parcels = parcel.next
        api.freeFrame(parcel.frame)
        free(parcel)
    gshift_lock_drop(&self.lock)
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


cdef bint put(Handover *self, int n, const VSFrame *frame) noexcept nogil:
    """Stores frame n, with its reference, for the converter that will ask for it. False if memory has run out."""
    cdef Parcel *parcel = <Parcel *>malloc(sizeof(Parcel))
    if parcel == NULL:
        return False
    parcel.n = n
    parcel.frame = frame
    gshift_lock(&self.lock)
    parcel.next = self.parcels
    self.parcels = parcel
    gshift_unlock(&self.lock)
    return True


cdef const VSFrame *take(Handover *self, int n) noexcept nogil:
    """Frame n with its reference, or NULL if it is not there."""
    cdef const VSFrame *frame = NULL
    cdef Parcel *parcel
    cdef Parcel **link
    gshift_lock(&self.lock)
    link = &self.parcels
    while link[0] != NULL and link[0].n != n:
        link = &link[0].next
    parcel = link[0]
    if parcel != NULL:
        link[0] = parcel.next
        frame = parcel.frame
    gshift_unlock(&self.lock)
    free(parcel)
    return frame


cdef const VSFrame *handover_get_frame(int n, int reason, void *instance, void **frame_data,
                                       VSFrameContext *context, VSCore *core, const VSAPI *api) noexcept nogil:
    cdef const VSFrame *frame
    if reason != arInitial:
        return NULL
    frame = take(<Handover *>instance, n)
    if frame == NULL:
        api.setFilterError(b"gshift: a frame was asked for out of turn; please report this", context)
    return frame


cdef const VSFrame *restore_get_frame(int n, int reason, void *instance, void **frame_data,
                                      VSFrameContext *context, VSCore *core, const VSAPI *api) noexcept nogil:
    cdef Restore *self = <Restore *>instance
    cdef const VSFrame *processed
    cdef const VSFrame *converted
    cdef const VSFrame *remembered
    cdef VSFrame *result = NULL
    cdef VSMap *props
    cdef int converter
    cdef int unset = 0
    if reason == arInitial:
        api.requestFrameFilter(n, self.inputs.nodes[0], context)
        return NULL
    converter = <int><uintptr_t>frame_data[0]
    if reason != arAllFramesReady:
        if converter:  # the converter failed, perhaps before it had taken the frame
            api.freeFrame(take(self.handover, n))
        return NULL

    if not converter:
        processed = api.getFrameFilter(n, self.inputs.nodes[0], context)
        api.releaseFrameEarly(self.inputs.nodes[0], n, context)
        converter = converter_for(self, api.getFramePropertiesRO(processed), api)
        if not put(self.handover, n, processed):
            api.freeFrame(processed)
            api.setFilterError(b"gshift: out of memory", context)
            return NULL
        frame_data[0] = <void *><uintptr_t>converter
        api.requestFrameFilter(n, self.inputs.nodes[converter], context)
        return NULL

    converted = api.getFrameFilter(n, self.inputs.nodes[converter], context)
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


cdef int converter_for(Restore *self, const VSMap *props, const VSAPI *api) noexcept nogil:
    """The input that converts a frame with these properties."""
    cdef int unset = 0
    cdef int64_t colour = api.mapGetInt(props, COLOUR, 0, &unset)
    cdef int i
    if not unset:
        for i in range(self.count):
            if self.converters[i].colour == colour:
                return self.converters[i].clip
    return self.default
