"""What the bridge uses of VapourSynth's C API, version 4."""

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
        arInitial, arAllFramesReady, arError
        mtVideo
        ptInt, ptFloat, ptData, ptVideoNode
        rpGeneral, rpStrictSpatial
        cmForceDisable
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
        void setCacheMode(VSNode *node, int mode) noexcept nogil
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
        int mapDeleteKey(VSMap *map, const char *key) noexcept nogil
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
