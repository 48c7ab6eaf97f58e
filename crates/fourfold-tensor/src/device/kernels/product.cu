// Matrix products of 16-bit numbers on tensor cores: for machines without cuBLASLt, and to check what it gives.
//
// A block computes 128 x 128 numbers of the result, stretches of 32 of the sum at a time: while one is multiplied, the
// next is on its way to shared memory. Each of 8 warps has 64 x 32 numbers.
//
// Defines: T, the format of the operands (bf16 or f16); OUT, that of the result.

struct ProductArgs {
    const T* a;
    const T* b;
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

inline constexpr int SIDE = 128;
inline constexpr int STRETCH = 32;
inline constexpr int THREADS = 256;
// Of a warp's part: 16 rows and 8 columns each.
inline constexpr int ROW_PARTS = 4;
inline constexpr int COLUMN_PARTS = 4;

// A tile of an operand: [SIDE, STRETCH] where the sum runs along rows, [STRETCH, SIDE] where it runs down columns.
template <bool ALONG>
struct Tile {
    static constexpr int ROW = (ALONG ? STRETCH : SIDE) + TILE_GAP;
    static constexpr int NUMBERS = (ALONG ? SIDE : STRETCH) * ROW;

    // Begins to load the tile of outer indices from `outer` on and of the sum from `inner` on.
    static __device__ __forceinline__ void load(T* tile, const T* matrix, long long stride, int outer, int outer_end,
                                                int inner, int inner_end, bool aligned) {
        if (ALONG) {
            const T* from = matrix + outer * stride + inner;
            load_tile<SIDE, STRETCH, THREADS>(tile, from, stride, outer_end - outer, inner_end - inner, aligned);
        } else {
            const T* from = matrix + inner * stride + outer;
            load_tile<STRETCH, SIDE, THREADS>(tile, from, stride, inner_end - inner, outer_end - outer, aligned);
        }
    }
};

template <bool ALONG>
DEVICE void left_part(unsigned a[4], const T* tile, int row, int inner) {
    constexpr int ROW = Tile<ALONG>::ROW;
    if (ALONG) left_operand<ROW>(a, tile + row * ROW + inner);
    else left_operand_transposed<ROW>(a, tile + inner * ROW + row);
}

template <bool ALONG>
DEVICE void right_parts(unsigned b[4], const T* tile, int column, int inner) {
    constexpr int ROW = Tile<ALONG>::ROW;
    if (ALONG) right_operands_transposed<ROW>(b, tile + column * ROW + inner);
    else right_operands<ROW>(b, tile + inner * ROW + column);
}

DEVICE void store_number(const ProductArgs& args, int row, int column, float value) {
    if (row >= args.m || column >= args.n) return;
    const long long at = row * args.y_stride + column;
    if (args.bias) value += args.bias[column];
    if (args.residual) value += args.residual[at];
    if (args.accumulate) value += to_float(args.y[at]);
    args.y[at] = nearest<OUT>(value);
}

template <bool A_ALONG, bool B_ALONG>
DEVICE void product(const ProductArgs& args) {
    typedef Tile<A_ALONG> A;
    typedef Tile<B_ALONG> B;
    SHARED(T, tiles);
    constexpr int STAGE = A::NUMBERS + B::NUMBERS;
    const int first_row = blockIdx.y * SIDE, first_column = blockIdx.x * SIDE;
    const int warp_row = warp() / 4 * (ROW_PARTS * 16), warp_column = warp() % 4 * (COLUMN_PARTS * 8);
    const bool a_aligned = rows_are_aligned(args.a, args.a_stride), b_aligned = rows_are_aligned(args.b, args.b_stride);
    auto load = [&](int stage, int inner) {
        T* tile = tiles + stage * STAGE;
        A::load(tile, args.a, args.a_stride, first_row, args.m, inner, args.k, a_aligned);
        B::load(tile + A::NUMBERS, args.b, args.b_stride, first_column, args.n, inner, args.k, b_aligned);
        commit_copies();
    };

    float sums[ROW_PARTS][COLUMN_PARTS][4] = {};
    load(0, 0);
    int stage = 0;
    for (int inner = 0; inner < args.k; inner += STRETCH) {
        if (inner + STRETCH < args.k) {
            load(1 - stage, inner + STRETCH);
            wait_for_copies<1>();
        } else {
            wait_for_copies<0>();
        }
        __syncthreads();
        const T* of_a = tiles + stage * STAGE;
        const T* of_b = of_a + A::NUMBERS;
        UNROLL
        for (int within = 0; within < STRETCH; within += 16) {
            unsigned a[ROW_PARTS][4], b[COLUMN_PARTS / 2][4];
            UNROLL
            for (int i = 0; i < ROW_PARTS; i++) left_part<A_ALONG>(a[i], of_a, warp_row + 16 * i, within);
            UNROLL
            for (int j = 0; j < COLUMN_PARTS / 2; j++) right_parts<B_ALONG>(b[j], of_b, warp_column + 16 * j, within);
            UNROLL
            for (int i = 0; i < ROW_PARTS; i++) {
                UNROLL
                for (int j = 0; j < COLUMN_PARTS; j++) multiply_add(sums[i][j], a[i], b[j / 2] + j % 2 * 2, T());
            }
        }
        // The next stretch but one is loaded to where this one lies.
        __syncthreads();
        stage = 1 - stage;
    }

    UNROLL
    for (int i = 0; i < ROW_PARTS; i++) {
        UNROLL
        for (int j = 0; j < COLUMN_PARTS; j++) {
            const int row = first_row + warp_row + 16 * i + lane() / 4;
            const int column = first_column + warp_column + 8 * j + lane() % 4 * 2;
            UNROLL
            for (int part = 0; part < 4; part++) {
                store_number(args, row + part / 2 * 8, column + part % 2, sums[i][j][part]);
            }
        }
    }
}

// y: [m, n] = a · b + bias + residual. The letters say how the operands lie in memory: `n` as [m, k] and [k, n],
// `t` transposed, as [k, m] and [n, k]. A sum of no terms (k = 0) is 0.
// Grid: (n / 128, m / 128), each rounded up. Block: 256. Shared: 40960 bytes.
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
