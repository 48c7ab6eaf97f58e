// A branch added to the residual stream. Define: IN, the format of the branch and its gradient; the stream is f32.

struct ResidualArgs {
    const float* stream;
    const IN* branch;
    // [width]; null for 1.
    const float* scale;
    float* y;
    int rows;
    int width;
};

// y = stream + scale · branch for stream, branch, y: [rows, width]; may be in place.
// Grid: packs of rows (see `own_row_pack`). Block: 256.
KERNEL(residual_forward, ResidualArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.rows, args.width)) return;
    Pack sum = load_pack(args.stream + own.at, own.length);
    const Pack branch = load_pack(args.branch + own.at, own.length);
    if (args.scale) {
        const Pack scale = load_pack(args.scale + own.first, own.length);
        for (int i = 0; i < PACK; i++) sum.at[i] = fmaf(branch.at[i], scale.at[i], sum.at[i]);
    } else {
        for (int i = 0; i < PACK; i++) sum.at[i] += branch.at[i];
    }
    store_pack(args.y + own.at, sum, own.length);
}

struct ResidualBranchArgs {
    const float* dy;
    const float* scale;
    IN* dbranch;
    int rows;
    int width;
};

// dbranch = scale · dy. The gradient of the stream is dy itself. Grid and block as for `residual_forward`.
KERNEL(residual_branch, ResidualBranchArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.rows, args.width)) return;
    Pack dy = load_pack(args.dy + own.at, own.length);
    if (args.scale) {
        const Pack scale = load_pack(args.scale + own.first, own.length);
        for (int i = 0; i < PACK; i++) dy.at[i] *= scale.at[i];
    }
    store_pack(args.dbranch + own.at, dy, own.length);
}

struct ResidualScaleArgs {
    const float* dy;
    const IN* branch;
    // [pieces, width].
    float* pieces;
    int rows;
    int width;
    int rows_per_piece;
    int pad;
};

// The gradient of the scale, Σ branch · dy, over pieces of rows; `sum_pieces` (device/kernels/reduce.cu) adds them up.
// Grid: (width / 32 rounded up, pieces). Block: 256.
KERNEL(residual_scale_pieces, ResidualScaleArgs, 256) {
    const ColumnPiece piece = own_column_piece(args.rows, args.width, args.rows_per_piece);
    float sum = 0.0f;
    for (int row = piece.first; row < piece.end; row += COLUMN_STEP) {
        const long long at = static_cast<long long>(row) * args.width + piece.column;
        sum = fmaf(to_float(args.branch[at]), args.dy[at], sum);
    }
    store_column_sum(args.pieces + static_cast<long long>(blockIdx.y) * args.width, sum, piece, args.width);
}
