/* When a VapourSynth thread may enter Python, and at what price.
 *
 * gshift_enter() / gshift_leave() bracket every visit. They do two things:
 *
 * - They keep the interpreter's end and the visits apart. A thread that asks for the GIL after
 *   finalisation has begun is killed or hung by Python, so once gshift_close() has run nobody
 *   enters, and gshift_visitors() tells when the last visitor has left.
 * - They give each VapourSynth thread a Python thread state that lasts as long as the thread.
 *   PyGILState_Ensure would otherwise make and destroy one per visit, ten times dearer than the
 *   visit itself. */
#ifndef GSHIFT_THREADS_H
#define GSHIFT_THREADS_H

#include <Python.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static atomic_int gshift_inside;
static atomic_int gshift_closed;
static pthread_key_t gshift_thread_state;
static int (*gshift_is_finalizing)(void);

static int gshift_may_enter(void) {
    atomic_fetch_add(&gshift_inside, 1);
    if (!atomic_load(&gshift_closed) && Py_IsInitialized() && !gshift_is_finalizing())
        return 1;
    atomic_fetch_sub(&gshift_inside, 1);
    return 0;
}

static void gshift_leave(void) {
    atomic_fetch_sub(&gshift_inside, 1);
}

/* Runs when a thread ends that gshift_enter() gave a thread state: previewers make and drop cores,
 * and with them threads, all day long. */
static void gshift_forget_thread(void *thread_state) {
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
        pthread_setspecific(gshift_thread_state, PyThreadState_Get());
        PyEval_SaveThread();
    }
    return 1;
}

static void gshift_close(void) {
    atomic_store(&gshift_closed, 1);
}

static int gshift_visitors(void) {
    return atomic_load(&gshift_inside);
}

/* Once, at import. Returns 0 on failure. */
static int gshift_open(void) {
    void *symbol = dlsym(RTLD_DEFAULT, "Py_IsFinalizing"); /* public since 3.13 */
    if (symbol == NULL)
        symbol = dlsym(RTLD_DEFAULT, "_Py_IsFinalizing");
    memcpy(&gshift_is_finalizing, &symbol, sizeof symbol);
    return symbol != NULL && pthread_key_create(&gshift_thread_state, gshift_forget_thread) == 0;
}

#endif
