// Rows of a table added to the rows of a tensor. The gradient of the table is `scatter_rows` of embedding/kernel.cu.
//
// Defines: IN, the format of `x`; TABLE, that of the table.

struct AddRowsArgs {
    const IN* x;
    const TABLE* table;
    // [rows], each below the rows of the table.
    const unsigned* ids;
    float* y;
    int rows;
    int width;
};

// y[i] = x[i] + table[ids[i]], for x, y: [rows, width]. Grid: packs of rows (see `own_row_pack`). Block: 256.
KERNEL(add_rows, AddRowsArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.rows, args.width)) return;
    const TABLE* from = args.table + static_cast<long long>(args.ids[own.row]) * args.width + own.first;
    Pack pack = load_pack(args.x + own.at, own.length);
    const Pack row = load_pack(from, own.length);
    for (int i = 0; i < PACK; i++) pack.at[i] += row.at[i];
    store_pack(args.y + own.at, pack, own.length);
}
