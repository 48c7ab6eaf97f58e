// Attention, tile by tile with an online softmax, as in FlashAttention-2 (Dao, arXiv 2307.08691), on tensor cores.
//
// A block takes 64 rows of one query head, 16 a warp, and goes through the keys that any of them sees. As each row sees
// an interval that holds itself, these are one interval. Scores stay in registers; keys of the next tile are on their
// way while weights are computed, values while scores are.
//
// Defines: T, the format (bf16 or f16); HEAD_WIDTH, the numbers of a head, at most 256.

inline constexpr int PADDED = (HEAD_WIDTH + 15) / 16 * 16;
inline constexpr int ROW = PADDED + TILE_GAP;
inline constexpr int ROWS = 64;
inline constexpr int THREADS = ROWS / 16 * WARP;
// Fewer keys leave room for the registers of wide heads.
inline constexpr int KEYS = PADDED > 128 ? 32 : 64;
inline constexpr int STEPS = PADDED / 16;
// Whether a warp's queries stay in registers.
inline constexpr bool HELD = PADDED <= 128;
// What is loaded for each step takes registers that wide heads do not have for all steps at once.
inline constexpr int STEPS_AT_ONCE = HELD ? STEPS : 4;

struct AttentionArgs {
    // [rows, (query + 2 · key_value) · width]: query heads, key heads, value heads.
    const T* qkv;
    // [rows] each: row i sees the keys from start[i] up to end[i], itself among them.
    const int* start;
    const int* end;
    // [rows, query · width].
    T* out;
    // [query, rows]: the logarithm of each row's sum of exponentials; null where it is not wanted.
    float* log_sums;
    int rows;
    int query_heads;
    int key_value_heads;
    int pad;
};

// out = softmax(q · kᵀ / √width) · v over the keys that each row sees. Query head h reads key-value head
// h / (query / key_value).
// Grid: (rows / 64 rounded up, query heads). Block: 128. Shared: 2 · (64 + 2 · keys) · (padded + 8) bytes with `padded`
// the width rounded up to a multiple of 16, `keys` 32 where that is above 128 and else 64. Rows of memory whose heads
// begin at multiples of 16 bytes are read that much at a time.
KERNEL(attention_forward, AttentionArgs, THREADS) {
    SHARED(T, queries);
    T* keys = queries + ROWS * ROW;
    T* values = keys + KEYS * ROW;
    // Later rows see more keys where rows see what is before them: those begin first.
    const int first = (gridDim.x - 1 - blockIdx.x) * ROWS, head = blockIdx.y;
    const int shared_head = head / (args.query_heads / args.key_value_heads);
    const long long stride = static_cast<long long>(args.query_heads + 2 * args.key_value_heads) * HEAD_WIDTH;
    const T* of_queries = args.qkv + first * stride + head * HEAD_WIDTH;
    const T* of_keys = args.qkv + (args.query_heads + shared_head) * HEAD_WIDTH;
    const T* of_values = of_keys + args.key_value_heads * HEAD_WIDTH;
    const bool queries_aligned = rows_are_aligned(of_queries, stride);
    const bool keys_aligned = rows_are_aligned(of_keys, stride), values_aligned = rows_are_aligned(of_values, stride);

    // What any row of the block sees, and what all of them see.
    const int own = first + threadIdx.x;
    const bool counts = threadIdx.x < ROWS && own < args.rows;
    const int lowest = block_combine(counts ? args.start[own] : args.rows, args.rows, Smaller());
    const int highest = block_combine(counts ? args.end[own] : 0, 0, Larger());
    const int all_from = block_combine(counts ? args.start[own] : 0, 0, Larger());
    const int all_to = block_combine(counts ? args.end[own] : args.rows, args.rows, Smaller());

    // A lane has parts of two rows of its warp.
    int start[2], end[2];
    UNROLL
    for (int half = 0; half < 2; half++) {
        const int row = first + warp() * 16 + lane() / 4 + 8 * half;
        start[half] = row < args.rows ? args.start[row] : 0;
        end[half] = row < args.rows ? args.end[row] : 0;
    }

    auto load_keys = [&](int key) {
        const int rows = args.rows - key;
        load_tile<KEYS, PADDED, THREADS>(keys, of_keys + key * stride, stride, rows, HEAD_WIDTH, keys_aligned);
        commit_copies();
    };
    load_tile<ROWS, PADDED, THREADS>(queries, of_queries, stride, args.rows - first, HEAD_WIDTH, queries_aligned);
    load_keys(lowest);

    // Of exponentials to the base 2.
    const float scale = 1.4426950f / sqrtf(float(HEAD_WIDTH));
    T* own_queries = queries + warp() * 16 * ROW;
    unsigned held[HELD ? STEPS : 1][4];
    float output[2 * STEPS][4] = {};
    float largest[2] = {-INFINITE, -INFINITE}, sum[2] = {0.0f, 0.0f};
    for (int key = lowest; key < highest; key += KEYS) {
        load_tile<KEYS, PADDED, THREADS>(values, of_values + key * stride, stride, args.rows - key, HEAD_WIDTH,
                                         values_aligned);
        commit_copies();
        // The keys are there, the values not yet.
        wait_for_copies<1>();
        __syncthreads();
        if constexpr (HELD) {
            if (key == lowest) {
                UNROLL
                for (int step = 0; step < STEPS; step++) left_operand<ROW>(held[step], own_queries + 16 * step);
            }
        }
        float scores[KEYS / 8][4] = {};
        UNROLL_BY(STEPS_AT_ONCE)
        for (int step = 0; step < STEPS; step++) {
            unsigned query[4];
            if constexpr (HELD) {
                UNROLL
                for (int i = 0; i < 4; i++) query[i] = held[step][i];
            } else {
                left_operand<ROW>(query, own_queries + 16 * step);
            }
            UNROLL
            for (int part = 0; part < KEYS / 8; part += 2) {
                unsigned pair[4];
                right_operands_transposed<ROW>(pair, keys + part * 8 * ROW + 16 * step);
                multiply_add(scores[part], query, pair, T());
                multiply_add(scores[part + 1], query, pair + 2, T());
            }
        }
        // All warps are done with the keys.
        __syncthreads();
        if (key + KEYS < highest) load_keys(key + KEYS);

        const bool whole = key >= all_from && key + KEYS <= all_to;
        float correction[2];
        UNROLL
        for (int half = 0; half < 2; half++) {
            float high = largest[half];
            UNROLL
            for (int part = 0; part < KEYS / 8; part++) {
                UNROLL
                for (int i = 2 * half; i < 2 * half + 2; i++) {
                    const int at = key + 8 * part + lane() % 4 * 2 + i % 2;
                    const bool seen = whole || (at >= start[half] && at < end[half]);
                    scores[part][i] = seen ? scores[part][i] * scale : -INFINITE;
                    high = Larger()(high, scores[part][i]);
                }
            }
            high = Larger()(high, __shfl_xor_sync(ALL_LANES, high, 1));
            high = Larger()(high, __shfl_xor_sync(ALL_LANES, high, 2));
            // A row that has seen nothing yet has no largest score.
            const float base = high == -INFINITE ? 0.0f : high;
            correction[half] = power_of_two(largest[half] - base);
            largest[half] = high;
            sum[half] *= correction[half];
            UNROLL
            for (int part = 0; part < KEYS / 8; part++) {
                UNROLL
                for (int i = 2 * half; i < 2 * half + 2; i++) {
                    scores[part][i] = power_of_two(scores[part][i] - base);
                    sum[half] += scores[part][i];
                }
            }
        }
        UNROLL
        for (int part = 0; part < 2 * STEPS; part++) {
            UNROLL
            for (int i = 0; i < 4; i++) output[part][i] *= correction[i / 2];
        }

        // The values are there, the next keys not yet.
        if (key + KEYS < highest) wait_for_copies<1>();
        else wait_for_copies<0>();
        __syncthreads();
        UNROLL
        for (int part = 0; part < KEYS / 8; part += 2) {
            unsigned weights[4];
            as_left_operand<T>(weights, scores[part], scores[part + 1]);
            UNROLL
            for (int step = 0; step < STEPS; step++) {
                unsigned pair[4];
                right_operands<ROW>(pair, values + part * 8 * ROW + 16 * step);
                multiply_add(output[2 * step], weights, pair, T());
                multiply_add(output[2 * step + 1], weights, pair + 2, T());
            }
        }
        // All warps are done with the values.
        __syncthreads();
    }

    float factors[2];
    UNROLL
    for (int half = 0; half < 2; half++) {
        sum[half] += __shfl_xor_sync(ALL_LANES, sum[half], 1);
        sum[half] += __shfl_xor_sync(ALL_LANES, sum[half], 2);
        factors[half] = 1.0f / sum[half];
        const int row = first + warp() * 16 + lane() / 4 + 8 * half;
        if (args.log_sums && lane() % 4 == 0 && row < args.rows) {
            const float log_sum = largest[half] * 0.69314718f + logf(sum[half]);
            args.log_sums[static_cast<long long>(head) * args.rows + row] = log_sum;
        }
    }
    const int own_first = first + warp() * 16;
    const long long out_stride = static_cast<long long>(args.query_heads) * HEAD_WIDTH;
    T* out = args.out + own_first * out_stride + head * HEAD_WIDTH;
    store_result<ROW, 2 * STEPS>(out, out_stride, args.rows - own_first, HEAD_WIDTH, output, factors, own_queries);
}
