// The pool and the memory cache under many threads at once, for ThreadSanitizer: tests/test_native.py.
//
// Says what is wrong and exits with 1; silence is success.
#include <sys/mman.h>
#undef MADV_HUGEPAGE
#define MADV_HUGEPAGE MADV_NOHUGEPAGE  // clearing huge pages would take most of the time
#include "loops/pool.h"
#include "loops/memory.h"

#include <stdio.h>
#include <random>
#include <thread>
#include <vector>

enum { CALLERS = 6, TURNS = 300, WIDEST = 4 };

static std::atomic<int> regions{0};

static void check(bool right, const char* what) {
    if (right) return;
    fprintf(stderr, "%s\n", what);
    _exit(1);
}

// A piece of work as callers bring it: plain memory that only its parts touch.
struct Work {
    int done[WIDEST * PARTS_EACH], parts;
};

static void do_part(void* work, int part, int parts) {
    Work& mine = *(Work*)work;
    if (part == 0) mine.parts = parts;
    if (part == 0 && parts > 1) check(regions++ == 0, "two parallel regions at a time");
    mine.done[part]++;
    for (volatile int i = 0; i < 300; i = i + 1) {}
    if (part == 0 && parts > 1) regions--;
}

static void compute(int threads) {
    Work work = {};
    run_in_parallel(do_part, &work, threads, 2);
    check(work.parts == 1 || work.parts == threads * PARTS_EACH, "other parts than asked for");
    for (int i = 0; i < WIDEST * PARTS_EACH; i++)
        check(work.done[i] == (i < work.parts), "a part not done once");
}

// Blocks carry their owner's mark at both ends: two owners of one would see it.
static void mark(char* start, size_t size, int owner) { start[0] = start[size - 1] = (char)owner; }
static void check_mark(const char* start, size_t size, int owner) {
    check(start[0] == (char)owner && start[size - 1] == (char)owner, "a block with two owners");
}

static void caller(int owner) {
    std::minstd_rand random(owner);
    struct Block {
        char* start;
        size_t size;
    };
    std::vector<Block> blocks;
    for (int turn = 0; turn < TURNS; turn++) {
        compute(1 + random() % WIDEST);
        const size_t size = (1 + random() % 2) * HUGE_PAGE - random() % 1000;
        if (blocks.size() < 4) {
            blocks.push_back({(char*)cached_malloc(nullptr, size), size});
            mark(blocks.back().start, size, owner);
        }
        Block& chosen = blocks[random() % blocks.size()];
        check_mark(chosen.start, chosen.size, owner);
        if (random() % 8 == 0) {
            chosen.start = (char*)cached_realloc(nullptr, chosen.start, size);
            check(chosen.start[0] == (char)owner, "realloc lost the beginning");
            chosen.size = size;
            mark(chosen.start, size, owner);
        } else if (random() % 2) {
            cached_free(nullptr, chosen.start, chosen.size);
            chosen = blocks.back();
            blocks.pop_back();
        }
        if (random() % 30 == 0) set_memory_limit(random() % 8 * HUGE_PAGE);
        check(memory_state().held <= 8 * HUGE_PAGE, "more held than any limit");
    }
    for (const Block& block : blocks) cached_free(nullptr, block.start, block.size);
}

int main() {
    set_memory_limit(8 * HUGE_PAGE);
    set_memory_idle_time(SECOND / 50);  // so that the trimmer takes part
    std::vector<std::thread> callers;
    for (int i = 1; i <= CALLERS; i++) callers.emplace_back(caller, i);
    for (std::thread& thread : callers) thread.join();
    for (int wait = 0; memory_state().held && wait < 500; wait++) usleep(10000);
    check(memory_state().held == 0, "idle blocks stay");
    check(memory_cache.count == 0, "blocks that nobody owns");
    _exit(0);  // the workers sleep on
}
