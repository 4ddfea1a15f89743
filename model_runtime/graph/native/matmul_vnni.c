/* The product with VNNI: `matmul_vnni.h` for each of its levels. */

#include "matmul.h"
#include "processor.h"

#include <immintrin.h>

/* 8 sums at once. */

#define LANES 8
#define TALL 4
#define WIDE 1
#define WHOLE __m256i
#define FLOATS __m256
#define LOAD(p) _mm256_load_si256((const __m256i *)(p))
#define STORE(p, v) _mm256_store_si256((__m256i *)(p), v)
#define LOAD_FLOATS(p) _mm256_load_ps(p)
#define STORE_FLOATS(p, v) _mm256_store_ps(p, v)
#define SPREAD(p) _mm256_castps_si256(_mm256_broadcast_ss((const float *)(p)))
#define ONES_OF(n) _mm256_set1_epi32(n)
#define ONES(f) _mm256_set1_ps(f)
#define ZEROES _mm256_setzero_ps()
#define AND(a, b) _mm256_and_si256(a, b)
#define HALVED(v) _mm256_srli_epi16(v, 4)
#define FLOAT_OF(v) _mm256_cvtepi32_ps(v)
#define TIMES(a, b) _mm256_mul_ps(a, b)
#define ADDED(a, b, c) _mm256_fmadd_ps(a, b, c)
#define CODES(p, g, at) _mm256_loadu_si256((const __m256i *)((p)->codes + (g) * (p)->width * (p)->bits + (at)))
#define SCALES(p, g, b) \
    _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((p)->scales + ((g) * ((p)->width / (p)->block) + (b)) * COLUMNS)))
#define TAKE(y, groups) ((void)(groups), _mm256_loadu_ps(y))
#define PUT(y, groups, v) ((void)(groups), _mm256_storeu_ps(y, v))

#define NAME(word) word##_vnni
#define TARGET FOR_VNNI
#define DOT(sums, codes, x) _mm256_dpbusd_avx_epi32(sums, codes, x)
#include "matmul_vnni.h"
#undef NAME
#undef TARGET
#undef DOT

#define NAME(word) word##_vnni_vl
#define TARGET FOR_VNNI_VL
#define DOT(sums, codes, x) _mm256_dpbusd_epi32(sums, codes, x)
#include "matmul_vnni.h"
#undef NAME
#undef TARGET
#undef DOT

#undef LANES
#undef TALL
#undef WIDE
#undef WHOLE
#undef FLOATS
#undef LOAD
#undef STORE
#undef LOAD_FLOATS
#undef STORE_FLOATS
#undef SPREAD
#undef ONES_OF
#undef ONES
#undef ZEROES
#undef AND
#undef HALVED
#undef FLOAT_OF
#undef TIMES
#undef ADDED
#undef CODES
#undef SCALES
#undef TAKE
#undef PUT

/* 16 sums at once: two groups of outputs side by side; the second half of the last register may be of none. */

#define LANES 16
#define TALL 6
#define WIDE 2
#define WHOLE __m512i
#define FLOATS __m512
#define LOAD(p) _mm512_load_si512(p)
#define STORE(p, v) _mm512_store_si512(p, v)
#define LOAD_FLOATS(p) _mm512_load_ps(p)
#define STORE_FLOATS(p, v) _mm512_store_ps(p, v)
#define SPREAD(p) _mm512_set1_epi32(four(p))
#define ONES_OF(n) _mm512_set1_epi32(n)
#define ONES(f) _mm512_set1_ps(f)
#define ZEROES _mm512_setzero_ps()
#define AND(a, b) _mm512_and_si512(a, b)
#define HALVED(v) _mm512_srli_epi16(v, 4)
#define FLOAT_OF(v) _mm512_cvtepi32_ps(v)
#define TIMES(a, b) _mm512_mul_ps(a, b)
#define ADDED(a, b, c) _mm512_fmadd_ps(a, b, c)
#define CODES(p, g, at) codes_512(p, g, at)
#define SCALES(p, g, b) scales_512(p, g, b)
#define TAKE(y, groups) _mm512_maskz_loadu_ps((groups) > 1 ? 0xffff : 0x00ff, y)
#define PUT(y, groups, v) _mm512_mask_storeu_ps(y, (groups) > 1 ? 0xffff : 0x00ff, v)
#define NAME(word) word##_vnni_512
#define TARGET FOR_VNNI_512
#define DOT(sums, codes, x) _mm512_dpbusd_epi32(sums, codes, x)

static inline int32_t four(const void *p) {
    int32_t found;
    __builtin_memcpy(&found, p, sizeof found);
    return found;
}

/* The group behind this one, or this once more where it is the last. */
static inline int64_t other(const Product *p, int64_t group) { return group + (group + 1 < p->outputs / COLUMNS); }

TARGET static inline __m512i codes_512(const Product *p, int64_t group, int64_t at) {
    const uint8_t *codes = p->codes + at, *second = codes + other(p, group) * p->width * p->bits;
    const __m256i first = _mm256_loadu_si256((const __m256i *)(codes + group * p->width * p->bits));
    return _mm512_inserti64x4(_mm512_castsi256_si512(first), _mm256_loadu_si256((const __m256i *)second), 1);
}

TARGET static inline __m512 scales_512(const Product *p, int64_t group, int64_t b) {
    const int64_t blocks = p->width / p->block;
    const __m128i first = _mm_loadu_si128((const __m128i *)(p->scales + (group * blocks + b) * COLUMNS));
    const __m128i second = _mm_loadu_si128((const __m128i *)(p->scales + (other(p, group) * blocks + b) * COLUMNS));
    return _mm512_cvtph_ps(_mm256_set_m128i(second, first));
}

#include "matmul_vnni.h"
