// The limit of what memory can do: a copy with stores past the cache.  Compiled and called by bench/speed.py.
#include <emmintrin.h>
#include <stdint.h>
#include <string.h>

void streaming_copy(char* to, const char* from, size_t bytes) {
    size_t head = -(uintptr_t)to & 15;
    if (head > bytes) head = bytes;
    memcpy(to, from, head);
    to += head, from += head, bytes -= head;
    for (; bytes >= 64; to += 64, from += 64, bytes -= 64)
        for (int i = 0; i < 64; i += 16)
            _mm_stream_si128((__m128i*)(to + i), _mm_loadu_si128((const __m128i*)(from + i)));
    memcpy(to, from, bytes);
    _mm_sfence();
}
