// What a linear layer needs besides products. Define: IN, the format of what is read; OUT, of what is written.

struct BiasGradientArgs {
    const IN* dy;
    // [pieces, width].
    float* pieces;
    int rows;
    int width;
    int rows_per_piece;
    int pad;
};

// The sum over rows of dy: [rows, width], over pieces of rows; `sum_pieces` (device/kernels/reduce.cu) adds them up.
// Grid: (width / 32 rounded up, pieces). Block: 256.
KERNEL(bias_gradient_pieces, BiasGradientArgs, 256) {
    const ColumnPiece piece = own_column_piece(args.rows, args.width, args.rows_per_piece);
    float sum = 0.0f;
    for (int row = piece.first; row < piece.end; row += COLUMN_STEP) {
        sum += to_float(args.dy[static_cast<long long>(row) * args.width + piece.column]);
    }
    store_column_sum(args.pieces + static_cast<long long>(blockIdx.y) * args.width, sum, piece, args.width);
}

struct EpilogueArgs {
    const IN* x;
    // [width]; null where there is none.
    const float* bias;
    // [rows, width]; null where there is none.
    const float* residual;
    OUT* y;
    int rows;
    int width;
};

// y = x + bias + residual, for x, y: [rows, width]: for products that could not add them. May be in place.
// Grid: packs of rows (see `own_row_pack`). Block: 256.
KERNEL(add_bias_and_residual, EpilogueArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.rows, args.width)) return;
    Pack pack = load_pack(args.x + own.at, own.length);
    if (args.bias) {
        const Pack bias = load_pack(args.bias + own.first, own.length);
        for (int i = 0; i < PACK; i++) pack.at[i] += bias.at[i];
    }
    if (args.residual) {
        const Pack residual = load_pack(args.residual + own.at, own.length);
        for (int i = 0; i < PACK; i++) pack.at[i] += residual.at[i];
    }
    store_pack(args.y + own.at, pack, own.length);
}
