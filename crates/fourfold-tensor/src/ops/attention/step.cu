// Decoding: new rows of sequences over the keys and values that are kept of earlier ones.
//
// A sequence keeps its keys in one array [capacity, key_value · width] and its values in another. What a new row sees
// is cut into pieces of PIECE keys, so that few rows keep a whole GPU busy: `attend_pieces` weighs the values of each
// piece, `join_pieces` makes one result of them. How a row is cut depends on what it sees alone.
//
// Defines: T, the format of new rows and results; CACHE, that of what is kept.

inline constexpr int PIECE = 256;
inline constexpr int THREADS = 128;
inline constexpr int WIDEST = 256;
// Query heads of one key-value head that a block takes; more of them go to several blocks.
inline constexpr int MEMBERS = 4;
// Threads that share a key while scores are computed.
inline constexpr int SHARE = 8;

// How much of a piece a query head has seen.
struct Seen {
    float largest;
    // Of e^(score - largest).
    float sum;
};

struct StepArgs {
    // [rows, (query + 2 · key_value) · width].
    const T* qkv;
    // [sequences]: where the keys and the values of each begin.
    CACHE* const* keys;
    CACHE* const* values;
    // [rows]: which sequence a row belongs to, and which row of it it is, counted from 0.
    const unsigned* sequences;
    const unsigned* positions;
    // [rows, query, pieces, width] and [rows, query, pieces]: what one kernel leaves for the other.
    float* sums;
    Seen* seen;
    // [rows, query · width].
    T* out;
    int rows;
    int query_heads;
    int key_value_heads;
    // Of a head, at most 256.
    int width;
    // Of the row that sees most: what it sees / PIECE, rounded up.
    int pieces;
    // How many rows a row sees at most, its own counted; 0 where there is no bound.
    int window;
};

// Puts keys and values of the new rows where they belong. To be launched before `attend_pieces`.
// Grid: packs of 2 · rows rows of key_value · width (see `own_row_pack`). Block: 256.
KERNEL(append_to_cache, StepArgs, 256) {
    RowPack own;
    const int columns = args.key_value_heads * args.width;
    if (!own_row_pack(own, 2 * args.rows, columns)) return;
    const int row = own.row / 2, is_value = own.row % 2;
    const long long stride = static_cast<long long>(args.query_heads) * args.width + 2ll * columns;
    const T* from = args.qkv + row * stride + args.query_heads * args.width + is_value * columns + own.first;
    CACHE* to = (is_value ? args.values : args.keys)[args.sequences[row]];
    to += static_cast<long long>(args.positions[row]) * columns + own.first;
    store_pack(to, load_pack(from, own.length), own.length);
}

// What a row sees.
struct Sight {
    int start;
    int end;
};

DEVICE Sight sight_of(const StepArgs& args, int row) {
    const int end = static_cast<int>(args.positions[row]) + 1;
    return Sight{args.window > 0 ? larger(0, end - args.window) : 0, end};
}

// For each piece of what a row sees and each query head: the values weighted by e^(score - largest score), added up.
// Grid: (pieces, key-value heads · (query / key_value / 4 rounded up), rows). Block: 128.
KERNEL(attend_pieces, StepArgs, THREADS) {
    __shared__ float queries[MEMBERS][WIDEST];
    __shared__ float weights[MEMBERS][PIECE];
    __shared__ float parts[MEMBERS][THREADS * PACK];
    const int row = blockIdx.z, width = args.width;
    const Sight sight = sight_of(args, row);
    const int first = sight.start + blockIdx.x * PIECE;
    if (first >= sight.end) return;
    const int count = smaller(PIECE, sight.end - first);

    const int group = args.query_heads / args.key_value_heads, blocks_of_group = (group + MEMBERS - 1) / MEMBERS;
    const int shared_head = blockIdx.y / blocks_of_group, first_member = blockIdx.y % blocks_of_group * MEMBERS;
    const int members = smaller(MEMBERS, group - first_member);
    const int head = shared_head * group + first_member;
    const long long stride = static_cast<long long>(args.query_heads + 2 * args.key_value_heads) * width;
    const long long cache_stride = static_cast<long long>(args.key_value_heads) * width;
    const long long of_piece = first * cache_stride + shared_head * width;
    const CACHE* keys = args.keys[args.sequences[row]] + of_piece;
    const CACHE* values = args.values[args.sequences[row]] + of_piece;

    const float scale = 1.0f / sqrtf(float(width));
    for (int i = threadIdx.x; i < MEMBERS * WIDEST; i += THREADS) {
        const int member = i / WIDEST, column = i % WIDEST;
        const bool present = member < members && column < width;
        const T* query = args.qkv + row * stride + head * width;
        queries[member][column] = present ? to_float(query[member * width + column]) * scale : 0.0f;
    }
    __syncthreads();

    // Scores: the threads that share a key read it side by side, once for all query heads. Every thread takes as many
    // turns, as those of a warp exchange what they found.
    const int sharer = threadIdx.x % SHARE;
    for (int turn = 0; turn < PIECE; turn += THREADS / SHARE) {
        if (turn >= count) break;
        const int key = turn + threadIdx.x / SHARE;
        float scores[MEMBERS] = {};
        for (int column = sharer * PACK; column < width; column += SHARE * PACK) {
            if (key >= count) break;
            const Pack pack = load_pack(keys + key * cache_stride + column, pack_length(width, column));
            UNROLL
            for (int member = 0; member < MEMBERS; member++) {
                UNROLL
                for (int i = 0; i < PACK; i++) {
                    scores[member] = fmaf(queries[member][column + i], pack.at[i], scores[member]);
                }
            }
        }
        UNROLL
        for (int member = 0; member < MEMBERS; member++) {
            float score = scores[member];
            for (int distance = SHARE / 2; distance > 0; distance /= 2) {
                score += __shfl_xor_sync(ALL_LANES, score, distance);
            }
            if (sharer == 0) weights[member][key] = key < count ? score : -INFINITE;
        }
    }
    __syncthreads();

    // Weights: a warp takes a query head.
    static_assert(THREADS / WARP == MEMBERS, "a warp for each query head");
    const long long of_row = static_cast<long long>(row) * args.query_heads + head;
    Seen seen = {-INFINITE, 0.0f};
    for (int key = lane(); key < count; key += WARP) seen.largest = Larger()(seen.largest, weights[warp()][key]);
    seen.largest = warp_combine(seen.largest, Larger());
    for (int key = lane(); key < count; key += WARP) {
        const float weight = expf(weights[warp()][key] - seen.largest);
        weights[warp()][key] = weight;
        seen.sum += weight;
    }
    seen.sum = warp_sum(seen.sum);
    if (lane() == 0 && warp() < members) args.seen[(of_row + warp()) * args.pieces + blockIdx.x] = seen;
    __syncthreads();

    // Values: threads side by side read a row, so many rows at a time as there are threads for.
    const int across = (width + PACK - 1) / PACK, rows_at_once = THREADS / across;
    const int own_row = threadIdx.x / across, column = threadIdx.x % across * PACK;
    float sums[MEMBERS][PACK] = {};
    if (own_row < rows_at_once) {
        for (int key = own_row; key < count; key += rows_at_once) {
            const Pack pack = load_pack(values + key * cache_stride + column, pack_length(width, column));
            UNROLL
            for (int member = 0; member < MEMBERS; member++) {
                UNROLL
                for (int i = 0; i < PACK; i++) {
                    sums[member][i] = fmaf(weights[member][key], pack.at[i], sums[member][i]);
                }
            }
        }
        UNROLL
        for (int member = 0; member < MEMBERS; member++) {
            UNROLL
            for (int i = 0; i < PACK; i++) parts[member][(own_row * across) * PACK + column + i] = sums[member][i];
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < members * width; i += THREADS) {
        const int member = i / width, at = i % width;
        float sum = 0.0f;
        for (int part = 0; part < rows_at_once; part++) sum += parts[member][part * across * PACK + at];
        args.sums[((of_row + member) * args.pieces + blockIdx.x) * width + at] = sum;
    }
}

// out = what the pieces of a row add up to. A warp takes a row of a query head.
// Grid: rows · query heads / 8, rounded up. Block: 256.
KERNEL(join_pieces, StepArgs, 256) {
    const long long number = global_thread() / WARP;
    if (number >= static_cast<long long>(args.rows) * args.query_heads) return;
    const Sight sight = sight_of(args, static_cast<int>(number / args.query_heads));
    const int pieces = (sight.end - sight.start + PIECE - 1) / PIECE;
    const Seen* seen = args.seen + number * args.pieces;
    const float* sums = args.sums + number * args.pieces * args.width;
    float largest = -INFINITE, sum = 0.0f;
    for (int piece = 0; piece < pieces; piece++) largest = Larger()(largest, seen[piece].largest);
    for (int piece = 0; piece < pieces; piece++) sum = fmaf(expf(seen[piece].largest - largest), seen[piece].sum, sum);
    for (int column = lane(); column < args.width; column += WARP) {
        float total = 0.0f;
        for (int piece = 0; piece < pieces; piece++) {
            const float factor = expf(seen[piece].largest - largest);
            total = fmaf(factor, sums[static_cast<long long>(piece) * args.width + column], total);
        }
        args.out[number * args.width + column] = nearest<T>(total / sum);
    }
}

struct CopyArgs {
    // [count]: what is copied, keys and values of a sequence each by themselves, and where to. No copy may write what
    // another one reads.
    const CACHE* const* from;
    CACHE* const* to;
    // [count]: how many rows.
    const unsigned* rows;
    int count;
    // key_value · width.
    int columns;
};

// Makes sequences the beginnings of others: `KeyValueCache::copy` and `reorder`.
// Grid: (the most rows · (columns / 8 rounded up) / 256, rounded up, count). Block: 256.
KERNEL(copy_sequences, CopyArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.rows[blockIdx.y], args.columns)) return;
    const CACHE* from = args.from[blockIdx.y] + own.at;
    store_pack(args.to[blockIdx.y] + own.at, load_pack(from, own.length), own.length);
}
