// Cross-entropy over rows of logits, and what evaluation and decoding ask of them. A block takes a row.
//
// Defines: IN, the format of the logits; OUT, that of their gradient.

// The largest of some numbers and the sum of e^(number - largest).
struct Exponentials {
    float largest;
    float sum;
};

// Those of a row, for the block that works on it.
DEVICE Exponentials exponentials_of(const IN* logits, int width) {
    float largest = -INFINITE, sum = 0.0f;
    for (int first = threadIdx.x * PACK; first < width; first += blockDim.x * PACK) {
        const int length = pack_length(width, first);
        const Pack pack = load_pack(logits + first, length);
        float highest = largest;
        for (int i = 0; i < PACK; i++) {
            if (i < length && pack.at[i] > highest) highest = pack.at[i];
        }
        if (highest > largest) {
            sum *= expf(largest - highest);
            largest = highest;
        }
        for (int i = 0; i < PACK; i++) {
            if (i < length) sum += expf(pack.at[i] - largest);
        }
    }
    const float of_row = block_combine(largest, -INFINITE, Larger());
    // A thread that has no number has nothing to add; a row of infinities is NaN, as on CPUs.
    const bool idle = static_cast<int>(threadIdx.x) * PACK >= width;
    return Exponentials{of_row, block_sum(idle ? 0.0f : sum * expf(largest - of_row))};
}

struct HeadLossArgs {
    // [rows, width].
    const IN* logits;
    // [rows], each below `width`.
    const unsigned* targets;
    // [rows].
    float* losses;
    // [rows, width], which may be `logits` itself where the formats are the same; null where it is not wanted.
    OUT* gradient;
    int rows;
    int width;
    // What the gradient is multiplied by.
    float scale;
    int pad;
};

// losses = log Σ e^logit - logit[target], gradient = scale · (softmax - 1 at the target). Grid: rows.
// Block: width / 8, rounded up to whole warps, at most 512.
KERNEL(head_loss, HeadLossArgs, 512) {
    const IN* logits = args.logits + static_cast<long long>(blockIdx.x) * args.width;
    const int target = args.targets[blockIdx.x];
    const float at_target = to_float(logits[target]);
    const Exponentials of_row = exponentials_of(logits, args.width);
    if (threadIdx.x == 0) args.losses[blockIdx.x] = of_row.largest - at_target + logf(of_row.sum);
    if (!args.gradient) return;
    OUT* gradient = args.gradient + static_cast<long long>(blockIdx.x) * args.width;
    const float factor = args.scale / of_row.sum;
    for (int first = threadIdx.x * PACK; first < args.width; first += blockDim.x * PACK) {
        const int length = pack_length(args.width, first);
        Pack pack = load_pack(logits + first, length);
        for (int i = 0; i < PACK; i++) {
            pack.at[i] = expf(pack.at[i] - of_row.largest) * factor;
            if (first + i == target) pack.at[i] -= args.scale;
        }
        store_pack(gradient + first, pack, length);
    }
}

struct HighestLogitArgs {
    const IN* logits;
    // [rows] each; null where it is not wanted.
    unsigned* places;
    float* highest;
    float* log_sums;
    int rows;
    int width;
};

// The place and value of the first of a row's highest logits, and log Σ e^logit. Grid and block as for `head_loss`.
KERNEL(highest_logits, HighestLogitArgs, 512) {
    const IN* logits = args.logits + static_cast<long long>(blockIdx.x) * args.width;
    const Exponentials of_row = exponentials_of(logits, args.width);
    int place = args.width;
    for (int first = threadIdx.x * PACK; first < args.width && place == args.width; first += blockDim.x * PACK) {
        const int length = pack_length(args.width, first);
        const Pack pack = load_pack(logits + first, length);
        for (int i = PACK - 1; i >= 0; i--) {
            if (i < length && pack.at[i] == of_row.largest) place = first + i;
        }
    }
    place = block_combine(place, args.width, Smaller());
    if (threadIdx.x != 0) return;
    // Of a row of NaN none is the highest.
    if (args.places) args.places[blockIdx.x] = place < args.width ? place : 0;
    if (args.highest) args.highest[blockIdx.x] = of_row.largest;
    if (args.log_sums) args.log_sums[blockIdx.x] = of_row.largest + logf(of_row.sum);
}
