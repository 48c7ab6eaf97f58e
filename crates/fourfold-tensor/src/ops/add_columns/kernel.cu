// What an adapter gives, added to some columns of what a layer gave.
//
// Defines: T, the format of `y` and its gradient; DELTA, that of what is added.

struct AddColumnsArgs {
    const T* y;
    const DELTA* delta;
    T* out;
    int rows;
    int width;
    // The columns that are added to: `columns` from `first` on.
    int first;
    int columns;
    float factor;
    int pad;
};

// out = y with factor · delta added to some columns, for y, out: [rows, width] and delta: [rows, columns]; may be in
// place.
// Grid: packs of rows of `width` (see `own_row_pack`). Block: 256.
KERNEL(add_columns, AddColumnsArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.rows, args.width)) return;
    Pack pack = load_pack(args.y + own.at, own.length);
    // Where the pack begins among the columns of `delta`, before them where negative.
    const int begin = own.first - args.first;
    const DELTA* delta = args.delta + static_cast<long long>(own.row) * args.columns;
    if (begin >= 0 && begin + PACK <= args.columns) {
        const Pack added = load_pack(delta + begin, PACK);
        for (int i = 0; i < PACK; i++) pack.at[i] = fmaf(added.at[i], args.factor, pack.at[i]);
    } else {
        for (int i = 0; i < PACK; i++) {
            const bool within = begin + i >= 0 && begin + i < args.columns;
            if (within) pack.at[i] = fmaf(to_float(delta[begin + i]), args.factor, pack.at[i]);
        }
    }
    store_pack(args.out + own.at, pack, own.length);
}

struct AddColumnsBackwardArgs {
    const T* dy;
    DELTA* ddelta;
    int rows;
    int width;
    int first;
    int columns;
    float factor;
    int pad;
};

// ddelta = factor · dy[:, first..first + columns]. Grid: packs of rows of `columns`. Block: 256.
KERNEL(add_columns_backward, AddColumnsBackwardArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.rows, args.columns)) return;
    const T* from = args.dy + static_cast<long long>(own.row) * args.width + args.first + own.first;
    Pack pack = load_pack(from, own.length);
    for (int i = 0; i < PACK; i++) pack.at[i] *= args.factor;
    store_pack(args.ddelta + own.at, pack, own.length);
}
