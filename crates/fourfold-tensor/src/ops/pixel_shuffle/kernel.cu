// Neighbouring patches side by side. Define: T, the format of all numbers.

struct PixelShuffleArgs {
    // Rows of `width` numbers: patches row by row, or block by block, in each row by row.
    const T* x;
    T* y;
    int rows;
    int width;
    // The sides of a grid of patches, and that of a block.
    int down;
    int across;
    int factor;
    // Whether patches go back to where they were: the gradient.
    int back;
};

// Grid: packs of rows (see `own_row_pack`). Block: 256.
KERNEL(pixel_shuffle, PixelShuffleArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.rows, args.width)) return;
    // Patch `row` of the grids is patch `place` of the blocks; each thread knows one of the two.
    int other;
    if (args.back) {
        const int y = own.row / args.across % args.down, x = own.row % args.across;
        const int image = own.row / (args.down * args.across);
        const int line = image * (args.down / args.factor) + y / args.factor;
        const int block = line * (args.across / args.factor) + x / args.factor;
        other = (block * args.factor + y % args.factor) * args.factor + x % args.factor;
    } else {
        const int y = own.row / args.factor % args.factor, x = own.row % args.factor;
        const int block = own.row / (args.factor * args.factor), blocks_across = args.across / args.factor;
        // Lines count on from image to image, as the sides of a grid are multiples of `factor`.
        const int line = block / blocks_across * args.factor + y;
        other = line * args.across + block % blocks_across * args.factor + x;
    }
    const T* from = args.x + static_cast<long long>(other) * args.width + own.first;
    store_pack(args.y + own.at, load_pack(from, own.length), own.length);
}
