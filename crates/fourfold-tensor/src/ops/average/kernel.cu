// The mean of the parts of each row. Define: T, the format of all numbers.

struct AverageArgs {
    // [rows, parts · width] and [rows, width], or the other way round on the way back.
    const T* x;
    T* y;
    int rows;
    int parts;
    int width;
    int pad;
};

// y = the mean of the `parts` vectors that lie side by side in a row of x, summed in f32.
// Grid: packs of rows of `width` (see `own_row_pack`). Block: 256.
KERNEL(average_forward, AverageArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.rows, args.width)) return;
    const T* from = args.x + static_cast<long long>(own.row) * args.parts * args.width + own.first;
    Pack sum = {};
    for (int part = 0; part < args.parts; part++) {
        const Pack pack = load_pack(from + static_cast<long long>(part) * args.width, own.length);
        for (int i = 0; i < PACK; i++) sum.at[i] += pack.at[i];
    }
    const float factor = 1.0f / args.parts;
    for (int i = 0; i < PACK; i++) sum.at[i] *= factor;
    store_pack(args.y + own.at, sum, own.length);
}

// Each part of a row of y: [rows, parts · width] is x / parts, for x: [rows, width]. Grid and block as for
// `average_forward`.
KERNEL(average_backward, AverageArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.rows, args.width)) return;
    Pack pack = load_pack(args.x + own.at, own.length);
    const float factor = 1.0f / args.parts;
    for (int i = 0; i < PACK; i++) pack.at[i] *= factor;
    T* to = args.y + static_cast<long long>(own.row) * args.parts * args.width + own.first;
    for (int part = 0; part < args.parts; part++) {
        store_pack(to + static_cast<long long>(part) * args.width, pack, own.length);
    }
}
