/* lacuna.Attention(q, k, v, past keys, past values, length, total, cos, sin; heads, kv_heads, interleaved, window)
 * → [B, T, heads · D], keys, values; see attention.h.
 *
 * q [B, T, heads · D], or all of it side by side and neither k nor v, which are [B, T, kv_heads · D]. Queries bring
 * along what their scores are multiplied by. Keys and values as they come out must be bound to the memory they came in
 * from, uint8 [B, KV, blocks, 16 · (D + 4)]: only the new positions are written. length [B] is each text's
 * past + T − 1; total is not looked at. cos and sin [positions, half] turn the first 2 · half values of a head
 * (Su et al. 2021), its halves, or its neighbours where it is interleaved; without them nothing turns.
 */

#include "attention.h"
#include "lanes.h"
#include "onnxruntime.h"
#include "operators.h"
#include "processor.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

enum {
    SOON = 4,    /* tokens that are sooner turned and written than handed out to threads */
    SHARED = 16, /* tasks from which on stretches need not be shared out, too */
};

/* A head's values in bytes, −127 to 127; returns the scale. */
FOR_AVX2 static float to_bytes(const float *x, int64_t count, int8_t *bytes) {
    const float peak = largest_of(x, count);
    const __m256 factor = _mm256_set1_ps(peak > 1e-30f ? 127 / peak : 0);
    for (int64_t at = 0; at < count; at += 16) {
        const __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + at), factor));
        const __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + at + 8), factor));
        const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
        const __m128i all = _mm_packs_epi16(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
        _mm_storeu_si128((__m128i *)(bytes + at), all);
    }
    return peak / 127;
}

/* A head's values, turned by its position. */
FOR_AVX2 static void turn(const Attention *a, const float *x, int64_t position, float *to) {
    const int64_t half = a->half;
    if (!half) {
        memcpy(to, x, a->size * sizeof *to);
        return;
    }
    const float *cos = a->cos + position * half, *sin = a->sin + position * half;
    if (!a->interleaved)
        for (int64_t d = 0; d < half; d++) {
            to[d] = x[d] * cos[d] - x[d + half] * sin[d];
            to[d + half] = x[d + half] * cos[d] + x[d] * sin[d];
        }
    else
        for (int64_t d = 0; d < half; d++) {
            to[2 * d] = x[2 * d] * cos[d] - x[2 * d + 1] * sin[d];
            to[2 * d + 1] = x[2 * d + 1] * cos[d] + x[2 * d] * sin[d];
        }
    memcpy(to + 2 * half, x + 2 * half, (a->size - 2 * half) * sizeof *to);
}

static void write_queries(const Attention *a, int64_t text, int64_t token, int64_t position) {
    float turned[WIDEST];
    for (int64_t h = 0; h < a->heads; h++) {
        const int64_t head = text * a->kv_heads + h / a->group;
        const int64_t row = (head * a->count + token) * a->group + h % a->group;
        int8_t *codes = a->codes + row * a->size;
        turn(a, a->q + (text * a->count + token) * a->step_q + h * a->size, position, turned);
        a->scales[row] = to_bytes(turned, a->size, codes);
        int32_t sum = 0;
        for (int64_t d = 0; d < a->size; d++)
            sum += codes[d];
        a->starts[row] = -128 * sum;
    }
}

static void write_keys(const Attention *a, int64_t text, int64_t token, int64_t position) {
    float turned[WIDEST];
    int8_t codes[WIDEST];
    const int64_t lane = position % TOKENS;
    for (int64_t h = 0; h < a->kv_heads; h++) {
        const int64_t head = text * a->kv_heads + h;
        uint8_t *keys = (uint8_t *)block_of(a, a->keys, head, position / TOKENS);
        uint8_t *values = (uint8_t *)block_of(a, a->values, head, position / TOKENS);
        turn(a, a->k + (text * a->count + token) * a->step_k + h * a->size, position, turned);
        ((float *)(keys + a->size * TOKENS))[lane] = to_bytes(turned, a->size, codes);
        for (int64_t d = 0; d < a->size; d++)
            keys[(d / 4 * TOKENS + lane) * 4 + d % 4] = (uint8_t)(codes[d] + 128);
        const float *v = a->v + (text * a->count + token) * a->step_v + h * a->size;
        ((float *)(values + a->size * TOKENS))[lane] = to_bytes(v, a->size, codes);
        for (int64_t d = 0; d < a->size; d++)
            values[lane / 2 * 2 * a->size + 2 * d + lane % 2] = (uint8_t)codes[d];
    }
}

/* All new tokens of one text that lie in one block. */
static void write_block(void *attention, size_t task) {
    const Attention *a = attention;
    const int64_t each = a->count / TOKENS + 2, text = (int64_t)task / each;
    const int64_t past = a->length[text] - a->count + 1, first = (past / TOKENS + (int64_t)task % each) * TOKENS;
    for (int64_t position = first < past ? past : first; position < first + TOKENS; position++)
        if (position < past + a->count) {
            write_queries(a, text, position - past, position);
            write_keys(a, text, position - past, position);
        }
}

static Status *attend_all(Api api, void *context, Attention *a) {
    const int wide = level() == VNNI_512;
    const int64_t each = a->count / TOKENS + 2;
    if (a->batch * a->count <= SOON)
        for (int64_t task = 0; task < a->batch * each; task++)
            write_block(a, task);
    else
        CHECK(spread_out(api, context, write_block, a->batch * each, 0, a));
    const int64_t tasks = a->batch * a->kv_heads * a->tiles * (a->parts ? a->stretches : 1);
    CHECK(spread_out(api, context, wide ? attend_vnni_512 : attend_avx2, tasks, tasks, a));
    if (a->parts)
        (wide ? gather_vnni_512 : gather_avx2)(a);
    return NULL;
}

/* How the work is cut, and the room for what is between. */
static Status *arranged(Api api, void *context, Attention *a) {
    int64_t first = a->positions, last = 0;
    for (int64_t text = 0; text < a->batch; text++) {
        const int64_t begin = a->length[text] - a->count + 1;
        if (begin < 0 || a->length[text] >= a->blocks * TOKENS || (a->cos && a->length[text] >= a->positions))
            return failed(api, "Attention: a text is longer than its room");
        first = begin < first ? begin : first;
        last = a->length[text] > last ? a->length[text] : last;
    }
    first = a->window > 0 && first >= a->window ? first - a->window + 1 : 0;
    const int64_t rows = a->batch * a->heads * a->count;
    a->tiles = (a->count * a->group + MOST_ROWS - 1) / MOST_ROWS;
    a->first_stretch = first / STRETCH;
    a->stretches = last / STRETCH + 1 - a->first_stretch;
    const int64_t tasks = a->batch * a->kv_heads * a->tiles;
    const int shared = tasks < SHARED && a->stretches > 1;
    a->codes = malloc(rows * a->size);
    a->scales = malloc(rows * sizeof *a->scales);
    a->starts = malloc(rows * sizeof *a->starts);
    a->parts = shared ? malloc(tasks * a->stretches * MOST_ROWS * sizeof *a->parts) : NULL;
    const int has_room = a->codes && a->scales && a->starts && (a->parts || !shared);
    Status *status = has_room ? attend_all(api, context, a) : failed(api, "Attention: no memory");
    free(a->codes);
    free(a->scales);
    free(a->starts);
    free(a->parts);
    return status;
}

/* The operator. */

typedef struct {
    Api api;
    int64_t heads, kv_heads, interleaved, window;
} Kernel;

static Status *create(const Operator *operator, Api api, const void *info, void **made) {
    (void)operator;
    Kernel *kernel = *made = malloc(sizeof *kernel); /* given back by `destroy` */
    if (kernel == NULL)
        return failed(api, "Attention: no memory");
    kernel->api = api;
    CHECK(attribute(api, info, "heads", &kernel->heads));
    CHECK(attribute(api, info, "kv_heads", &kernel->kv_heads));
    CHECK(attribute(api, info, "interleaved", &kernel->interleaved));
    return attribute(api, info, "window", &kernel->window);
}

enum { Q, K, V, KEYS, VALUES, LENGTH, TOTAL, COS, SIN, INPUTS };

/* An output of this size; what is bound to it already holds what came in, or else is given it. */
static Status *in_place(Api api, void *context, size_t at, const Tensor *held, uint8_t **to) {
    void *output;
    CHECK(CALL(api, GET_OUTPUT, void *, size_t, const int64_t *, size_t, void **)(
        context, at, held->dimensions, held->count, &output
    ));
    CHECK(CALL(api, TENSOR_DATA, const void *, void **)(output, (void **)to));
    if (*to != held->data)
        memcpy(*to, held->data, numbers(held->dimensions, held->count));
    return NULL;
}

/* Whether sizes fit each other; fills in what they say. */
static int fits(Attention *a, const Tensor *given) {
    const Tensor *q = given + Q, *keys = given + KEYS;
    if (q->count != 3 || keys->count != 4 || a->heads <= 0 || a->kv_heads <= 0 || a->heads % a->kv_heads ||
        keys->dimensions[3] % TOKENS)
        return 0;
    a->batch = q->dimensions[0], a->count = q->dimensions[1], a->group = a->heads / a->kv_heads;
    a->blocks = keys->dimensions[2], a->size = keys->dimensions[3] / TOKENS - (int64_t)sizeof(float);
    const int64_t own = a->heads * a->size, shared = a->kv_heads * a->size, step = q->dimensions[2];
    const int together = given[K].data == NULL && given[V].data == NULL;
    a->q = q->data, a->step_q = step, a->length = given[LENGTH].data;
    a->k = together ? a->q + own : given[K].data, a->step_k = together ? step : shared;
    a->v = together ? a->q + own + shared : given[V].data, a->step_v = together ? step : shared;
    a->cos = given[COS].data, a->sin = given[SIN].data;
    a->half = a->cos ? given[COS].dimensions[1] : 0, a->positions = a->cos ? given[COS].dimensions[0] : INT64_MAX;
    const int64_t numbers_apart = a->batch * a->count * shared, bytes = numbers(keys->dimensions, 4);
    int whole = step == own + 2 * shared;
    if (!together)
        whole = step == own && a->k && a->v && numbers(given[K].dimensions, given[K].count) == numbers_apart &&
                numbers(given[V].dimensions, given[V].count) == numbers_apart;
    return whole && a->size > 0 && a->size % 16 == 0 && a->size <= WIDEST && 2 * a->half <= a->size &&
           keys->dimensions[0] == a->batch && keys->dimensions[1] == a->kv_heads &&
           numbers(given[VALUES].dimensions, given[VALUES].count) == bytes &&
           numbers(given[LENGTH].dimensions, given[LENGTH].count) == a->batch && !a->cos == !a->sin;
}

static Status *compute(void *made, void *context) {
    const Kernel *kernel = made;
    const Api api = kernel->api;
    Attention a = {.heads = kernel->heads, .kv_heads = kernel->kv_heads, .window = kernel->window};
    a.interleaved = kernel->interleaved;
    Tensor given[INPUTS];
    void *output;
    for (size_t at = 0; at < INPUTS; at++)
        CHECK(tensor(api, context, at, given + at));
    if (!fits(&a, given))
        return failed(api, "Attention: keys, values and queries do not fit each other and the attributes");
    const int64_t dimensions[] = {a.batch, a.count, a.heads * a.size};
    CHECK(CALL(api, GET_OUTPUT, void *, size_t, const int64_t *, size_t, void **)(context, 0, dimensions, 3, &output));
    CHECK(CALL(api, TENSOR_DATA, const void *, void **)(output, (void **)&a.y));
    CHECK(in_place(api, context, 1, given + KEYS, &a.keys));
    CHECK(in_place(api, context, 2, given + VALUES, &a.values));
    return a.batch > 0 && a.count > 0 ? arranged(api, context, &a) : NULL;
}

static const char *name(const Operator *operator) { return (void)operator, "Attention"; }
static size_t inputs(const Operator *operator) { return (void)operator, INPUTS; }
static size_t outputs(const Operator *operator) { return (void)operator, 3; }
static int input_type(const Operator *operator, size_t at) {
    return (void)operator, at == KEYS || at == VALUES ? UINT8 : at == LENGTH || at == TOTAL ? INT32 : FLOAT;
}
static int output_type(const Operator *operator, size_t at) { return (void)operator, at ? UINT8 : FLOAT; }
static int input_kind(const Operator *operator, size_t at) {
    return (void)operator, at == K || at == V || at == COS || at == SIN ? OPTIONAL : REQUIRED;
}

const Operator ATTENTION = {
    .version = INTERFACE,
    .name = name,
    .provider = on_processor,
    .input_type = input_type,
    .inputs = inputs,
    .output_type = output_type,
    .outputs = outputs,
    .destroy = free,
    .input_kind = input_kind,
    .output_kind = always_required,
    .memory = in_memory,
    .variadic = {one_version, one_version, one_version, one_version},
    .create_with_status = create,
    .compute_with_status = compute,
    .first_version = one_version,
    .last_version = one_version,
};
