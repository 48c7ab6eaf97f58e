// Matrix products of f32 numbers, every one of them fused multiply-adds in order: for machines without cuBLASLt, and to
// check what it gives.
//
// A block computes 64 x 64 numbers of the result, stretches of 16 of the sum at a time. A thread has 4 x 4 numbers,
// whose rows and columns lie 16 apart.
//
// Define: OUT, the format of the result.

struct ProductArgs {
    const float* a;
    const float* b;
    // [n]; null where there is none.
    const float* bias;
    // [m, n], rows as far apart as those of y; null where there is none.
    const float* residual;
    OUT* y;
    // How far the rows of each matrix lie apart in memory, in numbers.
    long long a_stride;
    long long b_stride;
    long long y_stride;
    int m;
    int n;
    int k;
    // Whether the product is added to y.
    int accumulate;
};

inline constexpr int SIDE = 64;
inline constexpr int STRETCH = 16;
inline constexpr int EACH = 4;
inline constexpr int APART = SIDE / EACH;
// Longer by one, so that a column of a tile lies in different banks.
inline constexpr int ROW = SIDE + 1;

// Loads [STRETCH, SIDE] numbers from where the sum runs along rows of the matrix (ALONG) or down its columns.
template <bool ALONG>
DEVICE void load(float tile[STRETCH][ROW], const float* matrix, long long stride, int outer, int outer_end, int inner,
                 int inner_end) {
    for (int i = threadIdx.x; i < STRETCH * SIDE; i += 256) {
        // Neighbouring threads read neighbouring numbers.
        const int of_inner = ALONG ? i % STRETCH : i / SIDE, of_outer = ALONG ? i / STRETCH : i % SIDE;
        const long long row = ALONG ? outer + of_outer : inner + of_inner;
        const int column = ALONG ? inner + of_inner : outer + of_outer;
        const bool present = outer + of_outer < outer_end && inner + of_inner < inner_end;
        tile[of_inner][of_outer] = present ? matrix[row * stride + column] : 0.0f;
    }
}

template <bool A_ALONG, bool B_ALONG>
DEVICE void product(const ProductArgs& args) {
    __shared__ float a[STRETCH][ROW], b[STRETCH][ROW];
    const int first_row = blockIdx.y * SIDE, first_column = blockIdx.x * SIDE;
    const int own_row = threadIdx.x / APART, own_column = threadIdx.x % APART;
    float sums[EACH][EACH] = {};
    for (int inner = 0; inner < args.k; inner += STRETCH) {
        load<A_ALONG>(a, args.a, args.a_stride, first_row, args.m, inner, args.k);
        load<B_ALONG>(b, args.b, args.b_stride, first_column, args.n, inner, args.k);
        __syncthreads();
        for (int within = 0; within < STRETCH; within++) {
            for (int i = 0; i < EACH; i++) {
                for (int j = 0; j < EACH; j++) {
                    const float left = a[within][own_row + APART * i], right = b[within][own_column + APART * j];
                    sums[i][j] = fmaf(left, right, sums[i][j]);
                }
            }
        }
        __syncthreads();
    }
    for (int i = 0; i < EACH; i++) {
        for (int j = 0; j < EACH; j++) {
            const int row = first_row + own_row + APART * i, column = first_column + own_column + APART * j;
            if (row >= args.m || column >= args.n) continue;
            const long long at = row * args.y_stride + column;
            float value = sums[i][j];
            if (args.bias) value += args.bias[column];
            if (args.residual) value += args.residual[at];
            if (args.accumulate) value += to_float(args.y[at]);
            args.y[at] = nearest<OUT>(value);
        }
    }
}

// y: [m, n] = a · b + bias + residual. The letters say how the operands lie in memory: `n` as [m, k] and [k, n],
// `t` transposed, as [k, m] and [n, k]. A sum of no terms (k = 0) is 0.
// Grid: (n / 64, m / 64), each rounded up. Block: 256.
KERNEL(product_nn, ProductArgs, 256) {
    product<true, false>(args);
}

KERNEL(product_nt, ProductArgs, 256) {
    product<true, true>(args);
}

KERNEL(product_tn, ProductArgs, 256) {
    product<false, false>(args);
}

KERNEL(product_tt, ProductArgs, 256) {
    product<false, true>(args);
}
