// All numbers of a tensor times one factor. Define: T, their format.

struct ScaleArgs {
    const T* x;
    T* y;
    long long count;
    float factor;
    int pad;
};

// y = factor · x, which may be in place. Grid: count / 2048, rounded up. Block: 256.
KERNEL(scale, ScaleArgs, 256) {
    const long long first = global_thread() * PACK;
    if (first >= args.count) return;
    const int length = pack_length(args.count, first);
    Pack pack = load_pack(args.x + first, length);
    for (int i = 0; i < PACK; i++) pack.at[i] *= args.factor;
    store_pack(args.y + first, pack, length);
}
