// Sums of many numbers in a fixed order. No defines.

struct SumPiecesArgs {
    // Rows of `stride` numbers, of which `width` are summed.
    const float* pieces;
    float* out;
    int count;
    int width;
    int stride;
    // Whether the sums are added to what is there.
    int accumulate;
};

// out = Σ over pieces, for out: [width]: the second step of sums over rows. Grid: width / 256, rounded up. Block: 256.
KERNEL(sum_pieces, SumPiecesArgs, 256) {
    const long long column = global_thread();
    if (column >= args.width) return;
    float sum = 0.0f;
    for (int piece = 0; piece < args.count; piece++) {
        sum += args.pieces[static_cast<long long>(piece) * args.stride + column];
    }
    args.out[column] = args.accumulate ? args.out[column] + sum : sum;
}

struct Numbers {
    const float* values;
    long long count;
};

// Numbers of one tensor that a block takes: CHUNK from chunk · CHUNK on.
struct Chunk {
    unsigned tensor;
    unsigned chunk;
};

inline constexpr int CHUNK = 16 * 1024;

struct SquaresArgs {
    const Numbers* tensors;
    // [chunks]: for each tensor in order count / CHUNK, rounded up.
    const Chunk* chunks;
    // [chunks].
    double* sums;
};

// The sum of squares of each chunk, in f64: no finite f32 is too large for it, so that the total is infinite or NaN
// exactly where a number is. Grid: chunks. Block: 256.
KERNEL(squares_of_chunks, SquaresArgs, 256) {
    const Chunk own = args.chunks[blockIdx.x];
    const Numbers tensor = args.tensors[own.tensor];
    const long long begin = static_cast<long long>(own.chunk) * CHUNK;
    const long long end = tensor.count - begin < CHUNK ? tensor.count : begin + CHUNK;
    double sum = 0.0;
    for (long long first = begin + threadIdx.x * PACK; first < end; first += 256 * PACK) {
        const Pack pack = load_pack(tensor.values + first, pack_length(end, first));
        for (int i = 0; i < PACK; i++) sum += static_cast<double>(pack.at[i]) * pack.at[i];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) args.sums[blockIdx.x] = sum;
}

struct TotalArgs {
    const double* sums;
    // One number.
    double* total;
    long long count;
};

// total = Σ sums. Grid: 1. Block: 256.
KERNEL(total_of_chunks, TotalArgs, 256) {
    double sum = 0.0;
    for (long long i = threadIdx.x; i < args.count; i += 256) sum += args.sums[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *args.total = sum;
}

struct SumArgs {
    const float* values;
    // One number.
    float* total;
    long long count;
    double factor;
};

// total = factor · Σ values, summed in f64: the loss of all rows. Grid: 1. Block: 256.
KERNEL(sum_of_values, SumArgs, 256) {
    double sum = 0.0;
    for (long long i = threadIdx.x; i < args.count; i += 256) sum += args.values[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *args.total = static_cast<float>(args.factor * sum);
}
