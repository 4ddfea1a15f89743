/* What the processor can: which of the ways to multiply is taken, found once by CPUID and the same for all operators. */

#ifndef LACUNA_PROCESSOR_H
#define LACUNA_PROCESSOR_H

/* From what the oldest processor has to what multiplies most at once. Sums are whole numbers and are added up in the
 * same order whichever is taken, so results are the same to the bit.
 *   AVX2      pairs of bytes, added into 16 bits
 *   VNNI      four bytes into 32 bits, 8 sums at once, as Alder Lake and what follows it has it
 *   VNNI_VL   the same in the encoding of AVX-512
 *   VNNI_512  16 sums at once */
enum Level { NONE = 0, AVX2 = 1, VNNI = 2, VNNI_VL = 3, VNNI_512 = 4 };

#define FOR_AVX2 __attribute__((target("avx2,fma,f16c")))
#define FOR_VNNI __attribute__((target("avx2,fma,f16c,avxvnni")))
#define FOR_VNNI_VL __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define FOR_VNNI_512 FOR_VNNI_VL

/* The level that is taken. */
int level(void);

/* Whether the processor has what a level is written for. */
int has_level(int wanted);

/* Takes this level from now on, or for 0 the best. Returns the level taken; where the processor has not what is wanted,
 * that stays as it was. For tests: a session must not run meanwhile. */
int lacuna_choose(int wanted);

#endif
