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

// gelu(x) is x times `gate`, and its slope at x is `slope`.
struct Activation {
    float gate;
    float slope;
};

DEVICE float sigmoid(float x) {
    return 1.0f / (1.0f + expf(-x));
}

DEVICE Activation activation(int kind, float x) {
    if (kind == 1) {
        const float root_half = 0.70710678f, density = 0.39894228f;
        // The complement of erf keeps the digits of the tail.
        const float below = 0.5f * erfcf(-x * root_half);
        return Activation{below, fmaf(x, density * expf(-0.5f * x * x), below)};
    }
    if (kind == 2) {
        const float factor = 1.702f, gate = sigmoid(factor * x);
        return Activation{gate, fmaf(factor * x * gate, 1.0f - gate, gate)};
    }
    // (1 + tanh u) / 2 = sigmoid(2 u) with u = √(2/π) (x + 0.044715 x³).
    const float two_root = 1.5957691f, cubic = 0.044715f;
    const float gate = sigmoid(two_root * x * fmaf(cubic * x, x, 1.0f));
    const float inner = two_root * fmaf(3.0f * cubic * x, x, 1.0f);
    // x · slope · gate would be infinite times 0 far out.
    const float rest = gate * (1.0f - gate);
    return Activation{gate, rest == 0.0f ? gate : fmaf(x * inner, rest, gate)};
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
