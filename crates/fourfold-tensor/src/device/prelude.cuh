// What every kernel is written with. No header of CUDA is needed: what C++ has no word for is PTX behind the small
// functions below, and `emulator.h` has them for CPUs.

#ifndef FOURFOLD_EMULATED

// ---- the machine ----------------------------------------------------------------------------------------------------

// A kernel with one parameter, the plain struct `args`: pointers first, then 64-bit numbers, then 32-bit ones, a
// multiple of 8 bytes long. Blocks may have fewer than `threads` threads, in whole warps.
#define KERNEL(name, Args, threads) \
    extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Args args)

// Before a loop over an array that is to lie in registers.
#define UNROLL _Pragma("unroll")
#define PRAGMA(text) _Pragma(#text)
#define UNROLL_BY(count) PRAGMA(unroll count)

// `name` points to the dynamic shared memory of the block.
#define SHARED(type, name)                                             \
    extern __shared__ __align__(16) unsigned char dynamic_shared[];    \
    type* name = reinterpret_cast<type*>(dynamic_shared)

__device__ __forceinline__ float float_from_bf16(unsigned short bits) {
    return __uint_as_float(static_cast<unsigned>(bits) << 16);
}

__device__ __forceinline__ unsigned short bf16_from_float(float value) {
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

__device__ __forceinline__ float float_from_f16(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ __forceinline__ unsigned short f16_from_float(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

// Two numbers in one word, the first in its low half.
__device__ __forceinline__ unsigned two_bf16(float low, float high) {
    unsigned word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}

__device__ __forceinline__ unsigned two_f16(float low, float high) {
    unsigned word;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}

// 2^x to within two units of the last place; numbers below the smallest normal one are 0.
__device__ __forceinline__ float power_of_two(float x) {
    float value;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
    return value;
}

// `d += a · b` for matrices of 16 x 16, 16 x 8 and 16 x 8 numbers, spread over the lanes of a warp. With g = lane / 4
// and m = 2 (lane % 4), two numbers a word:
//   a: rows g, g + 8, g, g + 8 at columns m, m, m + 8, m + 8;  b: rows m, m + 8 of column g;
//   d: row g at columns m, m + 1, then row g + 8.
__device__ __forceinline__ void mma_bf16(float d[4], const unsigned a[4], const unsigned b[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_f16(float d[4], const unsigned a[4], const unsigned b[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Four matrices of 8 x 8 numbers of 16 bits from shared memory: lane 8 i + r names row r of matrix i (16 bytes,
// aligned), and gets of each matrix the numbers 2 (lane % 4) and the next of row lane / 4 (of column lane / 4 where
// transposed).
__device__ __forceinline__ void load_matrices(unsigned out[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void load_matrices_transposed(unsigned out[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// Begins to copy the first `bytes` of 16 aligned bytes to shared memory, and zeros in place of the others.
__device__ __forceinline__ void copy_async(void* to, const void* from, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes)
                 : "memory");
}

// Closes a group of copies.
__device__ __forceinline__ void commit_copies() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits for this thread's copies but for those of the last `PENDING` groups.
template <int PENDING>
__device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

#endif

#define DEVICE __device__ __forceinline__

// The lanes of a warp.
inline constexpr int WARP = 32;
inline constexpr unsigned ALL_LANES = 0xffffffffu;
#define INFINITE __uint_as_float(0x7f800000u)

// ---- number formats -------------------------------------------------------------------------------------------------

typedef float f32;

struct bf16 {
    unsigned short bits;
};

struct f16 {
    unsigned short bits;
};

DEVICE float to_float(f32 value) {
    return value;
}

DEVICE float to_float(bf16 value) {
    return float_from_bf16(value.bits);
}

DEVICE float to_float(f16 value) {
    return float_from_f16(value.bits);
}

// The nearest number of a format, ties to even; and two of them in one word, the first in its low half.
template <class Format>
struct Nearest;

template <>
struct Nearest<f32> {
    static __device__ __forceinline__ f32 to(float value) {
        return value;
    }
};

template <>
struct Nearest<bf16> {
    static __device__ __forceinline__ bf16 to(float value) {
        return bf16{bf16_from_float(value)};
    }
    static __device__ __forceinline__ unsigned two(float low, float high) {
        return two_bf16(low, high);
    }
};

template <>
struct Nearest<f16> {
    static __device__ __forceinline__ f16 to(float value) {
        return f16{f16_from_float(value)};
    }
    static __device__ __forceinline__ unsigned two(float low, float high) {
        return two_f16(low, high);
    }
};

template <class Format>
DEVICE Format nearest(float value) {
    return Nearest<Format>::to(value);
}

// ---- packs: eight numbers that lie side by side ---------------------------------------------------------------------

inline constexpr int PACK = 8;

struct Pack {
    float at[PACK];
};

struct alignas(16) Words {
    unsigned at[4];
};

DEVICE bool is_aligned(const void* pointer) {
    return reinterpret_cast<unsigned long long>(pointer) % 16 == 0;
}

DEVICE int smaller(int a, int b) {
    return a < b ? a : b;
}

DEVICE int larger(int a, int b) {
    return a > b ? a : b;
}

// How many of `count` numbers the pack that begins at `first` has.
DEVICE int pack_length(long long count, long long first) {
    return count - first < PACK ? static_cast<int>(count - first) : PACK;
}

DEVICE void unpack(Pack& pack, const f32* source) {
    for (int half = 0; half < 2; half++) {
        const Words words = reinterpret_cast<const Words*>(source)[half];
        for (int i = 0; i < 4; i++) pack.at[4 * half + i] = __uint_as_float(words.at[i]);
    }
}

template <class Format>
DEVICE void unpack(Pack& pack, const Format* source) {
    const Words words = *reinterpret_cast<const Words*>(source);
    for (int i = 0; i < 4; i++) {
        pack.at[2 * i] = to_float(Format{static_cast<unsigned short>(words.at[i])});
        pack.at[2 * i + 1] = to_float(Format{static_cast<unsigned short>(words.at[i] >> 16)});
    }
}

// The first `length` of eight numbers, the others 0: in loads of 16 bytes where they are whole and aligned.
template <class Format>
DEVICE Pack load_pack(const Format* source, int length) {
    Pack pack;
    if (length == PACK && is_aligned(source)) {
        unpack(pack, source);
    } else {
        for (int i = 0; i < PACK; i++) pack.at[i] = i < length ? to_float(source[i]) : 0.0f;
    }
    return pack;
}

DEVICE void pack_words(f32* target, const Pack& pack) {
    for (int half = 0; half < 2; half++) {
        Words words;
        for (int i = 0; i < 4; i++) words.at[i] = __float_as_uint(pack.at[4 * half + i]);
        reinterpret_cast<Words*>(target)[half] = words;
    }
}

template <class Format>
DEVICE void pack_words(Format* target, const Pack& pack) {
    Words words;
    for (int i = 0; i < 4; i++) words.at[i] = Nearest<Format>::two(pack.at[2 * i], pack.at[2 * i + 1]);
    *reinterpret_cast<Words*>(target) = words;
}

// Writes the first `length` of eight numbers.
template <class Format>
DEVICE void store_pack(Format* target, const Pack& pack, int length) {
    if (length == PACK && is_aligned(target)) {
        pack_words(target, pack);
    } else {
        for (int i = 0; i < PACK; i++) {
            if (i < length) target[i] = nearest<Format>(pack.at[i]);
        }
    }
}

// ---- who am I -------------------------------------------------------------------------------------------------------

// The number of this thread in a launch whose grid and blocks have one dimension.
DEVICE long long global_thread() {
    return static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}

DEVICE int lane() {
    return threadIdx.x % WARP;
}

DEVICE int warp() {
    return threadIdx.x / WARP;
}

// Eight neighbouring numbers of one row, or what is left of it.
struct RowPack {
    int row;
    int first;
    int length;
    // The place of the first one in an array of such rows without gaps.
    long long at;
};

// The packs of `rows` rows of `width` numbers are dealt to the threads of a launch in order: its grid has
// rows · (width / 8 rounded up) / block, rounded up. False for the threads that are left over. There may be 2^32 packs,
// of 2^35 numbers: division in 64 bits takes several times as long.
DEVICE bool own_row_pack(RowPack& own, int rows, int width) {
    const unsigned across = (width + PACK - 1) / PACK;
    const unsigned thread = static_cast<unsigned>(global_thread());
    if (thread >= static_cast<unsigned long long>(rows) * across) return false;
    own.row = static_cast<int>(thread / across);
    own.first = static_cast<int>(thread % across) * PACK;
    own.length = pack_length(width, own.first);
    own.at = static_cast<long long>(own.row) * width + own.first;
    return true;
}

// ---- activations ----------------------------------------------------------------------------------------------------

// The function at x is x times `gate`, its slope there is `slope`.
struct Activation {
    float gate;
    float slope;
};

DEVICE float sigmoid(float x) {
    return 1.0f / (1.0f + expf(-x));
}

// x · sigmoid(factor · x): SiLU, and CLIP's GELU.
DEVICE Activation swish(float factor, float x) {
    const float gate = sigmoid(factor * x);
    return Activation{gate, fmaf(factor * x * gate, 1.0f - gate, gate)};
}

// (1 + tanh u) / 2 = sigmoid(2 u) with u = √(2/π) (x + 0.044715 x³).
DEVICE Activation gelu_tanh(float x) {
    const float two_root = 1.5957691f, cubic = 0.044715f;
    const float gate = sigmoid(two_root * x * fmaf(cubic * x, x, 1.0f));
    const float inner = two_root * fmaf(3.0f * cubic * x, x, 1.0f);
    const float rest = gate * (1.0f - gate);
    // Far out `inner` may be infinite, and `rest` is 0.
    return Activation{gate, rest == 0.0f ? gate : fmaf(x * inner, rest, gate)};
}

// ---- sums over a warp and a block of one dimension, the same in all of their threads, always in the same order ------

struct Add {
    template <class Value>
    __device__ __forceinline__ Value operator()(Value a, Value b) const {
        return a + b;
    }
};

struct Larger {
    template <class Value>
    __device__ __forceinline__ Value operator()(Value a, Value b) const {
        return a > b ? a : b;
    }
};

struct Smaller {
    template <class Value>
    __device__ __forceinline__ Value operator()(Value a, Value b) const {
        return a < b ? a : b;
    }
};

template <class Value, class Combine>
DEVICE Value warp_combine(Value value, Combine combine) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        value = combine(value, __shfl_xor_sync(ALL_LANES, value, distance));
    }
    return value;
}

// `neutral` changes nothing that it is combined with. All threads of the block have to come here.
template <class Value, class Combine>
DEVICE Value block_combine(Value value, Value neutral, Combine combine) {
    __shared__ Value of_warp[WARP];
    value = warp_combine(value, combine);
    if (lane() == 0) of_warp[warp()] = value;
    __syncthreads();
    const int warps = (blockDim.x + WARP - 1) / WARP;
    value = warp_combine(lane() < warps ? of_warp[lane()] : neutral, combine);
    // The next sum writes to `of_warp` again.
    __syncthreads();
    return value;
}

template <class Value>
DEVICE Value warp_sum(Value value) {
    return warp_combine(value, Add());
}

template <class Value>
DEVICE Value block_sum(Value value) {
    return block_combine(value, Value(0), Add());
}

// ---- sums over rows: by column, in two steps ------------------------------------------------------------------------
//
// Blocks of 256 threads sum over pieces of the rows, 32 columns each: grid (width / 32 rounded up, pieces).
// `sum_pieces` (device/kernels/reduce.cu) then adds the pieces. How many rows a piece has must depend on the number of
// rows alone.

inline constexpr int COLUMN_STEP = 256 / WARP;

// What a thread sums: the rows first, first + COLUMN_STEP, ... before `end`; none where there is no such column.
struct ColumnPiece {
    int column;
    int first;
    int end;
};

DEVICE ColumnPiece own_column_piece(int rows, int width, int rows_per_piece) {
    const int column = blockIdx.x * WARP + lane();
    const int begin = blockIdx.y * rows_per_piece;
    const int end = smaller(begin + rows_per_piece, rows);
    return ColumnPiece{column, begin + warp(), column < width ? end : 0};
}

// Writes the sum of what the threads of a column found, in order, to `sums[column]`. All threads of the block have to
// come here.
DEVICE void store_column_sum(float* sums, float sum, const ColumnPiece& piece, int width) {
    __shared__ float of_thread[COLUMN_STEP][WARP];
    of_thread[warp()][lane()] = sum;
    __syncthreads();
    if (warp() == 0 && piece.column < width) {
        float total = 0.0f;
        for (int i = 0; i < COLUMN_STEP; i++) total += of_thread[i][lane()];
        sums[piece.column] = total;
    }
    __syncthreads();
}

// ---- tiles of 16-bit numbers in shared memory, and the fragments of `mma` in them -----------------------------------
//
// Rows of a tile are TILE_GAP numbers longer than they need to be: the eight rows of a small matrix then lie in
// different banks.

inline constexpr int TILE_GAP = 8;

DEVICE void multiply_add(float d[4], const unsigned a[4], const unsigned b[2], bf16) {
    mma_bf16(d, a, b);
}

DEVICE void multiply_add(float d[4], const unsigned a[4], const unsigned b[2], f16) {
    mma_f16(d, a, b);
}

// Whether rows that lie `stride` numbers apart can be copied 16 bytes at a time.
template <class Format>
DEVICE bool rows_are_aligned(const Format* first, long long stride) {
    return is_aligned(first) && stride * sizeof(Format) % 16 == 0;
}

// Begins to load a tile of ROWS x COLUMNS numbers, of which `rows` rows and `columns` columns exist; the others are 0.
// Where `aligned` (see `rows_are_aligned`), the caller has to commit the copies and wait for them; in any case the
// threads of the block have to meet at a barrier before they read.
template <int ROWS, int COLUMNS, int THREADS, class Format>
DEVICE void load_tile(Format* tile, const Format* source, long long stride, int rows, int columns, bool aligned) {
    constexpr int ROW = COLUMNS + TILE_GAP;
    if (aligned) {
        constexpr int ACROSS = COLUMNS / PACK;
        for (int i = threadIdx.x; i < ROWS * ACROSS; i += THREADS) {
            const int row = i / ACROSS, column = i % ACROSS * PACK;
            const int present = row < rows ? larger(0, smaller(PACK, columns - column)) : 0;
            const Format* from = present > 0 ? source + row * stride + column : source;
            copy_async(tile + row * ROW + column, from, present * static_cast<int>(sizeof(Format)));
        }
    } else {
        for (int i = threadIdx.x; i < ROWS * COLUMNS; i += THREADS) {
            const int row = i / COLUMNS, column = i % COLUMNS;
            const bool present = row < rows && column < columns;
            tile[row * ROW + column] = present ? source[row * stride + column] : Format{0};
        }
    }
}

// The left operand of 16 x 16 numbers whose first lies at `tile`, rows ROW numbers apart.
template <int ROW, class Format>
DEVICE void left_operand(unsigned a[4], const Format* tile) {
    load_matrices(a, tile + lane() % 16 * ROW + lane() / 16 * 8);
}

// The same where the tile holds the operand transposed.
template <int ROW, class Format>
DEVICE void left_operand_transposed(unsigned a[4], const Format* tile) {
    load_matrices_transposed(a, tile + (lane() / 16 * 8 + lane() % 8) * ROW + lane() / 8 % 2 * 8);
}

// Two right operands of 16 x 8 numbers side by side, b[0..2] and b[2..4].
template <int ROW, class Format>
DEVICE void right_operands(unsigned b[4], const Format* tile) {
    load_matrices_transposed(b, tile + lane() % 16 * ROW + lane() / 16 * 8);
}

// The same where the tile holds the operands transposed: 16 rows of 16 numbers.
template <int ROW, class Format>
DEVICE void right_operands_transposed(unsigned b[4], const Format* tile) {
    load_matrices(b, tile + (lane() / 16 * 8 + lane() % 8) * ROW + lane() / 8 % 2 * 8);
}

// The left operand that two neighbouring parts of a result make, rounded: 16 x 8 numbers each, as `mma` leaves them.
template <class Format>
DEVICE void as_left_operand(unsigned a[4], const float left[4], const float right[4]) {
    a[0] = Nearest<Format>::two(left[0], left[1]);
    a[1] = Nearest<Format>::two(left[2], left[3]);
    a[2] = Nearest<Format>::two(right[0], right[1]);
    a[3] = Nearest<Format>::two(right[2], right[3]);
}

// Writes PARTS neighbouring parts of a warp's result, 16 rows, to rows of memory: row r times factors[r / 8 of its
// lane], by way of `tile`, 16 rows of shared memory that only this warp uses. `rows` and `columns` exist.
template <int ROW, int PARTS, class Format>
DEVICE void store_result(Format* out, long long stride, int rows, int columns, const float sums[PARTS][4],
                         const float factors[2], Format* tile) {
    UNROLL
    for (int part = 0; part < PARTS; part++) {
        UNROLL
        for (int half = 0; half < 2; half++) {
            Format* at = tile + (lane() / 4 + 8 * half) * ROW + 8 * part + lane() % 4 * 2;
            const float low = sums[part][2 * half] * factors[half], high = sums[part][2 * half + 1] * factors[half];
            *reinterpret_cast<unsigned*>(at) = Nearest<Format>::two(low, high);
        }
    }
    __syncwarp();
    const bool aligned = rows_are_aligned(out, stride);
    for (int i = lane(); i < 16 * PARTS; i += WARP) {
        const int row = i / PARTS, column = i % PARTS * PACK;
        const int present = row < rows ? columns - column : 0;
        const Format* from = tile + row * ROW + column;
        Format* to = out + row * stride + column;
        if (aligned && present >= PACK) {
            *reinterpret_cast<Words*>(to) = *reinterpret_cast<const Words*>(from);
        } else {
            for (int j = 0; j < PACK && j < present; j++) to[j] = from[j];
        }
    }
    // The tile may be written again.
    __syncwarp();
}
