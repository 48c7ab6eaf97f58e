// An RMS norm of every query and key head. A warp takes a head. Define: T, the format of all numbers but weights.

struct HeadNormArgs {
    // [rows, (query + 2 · key_value) · width].
    const T* x;
    // [width] each.
    const float* query_weight;
    const float* key_weight;
    T* y;
    int rows;
    int query_heads;
    int key_value_heads;
    int width;
    float epsilon;
    int pad;
};

// The head that a warp works on.
struct OwnHead {
    long long row;
    int head;
    // The place of its first number.
    long long at;
};

DEVICE bool own_head(OwnHead& own, int rows, int heads, int width) {
    const unsigned number = static_cast<unsigned>(global_thread() / WARP);
    if (number >= static_cast<long long>(rows) * heads) return false;
    own.row = number / heads;
    own.head = static_cast<int>(number % heads);
    own.at = static_cast<long long>(number) * width;
    return true;
}

DEVICE float reciprocal_deviation(const T* x, int width, float epsilon) {
    float squares = 0.0f;
    for (int first = lane() * PACK; first < width; first += WARP * PACK) {
        const Pack pack = load_pack(x + first, pack_length(width, first));
        for (int i = 0; i < PACK; i++) squares = fmaf(pack.at[i], pack.at[i], squares);
    }
    return 1.0f / sqrtf(warp_sum(squares) / width + epsilon);
}

DEVICE void copy_head(const T* from, T* to, int width) {
    for (int first = lane() * PACK; first < width; first += WARP * PACK) {
        const int length = pack_length(width, first);
        store_pack(to + first, load_pack(from + first, length), length);
    }
}

// y = x, each query and key head brought to unit scale and multiplied by its weight.
// Grid: rows · (query + 2 · key_value) / 8, rounded up. Block: 256.
KERNEL(head_norm_forward, HeadNormArgs, 256) {
    OwnHead own;
    const int normed = args.query_heads + args.key_value_heads;
    if (!own_head(own, args.rows, normed + args.key_value_heads, args.width)) return;
    const T* x = args.x + own.at;
    T* y = args.y + own.at;
    if (own.head >= normed) {
        copy_head(x, y, args.width);
        return;
    }
    const float scale = reciprocal_deviation(x, args.width, args.epsilon);
    const float* weights = own.head < args.query_heads ? args.query_weight : args.key_weight;
    for (int first = lane() * PACK; first < args.width; first += WARP * PACK) {
        const int length = pack_length(args.width, first);
        Pack pack = load_pack(x + first, length);
        const Pack weight = load_pack(weights + first, length);
        for (int i = 0; i < PACK; i++) pack.at[i] = pack.at[i] * scale * weight.at[i];
        store_pack(y + first, pack, length);
    }
}

struct HeadNormBackwardArgs {
    const T* x;
    const T* dy;
    const float* query_weight;
    const float* key_weight;
    T* dx;
    // [rows, query + key_value]: reciprocal deviations, for `head_norm_weight_pieces`.
    float* scales;
    int rows;
    int query_heads;
    int key_value_heads;
    int width;
    float epsilon;
    int pad;
};

// dx = scale · (g - normal · mean(g · normal)) with g = dy · weight and normal = x · scale; dy itself for values.
// Grid and block as for `head_norm_forward`.
KERNEL(head_norm_backward, HeadNormBackwardArgs, 256) {
    OwnHead own;
    const int normed = args.query_heads + args.key_value_heads;
    if (!own_head(own, args.rows, normed + args.key_value_heads, args.width)) return;
    const T* x = args.x + own.at;
    const T* dy = args.dy + own.at;
    T* dx = args.dx + own.at;
    if (own.head >= normed) {
        copy_head(dy, dx, args.width);
        return;
    }
    const float scale = reciprocal_deviation(x, args.width, args.epsilon);
    if (lane() == 0) args.scales[own.row * normed + own.head] = scale;
    const float* weights = own.head < args.query_heads ? args.query_weight : args.key_weight;
    float product = 0.0f;
    for (int first = lane() * PACK; first < args.width; first += WARP * PACK) {
        const int length = pack_length(args.width, first);
        const Pack of_x = load_pack(x + first, length);
        const Pack of_dy = load_pack(dy + first, length);
        const Pack weight = load_pack(weights + first, length);
        for (int i = 0; i < PACK; i++) product = fmaf(of_dy.at[i] * weight.at[i], of_x.at[i] * scale, product);
    }
    product = warp_sum(product) / args.width;
    for (int first = lane() * PACK; first < args.width; first += WARP * PACK) {
        const int length = pack_length(args.width, first);
        Pack pack = load_pack(x + first, length);
        const Pack of_dy = load_pack(dy + first, length);
        const Pack weight = load_pack(weights + first, length);
        for (int i = 0; i < PACK; i++) {
            pack.at[i] = scale * fmaf(-(pack.at[i] * scale), product, of_dy.at[i] * weight.at[i]);
        }
        store_pack(dx + first, pack, length);
    }
}

struct HeadNormWeightArgs {
    const T* x;
    const T* dy;
    const float* scales;
    // [pieces, 2, width]: the gradient of the query heads' weight over the rows of a piece, then that of the key
    // heads'.
    float* pieces;
    int rows;
    int query_heads;
    int key_value_heads;
    int width;
    int rows_per_piece;
    int pad;
};

// The gradients of the weights over pieces of rows; `sum_pieces` (device/kernels/reduce.cu) adds those of the pieces.
// Grid: (width / 32 rounded up, pieces). Block: 256.
KERNEL(head_norm_weight_pieces, HeadNormWeightArgs, 256) {
    const ColumnPiece piece = own_column_piece(args.rows, args.width, args.rows_per_piece);
    const int normed = args.query_heads + args.key_value_heads, heads = normed + args.key_value_heads;
    float of_queries = 0.0f, of_keys = 0.0f;
    for (int row = piece.first; row < piece.end; row += COLUMN_STEP) {
        for (int head = 0; head < normed; head++) {
            const long long at = (static_cast<long long>(row) * heads + head) * args.width + piece.column;
            const float scale = args.scales[static_cast<long long>(row) * normed + head];
            const float product = to_float(args.dy[at]) * (to_float(args.x[at]) * scale);
            if (head < args.query_heads) of_queries += product;
            else of_keys += product;
        }
    }
    float* sums = args.pieces + 2ll * blockIdx.y * args.width;
    store_column_sum(sums, of_queries, piece, args.width);
    store_column_sum(sums + args.width, of_keys, piece, args.width);
}
