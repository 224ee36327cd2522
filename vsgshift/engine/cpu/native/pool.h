/* Threads that share out numbered units of work, and sleep in between.
 *
 * One set for the process, started with the first work and never ended: torch does the same. The caller
 * works along. Units are handed out as threads become free, so results must not depend on who does which. */
#ifndef GSHIFT_POOL_H
#define GSHIFT_POOL_H

#include <pthread.h>
#include <stdlib.h>

enum { MOST_THREADS = 256 };

/* Does one unit; `arena` is memory of the thread's own. */
typedef void (*Work)(const void *task, int unit, float *arena);

typedef struct Arena {
    float *floats;
    size_t size;
} Arena;

static struct {
    pthread_mutex_t lock, turn;
    pthread_cond_t begin, end;
    int started; /* threads, besides callers */
    int wanted;  /* of them for the work at hand */
    int busy;
    unsigned long round;
    Work work;
    const void *task;
    int next, units;
    size_t arena;
    int failed;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .turn = PTHREAD_MUTEX_INITIALIZER,
          .begin = PTHREAD_COND_INITIALIZER,
          .end = PTHREAD_COND_INITIALIZER};

/* Takes units until there are none left. The lock is held on entry and on return. */
static void take_units(Arena *arena) {
    if (arena->size < pool.arena) {
        free(arena->floats);
        arena->size = pool.arena;
        if (posix_memalign((void **)&arena->floats, 64, arena->size * sizeof(float)) != 0) {
            *arena = (Arena){NULL, 0};
            pool.failed = 1;
            return;
        }
    }
    const Work work = pool.work;
    const void *task = pool.task;
    while (pool.next < pool.units && !pool.failed) {
        const int unit = pool.next++;
        pthread_mutex_unlock(&pool.lock);
        work(task, unit, arena->floats);
        pthread_mutex_lock(&pool.lock);
    }
}

static void *pool_thread(void *number) {
    const int me = (int)(size_t)number;
    Arena arena = {NULL, 0};
    unsigned long seen = 0;
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (pool.round == seen || me >= pool.wanted) {
            seen = pool.round;
            pthread_cond_wait(&pool.begin, &pool.lock);
        }
        seen = pool.round;
        take_units(&arena);
        if (--pool.busy == 0)
            pthread_cond_signal(&pool.end);
    }
    return NULL;
}

/* Does units 0 to units - 1 on up to `threads` threads, each with `arena` floats of its own; returns 0 where memory
 * is short. One caller at a time, others wait. */
static int pool_run(Work work, const void *task, int units, int threads, size_t arena) {
    static Arena callers = {NULL, 0};
    int helpers = (threads < units ? threads : units) - 1;
    if (helpers > MOST_THREADS)
        helpers = MOST_THREADS;
    pthread_mutex_lock(&pool.turn);
    pthread_mutex_lock(&pool.lock);
    while (pool.started < helpers) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, pool_thread, (void *)(size_t)pool.started) != 0)
            break;
        pthread_detach(thread);
        pool.started++;
    }
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
        pthread_cond_broadcast(&pool.begin);
    take_units(&callers);
    while (pool.busy > 0)
        pthread_cond_wait(&pool.end, &pool.lock);
    const int done = !pool.failed;
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&pool.turn);
    return done;
}

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
