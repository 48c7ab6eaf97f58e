// What a linear layer needs besides products. Define: IN, the format of what is read.

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
