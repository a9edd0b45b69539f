// A CUDA driver that runs nothing and remembers what it was asked: for tests of what reaches a real one.
#include <stdint.h>
#include <string.h>

typedef struct {
    unsigned grid, block, count;  // of the last launch; of all
    unsigned shared, most;        // bytes of the last launch; as many as its kernel may have
    void* stream;
    unsigned char values[16][8];  // of its first parameters
    int pushed, popped, status;
    void* current;
    int version, capturing, mode, loads, mode_of_load;
} Seen;
Seen seen = {.version = 13000};
static void* const CONTEXT = (void*)0x1000;

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int* version) { return *version = seen.version, 0; }
int cuDeviceGetCount(int* count) { return *count = 1, 0; }
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, 0; }
int cuDeviceGetName(char* name, int size, int device) { return strncpy(name, "a device", size), 0; }
int cuDeviceGetAttribute(int* value, int attribute, int device) {
    // compute capability 9.0, shared memory of a block, processors
    return *value = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 97 ? 227 << 10 : 132, 0;
}
int cuDevicePrimaryCtxRetain(void** context, int device) { return *context = CONTEXT, 0; }
int cuCtxGetCurrent(void** context) { return *context = seen.current, 0; }
int cuCtxPushCurrent_v2(void* context) { return seen.pushed++, 0; }
int cuCtxPopCurrent_v2(void** context) { return seen.popped++, 0; }
int cuStreamIsCapturing(void* stream, int* status) { return *status = seen.capturing, 0; }
int cuThreadExchangeStreamCaptureMode(int* mode) {
    int before = seen.mode;
    return seen.mode = *mode, *mode = before, 0;
}
int cuModuleLoadData(void** module, const void* image) {
    seen.loads++, seen.mode_of_load = seen.mode;
    return *module = (void*)0x2000, memcmp(image, "\177ELF", 4) ? 200 : 0;
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
    return *function = (void*)0x3000, strlen(name) ? 0 : 500;
}
int cuFuncSetAttribute(void* function, int attribute, int value) {
    return seen.most = value, attribute == 8 ? 0 : 1;
}
int cuGetErrorString(int status, const char** text) { return *text = "out of order", 0; }
int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned block, unsigned by,
                   unsigned bz, unsigned shared, void* stream, void** parameters, void** extra) {
    seen.grid = x, seen.block = block, seen.stream = stream, seen.shared = shared, seen.count++;
    for (int i = 0; i < 5; i++) memcpy(seen.values[i], parameters[i], 4);
    for (int i = 0; i < 5; i++)
        if ((uintptr_t)parameters[i] % 8 == 0) memcpy(seen.values[i], parameters[i], 8);
    return seen.status;
}

static struct {
    const char* name;
    void* function;
} const ENTRIES[] = {
#define ENTRY(name) {#name, (void*)name},
        ENTRY(cuInit) ENTRY(cuDriverGetVersion) ENTRY(cuDeviceGetCount) ENTRY(cuDeviceGet)
                ENTRY(cuDeviceGetName) ENTRY(cuDeviceGetAttribute) ENTRY(cuDevicePrimaryCtxRetain)
                        ENTRY(cuCtxGetCurrent) ENTRY(cuModuleLoadData) ENTRY(cuModuleGetFunction)
                                ENTRY(cuGetErrorString) ENTRY(cuStreamIsCapturing) ENTRY(cuFuncSetAttribute)
                                        ENTRY(cuThreadExchangeStreamCaptureMode) ENTRY(cuLaunchKernel){
                                                "cuCtxPushCurrent", (void*)cuCtxPushCurrent_v2},
        {"cuCtxPopCurrent", (void*)cuCtxPopCurrent_v2}};

int cuGetProcAddress_v2(const char* name, void** function, int version, uint64_t flags, int* status) {
    *function = strncmp(name, "cuGetProcAddress", 16) ? NULL : (void*)cuGetProcAddress_v2;
    for (unsigned i = 0; i < sizeof ENTRIES / sizeof *ENTRIES; i++)
        if (!strcmp(ENTRIES[i].name, name)) *function = ENTRIES[i].function;
    if (status) *status = *function ? 0 : 1;
    return 0;
}
