// GELU and its gradient. Define: T, the format of all numbers.

struct GeluArgs {
    const T* x;
    T* y;
    long long count;
    // 0: tanh, 1: erf, 2: quick.
    int kind;
    int pad;
};

struct GeluBackwardArgs {
    const T* x;
    const T* dy;
    T* dx;
    long long count;
    int kind;
    int pad;
};

DEVICE Activation activation(int kind, float x) {
    if (kind == 0) return gelu_tanh(x);
    if (kind == 2) return swish(1.702f, x);
    const float root_half = 0.70710678f, density = 0.39894228f;
    // The complement of erf keeps the digits of the tail.
    const float below = 0.5f * erfcf(-x * root_half);
    return Activation{below, fmaf(x, density * expf(-0.5f * x * x), below)};
}

// y = gelu(x), which may be in place. A thread takes eight numbers. Grid: count / 2048, rounded up. Block: 256.
KERNEL(gelu_forward, GeluArgs, 256) {
    const long long first = global_thread() * PACK;
    if (first >= args.count) return;
    const int length = pack_length(args.count, first);
    Pack pack = load_pack(args.x + first, length);
    for (int i = 0; i < PACK; i++) pack.at[i] *= activation(args.kind, pack.at[i]).gate;
    store_pack(args.y + first, pack, length);
}

// dx = dy · gelu'(x). Grid and block as for `gelu_forward`.
KERNEL(gelu_backward, GeluBackwardArgs, 256) {
    const long long first = global_thread() * PACK;
    if (first >= args.count) return;
    const int length = pack_length(args.count, first);
    const Pack x = load_pack(args.x + first, length);
    Pack dy = load_pack(args.dy + first, length);
    for (int i = 0; i < PACK; i++) dy.at[i] *= activation(args.kind, x.at[i]).slope;
    store_pack(args.dx + first, dy, length);
}
