// The gradient of attention on tensor cores, from the logarithms of sums that the forward pass left.
//
// With weights p = e^(score - log_sum), dp = dy · vᵀ and delta = Σ dy · y of a row, the gradient of a score is
//     ds = p · (dp - delta),
// and dv = pᵀ · dy, dk = dsᵀ · q / √width, dq = ds · k / √width. One kernel goes through the rows for each tile of keys,
// another through the keys for each tile of rows: both compute scores anew, and no two blocks add to
// the same number.
//
// Defines: T, the format (bf16 or f16); HEAD_WIDTH, the numbers of a head, at most 256.

inline constexpr int PADDED = (HEAD_WIDTH + 15) / 16 * 16;
inline constexpr int ROW = PADDED + TILE_GAP;
inline constexpr int STEPS = PADDED / 16;
// A block keeps a tile of OWN rows or keys, 16 a warp; tiles of PASSING keys or rows pass by, the next one on its way
// where there is room for two.
inline constexpr int WARPS = PADDED > 128 ? 2 : 4;
inline constexpr int OWN = WARPS * 16;
inline constexpr int THREADS = WARPS * WARP;
inline constexpr int PASSING = 32;
inline constexpr int STAGES = PADDED > 128 ? 1 : 2;
inline constexpr int STAGE = 2 * PASSING * ROW;
// Whether the own tile's operands stay in registers.
inline constexpr bool HELD = PADDED <= 64;
// What is loaded for each step takes registers that wide heads do not have for all steps at once.
inline constexpr int STEPS_AT_ONCE = HELD ? STEPS : 4;
// Gradients of keys and values take twice the registers: of wide heads a block computes some columns only.
inline constexpr int COLUMN_BLOCKS = (STEPS + 7) / 8;
inline constexpr int COLUMN_STEPS = (STEPS + COLUMN_BLOCKS - 1) / COLUMN_BLOCKS;

struct DeltaArgs {
    // [rows, query · width] both.
    const T* out;
    const T* dy;
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
    for (int first = lane() * PACK; first < HEAD_WIDTH; first += WARP * PACK) {
        const int length = pack_length(HEAD_WIDTH, first);
        const Pack out = load_pack(args.out + at + first, length), dy = load_pack(args.dy + at + first, length);
        for (int i = 0; i < PACK; i++) sum = fmaf(out.at[i], dy.at[i], sum);
    }
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
    if (lane() == 0 && counts) args.bounds[row / PASSING] = bounds;
}

struct AttentionBackwardArgs {
    // As the forward pass had them.
    const T* qkv;
    const int* start;
    const int* end;
    // [rows, query · width].
    const T* dy;
    // [query, rows]: what the forward pass and `attention_delta` wrote.
    const float* log_sums;
    const float* delta;
    // What `attention_bounds` wrote; only `attention_backward_keys` reads it.
    const Bounds* bounds;
    // As `qkv`: the two kernels write all of it between them.
    T* dqkv;
    int rows;
    int query_heads;
    int key_value_heads;
    int pad;
};

// What both kernels compute of a warp's 16 own rows and all passing ones: products of the first and of the second of
// the two operands that each has.
struct Products {
    float first[PASSING / 8][4];
    float second[PASSING / 8][4];
};

struct OwnOperands {
    unsigned first[HELD ? STEPS : 1][4];
    unsigned second[HELD ? STEPS : 1][4];
};

DEVICE void hold(OwnOperands& held, const T* first, const T* second) {
    if constexpr (HELD) {
        UNROLL
        for (int step = 0; step < STEPS; step++) {
            left_operand<ROW>(held.first[step], first + 16 * step);
            left_operand<ROW>(held.second[step], second + 16 * step);
        }
    }
}

DEVICE void multiply(Products& products, const OwnOperands& held, const T* own_first, const T* own_second,
                     const T* passing_first, const T* passing_second) {
    UNROLL
    for (int part = 0; part < PASSING / 8; part++) {
        UNROLL
        for (int i = 0; i < 4; i++) products.first[part][i] = products.second[part][i] = 0.0f;
    }
    UNROLL_BY(STEPS_AT_ONCE)
    for (int step = 0; step < STEPS; step++) {
        unsigned first[4], second[4];
        if constexpr (HELD) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                first[i] = held.first[step][i];
                second[i] = held.second[step][i];
            }
        } else {
            left_operand<ROW>(first, own_first + 16 * step);
            left_operand<ROW>(second, own_second + 16 * step);
        }
        UNROLL
        for (int part = 0; part < PASSING / 8; part += 2) {
            unsigned pair[4];
            right_operands_transposed<ROW>(pair, passing_first + part * 8 * ROW + 16 * step);
            multiply_add(products.first[part], first, pair, T());
            multiply_add(products.first[part + 1], first, pair + 2, T());
            right_operands_transposed<ROW>(pair, passing_second + part * 8 * ROW + 16 * step);
            multiply_add(products.second[part], second, pair, T());
            multiply_add(products.second[part + 1], second, pair + 2, T());
        }
    }
}

// sums += parts · tile, the columns of the tile from `column` on.
template <int COUNT>
DEVICE void add_products(float sums[2 * COUNT][4], const float parts[PASSING / 8][4], const T* tile, int column) {
    UNROLL
    for (int part = 0; part < PASSING / 8; part += 2) {
        unsigned left[4];
        as_left_operand<T>(left, parts[part], parts[part + 1]);
        UNROLL
        for (int step = 0; step < COUNT; step++) {
            // The last columns of the last block may not be there.
            if (COUNT * COLUMN_BLOCKS > STEPS && COUNT < STEPS && column + 16 * step >= PADDED) break;
            unsigned pair[4];
            right_operands<ROW>(pair, tile + part * 8 * ROW + column + 16 * step);
            multiply_add(sums[2 * step], left, pair, T());
            multiply_add(sums[2 * step + 1], left, pair + 2, T());
        }
    }
}

// Where things are in a row, and how far rows lie apart.
struct Layout {
    long long stride;
    long long out_stride;
    int group;
};

DEVICE Layout layout_of(const AttentionBackwardArgs& args) {
    const long long heads = args.query_heads + 2 * args.key_value_heads;
    return Layout{heads * HEAD_WIDTH, static_cast<long long>(args.query_heads) * HEAD_WIDTH,
                  args.query_heads / args.key_value_heads};
}

inline constexpr float LOG2_E = 1.4426950f;

// dk and dv of a tile of keys: the query heads that share them one after the other, and of each the tiles of rows that
// see any of the keys.
// Grid: (rows / own rounded up, key-value heads, columns) with `padded` the width rounded up to a multiple of 16; own
// is 32 and columns padded / 128 rounded up where that is above 128, else 64 and 1. Block: 2 · own.
// Shared: 2 · (2 · own + 64 · stages) · (padded + 8) bytes; stages is 1 where padded is above 128, else 2.
KERNEL(attention_backward_keys, AttentionBackwardArgs, THREADS) {
    SHARED(T, keys);
    __shared__ float log_sums[STAGES][PASSING], deltas[STAGES][PASSING];
    __shared__ int starts[STAGES][PASSING], ends[STAGES][PASSING];
    T* values = keys + OWN * ROW;
    T* passing = values + OWN * ROW;
    const Layout layout = layout_of(args);
    const int first = blockIdx.x * OWN, last = smaller(first + OWN, args.rows);
    const int shared_head = blockIdx.y, column = blockIdx.z * COLUMN_STEPS * 16;
    const T* of_keys = args.qkv + first * layout.stride + (args.query_heads + shared_head) * HEAD_WIDTH;
    const T* of_values = of_keys + args.key_value_heads * HEAD_WIDTH;
    const bool keys_aligned = rows_are_aligned(of_keys, layout.stride);
    const bool values_aligned = rows_are_aligned(of_values, layout.stride);
    load_tile<OWN, PADDED, THREADS>(keys, of_keys, layout.stride, last - first, HEAD_WIDTH, keys_aligned);
    load_tile<OWN, PADDED, THREADS>(values, of_values, layout.stride, last - first, HEAD_WIDTH, values_aligned);

    // The tiles of rows that see any of the keys lie between these two.
    const int tiles = (args.rows + PASSING - 1) / PASSING;
    auto sees = [&](int tile) {
        const Bounds bounds = args.bounds[tile];
        return bounds.lowest < last && bounds.highest > first;
    };
    int begin = tiles, end = 0;
    for (int tile = threadIdx.x; tile < tiles; tile += THREADS) {
        if (sees(tile)) {
            begin = smaller(begin, tile);
            end = tile + 1;
        }
    }
    begin = block_combine(begin, tiles, Smaller());
    end = block_combine(end, 0, Larger());

    // Loads of a tile of rows what of one query head it takes.
    auto load = [&](int stage, int member, int tile) {
        const int head = shared_head * layout.group + member, row = tile * PASSING, rows = args.rows - row;
        const T* of_queries = args.qkv + row * layout.stride + head * HEAD_WIDTH;
        const T* of_dy = args.dy + row * layout.out_stride + head * HEAD_WIDTH;
        T* queries = passing + stage * STAGE;
        T* dy = queries + PASSING * ROW;
        const bool queries_aligned = rows_are_aligned(of_queries, layout.stride);
        const bool dy_aligned = rows_are_aligned(of_dy, layout.out_stride);
        load_tile<PASSING, PADDED, THREADS>(queries, of_queries, layout.stride, rows, HEAD_WIDTH, queries_aligned);
        load_tile<PASSING, PADDED, THREADS>(dy, of_dy, layout.out_stride, rows, HEAD_WIDTH, dy_aligned);
        commit_copies();
        if (threadIdx.x < PASSING) {
            const int i = threadIdx.x;
            const bool exists = i < rows;
            const long long at = static_cast<long long>(head) * args.rows + row + i;
            // A row that does not exist has weights of 0.
            log_sums[stage][i] = exists ? args.log_sums[at] * LOG2_E : INFINITE;
            deltas[stage][i] = exists ? args.delta[at] : 0.0f;
            starts[stage][i] = exists ? args.start[row + i] : 0;
            ends[stage][i] = exists ? args.end[row + i] : 0;
        }
    };
    auto next_tile = [&](int tile) {
        while (tile < end && !sees(tile)) tile++;
        return tile;
    };

    const float scale = LOG2_E / sqrtf(float(HEAD_WIDTH));
    T* own_keys = keys + warp() * 16 * ROW;
    T* own_values = values + warp() * 16 * ROW;
    OwnOperands held = {};
    float dk[2 * COLUMN_STEPS][4] = {}, dv[2 * COLUMN_STEPS][4] = {};
    int member = 0, tile = begin, stage = 0;
    bool is_first = true;
    load(0, member, tile);
    while (member < layout.group) {
        int next_member = member, next = next_tile(tile + 1);
        if (next == end) {
            next_member++;
            next = begin;
        }
        const bool more = next_member < layout.group;
        if (STAGES == 2 && more) {
            load(1 - stage, next_member, next);
            wait_for_copies<1>();
        } else {
            wait_for_copies<0>();
        }
        __syncthreads();
        if (is_first) hold(held, own_keys, own_values);
        is_first = false;

        const T* queries = passing + stage * STAGE;
        const T* dy = queries + PASSING * ROW;
        Products products;
        multiply(products, held, own_keys, own_values, queries, dy);
        const Bounds bounds = args.bounds[tile];
        const bool whole = first >= bounds.all_from && first + OWN <= bounds.all_to;
        UNROLL
        for (int part = 0; part < PASSING / 8; part++) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                const int key = first + warp() * 16 + lane() / 4 + i / 2 * 8, row = 8 * part + lane() % 4 * 2 + i % 2;
                const bool seen = whole || (key >= starts[stage][row] && key < ends[stage][row]);
                const float weight = power_of_two(fmaf(products.first[part][i], scale, -log_sums[stage][row]));
                products.first[part][i] = seen ? weight : 0.0f;
                products.second[part][i] = seen ? weight * (products.second[part][i] - deltas[stage][row]) : 0.0f;
            }
        }
        add_products<COLUMN_STEPS>(dv, products.first, dy, column);
        add_products<COLUMN_STEPS>(dk, products.second, queries, column);
        __syncthreads();
        if (STAGES == 1 && more) load(0, next_member, next);
        if (STAGES == 2) stage = 1 - stage;
        member = next_member;
        tile = next;
    }

    const int own_first = first + warp() * 16, columns = smaller(COLUMN_STEPS * 16, HEAD_WIDTH - column);
    T* to = args.dqkv + own_first * layout.stride + (args.query_heads + shared_head) * HEAD_WIDTH + column;
    const float of_scores = 1.0f / sqrtf(float(HEAD_WIDTH));
    const float key_factors[2] = {of_scores, of_scores}, value_factors[2] = {1.0f, 1.0f};
    const int rows = args.rows - own_first;
    store_result<ROW, 2 * COLUMN_STEPS>(to, layout.stride, rows, columns, dk, key_factors, own_keys);
    to += args.key_value_heads * HEAD_WIDTH;
    store_result<ROW, 2 * COLUMN_STEPS>(to, layout.stride, rows, columns, dv, value_factors, own_values);
}

// dq of a tile of rows of one query head.
// Grid: (rows / own rounded up, query heads). Block and shared memory as for `attention_backward_keys`.
KERNEL(attention_backward_queries, AttentionBackwardArgs, THREADS) {
    SHARED(T, queries);
    T* dy = queries + OWN * ROW;
    T* passing = dy + OWN * ROW;
    const Layout layout = layout_of(args);
    const int first = (gridDim.x - 1 - blockIdx.x) * OWN, head = blockIdx.y, shared_head = head / layout.group;
    const T* of_queries = args.qkv + first * layout.stride + head * HEAD_WIDTH;
    const T* of_dy = args.dy + first * layout.out_stride + head * HEAD_WIDTH;
    const T* of_keys = args.qkv + (args.query_heads + shared_head) * HEAD_WIDTH;
    const T* of_values = of_keys + args.key_value_heads * HEAD_WIDTH;
    const bool keys_aligned = rows_are_aligned(of_keys, layout.stride);
    const bool values_aligned = rows_are_aligned(of_values, layout.stride);
    load_tile<OWN, PADDED, THREADS>(queries, of_queries, layout.stride, args.rows - first, HEAD_WIDTH,
                                    rows_are_aligned(of_queries, layout.stride));
    load_tile<OWN, PADDED, THREADS>(dy, of_dy, layout.out_stride, args.rows - first, HEAD_WIDTH,
                                    rows_are_aligned(of_dy, layout.out_stride));

    const int own = first + threadIdx.x;
    const bool counts = threadIdx.x < OWN && own < args.rows;
    const int lowest = block_combine(counts ? args.start[own] : args.rows, args.rows, Smaller());
    const int highest = block_combine(counts ? args.end[own] : 0, 0, Larger());
    const int all_from = block_combine(counts ? args.start[own] : 0, 0, Larger());
    const int all_to = block_combine(counts ? args.end[own] : args.rows, args.rows, Smaller());

    // A lane has parts of two rows of its warp.
    int start[2], end[2];
    float log_sum[2], delta[2];
    UNROLL
    for (int half = 0; half < 2; half++) {
        const int row = first + warp() * 16 + lane() / 4 + 8 * half;
        const bool exists = row < args.rows;
        const long long at = static_cast<long long>(head) * args.rows + row;
        start[half] = exists ? args.start[row] : 0;
        end[half] = exists ? args.end[row] : 0;
        log_sum[half] = exists ? args.log_sums[at] * LOG2_E : INFINITE;
        delta[half] = exists ? args.delta[at] : 0.0f;
    }

    auto load = [&](int stage, int key) {
        T* keys = passing + stage * STAGE;
        T* values = keys + PASSING * ROW;
        const int rows = args.rows - key;
        load_tile<PASSING, PADDED, THREADS>(keys, of_keys + key * layout.stride, layout.stride, rows, HEAD_WIDTH,
                                            keys_aligned);
        load_tile<PASSING, PADDED, THREADS>(values, of_values + key * layout.stride, layout.stride, rows, HEAD_WIDTH,
                                            values_aligned);
        commit_copies();
    };

    const float scale = LOG2_E / sqrtf(float(HEAD_WIDTH));
    T* own_queries = queries + warp() * 16 * ROW;
    const T* own_dy = dy + warp() * 16 * ROW;
    OwnOperands held = {};
    float dq[2 * STEPS][4] = {};
    int stage = 0;
    load(0, lowest);
    for (int key = lowest; key < highest; key += PASSING) {
        const bool more = key + PASSING < highest;
        if (STAGES == 2 && more) {
            load(1 - stage, key + PASSING);
            wait_for_copies<1>();
        } else {
            wait_for_copies<0>();
        }
        __syncthreads();
        if (key == lowest) hold(held, own_queries, own_dy);

        const T* keys = passing + stage * STAGE;
        Products products;
        multiply(products, held, own_queries, own_dy, keys, keys + PASSING * ROW);
        const bool whole = key >= all_from && key + PASSING <= all_to;
        UNROLL
        for (int part = 0; part < PASSING / 8; part++) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                const int half = i / 2, at = key + 8 * part + lane() % 4 * 2 + i % 2;
                const bool seen = whole || (at >= start[half] && at < end[half]);
                const float weight = power_of_two(fmaf(products.first[part][i], scale, -log_sum[half]));
                products.second[part][i] = seen ? weight * (products.second[part][i] - delta[half]) : 0.0f;
            }
        }
        add_products<STEPS>(dq, products.second, keys, 0);
        __syncthreads();
        if (STAGES == 1 && more) load(0, key + PASSING);
        if (STAGES == 2) stage = 1 - stage;
    }

    const int own_first = first + warp() * 16;
    const float of_scores = 1.0f / sqrtf(float(HEAD_WIDTH)), factors[2] = {of_scores, of_scores};
    T* to = args.dqkv + own_first * layout.stride + head * HEAD_WIDTH;
    store_result<ROW, 2 * STEPS>(to, layout.stride, args.rows - own_first, HEAD_WIDTH, dq, factors, own_queries);
}
