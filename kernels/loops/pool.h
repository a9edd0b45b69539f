// A small thread pool of our own: OpenMP's hangs in a forked child, and a second OpenMP runtime in one
// process breaks others.
//
// One parallel region at a time: whoever finds the pool busy, a worker included, runs its work alone.
// Workers start with the first region that needs them and belong to the process that started them; a
// forked child finds another process id, forgets them and starts its own.
#pragma once
#include <emmintrin.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>

typedef void (*Share)(void* work, int index, int threads);

enum {
    MAX_THREADS = 256,
    // Turns of waiting awake, about 20 microseconds: what a sleeper needs to wake, so that waiting awake at
    // most doubles the cost of having slept.
    SPIN_TURNS = 500
};

struct Pool {
    std::atomic<unsigned long> region;  // number of the region << 16 | its threads: read as one
    std::atomic<int> pending, sleepers;
    std::atomic<bool> caller_sleeps;
    pthread_mutex_t mutex;
    pthread_cond_t start, done;
    int workers;
    std::atomic<bool> spin;
    Share share;  // these two are stable for a worker that takes part: the caller waits for it
    void* work;
};

static std::atomic<Pool*> the_pool{nullptr};
static std::atomic<int> pool_owner{0}, pool_busy{0};

static bool start_detached_thread(void* (*main)(void*), void* argument) {
    sigset_t all, before;
    sigfillset(&all);  // signals are for the interpreter's thread
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    const bool started = pthread_create(&thread, &attributes, main, argument) == 0;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
}

static unsigned long next_region(Pool& pool, unsigned long seen) {
    unsigned long region;
    for (int turn = pool.spin ? SPIN_TURNS : 0; turn > 0; turn--) {
        if ((region = pool.region.load()) != seen) return region;
        _mm_pause();
    }
    pthread_mutex_lock(&pool.mutex);
    pool.sleepers++;
    while ((region = pool.region.load()) == seen) pthread_cond_wait(&pool.start, &pool.mutex);
    pool.sleepers--;
    pthread_mutex_unlock(&pool.mutex);
    return region;
}

static void* worker_main(void* argument) {
    const int index = (int)(size_t)argument;  // 1, 2, ...: the caller itself is 0
    Pool& pool = *the_pool.load();
    // a region that was begun before this worker existed has no share for it
    for (unsigned long seen = 0;;) {
        seen = next_region(pool, seen);
        const int threads = (int)(seen & 0xffff);
        if (index >= threads) continue;
        pool.share(pool.work, index, threads);
        if (--pool.pending == 0 && pool.caller_sleeps.load()) {
            pthread_mutex_lock(&pool.mutex);
            pthread_cond_signal(&pool.done);
            pthread_mutex_unlock(&pool.mutex);
        }
    }
    return nullptr;
}

static void wait_for_workers(Pool& pool) {
    for (int turn = pool.spin ? SPIN_TURNS : 0; turn > 0; turn--) {
        if (pool.pending.load() == 0) return;
        _mm_pause();
    }
    pthread_mutex_lock(&pool.mutex);
    pool.caller_sleeps = true;
    while (pool.pending.load()) pthread_cond_wait(&pool.done, &pool.mutex);
    pool.caller_sleeps = false;
    pthread_mutex_unlock(&pool.mutex);
}

// The pool of this process.  One inherited through fork has no threads behind it: it is left alone, its
// mutex untouched, for it may have been locked at the fork.
static Pool* own_pool() {
    if (pool_owner.load() == getpid()) return the_pool.load();
    Pool* pool = (Pool*)calloc(1, sizeof(Pool));
    if (!pool) return nullptr;
    pthread_mutex_init(&pool->mutex, nullptr);
    pthread_cond_init(&pool->start, nullptr);
    pthread_cond_init(&pool->done, nullptr);
    the_pool.store(pool);
    pool_owner.store(getpid());
    return pool;
}

// Runs share(work, 0..threads-1, threads) and returns when all are done; on fewer threads where they cannot
// be had.  `processors`: more threads than these never wait awake.
static void run_in_parallel(Share share, void* work, int threads, int processors) {
    // the owner is part of the mark, so a mark set in the parent at a fork does not block the child
    const int me = (int)getpid();
    int busy = pool_busy.load();
    if (busy == me || !pool_busy.compare_exchange_strong(busy, me)) return share(work, 0, 1);
    Pool* pool = own_pool();
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (pool) {
        while (pool->workers < threads - 1 &&
               start_detached_thread(worker_main, (void*)(size_t)(pool->workers + 1)))
            pool->workers++;
        if (threads > pool->workers + 1) threads = pool->workers + 1;
    }
    if (!pool || threads == 1) {
        share(work, 0, 1);
    } else {
        pool->share = share;
        pool->work = work;
        pool->spin = threads <= processors;
        pool->pending = threads - 1;
        pool->region = (((pool->region.load() >> 16) + 1) << 16) | threads;
        if (pool->sleepers.load()) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_broadcast(&pool->start);
            pthread_mutex_unlock(&pool->mutex);
        }
        share(work, 0, threads);
        wait_for_workers(*pool);
    }
    pool_busy.store(0);
}
