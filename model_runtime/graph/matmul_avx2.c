/* Rows of floats and a matrix in 4 or 8 bits in, their product out: an operator for ONNX Runtime on AVX2.
 *
 * lacuna.MatMulPacked(x [.., K], codes, scales; N, bits, block_size) → [.., N]. For processors whose quickest product
 * of bytes is vpmaddubsw, which multiplies 32 pairs and adds neighbours into 16 bits. Half a byte, 0 to 15, times a
 * byte from −127 to 127, two of them added, eight such sums: 30,480 at most, so that 16 bits hold them and one widening
 * serves 32 values, where kernels that multiply whole bytes need one for each four. A code of 8 bits is two halves.
 *
 * A matrix [N, K] is cut into blocks of B values of a row that share a scale, B a multiple of 32 up to 256, and packed
 * so that it is read in the order in which it is multiplied (`quantize.packed` writes it):
 *   codes   uint8 [N/8, K/B, B·bits/32, 32]: eight rows by four values, or at 4 bits by eight, of which the first four
 *           are the low halves and the last four the high halves; codes are 2^(bits−1) too large
 *   scales  float [N/8, K/B, 8]
 * Each row of x is brought to bytes block by block, with a scale of its own for each. What comes of a row does not
 * depend on the rows beside it.
 */

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* ONNX Runtime's C interface, as far as it is used: places in its table of functions, to which it only appends, and
 * the struct that describes an operator. From onnxruntime_c_api.h, version 17. */

enum { INTERFACE = 17 };

enum {
    CREATE_STATUS = 0,
    CREATE_DOMAIN = 26,
    ADD_OPERATOR = 27,
    ADD_DOMAIN = 28,
    TENSOR_DATA = 51,
    COUNT_DIMENSIONS = 61,
    DIMENSIONS = 62,
    TENSOR_SHAPE = 65,
    ATTRIBUTE_INT = 86,
    GET_INPUT = 90,
    GET_OUTPUT = 91,
    RELEASE_SHAPE = 99,
    PARALLEL_FOR = 274,
};

enum { FAIL = 1, FLOAT = 1, UINT8 = 2, REQUIRED = 0, DEFAULT_MEMORY = 0 };

typedef const void *const *Api;
typedef void Status; /* NULL where all went well */

typedef struct {
    Api (*get)(uint32_t version);
    const char *(*version)(void);
} Base;

typedef struct Operator Operator;
struct Operator {
    uint32_t version;
    void *(*create)(const Operator *, Api, const void *info);
    const char *(*name)(const Operator *);
    const char *(*provider)(const Operator *);
    int (*input_type)(const Operator *, size_t);
    size_t (*inputs)(const Operator *);
    int (*output_type)(const Operator *, size_t);
    size_t (*outputs)(const Operator *);
    void (*compute)(void *, void *);
    void (*destroy)(void *);
    int (*input_kind)(const Operator *, size_t);
    int (*output_kind)(const Operator *, size_t);
    int (*memory)(const Operator *, size_t);
    int (*variadic[4])(const Operator *);
    Status *(*create_with_status)(const Operator *, Api, const void *info, void **kernel);
    Status *(*compute_with_status)(void *kernel, void *context);
    Status *(*infer_shape)(const Operator *, void *);
    int (*first_version)(const Operator *);
    int (*last_version)(const Operator *);
};

#define CALL(api, place, ...) ((Status * (*)(__VA_ARGS__))(api)[place])

/* The product. */

enum {
    COLUMNS = 8, /* of the output, in one register of 32-bit sums */
    TALL = 4,    /* rows of x at once */
    FEW = 12,    /* rows for which opening the codes for all of them first does not pay */
    STRIP = 4,   /* times COLUMNS: what one thread takes at a time */
    PART = 32,   /* values that 16 bits hold the sum of */
    LONGEST = 256,
};

typedef struct {
    const float *x;
    const uint8_t *codes;
    const float *scales;
    float *y;
    int64_t rows, width, outputs, block, bits;
    int8_t *bytes;      /* [K/B, rows, B] */
    float *byte_scales; /* [K/B, rows] */
    int32_t *starts;    /* [K/B, rows]: what codes being read as 0 and more adds to each sum, to be taken away */
} Product;

/* The largest magnitude; no number where one of them is none, so that nothing comes of it that looks like one. */
static float largest(const float *x, int64_t count) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 most = _mm256_setzero_ps(), nothing = _mm256_setzero_ps();
    for (int64_t at = 0; at < count; at += 8) {
        const __m256 values = _mm256_loadu_ps(x + at);
        most = _mm256_max_ps(most, _mm256_andnot_ps(sign, values));
        nothing = _mm256_fmadd_ps(values, _mm256_setzero_ps(), nothing);
    }
    float lanes[8], odd[8], found = 0, sum = 0;
    _mm256_storeu_ps(lanes, most);
    _mm256_storeu_ps(odd, nothing);
    for (int lane = 0; lane < 8; lane++) {
        found = lanes[lane] > found ? lanes[lane] : found;
        sum += odd[lane];
    }
    return found + sum;
}

static int32_t sum_of(__m256i lanes) {
    int32_t each[8], found = 0;
    _mm256_storeu_si256((__m256i *)each, lanes);
    for (int lane = 0; lane < 8; lane++)
        found += each[lane];
    return found;
}

static __m256i rounded(const float *x, __m256 factor) {
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), factor));
}

/* One row of x in bytes. */
static void to_bytes(void *job, size_t row) {
    const Product *p = job;
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i ones = _mm256_set1_epi8(1), middle = _mm256_set1_epi16(p->bits == 4 ? -8 : -128);
    for (int64_t b = 0; b < p->width / p->block; b++) {
        const int64_t at = b * p->rows + row;
        const float *x = p->x + row * p->width + b * p->block;
        const float peak = largest(x, p->block);
        const __m256 factor = _mm256_set1_ps(peak > 1e-30f ? 127 / peak : 0);
        __m256i sums = _mm256_setzero_si256();
        for (int64_t k = 0; k < p->block; k += 32) {
            const __m256i low = _mm256_packs_epi32(rounded(x + k, factor), rounded(x + k + 8, factor));
            const __m256i high = _mm256_packs_epi32(rounded(x + k + 16, factor), rounded(x + k + 24, factor));
            const __m256i all = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
            _mm256_storeu_si256((__m256i *)(p->bytes + at * p->block + k), all);
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(ones, all), middle));
        }
        p->byte_scales[at] = peak / 127;
        p->starts[at] = sum_of(sums);
    }
}

/* The low and the high halves of 32 bytes of codes. */
static inline void open(const uint8_t *codes, __m256i *low, __m256i *high) {
    const __m256i half = _mm256_set1_epi8(15), both = _mm256_loadu_si256((const __m256i *)codes);
    *low = _mm256_and_si256(both, half);
    *high = _mm256_and_si256(_mm256_srli_epi16(both, 4), half);
}

/* In this order: else the compiler computes all products first and runs out of registers. */
#define NOW(value) __asm__ volatile("" : "+x"(value))

static inline __m256i times(__m256i codes, const int8_t *x) {
    return _mm256_maddubs_epi16(codes, _mm256_castps_si256(_mm256_broadcast_ss((const float *)x)));
}

/* Adds a block's sums to what the blocks before gave. */
static inline void put(const Product *p, int64_t b, int64_t row, __m256i sums, __m256 scale, float *y) {
    const __m256 both = _mm256_mul_ps(scale, _mm256_set1_ps(p->byte_scales[b * p->rows + row]));
    const __m256 found = _mm256_cvtepi32_ps(sums);
    y += row * p->outputs;
    _mm256_storeu_ps(y, b ? _mm256_fmadd_ps(found, both, _mm256_loadu_ps(y)) : _mm256_mul_ps(found, both));
}

/* One block of eight outputs for a few rows. is_open: the halves of each 32 bytes of codes lie side by side already. */
static inline __attribute__((always_inline)) void tile(
    const int bits, const int rows, const int is_open, const Product *p, int64_t b, int64_t row, const uint8_t *codes,
    __m256 scale, float *y
) {
    const int64_t at = b * p->rows + row, block = p->block;
    const int8_t *x = p->bytes + at * block;
    const int wide = 32 / bits; /* values of a row in 32 bytes of codes */
    const __m256i ones = _mm256_set1_epi16(1), sixteens = _mm256_set1_epi16(16);
    __m256i sums[TALL], lows[TALL], highs[TALL];
    for (int r = 0; r < rows; r++)
        sums[r] = _mm256_set1_epi32(p->starts[at + r]);
    for (int64_t k = 0; k < block; k += PART) {
#pragma GCC unroll 8
        for (int step = 0; step < PART; step += wide) {
            __m256i low, high;
            if (is_open) {
                low = _mm256_load_si256((const __m256i *)codes);
                high = _mm256_load_si256((const __m256i *)(codes + 32));
            } else {
                open(codes, &low, &high);
            }
            codes += is_open ? 64 : 32;
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++) {
                const int8_t *values = x + r * block + k + step;
                const __m256i one = times(low, values), two = times(high, bits == 4 ? values + 4 : values);
                lows[r] = step ? _mm256_add_epi16(lows[r], one) : one;
                NOW(lows[r]);
                if (bits == 4) {
                    lows[r] = _mm256_add_epi16(lows[r], two);
                    NOW(lows[r]);
                } else {
                    highs[r] = step ? _mm256_add_epi16(highs[r], two) : two;
                    NOW(highs[r]);
                }
            }
        }
        for (int r = 0; r < rows; r++) {
            sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(lows[r], ones));
            if (bits == 8)
                sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(highs[r], sixteens));
        }
    }
    for (int r = 0; r < rows; r++)
        put(p, b, row + r, sums[r], scale, y);
}

/* One block of eight outputs for the rows from this one on, fewer than TALL. */
static inline __attribute__((always_inline)) void rest(
    const int bits, const Product *p, int64_t b, int64_t row, const uint8_t *codes, __m256 scale, float *y
) {
    switch (p->rows - row) {
    case 1: tile(bits, 1, 0, p, b, row, codes, scale, y); break;
    case 2: tile(bits, 2, 0, p, b, row, codes, scale, y); break;
    case 3: tile(bits, 3, 0, p, b, row, codes, scale, y); break;
    }
}

/* All rows of one strip of outputs. */
static inline __attribute__((always_inline)) void strip_of(const int bits, const Product *p, int64_t strip) {
    const int64_t blocks = p->width / p->block, groups = p->outputs / COLUMNS, bytes = p->block * bits;
    const int64_t first = strip * STRIP, end = first + STRIP < groups ? first + STRIP : groups;
    const int64_t whole = p->rows - p->rows % TALL;
    if (p->rows <= FEW) { /* in the order in which the codes lie */
        for (int64_t group = first; group < end; group++)
            for (int64_t b = 0; b < blocks; b++) {
                const int64_t at = group * blocks + b;
                const __m256 scale = _mm256_loadu_ps(p->scales + at * COLUMNS);
                for (int64_t row = 0; row < whole; row += TALL)
                    tile(bits, TALL, 0, p, b, row, p->codes + at * bytes, scale, p->y + group * COLUMNS);
                rest(bits, p, b, whole, p->codes + at * bytes, scale, p->y + group * COLUMNS);
            }
        return;
    }
    uint8_t opened[2 * 8 * LONGEST] __attribute__((aligned(32)));
    for (int64_t b = 0; b < blocks; b++) /* outside: so a block of x stays in the first cache */
        for (int64_t group = first; group < end; group++) {
            const int64_t at = group * blocks + b;
            const uint8_t *codes = p->codes + at * bytes;
            const __m256 scale = _mm256_loadu_ps(p->scales + at * COLUMNS);
            for (int64_t k = 0; k < bytes; k += 32) {
                __m256i *to = (__m256i *)(opened + 2 * k);
                open(codes + k, to, to + 1);
            }
            for (int64_t row = 0; row < whole; row += TALL)
                tile(bits, TALL, 1, p, b, row, opened, scale, p->y + group * COLUMNS);
            rest(bits, p, b, whole, codes, scale, p->y + group * COLUMNS);
        }
}

static void multiply4(void *product, size_t strip) { strip_of(4, product, strip); }
static void multiply8(void *product, size_t strip) { strip_of(8, product, strip); }

/* The operator. */

typedef struct {
    Api api;
    int64_t outputs, block, bits;
} Kernel;

static Status *failed(Api api, const char *why) {
    return ((Status * (*)(int, const char *))api[CREATE_STATUS])(FAIL, why);
}

#define CHECK(call)                  \
    do {                             \
        Status *status = (call);     \
        if (status != NULL)          \
            return status;           \
    } while (0)

static Status *attribute(Api api, const void *info, const char *name, int64_t *value) {
    return CALL(api, ATTRIBUTE_INT, const void *, const char *, int64_t *)(info, name, value);
}

static Status *create(const Operator *operator, Api api, const void *info, void **made) {
    (void)operator;
    Kernel *kernel = *made = malloc(sizeof *kernel); /* given back by `destroy` */
    if (kernel == NULL)
        return failed(api, "MatMulPacked: no memory");
    kernel->api = api;
    CHECK(attribute(api, info, "N", &kernel->outputs));
    CHECK(attribute(api, info, "bits", &kernel->bits));
    return attribute(api, info, "block_size", &kernel->block);
}

enum { MOST_DIMENSIONS = 8 };

/* The dimensions of a tensor; how many, or 0 where they are too many. */
static Status *shape_of(Api api, const void *tensor, int64_t *dimensions, size_t *count) {
    void *shape;
    CHECK(CALL(api, TENSOR_SHAPE, const void *, void **)(tensor, &shape));
    Status *status = CALL(api, COUNT_DIMENSIONS, const void *, size_t *)(shape, count);
    if (status == NULL && *count > MOST_DIMENSIONS)
        *count = 0;
    else if (status == NULL)
        status = CALL(api, DIMENSIONS, const void *, int64_t *, size_t)(shape, dimensions, *count);
    ((void (*)(void *))api[RELEASE_SHAPE])(shape);
    return status;
}

static int64_t numbers(const int64_t *dimensions, size_t count) {
    int64_t found = 1;
    for (size_t at = 0; at < count; at++)
        found *= dimensions[at];
    return found;
}

static Status *input(Api api, const void *context, size_t at, void **data, int64_t *dimensions, size_t *count) {
    const void *tensor;
    CHECK(CALL(api, GET_INPUT, const void *, size_t, const void **)(context, at, &tensor));
    CHECK(shape_of(api, tensor, dimensions, count));
    return CALL(api, TENSOR_DATA, const void *, void **)(tensor, data);
}

typedef void Task(void *, size_t);

static Status *spread(Api api, void *context, Task *task, int64_t count, int64_t batches, Product *product) {
    return CALL(api, PARALLEL_FOR, const void *, Task *, size_t, size_t, void *)(context, task, count, batches, product);
}

static Status *run(Api api, void *context, Product *product) {
    const int64_t strips = (product->outputs / COLUMNS + STRIP - 1) / STRIP;
    if (product->rows > FEW)
        CHECK(spread(api, context, to_bytes, product->rows, 0, product));
    else /* sooner done than handed out */
        for (int64_t row = 0; row < product->rows; row++)
            to_bytes(product, row);
    return spread(api, context, product->bits == 4 ? multiply4 : multiply8, strips, strips, product);
}

static Status *compute(void *made, void *context) {
    const Kernel *kernel = made;
    const Api api = kernel->api;
    Product product = {.outputs = kernel->outputs, .block = kernel->block, .bits = kernel->bits};
    int64_t dimensions[MOST_DIMENSIONS], held[MOST_DIMENSIONS];
    size_t count, others;
    void *x, *codes, *scales, *output, *y;
    CHECK(input(api, context, 1, &codes, held, &others));
    const int64_t code_bytes = numbers(held, others);
    CHECK(input(api, context, 2, &scales, held, &others));
    const int64_t scale_count = numbers(held, others);
    CHECK(input(api, context, 0, &x, dimensions, &count));
    if (count == 0)
        return failed(api, "MatMulPacked: x has no dimension, or too many");
    product.width = dimensions[count - 1];
    product.rows = numbers(dimensions, count - 1);
    if (product.block <= 0 || product.block % PART || product.block > LONGEST || product.width % product.block ||
        product.outputs % COLUMNS || (product.bits != 4 && product.bits != 8) ||
        code_bytes != product.outputs * product.width * product.bits / 8 ||
        scale_count != product.outputs * (product.width / product.block))
        return failed(api, "MatMulPacked: the matrix has another size than x and the attributes ask for");
    dimensions[count - 1] = product.outputs;
    CHECK(CALL(api, GET_OUTPUT, void *, size_t, const int64_t *, size_t, void **)(
        context, 0, dimensions, count, &output
    ));
    CHECK(CALL(api, TENSOR_DATA, const void *, void **)(output, &y));
    if (product.rows == 0)
        return NULL;
    product.x = x, product.codes = codes, product.scales = scales, product.y = y;
    const int64_t blocks = product.rows * (product.width / product.block);
    product.bytes = malloc(product.rows * product.width);
    product.byte_scales = malloc(blocks * sizeof *product.byte_scales);
    product.starts = malloc(blocks * sizeof *product.starts);
    const int has_room = product.bytes != NULL && product.byte_scales != NULL && product.starts != NULL;
    Status *status = has_room ? run(api, context, &product) : failed(api, "MatMulPacked: no memory");
    free(product.bytes);
    free(product.byte_scales);
    free(product.starts);
    return status;
}

static const char *name(const Operator *operator) { return (void)operator, "MatMulPacked"; }
static const char *provider(const Operator *operator) { return (void)operator, "CPUExecutionProvider"; }
static size_t inputs(const Operator *operator) { return (void)operator, 3; }
static size_t outputs(const Operator *operator) { return (void)operator, 1; }
static int input_type(const Operator *operator, size_t at) { return (void)operator, at == 1 ? UINT8 : FLOAT; }
static int output_type(const Operator *operator, size_t at) { return (void)operator, (void)at, FLOAT; }
static int required(const Operator *operator, size_t at) { return (void)operator, (void)at, REQUIRED; }
static int memory(const Operator *operator, size_t at) { return (void)operator, (void)at, DEFAULT_MEMORY; }
static int one(const Operator *operator) { return (void)operator, 1; }

static const Operator MATMUL_PACKED = {
    .version = INTERFACE,
    .name = name,
    .provider = provider,
    .input_type = input_type,
    .inputs = inputs,
    .output_type = output_type,
    .outputs = outputs,
    .destroy = free,
    .input_kind = required,
    .output_kind = required,
    .memory = memory,
    .variadic = {one, one, one, one},
    .create_with_status = create,
    .compute_with_status = compute,
    .first_version = one,
    .last_version = one,
};

/* What ONNX Runtime calls when the library is registered for a session. */
Status *RegisterCustomOps(void *options, const Base *base) {
    const Api api = base->get(INTERFACE);
    if (api == NULL)
        return NULL; /* older than the interface: the session then says that it does not know the operator */
    void *domain;
    CHECK(CALL(api, CREATE_DOMAIN, const char *, void **)("lacuna", &domain));
    CHECK(CALL(api, ADD_OPERATOR, void *, const Operator *)(domain, &MATMUL_PACKED));
    return CALL(api, ADD_DOMAIN, void *, void *)(options, domain);
}
