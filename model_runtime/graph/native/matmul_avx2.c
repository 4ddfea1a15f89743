/* The product for processors whose quickest product of bytes is vpmaddubsw, see matmul.h.
 *
 * It multiplies 32 pairs and adds neighbours into 16 bits. Half a byte, 0 to 15, times a byte from −127 to 127, two of
 * them added, eight such sums: 30,480 at most, so that 16 bits hold them and one widening serves 32 values, where
 * kernels that multiply whole bytes need one for each four. A code of 8 bits is two halves. Of x a block of all rows
 * lies together: row_step is 1.
 */

#include "matmul.h"
#include "processor.h"

#include <immintrin.h>

enum {
    TALL = 4,                 /* rows of x at once */
    GROUPS = STRIP / COLUMNS, /* of eight outputs, whose 32-bit sums one register holds */
};

/* The low and the high halves of 32 bytes of codes. */
FOR_AVX2 static inline void open(const uint8_t *codes, __m256i *low, __m256i *high) {
    const __m256i half = _mm256_set1_epi8(15), both = _mm256_loadu_si256((const __m256i *)codes);
    *low = _mm256_and_si256(both, half);
    *high = _mm256_and_si256(_mm256_srli_epi16(both, 4), half);
}

/* In this order: else the compiler computes all products first and runs out of registers. */
#define NOW(value) __asm__ volatile("" : "+x"(value))

FOR_AVX2 static inline __m256i times(__m256i codes, const int8_t *x) {
    return _mm256_maddubs_epi16(codes, _mm256_castps_si256(_mm256_broadcast_ss((const float *)x)));
}

FOR_AVX2 static inline __m256 scales_at(const Product *p, int64_t at) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p->scales + at * COLUMNS)));
}

/* Adds a block's sums to what the blocks before gave. */
FOR_AVX2 static inline void put(const Product *p, int64_t b, int64_t row, __m256i sums, __m256 scale, float *y) {
    const __m256 both = _mm256_mul_ps(scale, _mm256_set1_ps(p->byte_scales[b * p->block_step + row]));
    const __m256 found = _mm256_cvtepi32_ps(sums);
    y += row * p->outputs;
    _mm256_storeu_ps(y, b ? _mm256_fmadd_ps(found, both, _mm256_loadu_ps(y)) : _mm256_mul_ps(found, both));
}

/* One block of eight outputs for a few rows. is_open: the halves of each 32 bytes of codes lie side by side already. */
FOR_AVX2 static inline __attribute__((always_inline)) void tile(
    const int bits, const int rows, const int is_open, const Product *p, int64_t b, int64_t row, const uint8_t *codes,
    __m256 scale, float *y
) {
    const int64_t at = b * p->block_step + row, block = p->block;
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
FOR_AVX2 static inline __attribute__((always_inline)) void rest(
    const int bits, const Product *p, int64_t b, int64_t row, const uint8_t *codes, __m256 scale, float *y
) {
    switch (p->rows - row) {
    case 1: tile(bits, 1, 0, p, b, row, codes, scale, y); break;
    case 2: tile(bits, 2, 0, p, b, row, codes, scale, y); break;
    case 3: tile(bits, 3, 0, p, b, row, codes, scale, y); break;
    }
}

/* All rows of one strip of outputs. */
FOR_AVX2 static inline __attribute__((always_inline)) void strip_of(const int bits, const Product *p, int64_t strip) {
    const int64_t blocks = p->width / p->block, groups = p->outputs / COLUMNS, bytes = p->block * bits;
    const int64_t first = strip * GROUPS, end = first + GROUPS < groups ? first + GROUPS : groups;
    const int64_t whole = p->rows - p->rows % TALL;
    if (p->rows <= FEW_AVX2) { /* in the order in which the codes lie */
        for (int64_t group = first; group < end; group++)
            for (int64_t b = 0; b < blocks; b++) {
                const int64_t at = group * blocks + b;
                const __m256 scale = scales_at(p, at);
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
            const __m256 scale = scales_at(p, at);
            for (int64_t k = 0; k < bytes; k += 32) {
                __m256i *to = (__m256i *)(opened + 2 * k);
                open(codes + k, to, to + 1);
            }
            for (int64_t row = 0; row < whole; row += TALL)
                tile(bits, TALL, 1, p, b, row, opened, scale, p->y + group * COLUMNS);
            rest(bits, p, b, whole, codes, scale, p->y + group * COLUMNS);
        }
}

FOR_AVX2 static void strip4(const Product *p, int64_t strip) { strip_of(4, p, strip); }
FOR_AVX2 static void strip8(const Product *p, int64_t strip) { strip_of(8, p, strip); }

void strip_avx2(void *product, size_t strip) {
    const Product *p = product;
    (p->bits == 4 ? strip4 : strip8)(p, strip);
}
