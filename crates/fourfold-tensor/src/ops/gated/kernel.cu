// The gated activation of the language model's feed-forward part. Define: T, the format of all numbers.

struct GatedArgs {
    // [rows, 2 · inner]: the gate, then the value.
    const T* x;
    // [rows, inner].
    T* y;
    int rows;
    int inner;
    // 0: SiLU, 1: GELU in its tanh form.
    int kind;
    int pad;
};

struct GatedBackwardArgs {
    const T* x;
    const T* dy;
    // As `x`.
    T* dx;
    int rows;
    int inner;
    int kind;
    int pad;
};

DEVICE Activation activation(int kind, float x) {
    return kind == 0 ? swish(1.0f, x) : gelu_tanh(x);
}

// y = activation(gate) · up. Grid: packs of rows of `inner` (see `own_row_pack`). Block: 256.
KERNEL(gated_forward, GatedArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.rows, args.inner)) return;
    const T* from = args.x + 2ll * own.row * args.inner + own.first;
    Pack gate = load_pack(from, own.length);
    const Pack up = load_pack(from + args.inner, own.length);
    for (int i = 0; i < PACK; i++) gate.at[i] = gate.at[i] * activation(args.kind, gate.at[i]).gate * up.at[i];
    store_pack(args.y + own.at, gate, own.length);
}

// dup = dy · activation(gate), dgate = dy · up · slope. Grid and block as for `gated_forward`.
KERNEL(gated_backward, GatedBackwardArgs, 256) {
    RowPack own;
    if (!own_row_pack(own, args.rows, args.inner)) return;
    const long long at = 2ll * own.row * args.inner + own.first;
    Pack gate = load_pack(args.x + at, own.length);
    Pack up = load_pack(args.x + at + args.inner, own.length);
    const Pack dy = load_pack(args.dy + own.at, own.length);
    for (int i = 0; i < PACK; i++) {
        const Activation of_gate = activation(args.kind, gate.at[i]);
        const float value = gate.at[i] * of_gate.gate;
        gate.at[i] = dy.at[i] * up.at[i] * of_gate.slope;
        up.at[i] = dy.at[i] * value;
    }
    store_pack(args.dx + at, gate, own.length);
    store_pack(args.dx + at + args.inner, up, own.length);
}
