/* The product for processors that multiply four bytes by four and add them to 32 bits in one instruction, see matmul.h.
 *
 * Included once for each width and encoding, with
 *   NAME(word)              a function's name with the level in it
 *   TARGET                  the attribute of its functions
 *   LANES                   outputs in one register, 8 or 16
 *   WHOLE, FLOATS           a register of whole numbers, and of floats
 *   LOAD(p), LOAD_FLOATS(p) aligned
 *   SPREAD(p)               the same 32 bits in all lanes
 *   DOT(sums, codes, x)     the instruction
 *   AND, HALVED(v)          v & mask; v >> 4 in 16 bits
 *   FLOAT_OF, TIMES, ADDED  of a whole number; a · b; a · b + c
 *   ONES_OF, ONES, ZEROES   registers of whole numbers and of floats
 *   TALL                    rows of x at once
 *   WIDE                    registers of outputs at once where codes were opened
 *   CODES(p, g, at)         32 bytes of a group, from a place in its codes on; left out where few rows are another
 *                           level's
 *   TAKE(y, groups), PUT(y, groups, v)    of outputs, of so many groups as there are
 */

enum { NAME(GROUPS) = LANES / COLUMNS, NAME(PANEL) = 1024 };

/* Codes of a strip and of a stretch of its blocks, a byte each, and their scales. */
typedef struct {
    uint8_t codes[WIDE][NAME(PANEL) * LANES] __attribute__((aligned(64)));
    float scales[WIDE][NAME(PANEL) / PART * LANES] __attribute__((aligned(64)));
    const char *next; /* as many bytes that are wanted soon */
} NAME(Opened);

/* Some blocks of some rows by one or more registers of outputs, added to what the blocks before gave.
 * opened: NULL where the codes are read as they lie, then `wide` is 1 and outputs begin with this group. */
TARGET static inline __attribute__((always_inline)) void NAME(tile)(
    const int rows, const int wide, const int bits, const Product *p, const NAME(Opened) *opened, int64_t group,
    int64_t row, int64_t first, int64_t end
) {
    const int64_t block = p->block, groups = p->outputs / COLUMNS;
    (void)bits;
    FLOATS found[TALL][WIDE];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < wide; c++) {
            const int64_t at = group + c * NAME(GROUPS);
            found[r][c] = first ? TAKE(p->y + (row + r) * p->outputs + at * COLUMNS, groups - at) : ZEROES;
        }
    for (int64_t b = first; b < end; b++) {
        const int64_t at = row * p->row_step + b;
        const int8_t *x = p->bytes + at * block;
        const int64_t step = p->row_step * block;
        WHOLE sums[TALL][WIDE];
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < wide; c++)
                sums[r][c] = SPREAD(p->starts + at + r * p->row_step);
        if (opened) {
            const int64_t packed = wide * LANES * block * p->bits / 8; /* bytes */
            if (row == 0)
                for (int64_t line = 0; line < packed; line += 64)
                    _mm_prefetch(opened->next + (b - first) * packed + line, _MM_HINT_T1);
            const int64_t from = (b - first) * block * LANES;
#pragma GCC unroll 8
            for (int64_t k = 0; k < block; k += 4) {
                WHOLE codes[WIDE];
                for (int c = 0; c < wide; c++)
                    codes[c] = LOAD(opened->codes[c] + from + k * LANES);
                for (int r = 0; r < rows; r++) {
                    const WHOLE values = SPREAD(x + r * step + k);
                    for (int c = 0; c < wide; c++)
                        sums[r][c] = DOT(sums[r][c], codes[c], values);
                }
            }
        }
#ifdef CODES
        else if (bits == 8) {
            for (int64_t k = 0; k < block; k += 4) {
                const WHOLE codes = CODES(p, group, (b * block + k) * COLUMNS);
                for (int r = 0; r < rows; r++)
                    sums[r][0] = DOT(sums[r][0], codes, SPREAD(x + r * step + k));
            }
        } else {
            const WHOLE half = ONES_OF(0x0f0f0f0f);
#pragma GCC unroll 4
            for (int64_t k = 0; k < block; k += 8) {
                const WHOLE both = CODES(p, group, (b * block + k) * (COLUMNS / 2));
                const WHOLE low = AND(both, half), high = AND(HALVED(both), half);
                for (int r = 0; r < rows; r++) {
                    sums[r][0] = DOT(sums[r][0], low, SPREAD(x + r * step + k));
                    sums[r][0] = DOT(sums[r][0], high, SPREAD(x + r * step + k + 4));
                }
            }
        }
#endif
        FLOATS scales[WIDE];
        for (int c = 0; c < wide; c++)
            scales[c] = opened ? LOAD_FLOATS(opened->scales[c] + (b - first) * LANES) : FIRST(scales_of(p, group, b));
        for (int r = 0; r < rows; r++) {
            const FLOATS scale = ONES(p->byte_scales[at + r * p->row_step]);
            for (int c = 0; c < wide; c++)
                found[r][c] = ADDED(FLOAT_OF(sums[r][c]), TIMES(scales[c], scale), found[r][c]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < wide; c++) {
            const int64_t at = group + c * NAME(GROUPS);
            PUT(p->y + (row + r) * p->outputs + at * COLUMNS, groups - at, found[r][c]);
        }
}

/* The same for fewer rows than TALL as well. */
TARGET static inline __attribute__((always_inline)) void NAME(tiles)(
    int64_t rows, const int wide, const int bits, const Product *p, const NAME(Opened) *opened, int64_t group,
    int64_t row, int64_t first, int64_t end
) {
    switch (rows) {
    case 1: NAME(tile)(1, wide, bits, p, opened, group, row, first, end); break;
    case 2: NAME(tile)(2, wide, bits, p, opened, group, row, first, end); break;
    case 3: NAME(tile)(3, wide, bits, p, opened, group, row, first, end); break;
    case 4: NAME(tile)(4, wide, bits, p, opened, group, row, first, end); break;
#if TALL > 4
    case 5: NAME(tile)(5, wide, bits, p, opened, group, row, first, end); break;
    case 6: NAME(tile)(6, wide, bits, p, opened, group, row, first, end); break;
#endif
    }
}

#ifdef CODES
/* Some rows by one register of outputs, whose codes are read as they lie. */
TARGET static void NAME(few)(const Product *p, int64_t group) {
    const int64_t blocks = p->width / p->block;
    if (p->bits == 4)
        NAME(tiles)(p->rows, 1, 4, p, NULL, group, 0, 0, blocks);
    else
        NAME(tiles)(p->rows, 1, 8, p, NULL, group, 0, 0, blocks);
}
#endif

/* The codes of `wide` registers of outputs for some blocks, group by group as they lie in memory. */
TARGET static void NAME(unfold)(const Product *p, NAME(Opened) *to, int wide, int64_t group, int64_t first, int64_t end) {
    const __m256i half = _mm256_set1_epi8(15);
    const int64_t values = (end - first) * p->block, groups = p->outputs / COLUMNS, all = wide * NAME(GROUPS);
    for (int64_t g = 0; g < all && group + g < groups; g++) {
        const int64_t c = g / NAME(GROUPS), side = g % NAME(GROUPS) * 32;
        const uint8_t *codes = p->codes + ((group + g) * p->width + first * p->block) * p->bits;
        uint8_t *opened = to->codes[c] + side;
        for (int64_t b = first; b < end; b++)
            _mm256_store_ps(to->scales[c] + (b - first) * LANES + side / 4, scales_of(p, group + g, b));
        for (int64_t at = 0; at < values * p->bits; at += 32) {
            const __m256i both = _mm256_loadu_si256((const __m256i *)(codes + at));
            if (p->bits == 8) {
                _mm256_store_si256((__m256i *)(opened + at / 32 * (4 * LANES)), both);
            } else {
                __m256i *const low = (__m256i *)(opened + at / 16 * (4 * LANES));
                __m256i *const high = (__m256i *)(opened + (at / 16 + 1) * (4 * LANES));
                _mm256_store_si256(low, _mm256_and_si256(both, half));
                _mm256_store_si256(high, _mm256_and_si256(_mm256_srli_epi16(both, 4), half));
            }
        }
    }
}

TARGET static void NAME(many)(const Product *p, int wide, int64_t group) {
    const int64_t blocks = p->width / p->block, stretch = NAME(PANEL) / p->block;
    const int64_t times = (p->rows + TALL - 1) / TALL, tall = (p->rows + times - 1) / times; /* as even as can be */
    NAME(Opened) opened;
    for (int64_t first = 0; first < blocks; first += stretch) {
        const int64_t end = first + stretch < blocks ? first + stretch : blocks;
        NAME(unfold)(p, &opened, wide, group, first, end);
        opened.next = (const char *)p->codes + ((group + wide * NAME(GROUPS)) * p->width +
                                                wide * NAME(GROUPS) * first * p->block) * p->bits;
        for (int64_t row = 0; row < p->rows; row += tall) {
            const int64_t rows = row + tall < p->rows ? tall : p->rows - row;
            if (wide == 1)
                NAME(tiles)(rows, 1, 8, p, &opened, group, row, first, end);
            else
                NAME(tiles)(rows, WIDE, 8, p, &opened, group, row, first, end);
        }
    }
}

TARGET void NAME(strip)(void *product, size_t strip) {
    const Product *p = product;
    const int64_t groups = p->outputs / COLUMNS, all = STRIP / COLUMNS;
    const int64_t first = (int64_t)strip * all, end = first + all < groups ? first + all : groups;
#ifdef CODES
    if (p->rows <= TALL) {
        for (int64_t group = first; group < end; group++)
            NAME(few)(p, group);
        return;
    }
#endif
    for (int64_t group = first; group < end;) {
        const int wide = group + WIDE * NAME(GROUPS) <= end ? WIDE : 1;
        NAME(many)(p, wide, group);
        group += wide * NAME(GROUPS);
    }
}
