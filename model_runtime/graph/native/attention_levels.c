/* Attention at each level: `attention_level.h` for 8 lanes twice, and for 16. */

#include "attention.h"
#include "lanes.h"
#include "processor.h"

#include <immintrin.h>
#include <math.h>

/* The largest of the lanes. */

FOR_AVX2 static inline float peak_of_half(__m256 x) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

/* AVX2, and what has no 16 lanes. */

typedef struct {
    __m256i low, high;
} Wholes;

typedef struct {
    __m256 low, high;
} Floats;

#define NAME(word) word##_avx2
#define TARGET FOR_AVX2
#define WHOLE Wholes
#define FLOATS Floats
#define ROWS 3
#define FEW 2
#define DEEP 2
#define HERE(name) TARGET static inline __attribute__((always_inline)) name

HERE(Floats spread)(float x) { return (Floats){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
HERE(Wholes spread_whole)(int32_t x) { return (Wholes){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
HERE(Floats load)(const void *p) { return (Floats){_mm256_loadu_ps(p), _mm256_loadu_ps((const float *)p + 8)}; }
HERE(void save)(float *p, Floats x) { _mm256_storeu_ps(p, x.low), _mm256_storeu_ps(p + 8, x.high); }
HERE(Floats plus)(Floats a, Floats b) { return (Floats){_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
HERE(Floats minus)(Floats a, Floats b) { return (Floats){_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
HERE(Floats times)(Floats a, Floats b) { return (Floats){_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
HERE(Floats largest)(Floats a, Floats b) {
    return (Floats){_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
HERE(Floats added)(Floats a, Floats b, Floats c) {
    return (Floats){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
HERE(float total_of)(Floats x) { return sum_of_lanes(_mm256_add_ps(x.low, x.high)); }
HERE(float peak_of)(Floats x) { return peak_of_half(_mm256_max_ps(x.low, x.high)); }
HERE(Floats floats)(Wholes x) { return (Floats){_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)}; }
HERE(Floats nearest)(Floats x) {
    return (Floats){
        _mm256_round_ps(x.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
        _mm256_round_ps(x.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
    };
}

HERE(__m256 doubled_half)(__m256 x, __m256 n) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(x, _mm256_castsi256_ps(exponent));
}

/* x · 2^n. */
HERE(Floats doubled)(Floats x, Floats n) {
    return (Floats){doubled_half(x.low, n.low), doubled_half(x.high, n.high)};
}

HERE(__m256 kept_half)(int64_t from, int64_t to, __m256 x, __m256 other) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const int low = from < -1 ? -1 : (int)(from > 8 ? 8 : from), high = to < 0 ? 0 : (int)(to > 8 ? 8 : to);
    const __m256i inside = _mm256_and_si256(
        _mm256_cmpgt_epi32(lanes, _mm256_set1_epi32(low - 1)), _mm256_cmpgt_epi32(_mm256_set1_epi32(high), lanes)
    );
    return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(inside));
}

/* The lanes from `from` on and before `to`; else the others. */
HERE(Floats kept)(int64_t from, int64_t to, Floats x, Floats other) {
    return (Floats){kept_half(from, to, x.low, other.low), kept_half(from - 8, to - 8, x.high, other.high)};
}

HERE(void save_shorts)(int16_t *p, Floats x) {
    const __m256i both = _mm256_packs_epi32(_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high));
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(both, 0xd8));
}

HERE(Wholes load_whole)(const uint8_t *p) {
    return (Wholes){_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 32))};
}

HERE(__m256i dot4_half)(__m256i sums, __m256i keys, __m256i even, __m256i odd) {
    const __m256i first = _mm256_madd_epi16(_mm256_and_si256(keys, _mm256_set1_epi16(255)), even);
    return _mm256_add_epi32(sums, _mm256_add_epi32(first, _mm256_madd_epi16(_mm256_srli_epi16(keys, 8), odd)));
}

HERE(Wholes dot4)(Wholes sums, Wholes keys, const int8_t *codes) {
    int32_t four;
    __builtin_memcpy(&four, codes, sizeof four);
    const __m256i all = _mm256_set1_epi32(four), odd = _mm256_srai_epi16(all, 8);
    const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8);
    return (Wholes){dot4_half(sums.low, keys.low, even, odd), dot4_half(sums.high, keys.high, even, odd)};
}

HERE(Wholes widened)(const uint8_t *p) {
    return (Wholes){
        _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p)),
        _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(p + 16))),
    };
}

HERE(Wholes spread_pair)(const int16_t *p) {
    int32_t pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return spread_whole(pair);
}

HERE(Wholes dot2)(Wholes sums, Wholes values, Wholes shares) {
    return (Wholes){
        _mm256_add_epi32(sums.low, _mm256_madd_epi16(values.low, shares.low)),
        _mm256_add_epi32(sums.high, _mm256_madd_epi16(values.high, shares.high)),
    };
}

#include "attention_level.h"

#undef NAME
#undef TARGET
#undef WHOLE
#undef FLOATS
#undef ROWS
#undef FEW
#undef DEEP

/* AVX-512 VNNI. */

#define NAME(word) word##_vnni_512
#define TARGET FOR_VNNI_512
#define WHOLE __m512i
#define FLOATS __m512
#define ROWS 12
#define FEW 6
#define DEEP 4
#define spread(x) _mm512_set1_ps(x)
#define spread_whole(x) _mm512_set1_epi32(x)
#define load(p) _mm512_loadu_ps(p)
#define save(p, x) _mm512_storeu_ps(p, x)
#define plus(a, b) _mm512_add_ps(a, b)
#define minus(a, b) _mm512_sub_ps(a, b)
#define times(a, b) _mm512_mul_ps(a, b)
#define largest(a, b) _mm512_max_ps(a, b)
#define added(a, b, c) _mm512_fmadd_ps(a, b, c)
#define floats(x) _mm512_cvtepi32_ps(x)
#define nearest(x) _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define doubled(x, n) _mm512_scalef_ps(x, n)
#define low_half(x) _mm512_castps512_ps256(x)
#define high_half(x) _mm512_extractf32x8_ps(x, 1)
#define total_of(x) sum_of_lanes(_mm256_add_ps(low_half(x), high_half(x)))
#define peak_of(x) peak_of_half(_mm256_max_ps(low_half(x), high_half(x)))
#define kept(from, to, x, other) _mm512_mask_mov_ps(other, inside(from, to), x)
#define save_shorts(p, x) _mm256_storeu_si256((__m256i *)(p), _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(x)))
#define load_whole(p) _mm512_loadu_si512(p)
#define dot4(sums, keys, codes) dot4_512(sums, keys, _mm512_set1_epi32(four_of(codes)))
#define widened(p) _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(p)))
#define spread_pair(p) _mm512_set1_epi32(four_of(p))
#define dot2(sums, values, shares) dot2_512(sums, values, shares)

static inline int32_t four_of(const void *p) {
    int32_t found;
    __builtin_memcpy(&found, p, sizeof found);
    return found;
}

/* In these words, and not by intrinsics: GCC copies each sum to another register and back. */
TARGET static inline __attribute__((always_inline)) __m512i dot4_512(__m512i sums, __m512i keys, __m512i codes) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(keys), "v"(codes));
    return sums;
}

TARGET static inline __attribute__((always_inline)) __m512i dot2_512(__m512i sums, __m512i values, __m512i shares) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sums) : "v"(values), "v"(shares));
    return sums;
}

static inline uint16_t inside(int64_t from, int64_t to) {
    const uint32_t before = to <= 0 ? 0 : to >= 16 ? 0xffff : (1u << to) - 1;
    return (uint16_t)(from <= 0 ? before : from >= 16 ? 0 : before & ~((1u << from) - 1));
}

#include "attention_level.h"
