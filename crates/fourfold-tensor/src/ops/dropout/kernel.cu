// Numbers left out at random, the same ones as on CPUs. Define: T, the format of all numbers.

struct DropoutArgs {
    const T* x;
    T* y;
    // What tells rows apart, `rows` of them each; their place where there are none.
    const unsigned long long* keys;
    long long count;
    unsigned long long seed;
    int width;
    int rows;
    // Hashes below this leave their number out.
    unsigned below;
    // What the others are multiplied by.
    float factor;
};

// The output of SplitMix64 (Steele, Lea and Flood, 2014) number `place` from `seed` on.
DEVICE unsigned long long mixed(unsigned long long seed, unsigned long long place) {
    unsigned long long hash = seed + place * 0x9e3779b97f4a7c15ull;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ull;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebull;
    return hash ^ (hash >> 31);
}

// What the hashes of a row begin from.
DEVICE unsigned long long of_row(const DropoutArgs& args, long long row) {
    if (args.keys == nullptr) return mixed(args.seed, row);
    return mixed(mixed(args.seed, args.keys[row / args.rows]), row % args.rows);
}

// y = x with numbers left out, which may be in place; the gradient is the same of dy. Grid: count / 2048, rounded up.
// Block: 256.
KERNEL(dropout, DropoutArgs, 256) {
    const long long first = global_thread() * PACK;
    if (first >= args.count) return;
    const int length = pack_length(args.count, first);
    Pack pack = load_pack(args.x + first, length);
    long long row = first / args.width;
    int column = static_cast<int>(first % args.width);
    unsigned long long seed = of_row(args, row);
    for (int i = 0; i < length; i++) {
        const unsigned hash = static_cast<unsigned>(mixed(seed, column) >> 32);
        pack.at[i] *= hash >= args.below ? args.factor : 0.0f;
        if (++column == args.width && i + 1 < length) {
            column = 0;
            seed = of_row(args, ++row);
        }
    }
    store_pack(args.y + first, pack, length);
}
