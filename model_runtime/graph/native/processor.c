/* CPUID in, the best level out: Intel's manual, volume 2A, CPUID, and volume 1, 15.2, for what the system has to save. */

#include "processor.h"

#include <cpuid.h>
#include <stdint.h>

enum { SAVED_AVX = 0x06, SAVED_AVX512 = 0xe6 };

static uint64_t saved(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static int has(uint32_t word, int bit) { return word >> bit & 1; }

int has_level(int wanted) {
    uint32_t a, b, c, d, a7, b7, c7, d7;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, 27) || !__get_cpuid_count(7, 0, &a7, &b7, &c7, &d7))
        return 0;
    const uint64_t kept = saved();
    const int avx2 = has(c, 12) && has(c, 28) && has(c, 29) && has(b7, 5) && (kept & SAVED_AVX) == SAVED_AVX;
    if (wanted <= AVX2)
        return wanted == AVX2 && avx2;
    if (wanted == VNNI)
        return avx2 && a7 >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && has(a, 4);
    return wanted <= VNNI_512 && avx2 && has(b7, 16) && has(b7, 17) && has(b7, 30) && has(b7, 31) && has(c7, 11) &&
           (kept & SAVED_AVX512) == SAVED_AVX512;
}

static int taken = -1;

int lacuna_choose(int wanted) {
    if (wanted > NONE && has_level(wanted))
        return taken = wanted;
    if (wanted != NONE)
        return level();
    for (taken = VNNI_512; taken > NONE && (taken == VNNI_VL || !has_level(taken));)
        taken--;
    return taken;
}

int level(void) { return taken < 0 ? lacuna_choose(NONE) : taken; }
