// Images cut into patches, each a row. Define: OUT, the format of the rows; images are f32.

struct PatchifyArgs {
    // [images, channels, height, width].
    const float* images;
    // [images · down · across, channels · patch · patch].
    OUT* rows;
    int count;
    int channels;
    int height;
    int width;
    int patch;
    // Whole patches of an image: height / patch and width / patch.
    int down;
    int across;
    int pad;
};

// Grid: packs of count · down · across rows of channels · patch · patch (see `own_row_pack`). Block: 256.
KERNEL(patchify, PatchifyArgs, 256) {
    RowPack own;
    const int square = args.patch * args.patch;
    if (!own_row_pack(own, args.count * args.down * args.across, args.channels * square)) return;
    const int x = own.row % args.across, y = own.row / args.across % args.down;
    const int image = own.row / (args.across * args.down);
    Pack pack = {};
    for (int i = 0; i < PACK; i++) {
        if (i >= own.length) break;
        const int channel = (own.first + i) / square, within = (own.first + i) % square;
        const long long line = (static_cast<long long>(image) * args.channels + channel) * args.height + y * args.patch;
        pack.at[i] = args.images[(line + within / args.patch) * args.width + x * args.patch + within % args.patch];
    }
    store_pack(args.rows + own.at, pack, own.length);
}
