// AdamW over many tensors in one launch. Define: T, the format of the working copies.

// One tensor and the numbers of its step, which `AdamW::new` computes.
struct Trained {
    float* weights;
    // The weights in the format of products; null where there is no such copy.
    T* rounded;
    const float* gradient;
    float* first;
    float* second;
    long long count;
    // 1 - beta1 and 1 - beta2.
    float rest_first;
    float rest_second;
    // rate / (1 - beta1^t).
    float rate;
    // 1 / sqrt(1 - beta2^t).
    float unbias;
    // 1 - rate · decay.
    float keep;
    int pad;
};

// Numbers of one tensor that a block takes: CHUNK from chunk · CHUNK on.
struct Chunk {
    unsigned tensor;
    unsigned chunk;
};

inline constexpr int CHUNK = 4 * 1024;

struct AdamWArgs {
    const Trained* tensors;
    // [chunks]: for each tensor in order count / CHUNK, rounded up.
    const Chunk* chunks;
    // What gradients are multiplied by.
    float scale;
    int pad;
};

// Grid: chunks. Block: 256.
KERNEL(adamw, AdamWArgs, 256) {
    const Chunk own = args.chunks[blockIdx.x];
    const Trained tensor = args.tensors[own.tensor];
    const long long begin = static_cast<long long>(own.chunk) * CHUNK;
    const long long end = tensor.count - begin < CHUNK ? tensor.count : begin + CHUNK;
    for (long long at = begin + threadIdx.x * PACK; at < end; at += 256 * PACK) {
        const int length = pack_length(end, at);
        Pack weights = load_pack(tensor.weights + at, length);
        Pack first = load_pack(tensor.first + at, length);
        Pack second = load_pack(tensor.second + at, length);
        const Pack gradients = load_pack(tensor.gradient + at, length);
        for (int i = 0; i < PACK; i++) {
            const float gradient = gradients.at[i] * args.scale;
            first.at[i] += tensor.rest_first * (gradient - first.at[i]);
            second.at[i] += tensor.rest_second * (gradient * gradient - second.at[i]);
            const float size = sqrtf(second.at[i]) * tensor.unbias + 1e-8f;
            weights.at[i] = weights.at[i] * tensor.keep - tensor.rate * first.at[i] / size;
        }
        store_pack(tensor.weights + at, weights, length);
        store_pack(tensor.first + at, first, length);
        store_pack(tensor.second + at, second, length);
        if (tensor.rounded) store_pack(tensor.rounded + at, weights, length);
    }
}
