// Threads that nobody joins: the pool's workers and the trimmer of the memory cache.
#pragma once
#include <pthread.h>
#include <signal.h>

// Whether it could be started.  The thread names itself, for debuggers and /proc.
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
