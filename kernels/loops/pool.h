// A small thread pool of our own: OpenMP's hangs in a forked child, and a second OpenMP runtime in one
// process breaks others.
//
// One parallel region at a time: whoever finds the pool busy, a worker included, runs its work alone.
// Workers start with the first region that needs them and belong to the process that started them; a
// forked child finds another process id, forgets them and starts its own.
#pragma once
#include <atomic>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

typedef void (*Share)(void* work, int index, int threads);

enum { MAX_THREADS = 256 };

struct Pool {
    pthread_mutex_t mutex;
    pthread_cond_t start, done;
    unsigned long generation;  // counts the regions; a worker waits for the next
    int workers, threads, pending;
    Share share;
    void* work;
};

static std::atomic<Pool*> the_pool{nullptr};
static std::atomic<pid_t> pool_owner{0};
static std::atomic<int> pool_busy{0};

static void* worker_main(void* argument) {
    const int index = (int)(size_t)argument;  // 1, 2, ...: the caller itself is 0
    Pool& pool = *the_pool.load();
    unsigned long seen = 0;
    pthread_mutex_lock(&pool.mutex);
    for (;;) {
        while (pool.generation == seen) pthread_cond_wait(&pool.start, &pool.mutex);
        seen = pool.generation;
        if (index >= pool.threads) continue;
        const Share share = pool.share;
        void* const work = pool.work;
        const int threads = pool.threads;
        pthread_mutex_unlock(&pool.mutex);
        share(work, index, threads);
        pthread_mutex_lock(&pool.mutex);
        if (--pool.pending == 0) pthread_cond_signal(&pool.done);
    }
    return nullptr;
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

static void add_workers(Pool& pool, int wanted) {
    sigset_t all, before;
    sigfillset(&all);  // signals are for the interpreter's thread
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    while (pool.workers < wanted &&
           pthread_create(&thread, &attributes, worker_main, (void*)(size_t)(pool.workers + 1)) == 0)
        pool.workers++;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

static void run_in_parallel(Share share, void* work, int threads) {
    // the owner is part of the mark, so a mark set in the parent at a fork does not block the child
    const int me = (int)getpid();
    int busy = pool_busy.load();
    Pool* pool = nullptr;
    if (busy != me && pool_busy.compare_exchange_strong(busy, me)) pool = own_pool();
    else return share(work, 0, 1);
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (pool && pool->workers < threads - 1) {
        pthread_mutex_lock(&pool->mutex);
        add_workers(*pool, threads - 1);
        pthread_mutex_unlock(&pool->mutex);
    }
    if (!pool || pool->workers == 0) {
        share(work, 0, 1);
    } else {
        if (threads > pool->workers + 1) threads = pool->workers + 1;
        pthread_mutex_lock(&pool->mutex);
        pool->share = share;
        pool->work = work;
        pool->threads = threads;
        pool->pending = threads - 1;
        pool->generation++;
        pthread_cond_broadcast(&pool->start);
        pthread_mutex_unlock(&pool->mutex);
        share(work, 0, threads);
        pthread_mutex_lock(&pool->mutex);
        while (pool->pending) pthread_cond_wait(&pool->done, &pool->mutex);
        pthread_mutex_unlock(&pool->mutex);
    }
    pool_busy.store(0);
}
