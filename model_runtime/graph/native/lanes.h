/* What several operators do with eight floats at once, the same at every level. */

#ifndef LACUNA_LANES_H
#define LACUNA_LANES_H

#include "processor.h"

#include <immintrin.h>
#include <stdint.h>

/* The largest magnitude; no number where one of them is none, so that nothing comes of it that looks like one. */
FOR_AVX2 static inline float largest_of(const float *x, int64_t count) {
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

/* The lanes' sum, in an order of its own. */
FOR_AVX2 static inline float sum_of_lanes(__m256 x) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

/* e^x, of x between −87 and 87, and of what is beyond as of these: Cody and Waite's reduction, and a polynomial as
 * Cephes has it. */
FOR_AVX2 static inline __m256 exponential_of(__m256 x) {
    x = _mm256_min_ps(_mm256_set1_ps(87), _mm256_max_ps(_mm256_set1_ps(-87), x)); /* so what is no number stays so */
    const __m256 n =
        _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256 r = _mm256_fmadd_ps(
        n, _mm256_set1_ps(2.12194440e-4f), _mm256_fmadd_ps(n, _mm256_set1_ps(-0.693359375f), x)
    );
    __m256 found = _mm256_fmadd_ps(r, _mm256_set1_ps(1.9875691500e-4f), _mm256_set1_ps(1.3981999507e-3f));
    found = _mm256_fmadd_ps(found, r, _mm256_set1_ps(8.3334519073e-3f));
    found = _mm256_fmadd_ps(found, r, _mm256_set1_ps(4.1665795894e-2f));
    found = _mm256_fmadd_ps(found, r, _mm256_set1_ps(1.6666665459e-1f));
    found = _mm256_fmadd_ps(found, r, _mm256_set1_ps(5.0000001201e-1f));
    found = _mm256_fmadd_ps(_mm256_mul_ps(r, r), found, _mm256_add_ps(r, _mm256_set1_ps(1)));
    const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(found, _mm256_castsi256_ps(power));
}

#endif
