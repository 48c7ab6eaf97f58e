// Rows of a table by their number, and what came back added to the rows that they came from. Embeddings, learned
// positions, taken rows, placed rows and the rows of a loss all go through here.
//
// Defines: IN, the format that is read; OUT, the format that is written.

struct GatherArgs {
    const IN* table;
    // [rows], each below the rows of the table.
    const unsigned* ids;
    OUT* out;
    int rows;
    int width;
};

// out[i] = table[ids[i]], for out: [rows, width]. Grid: packs of rows (see `own_row_pack`). Block: 256.
KERNEL(gather_rows, GatherArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.rows, args.width)) return;
    const IN* from = args.table + static_cast<long long>(args.ids[own.row]) * args.width + own.first;
    store_pack(args.out + own.at, load_pack(from, own.length), own.length);
}

struct ScatterArgs {
    const IN* rows;
    OUT* table;
    // [distinct]: the rows of the table that something is added to, each once.
    const unsigned* ids;
    // [distinct + 1]: those of ids[i] are order[starts[i]] up to order[starts[i + 1]].
    const unsigned* starts;
    // The numbers of rows, in rising order for each id.
    const unsigned* order;
    // A number on the device that `factor` is multiplied by; null for 1.
    const float* factor_at;
    int distinct;
    int width;
    float factor;
    // Whether the table's rows are added to, not replaced. Rows that no id names are left alone: where the table is to
    // be replaced whole it is filled with zeros before.
    int accumulate;
};

// table[ids[i]] += factor · Σ rows[order[j]], in order. The host sorts the numbers of the rows by id, stably.
// Grid: packs of `distinct` rows. Block: 256.
KERNEL(scatter_rows, ScatterArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.distinct, args.width)) return;
    OUT* to = args.table + static_cast<long long>(args.ids[own.row]) * args.width + own.first;
    const float factor = args.factor_at ? args.factor * *args.factor_at : args.factor;
    Pack sum = {};
    if (args.accumulate) sum = load_pack(to, own.length);
    const unsigned end = args.starts[own.row + 1];
    for (unsigned i = args.starts[own.row]; i < end; i++) {
        const IN* from = args.rows + static_cast<long long>(args.order[i]) * args.width + own.first;
        const Pack row = load_pack(from, own.length);
        for (int j = 0; j < PACK; j++) sum.at[j] = fmaf(row.at[j], factor, sum.at[j]);
    }
    store_pack(to, sum, own.length);
}
