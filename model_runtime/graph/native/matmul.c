/* lacuna.MatMulPacked(x [.., K], codes, scales, power; N, bits, block_size) → [.., N], see matmul.h. */

#include "matmul.h"
#include "onnxruntime.h"
#include "operators.h"
#include "processor.h"

#include <immintrin.h>

enum { FEW = 12 }; /* rows that are sooner brought to bytes than handed out to threads */

/* The largest magnitude; no number where one of them is none, so that nothing comes of it that looks like one. */
FOR_AVX2 static float largest(const float *x, int64_t count) {
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

FOR_AVX2 static int32_t sum_of(__m256i lanes) {
    int32_t each[8], found = 0;
    _mm256_storeu_si256((__m256i *)each, lanes);
    for (int lane = 0; lane < 8; lane++)
        found += each[lane];
    return found;
}

FOR_AVX2 static inline __m256i rounded(const float *x, __m256 factor) {
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), factor));
}

/* One row of x in bytes. */
FOR_AVX2 static void to_bytes(void *job, size_t row) {
    const Product *p = job;
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i ones = _mm256_set1_epi8(1), middle = _mm256_set1_epi16(p->bits == 4 ? -8 : -128);
    for (int64_t b = 0; b < p->width / p->block; b++) {
        const int64_t at = b * p->block_step + row * p->row_step;
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
        p->byte_scales[at] = peak / 127 * p->power;
        p->starts[at] = sum_of(sums);
    }
}

/* The operator. */

typedef struct {
    Api api;
    int64_t outputs, block, bits;
} Kernel;

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

static Status *run(Api api, void *context, Product *product) {
    static Strip *const ways[] = {NULL, strip_avx2, strip_vnni, strip_vnni_vl, strip_vnni_512};
    const int64_t strips = (product->outputs + STRIP - 1) / STRIP;
    if (product->rows > FEW)
        CHECK(spread_out(api, context, to_bytes, product->rows, 0, product));
    else /* sooner done than handed out */
        for (int64_t row = 0; row < product->rows; row++)
            to_bytes(product, row);
    return spread_out(api, context, ways[level()], strips, strips, product);
}

static Status *compute(void *made, void *context) {
    const Kernel *kernel = made;
    const Api api = kernel->api;
    Product product = {.outputs = kernel->outputs, .block = kernel->block, .bits = kernel->bits};
    Tensor x, codes, scales, power;
    void *output, *y;
    CHECK(tensor(api, context, 0, &x));
    CHECK(tensor(api, context, 1, &codes));
    CHECK(tensor(api, context, 2, &scales));
    CHECK(tensor(api, context, 3, &power));
    if (x.count == 0)
        return failed(api, "MatMulPacked: x has no dimension, or too many");
    product.width = x.dimensions[x.count - 1];
    product.rows = numbers(x.dimensions, x.count - 1);
    if (product.block <= 0 || product.block % PART || product.block > LONGEST || product.width % product.block ||
        product.outputs % COLUMNS || (product.bits != 4 && product.bits != 8) ||
        numbers(codes.dimensions, codes.count) != product.outputs * product.width * product.bits / 8 ||
        numbers(scales.dimensions, scales.count) != product.outputs * (product.width / product.block) ||
        numbers(power.dimensions, power.count) != 1)
        return failed(api, "MatMulPacked: the matrix has another size than x and the attributes ask for");
    x.dimensions[x.count - 1] = product.outputs;
    CHECK(CALL(api, GET_OUTPUT, void *, size_t, const int64_t *, size_t, void **)(
        context, 0, x.dimensions, x.count, &output
    ));
    CHECK(CALL(api, TENSOR_DATA, const void *, void **)(output, &y));
    if (product.rows == 0)
        return NULL;
    product.x = x.data, product.codes = codes.data, product.scales = scales.data, product.y = y;
    product.power = *(const float *)power.data;
    const int64_t blocks = product.rows * (product.width / product.block);
    product.row_step = level() == AVX2 ? 1 : product.width / product.block;
    product.block_step = level() == AVX2 ? product.rows : 1;
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
static size_t inputs(const Operator *operator) { return (void)operator, 4; }
static size_t outputs(const Operator *operator) { return (void)operator, 1; }
static int input_type(const Operator *operator, size_t at) { return (void)operator, at == 1 ? UINT8 : at == 2 ? FLOAT16 : FLOAT; }
static int output_type(const Operator *operator, size_t at) { return (void)operator, (void)at, FLOAT; }

const Operator MATMUL_PACKED = {
    .version = INTERFACE,
    .name = name,
    .provider = on_processor,
    .input_type = input_type,
    .inputs = inputs,
    .output_type = output_type,
    .outputs = outputs,
    .destroy = free,
    .input_kind = always_required,
    .output_kind = always_required,
    .memory = in_memory,
    .variadic = {one_version, one_version, one_version, one_version},
    .create_with_status = create,
    .compute_with_status = compute,
    .first_version = one_version,
    .last_version = one_version,
};
