// A small thread pool of our own: OpenMP's hangs in a forked child, and a second OpenMP runtime in one
// process breaks others.
//
// One parallel region at a time: whoever finds the pool busy, a worker included, runs its work alone.
// Workers start with the first region that needs them and belong to the process that started them; a
// forked child forgets them and starts its own.
//
// Work is cut into more parts than threads.  Each thread begins with its own, the same in every call, for
// they may still be in its cache, and then takes what others have left.  So a worker that the system does
// not let run, because all processors are taken, delays nobody: by the time it comes the work is done.
#pragma once
#include <emmintrin.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <atomic>

#include "loops/thread.h"

typedef void (*Share)(void* work, int part, int parts);

enum {
    MAX_THREADS = 256,
    PARTS_EACH = 8,  // of a thread
    // Turns of waiting awake, about 20 microseconds: what a sleeper needs to wake, so that waiting awake at
    // most doubles the cost of having slept.
    SPIN_TURNS = 500
};

struct alignas(64) Worker {
    std::atomic<int> next;  // of its own parts; others take from them too
    std::atomic<bool> asleep;
    pthread_cond_t wake;
};

struct Pool {
    // Number of the region << 16 | its threads, read as one; no threads once its parts are taken.
    std::atomic<unsigned long> region;
    std::atomic<int> inside;  // workers that may be looking at these two
    Share share;
    void* work;
    std::atomic<bool> caller_sleeps, spin;
    pthread_mutex_t mutex;
    pthread_cond_t done;
    Worker worker[MAX_THREADS];  // each sleeps by itself, so that a small region wakes few; 0 is the caller
    int workers;
};

static std::atomic<Pool*> the_pool{nullptr};
static std::atomic<int> pool_owner{0}, pool_busy{0};
// Callers that found the pool busy: they have a use for the processors, so nobody else waits awake.
static std::atomic<int> running_alone{0};

static bool may_wait_awake(const Pool& pool) {
    return pool.spin.load(std::memory_order_relaxed) && !running_alone.load(std::memory_order_relaxed);
}

// The region after `seen`.  `turns` may be waited awake: what is left since the worker was last of use.
static unsigned long next_region(Pool& pool, Worker& self, unsigned long seen, int& turns) {
    unsigned long region;
    for (; turns > 0 && may_wait_awake(pool); turns--) {
        if ((region = pool.region.load()) != seen) return region;
        _mm_pause();
    }
    pthread_mutex_lock(&pool.mutex);
    self.asleep = true;  // before `region` is read: whoever begins one sees a sleeper, or this sees it
    while ((region = pool.region.load()) == seen) pthread_cond_wait(&self.wake, &pool.mutex);
    self.asleep = false;
    pthread_mutex_unlock(&pool.mutex);
    return region;
}

static void take_parts(Pool& pool, int index, int threads) {
    for (int i = 0; i < threads; i++) {
        const int whose = (index + i) % threads;
        std::atomic<int>& next = pool.worker[whose].next;
        for (int part; next.load() < PARTS_EACH && (part = next++) < PARTS_EACH;)
            pool.share(pool.work, whose * PARTS_EACH + part, threads * PARTS_EACH);
    }
}

static void* worker_main(void* argument) {
    pthread_setname_np(pthread_self(), "fastrelu");
    const int index = (int)(size_t)argument;  // 1, 2, ...: the caller itself is 0
    Pool& pool = *the_pool.load();
    int turns = SPIN_TURNS;
    // a region that was begun before this worker existed has no share for it
    for (unsigned long seen = 0;;) {
        seen = next_region(pool, pool.worker[index], seen, turns);
        const int threads = (int)(seen & 0xffff);
        if (index >= threads) continue;
        pool.inside++;  // before `region` is read once more: the caller sees this, or this its end
        if (pool.region.load() == seen) {
            take_parts(pool, index, threads);
            turns = SPIN_TURNS;
        }
        if (--pool.inside == 0 && pool.caller_sleeps.load()) {
            pthread_mutex_lock(&pool.mutex);
            pthread_cond_signal(&pool.done);
            pthread_mutex_unlock(&pool.mutex);
        }
    }
    return nullptr;
}

// Wakes the sleepers among the first workers.
static void wake_workers(Pool& pool, int threads) {
    bool locked = false;
    for (int i = 1; i < threads; i++) {
        if (!pool.worker[i].asleep.load()) continue;
        if (!locked) {  // whoever has called itself asleep waits by the time this gets the mutex
            pthread_mutex_lock(&pool.mutex);
            pthread_mutex_unlock(&pool.mutex);
            locked = true;
        }
        pthread_cond_signal(&pool.worker[i].wake);
    }
}

static void wait_for_workers(Pool& pool) {
    for (int turn = SPIN_TURNS; turn > 0 && may_wait_awake(pool); turn--) {
        if (pool.inside.load() == 0) return;
        _mm_pause();
    }
    pthread_mutex_lock(&pool.mutex);
    pool.caller_sleeps = true;  // before `inside` is read: the last worker sees this, or the caller that
    while (pool.inside.load()) pthread_cond_wait(&pool.done, &pool.mutex);
    pool.caller_sleeps = false;
    pthread_mutex_unlock(&pool.mutex);
}

// The pool of this process.  One inherited through fork has no threads behind it: it is left alone, its
// mutex untouched, for it may have been locked at the fork.
static Pool* own_pool() {
    if (pool_owner.load() == getpid()) return the_pool.load();
    Pool* pool = (Pool*)aligned_alloc(alignof(Pool), sizeof(Pool));
    if (!pool) return nullptr;
    memset((void*)pool, 0, sizeof(Pool));
    pthread_mutex_init(&pool->mutex, nullptr);
    pthread_cond_init(&pool->done, nullptr);
    for (Worker& worker : pool->worker) pthread_cond_init(&worker.wake, nullptr);
    the_pool.store(pool);
    pool_owner.store(getpid());
    return pool;
}

// For pthread_atfork.  The process id alone would not do: a descendant may be given the owner's once more,
// in a new namespace even at once.
static void pool_in_child() {
    pool_owner = 0;
    pool_busy = 0;
    running_alone = 0;
}

// Runs share(work, part, parts) for every part and returns when all are done; on fewer threads where they
// cannot be had.  `processors`: more threads than these never wait awake.
static void run_in_parallel(Share share, void* work, int threads, int processors) {
    // the owner is part of the mark, so a mark set in the parent at a fork does not block the child
    const int me = (int)getpid();
    int busy = pool_busy.load();
    if (busy == me || !pool_busy.compare_exchange_strong(busy, me)) {
        running_alone++;
        share(work, 0, 1);
        running_alone--;
        return;
    }
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
        for (int i = 0; i < threads; i++) pool->worker[i].next = 0;
        const unsigned long number = (pool->region.load() >> 16) + 1;
        pool->region = number << 16 | threads;
        wake_workers(*pool, threads);
        take_parts(*pool, 0, threads);
        pool->region = number << 16;
        wait_for_workers(*pool);
    }
    pool_busy.store(0);
}
