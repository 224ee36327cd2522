/* Threads that share out numbered units of work, and sleep in between.
 *
 * One set for the process, started with the first work and never ended: torch does the same. The caller
 * works along. Units are handed out as threads become free, so results must not depend on who does which. */
#ifndef GSHIFT_POOL_H
#define GSHIFT_POOL_H

#include <stdlib.h>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <malloc.h>
#include <process.h>
#include <windows.h>
#undef far /* words of another age */
#undef near

typedef SRWLOCK Lock;
typedef CONDITION_VARIABLE Signal;
#define LOCK_INITIALIZER SRWLOCK_INIT
#define SIGNAL_INITIALIZER CONDITION_VARIABLE_INIT
#define lock(mutex) AcquireSRWLockExclusive(mutex)
#define unlock(mutex) ReleaseSRWLockExclusive(mutex)
#define wait_for(signal, mutex) SleepConditionVariableSRW(signal, mutex, INFINITE, 0)
#define wake_one(signal) WakeConditionVariable(signal)
#define wake_all(signal) WakeAllConditionVariable(signal)
#define THREAD_FUNCTION(NAME) static unsigned __stdcall NAME(void *argument)
#define floats_for(size) _aligned_malloc((size) * sizeof(float), 64)
#define drop_floats(floats) _aligned_free(floats)

static int start_thread(unsigned(__stdcall *function)(void *), void *argument) {
    const uintptr_t thread = _beginthreadex(NULL, 0, function, argument, 0, NULL);
    if (thread != 0)
        CloseHandle((HANDLE)thread);
    return thread != 0;
}
#else
#include <pthread.h>

typedef pthread_mutex_t Lock;
typedef pthread_cond_t Signal;
#define LOCK_INITIALIZER PTHREAD_MUTEX_INITIALIZER
#define SIGNAL_INITIALIZER PTHREAD_COND_INITIALIZER
#define lock(mutex) pthread_mutex_lock(mutex)
#define unlock(mutex) pthread_mutex_unlock(mutex)
#define wait_for(signal, mutex) pthread_cond_wait(signal, mutex)
#define wake_one(signal) pthread_cond_signal(signal)
#define wake_all(signal) pthread_cond_broadcast(signal)
#define THREAD_FUNCTION(NAME) static void *NAME(void *argument)
#define drop_floats(floats) free(floats)

static void *floats_for(size_t size) {
    void *floats;
    return posix_memalign(&floats, 64, size * sizeof(float)) == 0 ? floats : NULL;
}

static int start_thread(void *(*function)(void *), void *argument) {
    pthread_t thread;
    return pthread_create(&thread, NULL, function, argument) == 0 && pthread_detach(thread) == 0;
}
#endif

enum { MOST_THREADS = 256 };

/* Does one unit; `arena` is memory of the thread's own. */
typedef void (*Work)(const void *task, int unit, float *arena);

typedef struct Arena {
    float *floats;
    size_t size;
} Arena;

static struct {
    Lock lock, turn;
    Signal begin, end;
    int started; /* threads, besides callers */
    int wanted;  /* of them for the work at hand */
    int busy;
    unsigned long round;
    Work work;
    const void *task;
    int next, units;
    size_t arena;
    int failed;
} pool = {.lock = LOCK_INITIALIZER,
          .turn = LOCK_INITIALIZER,
          .begin = SIGNAL_INITIALIZER,
          .end = SIGNAL_INITIALIZER};

/* Takes units until there are none left. The lock is held on entry and on return. */
static void take_units(Arena *arena) {
    if (arena->size < pool.arena) {
        drop_floats(arena->floats);
        *arena = (Arena){floats_for(pool.arena), pool.arena};
        if (arena->floats == NULL) {
            arena->size = 0;
            pool.failed = 1;
            return;
        }
    }
    const Work work = pool.work;
    const void *task = pool.task;
    while (pool.next < pool.units && !pool.failed) {
        const int unit = pool.next++;
        unlock(&pool.lock);
        work(task, unit, arena->floats);
        lock(&pool.lock);
    }
}

THREAD_FUNCTION(pool_thread) {
    const int me = (int)(size_t)argument;
    Arena arena = {NULL, 0};
    unsigned long seen = 0;
    lock(&pool.lock);
    for (;;) {
        while (pool.round == seen || me >= pool.wanted) {
            seen = pool.round;
            wait_for(&pool.begin, &pool.lock);
        }
        seen = pool.round;
        take_units(&arena);
        if (--pool.busy == 0)
            wake_one(&pool.end);
    }
    return 0;
}

/* Does units 0 to units - 1 on up to `threads` threads, each with `arena` floats of its own; returns 0 where memory
 * is short. One caller at a time, others wait. */
static int pool_run(Work work, const void *task, int units, int threads, size_t arena) {
    static Arena callers = {NULL, 0};
    int helpers = (threads < units ? threads : units) - 1;
    if (helpers > MOST_THREADS)
        helpers = MOST_THREADS;
    lock(&pool.turn);
    lock(&pool.lock);
    while (pool.started < helpers && start_thread(pool_thread, (void *)(size_t)pool.started))
        pool.started++;
    if (helpers > pool.started)
        helpers = pool.started;
    pool.work = work;
    pool.task = task;
    pool.next = 0;
    pool.units = units;
    pool.arena = arena;
    pool.failed = 0;
    pool.wanted = pool.busy = helpers;
    pool.round++;
    if (helpers > 0)
        wake_all(&pool.begin);
    take_units(&callers);
    while (pool.busy > 0)
        wait_for(&pool.end, &pool.lock);
    const int done = !pool.failed;
    unlock(&pool.lock);
    unlock(&pool.turn);
    return done;
}

#ifndef _WIN32
/* A forked child has none of the threads. */
static void pool_forget(void) {
    pthread_mutex_init(&pool.lock, NULL);
    pthread_mutex_init(&pool.turn, NULL);
    pthread_cond_init(&pool.begin, NULL);
    pthread_cond_init(&pool.end, NULL);
    pool.started = 0;
}

static __attribute__((constructor)) void pool_watch_forks(void) {
    pthread_atfork(NULL, NULL, pool_forget);
}
#endif

#endif
