/* Attention for one level, see attention.h. Included once for each, with
 *   NAME(word), TARGET       as in matmul_vnni.h
 *   WHOLE, FLOATS            16 lanes of 32 bits
 *   ROWS                     rows whose scores are found at once
 *   FEW, DEEP                rows, and registers of values, that are mixed at once
 *   load, save, spread, …    what is done with lanes, each of the level's
 */

/* e^x, of x ≤ 0 and not below −87: Cody and Waite's reduction, and a polynomial as Cephes has it. */
TARGET static inline FLOATS NAME(exponential)(FLOATS x) {
    x = largest(spread(-87.0f), x); /* in this order: what is no number stays so */
    const FLOATS n = nearest(times(x, spread(1.44269504f)));
    const FLOATS r = added(n, spread(2.12194440e-4f), added(n, spread(-0.693359375f), x));
    FLOATS found = added(r, spread(1.9875691500e-4f), spread(1.3981999507e-3f));
    found = added(found, r, spread(8.3334519073e-3f));
    found = added(found, r, spread(4.1665795894e-2f));
    found = added(found, r, spread(1.6666665459e-1f));
    found = added(found, r, spread(5.0000001201e-1f));
    found = added(times(r, r), found, plus(r, spread(1.0f)));
    return doubled(found, n);
}

TARGET static float NAME(power)(float x) {
    float lanes[16];
    save(lanes, NAME(exponential)(spread(x)));
    return lanes[0];
}

/* The scores of some rows and a block. */
TARGET static inline __attribute__((always_inline)) void NAME(scores)(
    const int rows, const Attention *a, const uint8_t *block, const int8_t *codes, const float *scales,
    const int32_t *starts, float *to
) {
    WHOLE sums[ROWS];
    for (int r = 0; r < rows; r++)
        sums[r] = spread_whole(starts[r]);
    for (int64_t d = 0; d < a->size; d += 4) {
        const WHOLE keys = load_whole(block + d * TOKENS);
        for (int r = 0; r < rows; r++)
            sums[r] = dot4(sums[r], keys, codes + r * a->size + d);
    }
    const FLOATS scale = load(block + a->size * TOKENS);
    for (int r = 0; r < rows; r++)
        save(to + r * STRETCH, times(times(floats(sums[r]), scale), spread(scales[r])));
}

/* Scores to shares in 15 bits, of the positions from `from` on and before `to`; returns what these are multiplied by. */
TARGET static float NAME(shares)(
    const Attention *a, const uint8_t *values, float *scores, int64_t from, int64_t to, int16_t *shares, Mixed *mixed
) {
    const FLOATS nothing = spread(-INFINITY);
    const int64_t first = from / TOKENS * TOKENS;
    FLOATS most = nothing, sum = spread(0), tallest = spread(0), odd = spread(0);
    for (int64_t t = first; t < to; t += TOKENS) {
        const int is_edge = t < from || t + TOKENS > to;
        const FLOATS score = load(scores + t);
        most = largest(most, is_edge ? kept(from - t, to - t, score, nothing) : score);
    }
    mixed->peak = peak_of(most);
    for (int64_t t = first; t < to; t += TOKENS) {
        const FLOATS scale = load(values + t / TOKENS * block_bytes(a) + a->size * TOKENS);
        FLOATS share = NAME(exponential)(minus(load(scores + t), spread(mixed->peak)));
        FLOATS weight = times(share, scale);
        if (t < from || t + TOKENS > to) {
            share = kept(from - t, to - t, share, spread(0));
            weight = kept(from - t, to - t, weight, spread(0));
        }
        sum = plus(sum, share);
        tallest = largest(tallest, weight);
        odd = added(weight, spread(0), odd); /* 0, or no number where a value is none */
        save(scores + t, weight);
    }
    mixed->sum = total_of(sum);
    const float top = peak_of(tallest) + total_of(odd), factor = top > 0 ? 32767 / top : 0;
    for (int64_t t = first; t < to; t += TOKENS)
        save_shorts(shares + t, times(load(scores + t), spread(factor)));
    return top / 32767;
}

/* Adds up the values of some rows: `deep` registers of them, of blocks from `first` on and before `end`. */
TARGET static inline __attribute__((always_inline)) void NAME(mix)(
    const int rows, const int deep, const Attention *a, const uint8_t *values, int64_t d, int64_t first, int64_t end,
    int16_t (*shares)[STRETCH], const float *factors, Mixed *to
) {
    WHOLE sums[FEW][DEEP];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < deep; c++)
            sums[r][c] = spread_whole(0);
    for (int64_t b = first; b < end; b++) {
        const uint8_t *block = values + b * block_bytes(a) + 2 * d;
        for (int64_t t = 0; t < TOKENS; t += 2) {
            WHOLE pair[DEEP];
            for (int c = 0; c < deep; c++)
                pair[c] = widened(block + t * a->size + c * 32);
            for (int r = 0; r < rows; r++) {
                const WHOLE share = spread_pair(shares[r] + b * TOKENS + t);
                for (int c = 0; c < deep; c++)
                    sums[r][c] = dot2(sums[r][c], pair[c], share);
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < deep; c++)
            save(to[r].mixed + d + c * 16, times(floats(sums[r][c]), spread(factors[r])));
}

TARGET static inline __attribute__((always_inline)) void NAME(mix_all)(
    const int rows, const Attention *a, const uint8_t *values, int64_t first, int64_t end, int16_t (*shares)[STRETCH],
    const float *factors, Mixed *to
) {
    int64_t d = 0;
    for (; d + 16 * DEEP <= a->size; d += 16 * DEEP)
        NAME(mix)(rows, DEEP, a, values, d, first, end, shares, factors, to);
    for (; d < a->size; d += 16)
        NAME(mix)(rows, 1, a, values, d, first, end, shares, factors, to);
}

/* What the rows from this one on have of a stretch; a row that has none of it gets a peak of −∞. */
TARGET static void NAME(stretch)(const Attention *a, int64_t head, int64_t row, int64_t rows, int64_t at, Mixed *to) {
    float scores[MOST_ROWS][STRETCH] __attribute__((aligned(64)));
    int16_t shares[MOST_ROWS][STRETCH] __attribute__((aligned(64)));
    float factors[MOST_ROWS];
    int64_t from[MOST_ROWS], end[MOST_ROWS], first = STRETCH, last = 0;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t behind = a->length[head / a->kv_heads] - a->count + 2 + (row + r) / a->group - at * STRETCH;
        end[r] = behind < STRETCH ? behind : STRETCH;
        from[r] = a->window > 0 && behind > a->window ? behind - a->window : 0;
        if (from[r] < end[r]) {
            first = from[r] < first ? from[r] : first;
            last = end[r] > last ? end[r] : last;
        }
    }
    for (int64_t r = 0; r < rows; r++)
        to[r].peak = -INFINITY, to[r].sum = 0, factors[r] = 0;
    if (first >= last)
        return;
    first = first / TOKENS, last = (last + TOKENS - 1) / TOKENS;
    const uint8_t *keys = block_of(a, a->keys, head, at * (STRETCH / TOKENS));
    const uint8_t *values = block_of(a, a->values, head, at * (STRETCH / TOKENS));
    const int64_t place = head * a->count * a->group + row;
    for (int64_t b = first; b < last; b++)
        for (int64_t r = 0; r < rows; r += ROWS) {
            const uint8_t *block = keys + b * block_bytes(a);
            const int8_t *codes = a->codes + (place + r) * a->size;
            const float *scales = a->scales + place + r;
            const int32_t *starts = a->starts + place + r;
            float *found = scores[r] + b * TOKENS;
            switch (rows - r) {
            case 1: NAME(scores)(1, a, block, codes, scales, starts, found); break;
            case 2: NAME(scores)(2, a, block, codes, scales, starts, found); break;
            case 3: NAME(scores)(3, a, block, codes, scales, starts, found); break;
#if ROWS > 4
            case 4: NAME(scores)(4, a, block, codes, scales, starts, found); break;
            case 5: NAME(scores)(5, a, block, codes, scales, starts, found); break;
            case 6: NAME(scores)(6, a, block, codes, scales, starts, found); break;
            case 7: NAME(scores)(7, a, block, codes, scales, starts, found); break;
            case 8: NAME(scores)(8, a, block, codes, scales, starts, found); break;
            case 9: NAME(scores)(9, a, block, codes, scales, starts, found); break;
            case 10: NAME(scores)(10, a, block, codes, scales, starts, found); break;
            case 11: NAME(scores)(11, a, block, codes, scales, starts, found); break;
#endif
            default: NAME(scores)(ROWS, a, block, codes, scales, starts, found);
            }
        }
    for (int64_t r = 0; r < rows; r++) {
        __builtin_memset(shares[r] + first * TOKENS, 0, (last - first) * TOKENS * sizeof *shares[r]);
        if (from[r] < end[r])
            factors[r] = NAME(shares)(a, values, scores[r], from[r], end[r], shares[r], to + r);
    }
    for (int64_t r = 0; r < rows; r += FEW)
        switch (rows - r) {
        case 1: NAME(mix_all)(1, a, values, first, last, shares + r, factors + r, to + r); break;
#if FEW > 2
        case 2: NAME(mix_all)(2, a, values, first, last, shares + r, factors + r, to + r); break;
        case 3: NAME(mix_all)(3, a, values, first, last, shares + r, factors + r, to + r); break;
        case 4: NAME(mix_all)(4, a, values, first, last, shares + r, factors + r, to + r); break;
        case 5: NAME(mix_all)(5, a, values, first, last, shares + r, factors + r, to + r); break;
#endif
        default: NAME(mix_all)(FEW, a, values, first, last, shares + r, factors + r, to + r);
        }
}

/* Adds a stretch to those before it. */
TARGET static void NAME(join)(const Attention *a, Mixed *all, const Mixed *more) {
    if (more->peak == -INFINITY)
        return;
    const float peak = more->peak > all->peak ? more->peak : all->peak;
    const float old = NAME(power)(all->peak - peak), new = NAME(power)(more->peak - peak);
    for (int64_t d = 0; d < a->size; d += 16) {
        const FLOATS part = times(load(more->mixed + d), spread(new));
        save(all->mixed + d, added(load(all->mixed + d), spread(old), part));
    }
    all->sum = all->sum * old + more->sum * new;
    all->peak = peak;
}

TARGET static void NAME(begin)(const Attention *a, Mixed *all) {
    all->peak = -INFINITY, all->sum = 0;
    __builtin_memset(all->mixed, 0, a->size * sizeof *all->mixed);
}

/* A row's values, where the next operator looks for them. */
TARGET static void NAME(put)(const Attention *a, int64_t head, int64_t row, const Mixed *all) {
    const int64_t text = head / a->kv_heads, query = head % a->kv_heads * a->group + row % a->group;
    float *y = a->y + ((text * a->count + row / a->group) * a->heads + query) * a->size;
    for (int64_t d = 0; d < a->size; d += 16)
        save(y + d, times(load(all->mixed + d), spread(1 / all->sum)));
}

static int64_t NAME(rows)(const Attention *a, int64_t tile) {
    const int64_t left = a->count * a->group - tile * MOST_ROWS;
    return left < MOST_ROWS ? left : MOST_ROWS;
}

void NAME(attend)(void *attention, size_t task) {
    const Attention *a = attention;
    int64_t head = (int64_t)task, at = 0;
    if (a->parts)
        at = head % a->stretches, head /= a->stretches;
    const int64_t tile = head % a->tiles, row = tile * MOST_ROWS, rows = NAME(rows)(a, tile);
    head /= a->tiles;
    if (a->parts) {
        NAME(stretch)(a, head, row, rows, a->first_stretch + at, a->parts + task * MOST_ROWS);
        return;
    }
    Mixed all[MOST_ROWS], found[MOST_ROWS];
    for (int64_t r = 0; r < rows; r++)
        NAME(begin)(a, all + r);
    const int64_t last = a->length[head / a->kv_heads] - a->count + 1 + (row + rows - 1) / a->group;
    for (at = a->first_stretch; at * STRETCH <= last; at++) {
        NAME(stretch)(a, head, row, rows, at, found);
        for (int64_t r = 0; r < rows; r++)
            NAME(join)(a, all + r, found + r);
    }
    for (int64_t r = 0; r < rows; r++)
        NAME(put)(a, head, row + r, all + r);
}

void NAME(gather)(const Attention *a) {
    Mixed all;
    for (int64_t head = 0; head < a->batch * a->kv_heads; head++)
        for (int64_t row = 0; row < a->count * a->group; row++) {
            const int64_t tile = head * a->tiles + row / MOST_ROWS;
            NAME(begin)(a, &all);
            for (int64_t at = 0; at < a->stretches; at++)
                NAME(join)(a, &all, a->parts + (tile * a->stretches + at) * MOST_ROWS + row % MOST_ROWS);
            NAME(put)(a, head, row, &all);
        }
}
