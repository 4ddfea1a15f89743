/* Rows of floats times a matrix in 4 or 8 bits: what the operator and the ways to multiply share.
 *
 * A matrix [N, K] is cut into blocks of B values of a row that share a scale, B a multiple of 32 up to 256, and packed
 * so that it is read in the order in which it is multiplied (`quantize.packed` writes it), the same for all processors:
 *   codes   uint8 [N/8, K/B, B·bits/32, 32]: eight rows by four values, or at 4 bits by eight, of which the first four
 *           are the low halves and the last four the high halves; codes are 2^(bits−1) too large
 *   scales  float16 [N/8, K/B, 8], times a power of 2
 * Each row of x is brought to bytes block by block, with a scale of its own for each. What comes of a row is the same
 * to the bit whatever the rows beside it, the number of threads and the level are: a block's sum is a whole number,
 * and blocks are added up from the first to the last.
 */

#ifndef LACUNA_MATMUL_H
#define LACUNA_MATMUL_H

#include <stddef.h>
#include <stdint.h>

enum {
    COLUMNS = 8, /* of the output that are packed together */
    PART = 32,   /* values, of which a block is a multiple */
    LONGEST = 256,
};

typedef struct {
    const float *x, *weight, *delta; /* see matmul.c; NULL where they were left out */
    float *sum, epsilon;
    int gated;
    const uint8_t *codes;
    const uint16_t *scales;
    float *y;
    int64_t rows, width, outputs, block, bits;
    int64_t row_step, block_step; /* in blocks of x: from a row to the next, and from a block of it to the next */
    int8_t *bytes;                /* [rows, K/B, B], or as the steps say */
    float *byte_scales;           /* one a block of x, times power */
    int32_t *starts;              /* the same: what codes being read as 0 and more adds to each sum, to be taken away */
    float power;                  /* of 2, for all scales of the matrix */
} Product;

/* All rows of one strip of so many outputs, for each level; the last strip may be narrower. */
enum { STRIP = 32 };
typedef void Strip(void *product, size_t strip);
Strip strip_avx2, strip_vnni, strip_vnni_vl, strip_vnni_512;

/* Rows up to which a level multiplies without opening the codes for all of them first. */
enum { FEW_AVX2 = 12 };

#endif
