// Rotary positions: numbers i and i + width / 2 of each query and key head are turned by an angle. Which angles, the
// table says, so every variant is the same here. Define: T, the format of all numbers.

struct RopeArgs {
    // [rows, (query + 2 · key_value) · width].
    const T* x;
    T* y;
    // [rows], each below the rows of the tables.
    const unsigned* positions;
    // [positions, width / 2]: amplitude times cosine and sine of the angle.
    const float* cosines;
    const float* sines;
    int rows;
    // Heads that are turned, and all heads of a row; the others are copied.
    int turned_heads;
    int heads;
    // Half the width of a head.
    int half;
    // 1, or -1 to turn back: the gradient.
    float direction;
    int pad;
};

// y = x, its first heads turned; may be in place. Grid: packs of rows · heads rows of `half` (see `own_row_pack`).
// Block: 256.
KERNEL(rope, RopeArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.rows * args.heads, args.half)) return;
    const int row = own.row / args.heads, head = own.row % args.heads;
    const long long at = 2ll * own.row * args.half + own.first;
    Pack left = load_pack(args.x + at, own.length);
    Pack right = load_pack(args.x + at + args.half, own.length);
    if (head < args.turned_heads) {
        const long long angle = static_cast<long long>(args.positions[row]) * args.half + own.first;
        const Pack cosines = load_pack(args.cosines + angle, own.length);
        const Pack sines = load_pack(args.sines + angle, own.length);
        for (int i = 0; i < PACK; i++) {
            const float a = left.at[i], b = right.at[i], sine = args.direction * sines.at[i];
            left.at[i] = fmaf(a, cosines.at[i], -(b * sine));
            right.at[i] = fmaf(b, cosines.at[i], a * sine);
        }
    } else if (args.x == args.y) {
        return;
    }
    store_pack(args.y + at, left, own.length);
    store_pack(args.y + at + args.half, right, own.length);
}
