// Visual tokens put among the text tokens. The gradient of the values is `gather_rows` of embedding/kernel.cu.
//
// Define: IN, the format of the values; rows are f32.

// A row that no value replaces.
inline constexpr unsigned OWN_ROW = 0xffffffffu;

struct PlaceArgs {
    const float* rows;
    // [n, width].
    const IN* values;
    // [tokens]: the value that replaces each row, or OWN_ROW.
    const unsigned* source;
    float* y;
    int tokens;
    int width;
};

// y = rows, some replaced by values, for rows, y: [tokens, width]; may be in place.
// Grid: packs of rows (see `own_row_pack`). Block: 256.
KERNEL(place_forward, PlaceArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.tokens, args.width)) return;
    const unsigned source = args.source[own.row];
    const long long at = static_cast<long long>(source) * args.width + own.first;
    const bool kept = source == OWN_ROW;
    const Pack pack = kept ? load_pack(args.rows + own.at, own.length) : load_pack(args.values + at, own.length);
    store_pack(args.y + own.at, pack, own.length);
}

struct PlaceBackwardArgs {
    const float* dy;
    const unsigned* source;
    float* drows;
    int tokens;
    int width;
};

// drows = dy, zero where a value replaced the row; may be in place. Grid and block as for `place_forward`.
KERNEL(place_backward, PlaceBackwardArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.tokens, args.width)) return;
    Pack pack = {};
    if (args.source[own.row] == OWN_ROW) pack = load_pack(args.dy + own.at, own.length);
    store_pack(args.drows + own.at, pack, own.length);
}
