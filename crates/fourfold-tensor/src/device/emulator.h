// Runs the kernels on a CPU, to check them: g++ compiles the very sources that NVRTC does, with this file before them
// (`g++ -std=c++17 -O1 -fno-strict-aliasing -fPIC -shared -pthread -DFOURFOLD_EMULATED -include emulator.h`).
//
// A block's threads are fibers that one thread of the system runs in turn; one gives way where it has to wait for
// others: at a barrier of the block, or where the lanes of its warp meet (shuffle, vote, matrix instruction). Mistakes
// that a GPU answers with other numbers now and then, or with none at all, end the process with a message:
//   - a barrier that threads of the block never reach; lanes of a warp that meet at different instructions,
//   - addresses that are not aligned as an instruction wants them,
//   - writing behind the dynamic shared memory that was asked for.
//
// Others change the result: dynamic shared memory is filled with NaN before each block; between two barriers threads run
// in rising order and then, after the next, in falling order, and an asynchronous copy happens as late as it may in one
// stretch and at once in the next. Results are the same on any number of the system's threads, as blocks know nothing of
// each other.
#pragma once

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emulator {

constexpr int LANES = 32;
constexpr int MOST_THREADS = 1024;
constexpr size_t STACK_BYTES = 128 << 10;
constexpr size_t SHARED_BYTES = 227 << 10;
// Behind the dynamic shared memory of a block, where it has any, lie so many bytes that nothing may write.
constexpr size_t GUARD_BYTES = 16 << 10;
constexpr int MOST_COPIES = 64;

struct Index {
    unsigned x, y, z;
};

enum State { FRESH, READY, AT_WARP, AT_BLOCK, DONE };

// 16 bytes on their way to shared memory, zeros after the first `bytes`.
struct Copy {
    void* to;
    const void* from;
    int bytes;
    unsigned group;
};

#ifdef __x86_64__
struct Context {
    void* stack_pointer;
};
#else
typedef ucontext_t Context;
#endif

struct Fiber {
    Context context;
    char* stack;
    Index index;
    State state;
    int thread;
    int copies;
    unsigned groups;
    Copy copy[MOST_COPIES];
};

// Where the lanes of a warp meet. What each brings lies in its slot, and what it takes along is put there.
struct Warp {
    const void* meeting;
    int arrived;
    alignas(16) unsigned char slot[LANES][64];
};

// What one launch is.
struct Launch {
    const char* name;
    void (*kernel)(const void*);
    const void* args;
    Index grid, block;
    unsigned shared_bytes;
    unsigned long long blocks, next;
};

// A thread of the system with the block that it runs.
struct Worker {
    const Launch* launch;
    Index block_index;
    unsigned long long block_number;
    unsigned barriers;
    Context scheduler;
    Fiber* fiber;
    Fiber fibers[MOST_THREADS];
    Warp warps[MOST_THREADS / LANES];
    char* stacks[MOST_THREADS];
    int free_stacks;
    alignas(1024) unsigned char shared[SHARED_BYTES + GUARD_BYTES];
    Worker* next_idle;
};

static thread_local Worker* worker;

[[noreturn]] __attribute__((format(printf, 1, 2))) inline void fail(const char* format, ...) {
    const Index at = worker->block_index;
    fprintf(stderr, "emulated kernel %s, block (%u, %u, %u)", worker->launch->name, at.x, at.y, at.z);
    if (worker->fiber) fprintf(stderr, ", thread %d", worker->fiber->thread);
    fprintf(stderr, ": ");
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fprintf(stderr, "\n");
    abort();
}

// ---- fibers ---------------------------------------------------------------------------------------------------------

extern "C" void fourfold_fiber_main();

#ifdef __x86_64__
// Pushes the registers that a function must keep, leaves one stack for the other, and pops what it left there.
extern "C" void fourfold_switch(void** from, void* to);
asm(R"(
    .text
    .globl fourfold_switch
    .hidden fourfold_switch
    .type fourfold_switch, @function
fourfold_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size fourfold_switch, . - fourfold_switch
)");

inline void switch_context(Context& from, Context& to) {
    fourfold_switch(&from.stack_pointer, to.stack_pointer);
}

inline void begin_context(Context& context, char* stack) {
    // As if `fourfold_fiber_main` had been called: its address, six registers, and the stack off by 8 from 16.
    void** top = reinterpret_cast<void**>(stack + STACK_BYTES) - 2;
    *top = reinterpret_cast<void*>(fourfold_fiber_main);
    context.stack_pointer = top - 6;
}
#else
inline void switch_context(Context& from, Context& to) {
    swapcontext(&from, &to);
}

inline void begin_context(Context& context, char* stack) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = nullptr;
    makecontext(&context, fourfold_fiber_main, 0);
}
#endif

inline void give_way() {
    switch_context(worker->fiber->context, worker->scheduler);
}

extern "C" __attribute__((visibility("hidden"))) void fourfold_fiber_main() {
    worker->launch->kernel(worker->launch->args);
    worker->fiber->state = DONE;
    give_way();
    abort();
}

inline char* take_stack() {
    if (worker->free_stacks > 0) return worker->stacks[--worker->free_stacks];
    const size_t page = 4096;
    const int kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char* memory = static_cast<char*>(mmap(nullptr, STACK_BYTES + page, PROT_READ | PROT_WRITE, kind, -1, 0));
    if (memory == MAP_FAILED) fail("no memory for the stack of a thread");
    // A thread that needs more than its stack meets this page instead of another's stack.
    mprotect(memory, page, PROT_NONE);
    return memory + page;
}

inline void resume(Fiber& fiber) {
    if (fiber.state == FRESH) {
        fiber.stack = take_stack();
        begin_context(fiber.context, fiber.stack);
    }
    fiber.state = READY;
    worker->fiber = &fiber;
    switch_context(worker->scheduler, fiber.context);
    worker->fiber = nullptr;
    if (fiber.state == DONE) worker->stacks[worker->free_stacks++] = fiber.stack;
}

// ---- a block --------------------------------------------------------------------------------------------------------

// Whether threads run in falling order at present.
inline bool falling() {
    return (worker->barriers + worker->block_number) % 2 == 1;
}

// Runs the lanes of a warp until each is done or waits for other warps.
inline void run_warp(int warp) {
    Fiber* lanes = worker->fibers + warp * LANES;
    bool went_on = true;
    while (went_on) {
        went_on = false;
        for (int i = 0; i < LANES; i++) {
            Fiber& fiber = lanes[falling() ? LANES - 1 - i : i];
            if (fiber.state == FRESH || fiber.state == READY) {
                resume(fiber);
                went_on = true;
            }
        }
    }
    for (int i = 0; i < LANES; i++) {
        if (lanes[i].state == AT_WARP) {
            worker->fiber = &lanes[i];
            fail("waits for lanes of its warp that never come");
        }
    }
}

inline void run_block(const Launch& launch, unsigned long long number) {
    Worker& w = *worker;
    w.launch = &launch;
    w.block_number = number;
    w.block_index.x = unsigned(number % launch.grid.x);
    w.block_index.y = unsigned(number / launch.grid.x % launch.grid.y);
    w.block_index.z = unsigned(number / launch.grid.x / launch.grid.y);
    w.barriers = 0;
    w.fiber = nullptr;
    // All bits set are NaN in every format, and -1 as a number.
    const size_t guarded = launch.shared_bytes > 0 ? GUARD_BYTES : 0;
    memset(w.shared, 0xff, launch.shared_bytes + guarded);
    const Index size = launch.block;
    const int threads = int(size.x * size.y * size.z), warps = threads / LANES;
    for (int i = 0; i < threads; i++) {
        Fiber& fiber = w.fibers[i];
        fiber.state = FRESH;
        fiber.thread = i;
        fiber.index = Index{i % size.x, i / size.x % size.y, i / size.x / size.y};
        fiber.copies = 0;
        fiber.groups = 0;
    }
    for (int warp = 0; warp < warps; warp++) w.warps[warp].arrived = 0;
    for (;;) {
        for (int i = 0; i < warps; i++) run_warp(falling() ? warps - 1 - i : i);
        int done = 0, first = -1;
        for (int i = 0; i < threads; i++) {
            if (w.fibers[i].state == DONE) done++;
            else if (first < 0) first = i;
        }
        if (done == threads) break;
        if (done > 0) {
            w.fiber = &w.fibers[first];
            fail("waits at a barrier that %d of %d threads never reach", done, threads);
        }
        for (int i = 0; i < threads; i++) w.fibers[i].state = READY;
        w.barriers++;
    }
    const unsigned char* guard = w.shared + launch.shared_bytes;
    // All bytes are 0xff where the first is and each is as the one before it.
    if (guarded > 0 && (guard[0] != 0xff || memcmp(guard, guard + 1, guarded - 1) != 0)) {
        fail("wrote behind its %u bytes of dynamic shared memory", launch.shared_bytes);
    }
}

// ---- a launch -------------------------------------------------------------------------------------------------------

static pthread_mutex_t idle_lock = PTHREAD_MUTEX_INITIALIZER;
static Worker* idle;

inline Worker* take_worker() {
    pthread_mutex_lock(&idle_lock);
    Worker* found = idle;
    if (found) idle = found->next_idle;
    pthread_mutex_unlock(&idle_lock);
    if (found) return found;
    void* memory = nullptr;
    if (posix_memalign(&memory, 4096, sizeof(Worker)) != 0) abort();
    found = static_cast<Worker*>(memory);
    found->free_stacks = 0;
    return found;
}

inline void* work(void* launch_pointer) {
    Launch& launch = *static_cast<Launch*>(launch_pointer);
    worker = take_worker();
    for (;;) {
        const unsigned long long number = __atomic_fetch_add(&launch.next, 1, __ATOMIC_RELAXED);
        if (number >= launch.blocks) break;
        run_block(launch, number);
    }
    pthread_mutex_lock(&idle_lock);
    worker->next_idle = idle;
    idle = worker;
    pthread_mutex_unlock(&idle_lock);
    worker = nullptr;
    return nullptr;
}

inline void refuse(const char* name, const char* problem) {
    fprintf(stderr, "emulated kernel %s: %s\n", name, problem);
    abort();
}

inline void launch(const char* name, unsigned most_threads, void (*kernel)(const void*), const void* args,
                   const unsigned grid[3], const unsigned block[3], unsigned shared_bytes) {
    const unsigned long long blocks = 1ull * grid[0] * grid[1] * grid[2];
    const Index grid_size = {grid[0], grid[1], grid[2]}, block_size = {block[0], block[1], block[2]};
    Launch launch = {name, kernel, args, grid_size, block_size, shared_bytes, blocks, 0};
    const unsigned long long threads = 1ull * block[0] * block[1] * block[2];
    if (launch.blocks == 0) refuse(name, "an empty grid");
    if (grid[1] > 65535 || grid[2] > 65535) refuse(name, "a grid of more than 65535 in y or z");
    if (threads == 0 || threads % LANES != 0) refuse(name, "a block that is not whole warps");
    if (threads > most_threads) refuse(name, "more threads a block than the kernel was compiled for");
    if (shared_bytes > SHARED_BYTES) refuse(name, "more shared memory than any GPU has");
    long helpers = 0;
    if (launch.blocks > 1 && launch.blocks * threads >= 4096) helpers = sysconf(_SC_NPROCESSORS_ONLN) - 1;
    if (helpers > 31) helpers = 31;
    pthread_t helper[31];
    int started = 0;
    while (started < helpers && pthread_create(&helper[started], nullptr, work, &launch) == 0) started++;
    work(&launch);
    for (int i = 0; i < started; i++) pthread_join(helper[i], nullptr);
}

// ---- what threads of a block do together ----------------------------------------------------------------------------

inline void block_barrier() {
    worker->fiber->state = AT_BLOCK;
    give_way();
}

// Lets the lanes of the warp meet at `act`: each brings `mine`, the last lets `act` turn what all brought into what
// each takes along, which is left in `mine`.
template <class Brought>
inline void meet(void (*act)(Warp&), Brought& mine) {
    static_assert(sizeof(Brought) <= sizeof(Warp::slot[0]), "more than a lane can bring");
    Fiber& fiber = *worker->fiber;
    const int lane = fiber.thread % LANES;
    Warp& warp = worker->warps[fiber.thread / LANES];
    const void* meeting = reinterpret_cast<const void*>(act);
    if (warp.arrived == 0) warp.meeting = meeting;
    if (warp.meeting != meeting) fail("meets lanes of its warp that are at another instruction");
    memcpy(warp.slot[lane], &mine, sizeof mine);
    if (++warp.arrived < LANES) {
        fiber.state = AT_WARP;
        give_way();
    } else {
        act(warp);
        warp.arrived = 0;
        Fiber* lanes = worker->fibers + (fiber.thread - lane);
        for (int i = 0; i < LANES; i++) {
            if (lanes[i].state == AT_WARP) lanes[i].state = READY;
        }
    }
    memcpy(&mine, warp.slot[lane], sizeof mine);
}

template <class Value>
struct Shuffled {
    Value value;
    int source;
};

template <class Value>
inline void act_shuffle(Warp& warp) {
    Shuffled<Value> all[LANES];
    for (int lane = 0; lane < LANES; lane++) memcpy(&all[lane], warp.slot[lane], sizeof all[lane]);
    for (int lane = 0; lane < LANES; lane++) {
        const Value value = all[all[lane].source % LANES].value;
        memcpy(warp.slot[lane], &value, sizeof value);
    }
}

inline int own_lane() {
    return worker->fiber->thread % LANES;
}

inline void demand_all(unsigned mask) {
    if (mask != 0xffffffffu) fail("only whole warps are emulated");
}

template <class Value>
inline Value shuffle(unsigned mask, Value value, int source) {
    demand_all(mask);
    Shuffled<Value> mine = {value, source};
    meet(act_shuffle<Value>, mine);
    return mine.value;
}

inline void act_nothing(Warp&) {}

inline void act_ballot(Warp& warp) {
    unsigned votes = 0, vote;
    for (int lane = 0; lane < LANES; lane++) {
        memcpy(&vote, warp.slot[lane], sizeof vote);
        votes |= (vote != 0) << lane;
    }
    for (int lane = 0; lane < LANES; lane++) memcpy(warp.slot[lane], &votes, sizeof votes);
}

// ---- number formats -------------------------------------------------------------------------------------------------

inline float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

inline uint32_t bits_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

}  // namespace emulator

inline float float_from_bf16(unsigned short bits) {
    return emulator::float_from_bits(uint32_t(bits) << 16);
}

inline unsigned short bf16_from_float(float value) {
    const uint32_t bits = emulator::bits_from_float(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float float_from_f16(unsigned short bits) {
    const uint32_t sign = uint32_t(bits & 0x8000) << 16, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent == 31) return emulator::float_from_bits(sign | 0x7f800000u | (fraction << 13));
    if (exponent > 0) return emulator::float_from_bits(sign | ((exponent + 112) << 23) | (fraction << 13));
    const float size = float(fraction) * 0x1p-24f;
    return sign ? -size : size;
}

inline unsigned short f16_from_float(float value) {
    const uint32_t bits = emulator::bits_from_float(value), sign = (bits >> 16) & 0x8000, size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) return 0x7fff;
    // From 65520 on, halfway to the number that would come next, everything is infinite.
    if (size >= 0x477ff000u) return (unsigned short)(sign | 0x7c00);
    if (size < 0x38800000u) {
        // Multiples of 2^-24; adding 0.5 leaves the nearest one in the low bits, ties to even.
        const float shifted = emulator::float_from_bits(size) + 0.5f;
        return (unsigned short)(sign | (emulator::bits_from_float(shifted) - 0x3f000000u));
    }
    const uint32_t rounded = size + 0xfff + ((size >> 13) & 1);
    return (unsigned short)(sign | ((rounded - 0x38000000u) >> 13));
}

inline unsigned two_bf16(float low, float high) {
    return bf16_from_float(low) | (unsigned(bf16_from_float(high)) << 16);
}

inline unsigned two_f16(float low, float high) {
    return f16_from_float(low) | (unsigned(f16_from_float(high)) << 16);
}

inline float power_of_two(float x) {
    const float value = exp2f(x);
    return value < 0x1p-126f ? 0.0f : value;
}

// ---- matrix instructions and asynchronous copies --------------------------------------------------------------------

namespace emulator {

// What a lane brings to `mma.m16n8k16`, with the layouts of the PTX manual.
struct Fragments {
    uint32_t a[4], b[2];
    float c[4];
};

template <float (*WIDEN)(unsigned short)>
inline void act_mma(Warp& warp) {
    Fragments lanes[LANES];
    float a[16][16], b[16][8];
    for (int lane = 0; lane < LANES; lane++) {
        memcpy(&lanes[lane], warp.slot[lane], sizeof lanes[lane]);
        const int group = lane / 4, member = lane % 4;
        for (int half = 0; half < 2; half++) {
            for (int i = 0; i < 4; i++) {
                const int row = group + 8 * (i % 2), column = 2 * member + half + 8 * (i / 2);
                a[row][column] = WIDEN((unsigned short)(lanes[lane].a[i] >> (16 * half)));
            }
            for (int i = 0; i < 2; i++) {
                b[2 * member + half + 8 * i][group] = WIDEN((unsigned short)(lanes[lane].b[i] >> (16 * half)));
            }
        }
    }
    for (int lane = 0; lane < LANES; lane++) {
        const int group = lane / 4, member = lane % 4;
        float d[4];
        for (int i = 0; i < 4; i++) {
            const int row = group + 8 * (i / 2), column = 2 * member + i % 2;
            float sum = lanes[lane].c[i];
            for (int k = 0; k < 16; k++) sum += a[row][k] * b[k][column];
            d[i] = sum;
        }
        memcpy(warp.slot[lane], d, sizeof d);
    }
}

template <float (*WIDEN)(unsigned short)>
inline void mma(float d[4], const unsigned a[4], const unsigned b[2]) {
    Fragments mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {d[0], d[1], d[2], d[3]}};
    meet(act_mma<WIDEN>, mine);
    memcpy(d, &mine, 4 * sizeof(float));
}

inline void check_shared(const void* address, size_t bytes, size_t alignment) {
    const unsigned char* at = static_cast<const unsigned char*>(address);
    const bool within = at >= worker->shared && at + bytes <= worker->shared + worker->launch->shared_bytes;
    if (!within) fail("an address outside of the dynamic shared memory");
    const bool aligned = reinterpret_cast<uintptr_t>(address) % alignment == 0;
    if (!aligned) fail("a shared address that is no multiple of %zu", alignment);
}

// Four matrices of 8 x 8 numbers of 16 bits; lane 8 i + r brings the address of row r of matrix i.
template <bool TRANSPOSED>
inline void act_load_matrices(Warp& warp) {
    const unsigned short* rows[LANES];
    for (int lane = 0; lane < LANES; lane++) memcpy(&rows[lane], warp.slot[lane], sizeof rows[lane]);
    for (int lane = 0; lane < LANES; lane++) {
        uint32_t found[4];
        for (int matrix = 0; matrix < 4; matrix++) {
            const int outer = lane / 4, inner = 2 * (lane % 4);
            const unsigned short* const* row = rows + 8 * matrix;
            const uint32_t low = TRANSPOSED ? row[inner][outer] : row[outer][inner];
            const uint32_t high = TRANSPOSED ? row[inner + 1][outer] : row[outer][inner + 1];
            found[matrix] = low | (high << 16);
        }
        memcpy(warp.slot[lane], found, sizeof found);
    }
}

template <bool TRANSPOSED>
inline void load_matrices(unsigned out[4], const void* row) {
    check_shared(row, 16, 16);
    union {
        const void* row;
        unsigned found[4];
    } mine;
    mine.row = row;
    meet(act_load_matrices<TRANSPOSED>, mine);
    memcpy(out, mine.found, sizeof mine.found);
}

inline void do_copy(const Copy& copy) {
    unsigned char whole[16] = {};
    memcpy(whole, copy.from, size_t(copy.bytes));
    memcpy(copy.to, whole, sizeof whole);
}

inline void copy_async(void* to, const void* from, int bytes) {
    check_shared(to, 16, 16);
    if (reinterpret_cast<uintptr_t>(from) % 16 != 0) fail("copies 16 bytes from an address that is no multiple of 16");
    if (bytes < 0 || bytes > 16) fail("copies %d of 16 bytes", bytes);
    Fiber& fiber = *worker->fiber;
    const Copy copy = {to, from, bytes, fiber.groups};
    if (falling()) {
        do_copy(copy);
    } else {
        if (fiber.copies == MOST_COPIES) fail("more than %d asynchronous copies at once", MOST_COPIES);
        fiber.copy[fiber.copies++] = copy;
    }
}

// Finishes the copies of all but the last `pending` groups.
inline void wait_for_copies(unsigned pending) {
    Fiber& fiber = *worker->fiber;
    int kept = 0;
    for (int i = 0; i < fiber.copies; i++) {
        if (fiber.copy[i].group + pending < fiber.groups) do_copy(fiber.copy[i]);
        else fiber.copy[kept++] = fiber.copy[i];
    }
    fiber.copies = kept;
}

}  // namespace emulator

inline void mma_bf16(float d[4], const unsigned a[4], const unsigned b[2]) {
    emulator::mma<float_from_bf16>(d, a, b);
}

inline void mma_f16(float d[4], const unsigned a[4], const unsigned b[2]) {
    emulator::mma<float_from_f16>(d, a, b);
}

inline void load_matrices(unsigned out[4], const void* row) {
    emulator::load_matrices<false>(out, row);
}

inline void load_matrices_transposed(unsigned out[4], const void* row) {
    emulator::load_matrices<true>(out, row);
}

inline void copy_async(void* to, const void* from, int bytes) {
    emulator::copy_async(to, from, bytes);
}

inline void commit_copies() {
    emulator::worker->fiber->groups++;
}

template <int PENDING>
inline void wait_for_copies() {
    emulator::wait_for_copies(PENDING);
}

// ---- the names of CUDA ----------------------------------------------------------------------------------------------

#define __device__
#define __forceinline__ inline
// The threads of a block run on one thread of the system, so what is one a thread there is one a block.
#define __shared__ static thread_local
#define threadIdx (emulator::worker->fiber->index)
#define blockIdx (emulator::worker->block_index)
#define blockDim (emulator::worker->launch->block)
#define gridDim (emulator::worker->launch->grid)

inline void __syncthreads() {
    emulator::block_barrier();
}

inline void __syncwarp() {
    unsigned nothing = 0;
    emulator::meet(emulator::act_nothing, nothing);
}

template <class Value>
inline Value __shfl_sync(unsigned mask, Value value, int source) {
    return emulator::shuffle(mask, value, source);
}

template <class Value>
inline Value __shfl_xor_sync(unsigned mask, Value value, int distance) {
    return emulator::shuffle(mask, value, emulator::own_lane() ^ distance);
}

inline unsigned __ballot_sync(unsigned mask, int vote) {
    emulator::demand_all(mask);
    unsigned mine = vote != 0;
    emulator::meet(emulator::act_ballot, mine);
    return mine;
}

inline float __uint_as_float(unsigned bits) {
    return emulator::float_from_bits(bits);
}

inline unsigned __float_as_uint(float value) {
    return emulator::bits_from_float(value);
}

#define UNROLL
#define UNROLL_BY(count)
#define SHARED(type, name) type* name = reinterpret_cast<type*>(emulator::worker->shared)

#define KERNEL(name, Args, threads)                                                                                    \
    static void name##_body(const Args& args);                                                                         \
    static void name##_call(const void* args) { name##_body(*static_cast<const Args*>(args)); }                        \
    extern "C" {                                                                                                       \
    extern const unsigned name##_args_bytes;                                                                           \
    const unsigned name##_args_bytes = sizeof(Args);                                                                   \
    void name##_launch(const void* args, const unsigned grid[3], const unsigned block[3], unsigned shared_bytes) {     \
        emulator::launch(#name, threads, name##_call, args, grid, block, shared_bytes);                                \
    }                                                                                                                  \
    }                                                                                                                  \
    static void name##_body(const Args& args)
