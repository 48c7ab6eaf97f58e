// Numbers left out at random, the same ones as on CPUs. Define: T, the format of all numbers.

struct DropoutArgs {
    const T* x;
    T* y;
    long long count;
    unsigned long long seed;
    // Hashes below this leave their number out.
    unsigned below;
    // What the others are multiplied by.
    float factor;
};

// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014) over places one golden ratio apart.
DEVICE unsigned hash_of(unsigned long long seed, unsigned long long place) {
    unsigned long long hash = seed + place * 0x9e3779b97f4a7c15ull;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ull;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebull;
    return static_cast<unsigned>((hash ^ (hash >> 31)) >> 32);
}

// y = x with numbers left out, which may be in place; the gradient is the same of dy. Grid: count / 2048, rounded up.
// Block: 256.
KERNEL(dropout, DropoutArgs, 256) {
    const long long first = global_thread() * PACK;
    if (first >= args.count) return;
    const int length = pack_length(args.count, first);
    Pack pack = load_pack(args.x + first, length);
    for (int i = 0; i < PACK; i++) pack.at[i] *= hash_of(args.seed, first + i) >= args.below ? args.factor : 0.0f;
    store_pack(args.y + first, pack, length);
}
