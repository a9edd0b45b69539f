// Fresh results: a bounded cache of blocks on huge pages, as a NEP 49 handler.
//
// A large new array costs more in page faults than in arithmetic.  Blocks that results leave behind are kept
// for the next ones: never more than the limit, and none longer than the idle time.  The handler is set
// around our own allocations only; it is static, so it outlives every array that remembers it, and it knows
// its blocks by address, so it does not matter what size a free comes with.  What does not fit its table, or
// cannot be mapped, is left to malloc.
#pragma once
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "loops/thread.h"

enum { MAX_BLOCKS = 512 };
static const int64_t SECOND = 1000000000, IDLE_TIME = 10 * SECOND;
static const size_t HUGE_PAGE = 2u << 20;

struct MemoryBlock {
    char* start;
    size_t capacity;
    bool live;           // an array owns it
    int64_t idle_since;  // of a block that none owns
};

static struct {
    pthread_mutex_t mutex;
    MemoryBlock blocks[MAX_BLOCKS];
    int count;
    size_t held, reused;        // held: bytes of idle blocks
    std::atomic<size_t> limit;  // also read without the mutex
    int64_t idle_time;
    bool trimmer;  // a thread is waiting to give idle blocks back
} memory_cache = {PTHREAD_MUTEX_INITIALIZER, {}, 0, 0, 0, {0}, IDLE_TIME, false};

static int64_t nanoseconds() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

// The bytes of a block for so many, 0 where they cannot be counted.
static size_t block_capacity(size_t size) {
    return size > SIZE_MAX - HUGE_PAGE ? 0 : (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
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
    const MemoryBlock& block = memory_cache.blocks[index];
    memory_cache.held -= block.capacity;
    munmap(block.start, block.capacity);
    forget_block(index);
}

static void evict_oldest() {
    int oldest = -1;
    for (int i = 0; i < memory_cache.count; i++) {
        const MemoryBlock& b = memory_cache.blocks[i];
        if (!b.live && (oldest < 0 || b.idle_since < memory_cache.blocks[oldest].idle_since)) oldest = i;
    }
    evict_block(oldest);
}

// Gives idle blocks back until no more than `limit` bytes are held.
static void shrink_to(size_t limit) {
    while (memory_cache.held > limit) evict_oldest();
}

// --- idle blocks go back by themselves -----------------------------------------------------------------

// Evicts what has been idle for too long; how long the next block may still stay.
static int64_t trim_blocks() {
    const int64_t now = nanoseconds();
    int64_t next = memory_cache.idle_time;
    for (int i = memory_cache.count - 1; i >= 0; i--) {
        const MemoryBlock& block = memory_cache.blocks[i];
        if (block.live) continue;
        const int64_t left = block.idle_since + memory_cache.idle_time - now;
        if (left <= 0) evict_block(i);
        else if (left < next) next = left;
    }
    return next;
}

static void* trim_main(void*) {
    pthread_setname_np(pthread_self(), "fastrelu-trim");
    for (;;) {
        pthread_mutex_lock(&memory_cache.mutex);
        const int64_t next = trim_blocks();
        const bool finished = memory_cache.held == 0;
        if (finished) memory_cache.trimmer = false;
        pthread_mutex_unlock(&memory_cache.mutex);
        if (finished) return nullptr;
        const timespec time = {next / SECOND, next % SECOND};
        nanosleep(&time, nullptr);
    }
}

static bool start_trimmer() {
    if (!memory_cache.trimmer) memory_cache.trimmer = start_detached_thread(trim_main, nullptr);
    return memory_cache.trimmer;
}

static void memory_before_fork() { pthread_mutex_lock(&memory_cache.mutex); }
static void memory_after_fork() { pthread_mutex_unlock(&memory_cache.mutex); }
static void memory_in_child() {
    memory_cache.trimmer = false;  // threads do not survive a fork
    shrink_to(0);  // idle blocks would be copied when written, and kept from the system if they are not
    pthread_mutex_unlock(&memory_cache.mutex);
}

// --- the handler ---------------------------------------------------------------------------------------

// An idle block for so many bytes, or null.
static char* take_block(size_t size) {
    int best = -1;
    for (int i = 0; i < memory_cache.count; i++) {
        const MemoryBlock& b = memory_cache.blocks[i];
        // not much larger than asked for, or small arrays would hold large blocks
        if (b.live || b.capacity < size || b.capacity - size > size / 4 + HUGE_PAGE) continue;
        if (best < 0 || b.capacity < memory_cache.blocks[best].capacity) best = i;
    }
    if (best < 0) return nullptr;
    MemoryBlock& b = memory_cache.blocks[best];
    b.live = true;
    memory_cache.held -= b.capacity;
    memory_cache.reused++;
    return b.start;
}

// Fresh memory on huge pages, or null.
static char* map_block(size_t capacity) {
    char* mapped = (char*)mmap(nullptr, capacity + HUGE_PAGE, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == (char*)MAP_FAILED) return nullptr;
    char* start = (char*)(((uintptr_t)mapped + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    if (start != mapped) munmap(mapped, start - mapped);
    munmap(start + capacity, mapped + HUGE_PAGE - start);
    madvise(start, capacity, MADV_HUGEPAGE);
    return start;
}

static void* cached_malloc(void*, size_t size) {
    // a finalizer that runs while the handler is set may ask for anything
    if (size < HUGE_PAGE) return malloc(size);
    const size_t capacity = block_capacity(size);
    pthread_mutex_lock(&memory_cache.mutex);
    char* start = take_block(size);
    if (!start && memory_cache.count == MAX_BLOCKS && memory_cache.held) evict_oldest();
    const bool room = memory_cache.count < MAX_BLOCKS;
    pthread_mutex_unlock(&memory_cache.mutex);
    if (start) return start;
    if (!room || !capacity || !(start = map_block(capacity))) return malloc(size);
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
        block.idle_since = nanoseconds();
        memory_cache.held += block.capacity;
        // without a trimmer nobody would give it back
        if (block.capacity > memory_cache.limit || !start_trimmer()) evict_block(index);
        else shrink_to(memory_cache.limit);
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
    const size_t before = index < 0 ? 0 : memory_cache.blocks[index].capacity;
    const size_t after = block_capacity(size ? size : 1);
    if (after && after < before) {  // a shrunken array does not keep the rest
        munmap((char*)start + after, before - after);
        memory_cache.blocks[index].capacity = after;
    }
    pthread_mutex_unlock(&memory_cache.mutex);
    if (index < 0) return realloc(start, size);
    if (size <= before) return start;
    void* moved = cached_malloc(context, size);
    if (!moved) return nullptr;
    memcpy(moved, start, before);
    cached_free(context, start, before);
    return moved;
}

// --- settings ------------------------------------------------------------------------------------------

static void set_memory_limit(size_t limit) {
    pthread_mutex_lock(&memory_cache.mutex);
    memory_cache.limit = limit;
    shrink_to(limit);
    pthread_mutex_unlock(&memory_cache.mutex);
}

// From the next time that a trimmer looks.
static void set_memory_idle_time(int64_t time) {
    pthread_mutex_lock(&memory_cache.mutex);
    memory_cache.idle_time = time;
    pthread_mutex_unlock(&memory_cache.mutex);
}

struct MemoryState {
    size_t held, reused;
};

static MemoryState memory_state() {
    pthread_mutex_lock(&memory_cache.mutex);
    const MemoryState state = {memory_cache.held, memory_cache.reused};
    pthread_mutex_unlock(&memory_cache.mutex);
    return state;
}
