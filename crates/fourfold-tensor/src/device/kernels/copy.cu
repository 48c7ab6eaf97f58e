// Numbers converted, scaled and added. Defines: IN, the format that is read; OUT, the format that is written.

struct AddScaledArgs {
    const IN* x;
    OUT* y;
    // A number on the device that `factor` is multiplied by; null for 1.
    const float* factor_at;
    long long count;
    float factor;
    int accumulate;
};

// y = factor · x, added to what is there where `accumulate` is set: with a factor of 1 a change of format or a sum of
// gradients. Grid: count / 2048, rounded up. Block: 256.
KERNEL(add_scaled, AddScaledArgs, 256) {
    const long long first = global_thread() * PACK;
    if (first >= args.count) return;
    const int length = pack_length(args.count, first);
    const float factor = args.factor_at ? args.factor * *args.factor_at : args.factor;
    Pack pack = load_pack(args.x + first, length);
    for (int i = 0; i < PACK; i++) pack.at[i] *= factor;
    if (args.accumulate) {
        const Pack before = load_pack(args.y + first, length);
        for (int i = 0; i < PACK; i++) pack.at[i] += before.at[i];
    }
    store_pack(args.y + first, pack, length);
}
