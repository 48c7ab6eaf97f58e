// Attention and its gradient in f32, with fused multiply-adds: what the kernels on tensor cores do, for numbers that
// those do not take. Four threads share a row of a tile; each has every fourth number of it.
//
// Define: HEAD_WIDTH, the numbers of a head, at most 256.

inline constexpr int TILE = HEAD_WIDTH > 128 ? 16 : 32;
inline constexpr int SHARE = 4;
inline constexpr int THREADS = TILE * SHARE;
inline constexpr int EACH = TILE / SHARE;
inline constexpr int NUMBERS = (HEAD_WIDTH + SHARE - 1) / SHARE;
// Odd, so that the same number of neighbouring rows lies in different banks.
inline constexpr int ROW = HEAD_WIDTH | 1;
inline constexpr int PLANE = TILE * ROW;
inline constexpr int WEIGHTS_ROW = TILE + 1;
// Rows that share bounds.
inline constexpr int BOUNDED = 32;

struct AttentionArgs {
    // [rows, (query + 2 · key_value) · width]: query heads, key heads, value heads.
    const float* qkv;
    // [rows] each: row i sees the keys from start[i] up to end[i], itself among them.
    const int* start;
    const int* end;
    // [rows, query · width].
    float* out;
    // [query, rows]: the logarithm of each row's sum of exponentials; null where it is not wanted.
    float* log_sums;
    int rows;
    int query_heads;
    int key_value_heads;
    int pad;
};

// Loads TILE rows of a head, of which `rows` exist; the others are 0.
DEVICE void load(float* tile, const float* source, long long stride, int rows) {
    for (int i = threadIdx.x; i < TILE * HEAD_WIDTH; i += THREADS) {
        const int row = i / HEAD_WIDTH, column = i % HEAD_WIDTH;
        tile[row * ROW + column] = row < rows ? source[row * stride + column] : 0.0f;
    }
}

// Products of row `own` of a tile with every fourth row of another.
DEVICE void multiply(float products[EACH], const float* own, const float* tile) {
    const float* row = tile + threadIdx.x % SHARE * ROW;
    UNROLL
    for (int i = 0; i < EACH; i++) products[i] = 0.0f;
    for (int at = 0; at < HEAD_WIDTH; at++) {
        const float number = own[at];
        UNROLL
        for (int i = 0; i < EACH; i++) products[i] = fmaf(number, row[i * SHARE * ROW + at], products[i]);
    }
}

// sums += weights · tile, for one row of weights and every fourth number of the rows of the tile.
DEVICE void add_products(float sums[NUMBERS], const float* weights, const float* tile) {
    const float* number = tile + threadIdx.x % SHARE;
    for (int row = 0; row < TILE; row++) {
        const float weight = weights[row];
        UNROLL
        for (int i = 0; i < NUMBERS; i++) {
            // The last of a thread's numbers may lie behind the row.
            const bool present = i + 1 < NUMBERS || threadIdx.x % SHARE + SHARE * i < HEAD_WIDTH;
            if (present) sums[i] = fmaf(weight, number[row * ROW + SHARE * i], sums[i]);
        }
    }
}

DEVICE void store(float* row, const float sums[NUMBERS], float factor) {
    UNROLL
    for (int i = 0; i < NUMBERS; i++) {
        const int column = threadIdx.x % SHARE + SHARE * i;
        if (column < HEAD_WIDTH) row[column] = factor * sums[i];
    }
}

// Of the threads that share a row.
template <class Combine>
DEVICE float row_combine(float value, Combine combine) {
    value = combine(value, __shfl_xor_sync(ALL_LANES, value, 1));
    return combine(value, __shfl_xor_sync(ALL_LANES, value, 2));
}

// What any row of a tile sees.
struct Span {
    int lowest;
    int highest;
};

DEVICE Span span_of(const int* start, const int* end, int first, int rows) {
    const int own = first + threadIdx.x;
    const bool counts = threadIdx.x < TILE && own < rows;
    return Span{block_combine(counts ? start[own] : rows, rows, Smaller()),
                block_combine(counts ? end[own] : 0, 0, Larger())};
}

// out = softmax(q · kᵀ / √width) · v over the keys that each row sees. Query head h reads key-value head
// h / (query / key_value).
// Grid: (rows / tile rounded up, query heads), where tile is 16 for widths above 128 and else 32. Block: 4 · tile.
// Shared: 4 · (3 · tile · odd + tile · (tile + 1)) bytes, where odd is the width, or one more where it is even.
KERNEL(attention_forward, AttentionArgs, THREADS) {
    SHARED(float, queries);
    float* keys = queries + PLANE;
    float* values = keys + PLANE;
    const int first = (gridDim.x - 1 - blockIdx.x) * TILE, head = blockIdx.y;
    const int shared_head = head / (args.query_heads / args.key_value_heads);
    const long long stride = static_cast<long long>(args.query_heads + 2 * args.key_value_heads) * HEAD_WIDTH;
    const float* of_keys = args.qkv + (args.query_heads + shared_head) * HEAD_WIDTH;
    const float* of_values = of_keys + args.key_value_heads * HEAD_WIDTH;
    load(queries, args.qkv + first * stride + head * HEAD_WIDTH, stride, args.rows - first);
    const Span span = span_of(args.start, args.end, first, args.rows);

    const int own = threadIdx.x / SHARE, row = first + own, member = threadIdx.x % SHARE;
    const bool exists = row < args.rows;
    const int start = exists ? args.start[row] : 0, end = exists ? args.end[row] : 0;
    float* weights = values + PLANE + own * WEIGHTS_ROW;
    const float scale = 1.0f / sqrtf(float(HEAD_WIDTH));
    float output[NUMBERS] = {}, largest = -INFINITE, sum = 0.0f;
    for (int key = span.lowest; key < span.highest; key += TILE) {
        load(keys, of_keys + key * stride, stride, args.rows - key);
        load(values, of_values + key * stride, stride, args.rows - key);
        __syncthreads();
        float scores[EACH];
        multiply(scores, queries + own * ROW, keys);
        float high = largest;
        UNROLL
        for (int i = 0; i < EACH; i++) {
            const int at = key + member + SHARE * i;
            scores[i] = at >= start && at < end ? scores[i] * scale : -INFINITE;
            high = Larger()(high, scores[i]);
        }
        high = row_combine(high, Larger());
        // A row that has seen nothing yet has no largest score.
        const float base = high == -INFINITE ? 0.0f : high, correction = expf(largest - base);
        largest = high;
        sum *= correction;
        UNROLL
        for (int i = 0; i < EACH; i++) {
            const float weight = expf(scores[i] - base);
            sum += weight;
            weights[member + SHARE * i] = weight;
        }
        UNROLL
        for (int i = 0; i < NUMBERS; i++) output[i] *= correction;
        __syncwarp();
        add_products(output, weights, values);
        __syncthreads();
    }
    sum = row_combine(sum, Add());
    if (!exists) return;
    store(args.out + (static_cast<long long>(row) * args.query_heads + head) * HEAD_WIDTH, output, 1.0f / sum);
    if (args.log_sums && member == 0) {
        args.log_sums[static_cast<long long>(head) * args.rows + row] = largest + logf(sum);
    }
}

struct DeltaArgs {
    // [rows, query · width] both.
    const float* out;
    const float* dy;
    // [query, rows].
    float* delta;
    int rows;
    int query_heads;
};

// delta = Σ out · dy of each row and head. Grid: rows · query heads / 8, rounded up. Block: 256.
KERNEL(attention_delta, DeltaArgs, 256) {
    const unsigned number = static_cast<unsigned>(global_thread() / WARP);
    if (number >= static_cast<long long>(args.rows) * args.query_heads) return;
    const unsigned row = number / args.query_heads, head = number % args.query_heads;
    const long long at = static_cast<long long>(number) * HEAD_WIDTH;
    float sum = 0.0f;
    for (int i = lane(); i < HEAD_WIDTH; i += WARP) sum = fmaf(args.out[at + i], args.dy[at + i], sum);
    sum = warp_sum(sum);
    if (lane() == 0) args.delta[static_cast<long long>(head) * args.rows + row] = sum;
}

// What any row of a tile sees, and what all of them see.
struct Bounds {
    int lowest;
    int highest;
    int all_from;
    int all_to;
};

struct BoundsArgs {
    const int* start;
    const int* end;
    // [rows / 32, rounded up].
    Bounds* bounds;
    int rows;
    int pad;
};

// The bounds of each tile of 32 rows; they depend on the visibility alone, not on the layer.
// Grid: rows / 256, rounded up. Block: 256.
KERNEL(attention_bounds, BoundsArgs, 256) {
    const int row = static_cast<int>(global_thread());
    const bool counts = row < args.rows;
    const int start = counts ? args.start[row] : 0, end = counts ? args.end[row] : 0;
    Bounds bounds;
    bounds.lowest = warp_combine(counts ? start : args.rows, Smaller());
    bounds.highest = warp_combine(counts ? end : 0, Larger());
    bounds.all_from = warp_combine(counts ? start : 0, Larger());
    bounds.all_to = warp_combine(counts ? end : args.rows, Smaller());
    if (lane() == 0 && counts) args.bounds[row / BOUNDED] = bounds;
}

struct AttentionBackwardArgs {
    // As the forward pass had them.
    const float* qkv;
    const int* start;
    const int* end;
    // [rows, query · width].
    const float* dy;
    // [query, rows]: what the forward pass and `attention_delta` wrote.
    const float* log_sums;
    const float* delta;
    // What `attention_bounds` wrote; only `attention_backward_keys` reads it.
    const Bounds* bounds;
    // As `qkv`: the two kernels write all of it between them.
    float* dqkv;
    int rows;
    int query_heads;
    int key_value_heads;
    int pad;
};

// dk and dv of a tile of keys: the query heads that share them one after the other, and of each the tiles of rows that
// see any of the keys.
// Grid: (rows / tile rounded up, key-value heads), where tile is 16 for widths above 128 and else 32. Block: 4 · tile.
// Shared: 4 · (4 · tile · odd + 2 · tile · (tile + 1)) bytes, where odd is the width, or one more where it is even.
KERNEL(attention_backward_keys, AttentionBackwardArgs, THREADS) {
    SHARED(float, keys);
    float* values = keys + PLANE;
    float* queries = values + PLANE;
    float* dy = queries + PLANE;
    const int heads = args.query_heads + 2 * args.key_value_heads, group = args.query_heads / args.key_value_heads;
    const long long stride = static_cast<long long>(heads) * HEAD_WIDTH;
    const long long out_stride = static_cast<long long>(args.query_heads) * HEAD_WIDTH;
    const int first = blockIdx.x * TILE, last = smaller(first + TILE, args.rows), shared_head = blockIdx.y;
    const long long of_keys = first * stride + (args.query_heads + shared_head) * HEAD_WIDTH;
    const long long of_values = of_keys + args.key_value_heads * HEAD_WIDTH;
    load(keys, args.qkv + of_keys, stride, last - first);
    load(values, args.qkv + of_values, stride, last - first);

    const int own = threadIdx.x / SHARE, key = first + own, member = threadIdx.x % SHARE;
    float* weights = dy + PLANE + own * WEIGHTS_ROW;
    float* gradients = weights + TILE * WEIGHTS_ROW;
    const float scale = 1.0f / sqrtf(float(HEAD_WIDTH));
    float dk[NUMBERS] = {}, dv[NUMBERS] = {};
    for (int member_head = 0; member_head < group; member_head++) {
        const int head = shared_head * group + member_head;
        const long long of_head = static_cast<long long>(head) * args.rows;
        for (int row = 0; row < args.rows; row += TILE) {
            const Bounds bounds = args.bounds[row / BOUNDED];
            if (bounds.lowest >= last || bounds.highest <= first) continue;
            load(queries, args.qkv + row * stride + head * HEAD_WIDTH, stride, args.rows - row);
            load(dy, args.dy + row * out_stride + head * HEAD_WIDTH, out_stride, args.rows - row);
            __syncthreads();
            float scores[EACH], products[EACH];
            multiply(scores, keys + own * ROW, queries);
            multiply(products, values + own * ROW, dy);
            UNROLL
            for (int i = 0; i < EACH; i++) {
                const int at = row + member + SHARE * i;
                const bool seen = at < args.rows && key >= args.start[at] && key < args.end[at];
                const float weight = seen ? expf(scores[i] * scale - args.log_sums[of_head + at]) : 0.0f;
                weights[member + SHARE * i] = weight;
                gradients[member + SHARE * i] = seen ? weight * (products[i] - args.delta[of_head + at]) : 0.0f;
            }
            __syncwarp();
            add_products(dv, weights, dy);
            add_products(dk, gradients, queries);
            __syncthreads();
        }
    }
    if (key >= args.rows) return;
    store(args.dqkv + of_keys + own * stride, dk, scale);
    store(args.dqkv + of_values + own * stride, dv, 1.0f);
}

// dq of a tile of rows of one query head.
// Grid: (rows / tile rounded up, query heads). Block and shared memory as for `attention_backward_keys`.
KERNEL(attention_backward_queries, AttentionBackwardArgs, THREADS) {
    SHARED(float, queries);
    float* dy = queries + PLANE;
    float* keys = dy + PLANE;
    float* values = keys + PLANE;
    const int heads = args.query_heads + 2 * args.key_value_heads, group = args.query_heads / args.key_value_heads;
    const long long stride = static_cast<long long>(heads) * HEAD_WIDTH;
    const long long out_stride = static_cast<long long>(args.query_heads) * HEAD_WIDTH;
    const int first = (gridDim.x - 1 - blockIdx.x) * TILE, head = blockIdx.y, shared_head = head / group;
    const float* of_keys = args.qkv + (args.query_heads + shared_head) * HEAD_WIDTH;
    const float* of_values = of_keys + args.key_value_heads * HEAD_WIDTH;
    load(queries, args.qkv + first * stride + head * HEAD_WIDTH, stride, args.rows - first);
    load(dy, args.dy + first * out_stride + head * HEAD_WIDTH, out_stride, args.rows - first);
    const Span span = span_of(args.start, args.end, first, args.rows);

    const int own = threadIdx.x / SHARE, row = first + own, member = threadIdx.x % SHARE;
    const bool exists = row < args.rows;
    const long long at_row = static_cast<long long>(head) * args.rows + row;
    const int start = exists ? args.start[row] : 0, end = exists ? args.end[row] : 0;
    const float log_sum = exists ? args.log_sums[at_row] : 0.0f, delta = exists ? args.delta[at_row] : 0.0f;
    float* gradients = values + PLANE + own * WEIGHTS_ROW;
    const float scale = 1.0f / sqrtf(float(HEAD_WIDTH));
    float dq[NUMBERS] = {};
    for (int key = span.lowest; key < span.highest; key += TILE) {
        load(keys, of_keys + key * stride, stride, args.rows - key);
        load(values, of_values + key * stride, stride, args.rows - key);
        __syncthreads();
        float scores[EACH], products[EACH];
        multiply(scores, queries + own * ROW, keys);
        multiply(products, dy + own * ROW, values);
        UNROLL
        for (int i = 0; i < EACH; i++) {
            const int at = key + member + SHARE * i;
            const float weight = at >= start && at < end ? expf(scores[i] * scale - log_sum) : 0.0f;
            gradients[member + SHARE * i] = weight == 0.0f ? 0.0f : weight * (products[i] - delta);
        }
        __syncwarp();
        add_products(dq, gradients, keys);
        __syncthreads();
    }
    if (exists) store(args.dqkv + row * stride + head * HEAD_WIDTH, dq, scale);
}
