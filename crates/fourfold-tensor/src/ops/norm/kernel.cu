// Layer norm and RMS norm. Mean and deviation are computed anew on the way back, as on CPUs.
//
// Defines: IN, the format of `x` and its gradient; OUT, that of `y` and its gradient.

struct NormArgs {
    const IN* x;
    const float* weight;
    // Null where there is none.
    const float* bias;
    OUT* y;
    int rows;
    int width;
    // Whether the mean is taken away: layer norm, not RMS norm.
    int centred;
    float epsilon;
};

struct Statistics {
    float mean;
    // The reciprocal deviation.
    float scale;
};

// Those of a row, for the block that works on it.
template <class Format>
DEVICE Statistics statistics_of(const Format* x, int width, int centred, float epsilon) {
    float mean = 0.0f;
    if (centred) {
        float sum = 0.0f;
        for (int first = threadIdx.x * PACK; first < width; first += blockDim.x * PACK) {
            const Pack pack = load_pack(x + first, pack_length(width, first));
            for (int i = 0; i < PACK; i++) sum += pack.at[i];
        }
        mean = block_sum(sum) / width;
    }
    float squares = 0.0f;
    for (int first = threadIdx.x * PACK; first < width; first += blockDim.x * PACK) {
        const int length = pack_length(width, first);
        const Pack pack = load_pack(x + first, length);
        for (int i = 0; i < PACK; i++) {
            const float distance = i < length ? pack.at[i] - mean : 0.0f;
            squares = fmaf(distance, distance, squares);
        }
    }
    return Statistics{mean, 1.0f / sqrtf(block_sum(squares) / width + epsilon)};
}

// y = (x - mean) · scale · weight + bias, for x, y: [rows, width] and weight, bias: [width].
// Grid: rows. Block: width / 8, rounded up to whole warps, at most 256.
KERNEL(norm_forward, NormArgs, 256) {
    const long long row = static_cast<long long>(blockIdx.x) * args.width;
    const Statistics of_row = statistics_of(args.x + row, args.width, args.centred, args.epsilon);
    for (int first = threadIdx.x * PACK; first < args.width; first += blockDim.x * PACK) {
        const int length = pack_length(args.width, first);
        Pack pack = load_pack(args.x + row + first, length);
        const Pack weight = load_pack(args.weight + first, length);
        for (int i = 0; i < PACK; i++) pack.at[i] = (pack.at[i] - of_row.mean) * of_row.scale;
        if (args.bias) {
            const Pack bias = load_pack(args.bias + first, length);
            for (int i = 0; i < PACK; i++) pack.at[i] = fmaf(pack.at[i], weight.at[i], bias.at[i]);
        } else {
            for (int i = 0; i < PACK; i++) pack.at[i] *= weight.at[i];
        }
        store_pack(args.y + row + first, pack, length);
    }
}

struct NormBackwardArgs {
    const IN* x;
    const OUT* dy;
    const float* weight;
    // Null where it is not wanted.
    IN* dx;
    // [rows]: what `norm_weight_pieces` needs. Null where neither weight nor bias trains.
    Statistics* statistics;
    int rows;
    int width;
    int centred;
    float epsilon;
    // Whether the gradient is added to what is there.
    int accumulate;
    int pad;
};

// dx = scale · (g - mean(g) - normal · mean(g · normal)) with g = dy · weight and normal = (x - mean) · scale; the RMS
// norm has no mean(g). Grid and block as for `norm_forward`.
KERNEL(norm_backward, NormBackwardArgs, 256) {
    const long long row = static_cast<long long>(blockIdx.x) * args.width;
    const Statistics of_row = statistics_of(args.x + row, args.width, args.centred, args.epsilon);
    if (args.statistics && threadIdx.x == 0) args.statistics[blockIdx.x] = of_row;
    if (!args.dx) return;
    float sum = 0.0f, product = 0.0f;
    for (int first = threadIdx.x * PACK; first < args.width; first += blockDim.x * PACK) {
        const int length = pack_length(args.width, first);
        const Pack x = load_pack(args.x + row + first, length);
        const Pack dy = load_pack(args.dy + row + first, length);
        const Pack weight = load_pack(args.weight + first, length);
        for (int i = 0; i < PACK; i++) {
            const float gradient = dy.at[i] * weight.at[i];
            sum += gradient;
            product = fmaf(gradient, (x.at[i] - of_row.mean) * of_row.scale, product);
        }
    }
    sum = args.centred ? block_sum(sum) / args.width : 0.0f;
    product = block_sum(product) / args.width;
    for (int first = threadIdx.x * PACK; first < args.width; first += blockDim.x * PACK) {
        const int length = pack_length(args.width, first);
        const Pack x = load_pack(args.x + row + first, length);
        const Pack dy = load_pack(args.dy + row + first, length);
        const Pack weight = load_pack(args.weight + first, length);
        Pack dx;
        for (int i = 0; i < PACK; i++) {
            const float normal = (x.at[i] - of_row.mean) * of_row.scale;
            dx.at[i] = of_row.scale * fmaf(-normal, product, fmaf(dy.at[i], weight.at[i], -sum));
        }
        if (args.accumulate) {
            const Pack before = load_pack(args.dx + row + first, length);
            for (int i = 0; i < PACK; i++) dx.at[i] += before.at[i];
        }
        store_pack(args.dx + row + first, dx, length);
    }
}

struct NormWeightArgs {
    const IN* x;
    const OUT* dy;
    const Statistics* statistics;
    // [pieces, 2, width]: the gradient of the weight over the rows of a piece, then that of the bias.
    float* pieces;
    int rows;
    int width;
    int rows_per_piece;
    int pad;
};

// The gradients of weight and bias over pieces of rows; `sum_pieces` (device/kernels/reduce.cu) adds those of the
// pieces.
// Grid: (width / 32 rounded up, pieces). Block: 256.
KERNEL(norm_weight_pieces, NormWeightArgs, 256) {
    const ColumnPiece piece = own_column_piece(args.rows, args.width, args.rows_per_piece);
    float weight = 0.0f, bias = 0.0f;
    for (int row = piece.first; row < piece.end; row += COLUMN_STEP) {
        const long long at = static_cast<long long>(row) * args.width + piece.column;
        const Statistics of_row = args.statistics[row];
        const float dy = to_float(args.dy[at]);
        weight = fmaf(dy, (to_float(args.x[at]) - of_row.mean) * of_row.scale, weight);
        bias += dy;
    }
    float* sums = args.pieces + 2ll * blockIdx.y * args.width;
    store_column_sum(sums, weight, piece, args.width);
    store_column_sum(sums + args.width, bias, piece, args.width);
}
