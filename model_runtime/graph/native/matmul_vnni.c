/* The product with VNNI: `matmul_vnni.h` for each of its levels. */

#include "matmul.h"
#include "processor.h"

#include <immintrin.h>

FOR_AVX2 static inline __m256 scales_of(const Product *p, int64_t group, int64_t b) {
    const int64_t blocks = p->width / p->block;
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p->scales + (group * blocks + b) * COLUMNS)));
}

/* 8 sums at once. */

#define LANES 8
#define TALL 4
#define WIDE 1
#define WHOLE __m256i
#define FLOATS __m256
#define LOAD(p) _mm256_load_si256((const __m256i *)(p))
#define LOAD_FLOATS(p) _mm256_load_ps(p)
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
#define FIRST(x) x
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
#undef LOAD_FLOATS
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
#undef FIRST
#undef TAKE
#undef PUT

/* 16 sums at once: two groups of outputs side by side; the second half of the last register may be of none. */

#define LANES 16
#define TALL 6
#define WIDE 2
#define WHOLE __m512i
#define FLOATS __m512
#define LOAD(p) _mm512_load_si512(p)
#define LOAD_FLOATS(p) _mm512_load_ps(p)
#define SPREAD(p) _mm512_set1_epi32(four(p))
#define ONES_OF(n) _mm512_set1_epi32(n)
#define ONES(f) _mm512_set1_ps(f)
#define ZEROES _mm512_setzero_ps()
#define AND(a, b) _mm512_and_si512(a, b)
#define HALVED(v) _mm512_srli_epi16(v, 4)
#define FLOAT_OF(v) _mm512_cvtepi32_ps(v)
#define TIMES(a, b) _mm512_mul_ps(a, b)
#define ADDED(a, b, c) _mm512_fmadd_ps(a, b, c)
#define FIRST(x) _mm512_castps256_ps512(x)
#define TAKE(y, groups) _mm512_maskz_loadu_ps((groups) > 1 ? 0xffff : 0x00ff, y)
#define PUT(y, groups, v) _mm512_mask_storeu_ps(y, (groups) > 1 ? 0xffff : 0x00ff, v)
#define NAME(word) word##_vnni_512_many
#define TARGET FOR_VNNI_512
#define DOT(sums, codes, x) _mm512_dpbusd_epi32(sums, codes, x)

static inline int32_t four(const void *p) {
    int32_t found;
    __builtin_memcpy(&found, p, sizeof found);
    return found;
}

#include "matmul_vnni.h"

/* Of few rows the memory is the limit: they are multiplied in the order in which the codes lie, 64 bytes at once, which
 * are eight outputs by twice as many values. */

enum { AS_THEY_LIE = 4 };

/* Of four times four values: those of one place in the lower lanes, and of another in the upper. */
FOR_VNNI_512 static inline __m512i halves(__m512i x, int low, int high) {
    const __m512i places = _mm512_inserti64x4(_mm512_set1_epi32(low), _mm256_set1_epi32(high), 1);
    return _mm512_castps_si512(_mm512_permutevar_ps(_mm512_castsi512_ps(x), places));
}

FOR_VNNI_512 static inline __attribute__((always_inline)) void lying(
    const int rows, const int bits, const Product *p, int64_t group
) {
    const int64_t blocks = p->width / p->block, step = p->row_step * p->block;
    const __m512i half = _mm512_set1_epi8(15);
    const uint8_t *codes = p->codes + group * p->width * bits;
    __m256 found[AS_THEY_LIE];
    for (int r = 0; r < rows; r++)
        found[r] = _mm256_setzero_ps();
    for (int64_t b = 0; b < blocks; b++) {
        const int8_t *x = p->bytes + b * p->block;
        __m512i sums[AS_THEY_LIE];
        for (int r = 0; r < rows; r++)
            sums[r] = _mm512_zextsi256_si512(_mm256_set1_epi32(p->starts[r * p->row_step + b]));
        for (int64_t k = 0; k < p->block; k += 16, codes += 16 * bits) {
            __m512i first = _mm512_loadu_si512(codes), second;
            if (bits == 8) {
                second = _mm512_loadu_si512(codes + 64);
            } else {
                second = _mm512_and_si512(_mm512_srli_epi16(first, 4), half);
                first = _mm512_and_si512(first, half);
            }
            for (int r = 0; r < rows; r++) {
                const __m512i all = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(x + r * step + k)));
                sums[r] = _mm512_dpbusd_epi32(sums[r], first, bits == 8 ? halves(all, 0, 1) : halves(all, 0, 2));
                sums[r] = _mm512_dpbusd_epi32(sums[r], second, bits == 8 ? halves(all, 2, 3) : halves(all, 1, 3));
            }
        }
        const __m256 scales = scales_of(p, group, b);
        for (int r = 0; r < rows; r++) {
            const __m256i sum =
                _mm256_add_epi32(_mm512_castsi512_si256(sums[r]), _mm512_extracti64x4_epi64(sums[r], 1));
            const __m256 scale = _mm256_set1_ps(p->byte_scales[r * p->row_step + b]);
            found[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(scales, scale), found[r]);
        }
    }
    for (int r = 0; r < rows; r++)
        _mm256_storeu_ps(p->y + r * p->outputs + group * COLUMNS, found[r]);
}

FOR_VNNI_512 static inline __attribute__((always_inline)) void all_lying(
    const int bits, const Product *p, int64_t strip
) {
    const int64_t groups = p->outputs / COLUMNS, first = strip * (STRIP / COLUMNS);
    for (int64_t group = first; group < first + STRIP / COLUMNS && group < groups; group++)
        switch (p->rows) {
        case 1: lying(1, bits, p, group); break;
        case 2: lying(2, bits, p, group); break;
        case 3: lying(3, bits, p, group); break;
        case 4: lying(4, bits, p, group); break;
        }
}

FOR_VNNI_512 static void lying_4(const Product *p, int64_t strip) { all_lying(4, p, strip); }
FOR_VNNI_512 static void lying_8(const Product *p, int64_t strip) { all_lying(8, p, strip); }

void strip_vnni_512(void *product, size_t strip) {
    const Product *p = product;
    if (p->rows > AS_THEY_LIE)
        strip_vnni_512_many(product, strip);
    else
        (p->bits == 4 ? lying_4 : lying_8)(p, (int64_t)strip);
}
