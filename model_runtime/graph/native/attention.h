/* Attention over keys and values in 8 bits: what the operator and the ways to compute it share.
 *
 * Heads that share keys and values (grouped queries, Ainslie et al. 2023) are rows that read the same. A text's keys
 * and values lie in blocks of 16 positions, each with 16 scales behind its codes, written once as they come:
 *   keys    uint8 [KV, blocks, D/4, 16, 4], 128 too large: 16 positions by four values, as one instruction wants them
 *   values  int8 [KV, blocks, 8, D, 2]: two positions by all values
 *   scales  float [16]
 * A row goes through its positions in stretches of 256, from the first to the last: scores are whole numbers times
 * scales, the stretch's shares are brought to 15 bits of the largest, and what comes of it is a whole number again. So
 * what comes of a row is the same to the bit whatever rows are beside it, whichever level is taken, and however the
 * work is shared out.
 */

#ifndef LACUNA_ATTENTION_H
#define LACUNA_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

enum {
    TOKENS = 16,   /* positions of a block */
    STRETCH = 256, /* positions whose values 32 bits hold the sum of */
    WIDEST = 256,  /* values of a head */
    MOST_ROWS = 12,
};

/* What comes of a stretch, or of several: the largest score, the sum of all shares against it, and the values in these
 * shares. */
typedef struct {
    float peak, sum;
    float mixed[WIDEST];
} Mixed;

typedef struct {
    int64_t batch, count, heads, kv_heads, group, size, blocks, window, half, interleaved, positions;
    const float *q, *k, *v;
    int64_t step_q, step_k, step_v; /* from a token's to the next */
    const int32_t *length;          /* of each text, past + count − 1 */
    const float *cos, *sin;         /* [positions, half]; NULL where nothing turns */
    uint8_t *keys, *values;
    float *y;
    int8_t *codes;   /* of queries: [batch, KV, count · group, D] */
    float *scales;   /* one a row */
    int32_t *starts; /* the same: what keys being 128 too large adds to each score, to be taken away */
    int64_t tiles, stretches, first_stretch;
    Mixed *parts; /* [batch, KV, tiles, stretches, MOST_ROWS], where stretches are shared out; else NULL */
} Attention;

static inline int64_t block_bytes(const Attention *a) { return TOKENS * (a->size + (int64_t)sizeof(float)); }

static inline const uint8_t *block_of(const Attention *a, const uint8_t *side, int64_t head, int64_t block) {
    return side + (head * a->blocks + block) * block_bytes(a);
}

/* One tile of rows, over all positions or over one stretch of them; and what comes of the stretches of all tiles. */
typedef void Attend(void *attention, size_t task);
Attend attend_avx2, attend_vnni_512;
void gather_avx2(const Attention *a);
void gather_vnni_512(const Attention *a);

#endif
