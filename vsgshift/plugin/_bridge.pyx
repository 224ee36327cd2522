"""VapourSynth's C API as three Python classes, and filters whose frames Python makes.

See _bridge.pyi for the contract of every public name. The parts, each with one subject, are the
.pxi files beside this one. Two rules hold throughout:

- VapourSynth is never called with the GIL held where it may block or call back: getFrame, invoke,
  freeNode, freeFrame, createVideoFilter, logMessage. Looking something up (a stride, a property, an
  entry of a map) is fine.
- VapourSynth's threads come in between gshift_enter() and gshift_leave() only (threads.h).
"""

import atexit
import re
import traceback

from vsgshift.openmp import wait_passively

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, strdup

include "vapoursynth4.pxi"

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

cdef extern from "portable.h" nogil:
    ctypedef struct GShiftLock:
        pass
    void gshift_lock_make(GShiftLock *lock)
    void gshift_lock_drop(GShiftLock *lock)
    void gshift_lock(GShiftLock *lock)
    void gshift_unlock(GShiftLock *lock)
    void gshift_pause(int milliseconds)


include "handles.pxi"
include "core.pxi"
include "filters.pxi"
include "start_finish.pxi"


# ---- Plugin functions -----------------------------------------------------------------------------

cdef str python_name(str name):
    """The name in vsgshift.plugin.functions: estimate_noise for EstimateNoise."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()


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
        wait_passively()
        # Importing here keeps torch out of processes that load the plugin and never use it.
        from vsgshift.plugin import functions

        for i in range(api.mapNumKeys(args)):
            key = api.mapGetKey(args, i)
            if api.mapNumElements(args, key) > 0:
                arguments[(<bytes>key).decode()] = get_map(api, args, key)
        result = getattr(functions, python_name(name))(core, **arguments)
        if isinstance(result, Node):
            set_map(api, out, "clip", result)
        elif isinstance(result, dict):
            for item in result:
                set_map(api, out, item, result[item])
        else:
            raise TypeError(f"{python_name(name)} returned a {type(result).__name__}, not a Node or a dict")
    except BaseException as error:
        message = error_message(name, error, core)
        api.clearMap(out)
        api.mapSetError(out, message)
    finally:
        core.users -= 1


# ---- What the plugin file finds ---------------------------------------------------------------------

cdef GShiftABI ABI
ABI.version = GSHIFT_ABI_VERSION
ABI.call = call_function

if not gshift_open():
    raise ImportError("this Python has no way to tell that it is shutting down: use CPython 3.12 or later")
_c_api = PyCapsule_New(&ABI, GSHIFT_CAPSULE, NULL)
atexit.register(_close_all)
