// Fresh results: a bounded cache of blocks on huge pages, as a NEP 49 handler.
//
// A large new array costs more in page faults than in arithmetic.  Blocks that results leave behind are kept
// for the next ones: never more than the limit, and none longer than IDLE_SECONDS.  The handler is set around
// our own allocations only; it is static, so it outlives every array that remembers it, and it knows its
// blocks by address, so it does not matter what size a free comes with.  What does not fit its table, or
// cannot be mapped, is left to malloc.
#pragma once
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MAX_BLOCKS = 512, IDLE_SECONDS = 10 };
static const size_t HUGE_PAGE = 2u << 20;

struct MemoryBlock {
    char* start;
    size_t capacity;
    bool live;          // an array owns it
    time_t idle_since;  // of a block that none owns
};

static struct {
    pthread_mutex_t mutex;
    MemoryBlock blocks[MAX_BLOCKS];
    int count;
    size_t limit, held, reused;  // held: bytes of idle blocks
    bool trimmer;                // a thread is waiting to give idle blocks back
} memory_cache = {PTHREAD_MUTEX_INITIALIZER, {}, 0, 0, 0, 0, false};

static time_t coarse_seconds() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec;
}

// --- under the mutex -----------------------------------------------------------------------------------

static void forget_block(int index) {
    memory_cache.blocks[index] = memory_cache.blocks[--memory_cache.count];
}

static int find_block(const void* start) {
    for (int i = 0; i < memory_cache.count; i++)
        if (memory_cache.blocks[i].start == start) return i;
    return -1;
}

static void evict_block(int index) {
    MemoryBlock& block = memory_cache.blocks[index];
    memory_cache.held -= block.capacity;
    munmap(block.start, block.capacity);
    forget_block(index);
}

// Gives idle blocks back, the oldest first, until no more than `limit` bytes are held.
static void shrink_to(size_t limit) {
    while (memory_cache.held > limit) {
        int oldest = -1;
        for (int i = 0; i < memory_cache.count; i++) {
            const MemoryBlock& b = memory_cache.blocks[i];
            if (!b.live && (oldest < 0 || b.idle_since < memory_cache.blocks[oldest].idle_since)) oldest = i;
        }
        evict_block(oldest);
    }
}

// --- idle blocks go back by themselves -----------------------------------------------------------------

static void* trim_main(void*) {
    for (;;) {
        sleep(1);
        pthread_mutex_lock(&memory_cache.mutex);
        const time_t now = coarse_seconds();
        for (int i = memory_cache.count - 1; i >= 0; i--) {
            const MemoryBlock& block = memory_cache.blocks[i];
            if (!block.live && now - block.idle_since >= IDLE_SECONDS) evict_block(i);
        }
        const bool finished = memory_cache.held == 0;
        if (finished) memory_cache.trimmer = false;
        pthread_mutex_unlock(&memory_cache.mutex);
        if (finished) return nullptr;
    }
}

static void start_trimmer() {
    if (memory_cache.trimmer) return;
    memory_cache.trimmer = start_detached_thread(trim_main, nullptr);
}

static void memory_before_fork() { pthread_mutex_lock(&memory_cache.mutex); }
static void memory_after_fork() { pthread_mutex_unlock(&memory_cache.mutex); }
static void memory_in_child() {
    memory_cache.trimmer = false;  // threads do not survive a fork
    pthread_mutex_unlock(&memory_cache.mutex);
}

// --- the handler ---------------------------------------------------------------------------------------

static void* cached_malloc(void*, size_t size) {
    pthread_mutex_lock(&memory_cache.mutex);
    int best = -1;
    for (int i = 0; i < memory_cache.count; i++) {
        const MemoryBlock& b = memory_cache.blocks[i];
        // not much larger than asked for, or small arrays would hold large blocks
        if (b.live || b.capacity < size || b.capacity > size + size / 4 + HUGE_PAGE) continue;
        if (best < 0 || b.capacity < memory_cache.blocks[best].capacity) best = i;
    }
    if (best >= 0) {
        MemoryBlock& b = memory_cache.blocks[best];
        b.live = true;
        memory_cache.held -= b.capacity;
        memory_cache.reused++;
        pthread_mutex_unlock(&memory_cache.mutex);
        return b.start;
    }
    const bool full = memory_cache.count == MAX_BLOCKS;
    pthread_mutex_unlock(&memory_cache.mutex);
    const size_t capacity = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    if (full || capacity < size) return malloc(size);
    char* mapped = (char*)mmap(nullptr, capacity + HUGE_PAGE, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == (char*)MAP_FAILED) return malloc(size);
    char* start = (char*)(((uintptr_t)mapped + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    if (start != mapped) munmap(mapped, start - mapped);
    munmap(start + capacity, mapped + HUGE_PAGE - start);
    madvise(start, capacity, MADV_HUGEPAGE);
    pthread_mutex_lock(&memory_cache.mutex);
    const bool tracked = memory_cache.count < MAX_BLOCKS;
    if (tracked) memory_cache.blocks[memory_cache.count++] = {start, capacity, true, 0};
    pthread_mutex_unlock(&memory_cache.mutex);
    if (tracked) return start;
    munmap(start, capacity);
    return malloc(size);
}

static void cached_free(void*, void* start, size_t) {
    if (!start) return;
    pthread_mutex_lock(&memory_cache.mutex);
    const int index = find_block(start);
    if (index >= 0) {
        MemoryBlock& block = memory_cache.blocks[index];
        block.live = false;
        block.idle_since = coarse_seconds();
        memory_cache.held += block.capacity;
        if (block.capacity > memory_cache.limit) evict_block(index);
        else shrink_to(memory_cache.limit);
        if (memory_cache.held) start_trimmer();
    }
    pthread_mutex_unlock(&memory_cache.mutex);
    if (index < 0) free(start);
}

static void* cached_calloc(void* context, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return nullptr;
    void* start = cached_malloc(context, bytes);
    if (start) memset(start, 0, bytes);
    return start;
}

static void* cached_realloc(void* context, void* start, size_t size) {
    if (!start) return cached_malloc(context, size);
    pthread_mutex_lock(&memory_cache.mutex);
    const int index = find_block(start);
    const size_t capacity = index < 0 ? 0 : memory_cache.blocks[index].capacity;
    pthread_mutex_unlock(&memory_cache.mutex);
    if (index < 0) return realloc(start, size);
    if (size <= capacity) return start;
    void* moved = cached_malloc(context, size);
    if (!moved) return nullptr;
    memcpy(moved, start, capacity);
    cached_free(context, start, capacity);
    return moved;
}

static void set_memory_limit(size_t limit) {
    pthread_mutex_lock(&memory_cache.mutex);
    memory_cache.limit = limit;
    shrink_to(limit);
    pthread_mutex_unlock(&memory_cache.mutex);
}
