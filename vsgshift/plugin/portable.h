/* What the plugin file and the bridge need from the operating system, under one name everywhere.
 *
 * The tests run on Linux, some of them for Windows under Wine. The parts for macOS compile; they have not been run yet. */
#ifndef GSHIFT_PORTABLE_H
#define GSHIFT_PORTABLE_H

/* ---- Windows ------------------------------------------------------------------------------- */
#ifdef _WIN32

#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <psapi.h>

typedef volatile LONG GShiftCounter;
typedef SRWLOCK GShiftLock;
typedef DWORD GShiftLocal;
#define GSHIFT_THREAD_END WINAPI /* how a function is called at a thread's end */

static inline int gshift_add(GShiftCounter *counter, int n) {
    return InterlockedExchangeAdd(counter, n) + n;
}

static inline void gshift_lock_make(GShiftLock *lock) {
    InitializeSRWLock(lock);
}

static inline void gshift_lock_drop(GShiftLock *lock) {
    (void)lock; /* holds no resources */
}

static inline void gshift_lock(GShiftLock *lock) {
    AcquireSRWLockExclusive(lock);
}

static inline void gshift_unlock(GShiftLock *lock) {
    ReleaseSRWLockExclusive(lock);
}

/* A fiber's storage is a thread's if there are no fibers, and unlike a thread's has an end function. */
static inline int gshift_local_make(GShiftLocal *local, void(GSHIFT_THREAD_END *end)(void *)) {
    *local = FlsAlloc(end);
    return *local != FLS_OUT_OF_INDEXES;
}

static inline void gshift_local_set(GShiftLocal local, void *value) {
    FlsSetValue(local, value);
}

static inline void gshift_pause(int milliseconds) {
    Sleep((DWORD)milliseconds);
}

/* Symbols belong to a library here: ask each that is loaded. */
static inline void *gshift_symbol(const char *name) {
    HMODULE libraries[1024];
    DWORD size = 0;
    if (!EnumProcessModules(GetCurrentProcess(), libraries, sizeof libraries, &size))
        return NULL;
    if (size > sizeof libraries)
        size = sizeof libraries;
    for (DWORD i = 0; i < size / sizeof *libraries; i++) {
        FARPROC address = GetProcAddress(libraries[i], name);
        if (address != NULL)
            return (void *)address;
    }
    return NULL;
}

/* ---- Linux, macOS and their like ------------------------------------------------------------- */
#else

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

typedef atomic_int GShiftCounter;
typedef pthread_mutex_t GShiftLock;
typedef pthread_key_t GShiftLocal;
#define GSHIFT_THREAD_END

static inline int gshift_add(GShiftCounter *counter, int n) {
    return atomic_fetch_add(counter, n) + n;
}

static inline void gshift_lock_make(GShiftLock *lock) {
    pthread_mutex_init(lock, NULL);
}

static inline void gshift_lock_drop(GShiftLock *lock) {
    pthread_mutex_destroy(lock);
}

static inline void gshift_lock(GShiftLock *lock) {
    pthread_mutex_lock(lock);
}

static inline void gshift_unlock(GShiftLock *lock) {
    pthread_mutex_unlock(lock);
}

/* Gives every thread storage for one pointer; `end` is called with it when the thread ends. */
static inline int gshift_local_make(GShiftLocal *local, void (*end)(void *)) {
    return pthread_key_create(local, end) == 0;
}

static inline void gshift_local_set(GShiftLocal local, void *value) {
    pthread_setspecific(local, value);
}

static inline void gshift_pause(int milliseconds) {
    const struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

/* The symbol in the library of that path, which is loaded already. */
static inline void *gshift_symbol_of(const char *library_path, const char *name) {
    void *library = dlopen(library_path, RTLD_LAZY | RTLD_NOLOAD);
    void *address = library != NULL ? dlsym(library, name) : NULL;
    if (library != NULL)
        dlclose(library);
    return address;
}

typedef struct GShiftSearch {
    const char *name;
    void *found;
} GShiftSearch;

/* A host may have loaded Python's library for itself alone (RTLD_LOCAL), where RTLD_DEFAULT does
 * not look: these go through the loaded libraries by name. */
#ifdef __APPLE__

#include <mach-o/dyld.h>
#include <stdint.h>

static inline void gshift_search_libraries(GShiftSearch *search) {
    for (uint32_t i = 0; i < _dyld_image_count() && search->found == NULL; i++) {
        const char *path = _dyld_get_image_name(i);
        if (path != NULL && (strstr(path, "libpython") != NULL || strstr(path, "Python.framework") != NULL))
            search->found = gshift_symbol_of(path, search->name);
    }
}

#else

#include <link.h>

static inline int gshift_search_library(struct dl_phdr_info *info, size_t size, void *data) {
    GShiftSearch *search = data;
    (void)size;
    if (info->dlpi_name != NULL && strstr(info->dlpi_name, "libpython") != NULL)
        search->found = gshift_symbol_of(info->dlpi_name, search->name);
    return search->found != NULL;
}

static inline void gshift_search_libraries(GShiftSearch *search) {
    dl_iterate_phdr(gshift_search_library, search);
}

#endif

/* A function of the Python in this process, or NULL. */
static inline void *gshift_symbol(const char *name) {
    GShiftSearch search = {name, dlsym(RTLD_DEFAULT, name)};
    if (search.found == NULL)
        gshift_search_libraries(&search);
    return search.found;
}

#endif

#endif
