/* Sixteen floats in two registers, for kernels.c, on a processor with AVX2 and FMA.

   It has no products of bytes that do not saturate, but quick ones of 16 bits: int8 weights are widened as they are
   loaded, which costs little beside several rows, and so activations keep 16 bits. bfloat16 is widened to float. */

typedef struct { __m256 lo, hi; } vec;
typedef struct { __m256i lo, hi; } ints;
typedef __m256 reg;
typedef __m256i ireg;

#define PER 2 /* registers */
#define WIDE 8 /* lanes of one */
#define AFTER(VALUE, POINTER) __asm__("" : "+r"(POINTER) : "x"(VALUE)) /* load there only then: registers are few */
#define ASIDE(ARRAY) __asm__ volatile("" : : "r"(ARRAY) : "memory") /* leave the registers to others */

#define BOTH(EXPRESSION_LO, EXPRESSION_HI) ((vec){EXPRESSION_LO, EXPRESSION_HI})

INLINE __m256i lanes_below(int64_t left) {
    const __m256i order = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)(left > 8 ? 8 : left < 0 ? 0 : left)), order);
}

INLINE vec v_zero(void) { return BOTH(_mm256_setzero_ps(), _mm256_setzero_ps()); }
INLINE vec v_all(float x) { return BOTH(_mm256_set1_ps(x), _mm256_set1_ps(x)); }
INLINE vec v_load(const float *x) { return BOTH(_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)); }
INLINE void v_store(float *x, vec a) { _mm256_storeu_ps(x, a.lo), _mm256_storeu_ps(x + 8, a.hi); }
INLINE vec v_load_some(int64_t left, const float *x) {
    if (left >= LANES) return v_load(x);
    return BOTH(_mm256_maskload_ps(x, lanes_below(left)), _mm256_maskload_ps(x + 8, lanes_below(left - 8)));
}
INLINE void v_store_some(float *x, int64_t left, vec a) {
    if (left >= LANES) {
        v_store(x, a);
        return;
    }
    _mm256_maskstore_ps(x, lanes_below(left), a.lo);
    _mm256_maskstore_ps(x + 8, lanes_below(left - 8), a.hi);
}
INLINE vec v_add(vec a, vec b) { return BOTH(_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)); }
INLINE vec v_sub(vec a, vec b) { return BOTH(_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)); }
INLINE vec v_mul(vec a, vec b) { return BOTH(_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)); }
INLINE vec v_div(vec a, vec b) { return BOTH(_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)); }
INLINE vec v_fma(vec a, vec b, vec c) { return BOTH(_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)); }
INLINE vec v_fnma(vec a, vec b, vec c) { return BOTH(_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi)); }
INLINE vec v_max(vec a, vec b) { return BOTH(_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)); } /* b where one of them is NaN */
INLINE vec v_abs(vec a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return BOTH(_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi));
}
INLINE vec v_round(vec a) {
    return BOTH(_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
INLINE __m256 power_of_two(__m256 n) { /* n is whole, from -126 to 127 */
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
INLINE vec v_power(vec a, vec n) { /* a 2^n */
    return BOTH(_mm256_mul_ps(a.lo, power_of_two(n.lo)), _mm256_mul_ps(a.hi, power_of_two(n.hi)));
}
INLINE float v_sum(vec a) {
    __m256 eight = _mm256_add_ps(a.lo, a.hi);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float v_most(vec a) {
    __m256 eight = _mm256_max_ps(a.lo, a.hi);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
INLINE float v_first(vec a) { return _mm256_cvtss_f32(a.lo); }

INLINE reg r_all(float x) { return _mm256_set1_ps(x); }
INLINE reg r_load(const float *x) { return _mm256_loadu_ps(x); }
INLINE void r_store(float *x, reg a) { _mm256_storeu_ps(x, a); }
INLINE reg r_mul(reg a, reg b) { return _mm256_mul_ps(a, b); }
INLINE reg r_fma(reg a, reg b, reg c) { return _mm256_fmadd_ps(a, b, c); }
INLINE reg r_float(ireg a) { return _mm256_cvtepi32_ps(a); }
INLINE vec v_of(const reg *r) { return BOTH(r[0], r[1]); }

/* a in the lanes from..to-1, -infinity elsewhere. */
INLINE __m256 within(__m256 a, int64_t from, int64_t to) {
    __m256i seen = _mm256_andnot_si256(lanes_below(from), lanes_below(to));
    return _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), a, _mm256_castsi256_ps(seen));
}
INLINE vec v_within(vec a, int64_t from, int64_t to) {
    if (from <= 0 && to >= LANES) return a;
    return BOTH(within(a.lo, from, to), within(a.hi, from - 8, to - 8));
}

/* a, or zero where x is -infinity. */
INLINE __m256 unless_lowest(__m256 a, __m256 x) {
    return _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(-INFINITY), _CMP_EQ_OQ), a);
}
INLINE vec v_unless_lowest(vec a, vec x) { return BOTH(unless_lowest(a.lo, x.lo), unless_lowest(a.hi, x.hi)); }

/* To the nearest, ties to even; what is not a number stays so. */
INLINE __m256i to_halves(__m256 x) {
    __m256i bits = _mm256_castps_si256(x), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i half = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7fff)), 16);
    __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    return _mm256_blendv_epi8(half, _mm256_set1_epi32(0x7fc0), _mm256_castps_si256(nan));
}
INLINE void store_bf16(uint16_t *target, vec x) {
    __m256i packed = _mm256_packus_epi32(to_halves(x.lo), to_halves(x.hi));
    _mm256_storeu_si256((__m256i *)target, _mm256_permute4x64_epi64(packed, 0xd8));
}
INLINE uint16_t to_bf16(float x) { return (uint16_t)_mm256_extract_epi16(to_halves(_mm256_set1_ps(x)), 0); }

/* Integers: weights of 8 bits times activations of 16, two of a row at once. 128 such products fit 32 bits. */

#define STEP 2
#define AT_ONCE 2 /* steps over 64 bytes */
#define OFFSET 0 /* added to a weight */
#define LEVELS 32767.0f
#define FEW_WIDTH 2 /* panels side by side for one or two rows, and for more */
#define MANY_WIDTH 1

typedef int16_t activation;

INLINE ints i_zero(void) { return (ints){_mm256_setzero_si256(), _mm256_setzero_si256()}; }
INLINE ireg ir_all(int32_t x) { return _mm256_set1_epi32(x); }
INLINE ints i_add(ints a, ints b) { return (ints){_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
INLINE int32_t i_sum(ints a) { return 0 * a.lo[0]; } /* only asked for the offset's sake */
INLINE ints i_round(vec a) { return (ints){_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)}; }
INLINE void store_activations(activation *x, int64_t left, ints a) {
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8);
    if (left >= LANES) _mm256_storeu_si256((__m256i *)x, packed);
    else memcpy(x, &packed, left * sizeof(activation));
}
INLINE ireg load_bytes(const uint8_t *x) { return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)x)); }
INLINE ireg dot_bytes(ireg sum, ireg weights, ireg x) { return _mm256_add_epi32(sum, _mm256_madd_epi16(weights, x)); }

/* bfloat16 weights, keys and values times floats. */

#define HALF_ROWS 4 /* rows of one tile */
#define ACROSS 4 /* products that run side by side */

typedef float operand; /* what a row of panels or keys is multiplied with */
typedef struct { reg even, odd; } halves, pair;

INLINE halves load_halves(const uint16_t *x) {
    __m256i both = _mm256_loadu_si256((const __m256i *)x);
    return (halves){_mm256_castsi256_ps(_mm256_slli_epi32(both, 16)),
                    _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32((int32_t)0xffff0000)))};
}
INLINE void store_operands(operand *x, vec a) { v_store(x, a); }
INLINE void store_operands_some(operand *x, int64_t left, vec a) { v_store_some(x, left, a); }
INLINE pair load_pair(const operand *x) { return (pair){_mm256_broadcast_ss(x), _mm256_broadcast_ss(x + 1)}; }
INLINE reg dot_halves(reg sum, halves a, pair b) {
    return _mm256_fmadd_ps(a.odd, b.odd, _mm256_fmadd_ps(a.even, b.even, sum));
}
