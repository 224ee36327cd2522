/* When a VapourSynth thread may enter Python, and at what cost.
 *
 * gshift_enter() / gshift_leave() bracket every visit. They do two things:
 *
 * - They keep the interpreter's end and the visits apart. A thread that asks for the GIL after
 *   finalisation has begun is killed or hung by Python, so once gshift_close() has run no
 *   thread enters, and gshift_visitors() is 0 when the last visitor has left.
 * - They give each VapourSynth thread a Python thread state that lasts as long as the thread.
 *   PyGILState_Ensure would otherwise make and destroy one per visit, ten times the cost of the
 *   visit itself. */
#ifndef GSHIFT_THREADS_H
#define GSHIFT_THREADS_H

#include <Python.h>
#include <string.h>

#include "portable.h"

static GShiftCounter gshift_inside;
static GShiftCounter gshift_closed;
static GShiftLocal gshift_thread_state;
static int (*gshift_is_finalizing)(void);

static int gshift_may_enter(void) {
    gshift_add(&gshift_inside, 1);
    if (gshift_add(&gshift_closed, 0) == 0 && Py_IsInitialized() && !gshift_is_finalizing())
        return 1;
    gshift_add(&gshift_inside, -1);
    return 0;
}

static void gshift_leave(void) {
    gshift_add(&gshift_inside, -1);
}

/* Runs when a thread ends that gshift_enter() gave a thread state: previewers make and drop cores,
 * and with them threads, all day long. */
static void GSHIFT_THREAD_END gshift_forget_thread(void *thread_state) {
    if (!gshift_may_enter())
        return;
    PyEval_RestoreThread(thread_state);
    PyThreadState_Clear(thread_state);
    PyEval_SaveThread();
    PyThreadState_Delete(thread_state);
    gshift_leave();
}

/* Call without or with the GIL. Returns 0 if Python must not be entered any more; otherwise
 * PyGILState_Ensure() is safe and cheap until gshift_leave(). */
static int gshift_enter(void) {
    if (!gshift_may_enter())
        return 0;
    if (PyGILState_GetThisThreadState() == NULL) {
        /* Never released: it is what keeps the thread state alive between visits. */
        PyGILState_Ensure();
        gshift_local_set(gshift_thread_state, PyThreadState_Get());
        PyEval_SaveThread();
    }
    return 1;
}

static void gshift_close(void) {
    gshift_add(&gshift_closed, 1);
}

static int gshift_visitors(void) {
    return gshift_add(&gshift_inside, 0);
}

/* Once, at import. Returns 0 on failure. */
static int gshift_open(void) {
    void *symbol = gshift_symbol("Py_IsFinalizing"); /* public since 3.13 */
    if (symbol == NULL)
        symbol = gshift_symbol("_Py_IsFinalizing");
    memcpy(&gshift_is_finalizing, &symbol, sizeof symbol);
    return symbol != NULL && gshift_local_make(&gshift_thread_state, gshift_forget_thread);
}

#endif
