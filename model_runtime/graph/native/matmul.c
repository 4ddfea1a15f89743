/* lacuna.MatMulPacked(x [.., K], codes, scales, power, weight, delta; N, bits, block_size, gated, epsilon)
 * → [.., N], x + delta; see matmul.h.
 *
 * What is done to x before is done a row at a time, while it is at hand: with a weight [K] what is multiplied is
 * x + delta brought to a mean square of 1, times that weight (Zhang and Sennrich 2019), and the sum is the second
 * output; without a delta it is x, and there is no second. Gated, x is [.., 2 · K], and what is multiplied is silu of
 * its first half times its second (Shazeer 2020).
 */

#include "lanes.h"
#include "matmul.h"
#include "onnxruntime.h"
#include "operators.h"
#include "processor.h"

#include <immintrin.h>
#include <math.h>

enum {
    FEW = 8192,          /* values that are sooner brought to bytes than handed out to threads */
    LONGEST_ROW = 16384, /* before which something can be done */
};

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

/* A row of x in bytes. */
FOR_AVX2 static void to_bytes(const Product *p, size_t row, const float *values) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i ones = _mm256_set1_epi8(1), middle = _mm256_set1_epi16(p->bits == 4 ? -8 : -128);
    for (int64_t b = 0; b < p->width / p->block; b++) {
        const int64_t at = b * p->block_step + row * p->row_step;
        const float *x = values + b * p->block;
        const float peak = largest_of(x, p->block);
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

/* silu of the first half times the second. */
FOR_AVX2 static void gate(const float *x, int64_t width, float *to) {
    const __m256 one = _mm256_set1_ps(1);
    for (int64_t k = 0; k < width; k += 8) {
        const __m256 at = _mm256_loadu_ps(x + k);
        const __m256 whole = _mm256_add_ps(one, exponential_of(_mm256_sub_ps(_mm256_setzero_ps(), at)));
        _mm256_storeu_ps(to + k, _mm256_mul_ps(_mm256_div_ps(at, whole), _mm256_loadu_ps(x + width + k)));
    }
}

/* x + delta, in its place, brought to a mean square of 1 and weighed. */
FOR_AVX2 static void norm(const Product *p, const float *x, const float *delta, float *sum, float *to) {
    __m256 squares = _mm256_setzero_ps();
    for (int64_t k = 0; k < p->width; k += 8) {
        __m256 at = _mm256_loadu_ps(x + k);
        if (delta) {
            at = _mm256_add_ps(at, _mm256_loadu_ps(delta + k));
            _mm256_storeu_ps(sum + k, at);
        }
        squares = _mm256_fmadd_ps(at, at, squares);
    }
    const __m256 factor = _mm256_set1_ps(1 / sqrtf(sum_of_lanes(squares) / (float)p->width + p->epsilon));
    const float *all = delta ? sum : x;
    for (int64_t k = 0; k < p->width; k += 8) {
        const __m256 at = _mm256_mul_ps(_mm256_loadu_ps(all + k), factor);
        _mm256_storeu_ps(to + k, _mm256_mul_ps(at, _mm256_loadu_ps(p->weight + k)));
    }
}

/* What is multiplied, of a row of x. */
static void prepare(void *job, size_t row) {
    const Product *p = job;
    const int64_t at = (int64_t)row * p->width;
    float made[LONGEST_ROW];
    if (p->gated)
        gate(p->x + 2 * at, p->width, made);
    else if (p->weight)
        norm(p, p->x + at, p->delta ? p->delta + at : NULL, p->sum ? p->sum + at : NULL, made);
    to_bytes(p, row, p->gated || p->weight ? made : p->x + at);
}

/* The operator. */

typedef struct {
    Api api;
    int64_t outputs, block, bits, gated;
    float epsilon;
} Kernel;

static Status *create(const Operator *operator, Api api, const void *info, void **made) {
    (void)operator;
    Kernel *kernel = *made = malloc(sizeof *kernel); /* given back by `destroy` */
    if (kernel == NULL)
        return failed(api, "MatMulPacked: no memory");
    kernel->api = api;
    CHECK(attribute(api, info, "N", &kernel->outputs));
    CHECK(attribute(api, info, "bits", &kernel->bits));
    CHECK(attribute(api, info, "gated", &kernel->gated));
    CHECK(CALL(api, ATTRIBUTE_FLOAT, const void *, const char *, float *)(info, "epsilon", &kernel->epsilon));
    return attribute(api, info, "block_size", &kernel->block);
}

static Status *run(Api api, void *context, Product *product) {
    static Strip *const ways[] = {NULL, strip_avx2, strip_vnni, strip_vnni_vl, strip_vnni_512};
    const int64_t strips = (product->outputs + STRIP - 1) / STRIP;
    if (product->rows > 1 && product->rows * product->width > FEW)
        CHECK(spread_out(api, context, prepare, product->rows, 0, product));
    else
        for (int64_t row = 0; row < product->rows; row++)
            prepare(product, row);
    return spread_out(api, context, ways[level()], strips, strips, product);
}

enum { X, CODES, SCALES, POWER, WEIGHT, DELTA, INPUTS };

/* Whether sizes fit each other; fills in what they say. */
static int fits(Product *p, const Tensor *given) {
    const Tensor *x = given + X, *codes = given + CODES, *scales = given + SCALES, *power = given + POWER;
    const int64_t width = x->dimensions[x->count - 1];
    p->x = x->data, p->codes = codes->data, p->scales = scales->data;
    p->weight = given[WEIGHT].data, p->delta = given[DELTA].data;
    p->width = p->gated ? width / 2 : width;
    p->rows = numbers(x->dimensions, x->count - 1);
    if (p->block <= 0 || p->block % PART || p->block > LONGEST || p->width % p->block || p->outputs % COLUMNS ||
        (p->bits != 4 && p->bits != 8) || (p->gated && (width % 2 || p->weight)) || (p->delta && !p->weight) ||
        ((p->gated || p->weight) && p->width > LONGEST_ROW))
        return 0;
    return numbers(codes->dimensions, codes->count) == p->outputs * p->width * p->bits / 8 &&
           numbers(scales->dimensions, scales->count) == p->outputs * (p->width / p->block) &&
           numbers(power->dimensions, power->count) == 1 &&
           (!p->weight || numbers(given[WEIGHT].dimensions, given[WEIGHT].count) == p->width) &&
           (!p->delta || numbers(given[DELTA].dimensions, given[DELTA].count) == p->rows * p->width);
}

static Status *output(Api api, void *context, size_t at, const Tensor *like, float **to) {
    void *value;
    CHECK(CALL(api, GET_OUTPUT, void *, size_t, const int64_t *, size_t, void **)(
        context, at, like->dimensions, like->count, &value
    ));
    return CALL(api, TENSOR_DATA, const void *, void **)(value, (void **)to);
}

static Status *compute(void *made, void *context) {
    const Kernel *kernel = made;
    const Api api = kernel->api;
    Product product = {.outputs = kernel->outputs, .block = kernel->block, .bits = kernel->bits};
    product.gated = kernel->gated != 0, product.epsilon = kernel->epsilon;
    Tensor given[INPUTS];
    for (size_t at = 0; at < INPUTS; at++)
        CHECK(tensor(api, context, at, given + at));
    if (given[X].count == 0)
        return failed(api, "MatMulPacked: x has no dimension, or too many");
    if (!fits(&product, given))
        return failed(api, "MatMulPacked: the matrix has another size than x and the attributes ask for");
    product.power = *(const float *)given[POWER].data;
    if (product.delta)
        CHECK(output(api, context, 1, given + X, &product.sum));
    given[X].dimensions[given[X].count - 1] = product.outputs;
    CHECK(output(api, context, 0, given + X, &product.y));
    if (product.rows == 0)
        return NULL;
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
static size_t inputs(const Operator *operator) { return (void)operator, INPUTS; }
static size_t outputs(const Operator *operator) { return (void)operator, 2; }
static int input_type(const Operator *operator, size_t at) { return (void)operator, at == CODES ? UINT8 : at == SCALES ? FLOAT16 : FLOAT; }
static int output_type(const Operator *operator, size_t at) { return (void)operator, (void)at, FLOAT; }

static int input_kind(const Operator *operator, size_t at) { return (void)operator, at > POWER ? OPTIONAL : REQUIRED; }
static int output_kind(const Operator *operator, size_t at) { return (void)operator, at ? OPTIONAL : REQUIRED; }

const Operator MATMUL_PACKED = {
    .version = INTERFACE,
    .name = name,
    .provider = on_processor,
    .input_type = input_type,
    .inputs = inputs,
    .output_type = output_type,
    .outputs = outputs,
    .destroy = free,
    .input_kind = input_kind,
    .output_kind = output_kind,
    .memory = in_memory,
    .variadic = {one_version, one_version, one_version, one_version},
    .create_with_status = create,
    .compute_with_status = compute,
    .first_version = one_version,
    .last_version = one_version,
};
