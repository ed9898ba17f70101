/* Sixteen floats in one register, for kernels.c, on a processor with AVX-512 VNNI and BF16. */

typedef __m512 vec;
typedef __m512i ints;
typedef __m512 reg;
typedef __m512i ireg;

#define PER 1 /* registers */
#define WIDE 16 /* lanes of one */
#define AFTER(VALUE, POINTER) /* there are registers enough to load early, and to keep an array in them */
#define ASIDE(ARRAY)

INLINE __mmask16 tail(int64_t left) { return left >= LANES ? 0xffff : (__mmask16)((1u << left) - 1); }

INLINE vec v_zero(void) { return _mm512_setzero_ps(); }
INLINE vec v_all(float x) { return _mm512_set1_ps(x); }
INLINE vec v_load(const float *x) { return _mm512_loadu_ps(x); }
INLINE void v_store(float *x, vec a) { _mm512_storeu_ps(x, a); }
INLINE vec v_load_some(int64_t left, const float *x) { return _mm512_maskz_loadu_ps(tail(left), x); }
INLINE void v_store_some(float *x, int64_t left, vec a) { _mm512_mask_storeu_ps(x, tail(left), a); }
INLINE vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
INLINE vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
INLINE vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
INLINE vec v_div(vec a, vec b) { return _mm512_div_ps(a, b); }
INLINE vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vec v_fnma(vec a, vec b, vec c) { return _mm512_fnmadd_ps(a, b, c); }
INLINE vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); } /* b where one of them is NaN */
INLINE vec v_abs(vec a) { return _mm512_abs_ps(a); }
INLINE vec v_round(vec a) { return _mm512_roundscale_ps(a, 0); }
INLINE vec v_power(vec a, vec n) { return _mm512_scalef_ps(a, n); } /* a 2^n */
INLINE float v_sum(vec a) { return _mm512_reduce_add_ps(a); }
INLINE float v_most(vec a) { return _mm512_reduce_max_ps(a); }
INLINE float v_first(vec a) { return _mm512_cvtss_f32(a); }

INLINE reg r_all(float x) { return _mm512_set1_ps(x); }
INLINE reg r_load(const float *x) { return _mm512_loadu_ps(x); }
INLINE void r_store(float *x, reg a) { _mm512_storeu_ps(x, a); }
INLINE reg r_mul(reg a, reg b) { return _mm512_mul_ps(a, b); }
INLINE reg r_fma(reg a, reg b, reg c) { return _mm512_fmadd_ps(a, b, c); }
INLINE reg r_float(ireg a) { return _mm512_cvtepi32_ps(a); }
INLINE vec v_of(const reg *r) { return r[0]; }

/* a in the lanes from..to-1, -infinity elsewhere. */
INLINE vec v_within(vec a, int64_t from, int64_t to) {
    __mmask16 seen = to <= 0 ? 0 : tail(to);
    if (from > 0) seen &= from >= LANES ? 0 : (__mmask16)(0xffff << from);
    return _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), seen, a);
}

/* a, or zero where x is -infinity. */
INLINE vec v_unless_lowest(vec a, vec x) {
    return _mm512_mask_mov_ps(a, _mm512_cmp_ps_mask(x, _mm512_set1_ps(-INFINITY), _CMP_EQ_OQ), _mm512_setzero_ps());
}

INLINE void store_bf16(uint16_t *target, vec x) {
    _mm256_storeu_si256((__m256i *)target, (__m256i)_mm512_cvtneps_pbh(x));
}

INLINE uint16_t to_bf16(float x) {
    return (uint16_t)_mm_extract_epi16((__m128i)_mm_cvtneps_pbh(_mm_set1_ps(x)), 0);
}

/* Integers: unsigned weights times signed activations, four of a row at once. */

#define STEP 4
#define AT_ONCE 1 /* steps over 64 bytes */
#define OFFSET 128 /* added to a weight */
#define LEVELS 127.0f
#define FEW_WIDTH 4 /* panels side by side for one or two rows, and for more */
#define MANY_WIDTH 2

typedef int8_t activation;

INLINE ints i_zero(void) { return _mm512_setzero_si512(); }
INLINE ireg ir_all(int32_t x) { return _mm512_set1_epi32(x); }
INLINE ints i_add(ints a, ints b) { return _mm512_add_epi32(a, b); }
INLINE int32_t i_sum(ints a) { return _mm512_reduce_add_epi32(a); }
INLINE ints i_round(vec a) { return _mm512_cvtps_epi32(a); }
INLINE void store_activations(activation *x, int64_t left, ints a) { _mm512_mask_cvtsepi32_storeu_epi8(x, tail(left), a); }
INLINE ireg load_bytes(const uint8_t *x) { return _mm512_loadu_si512(x); }
INLINE ireg dot_bytes(ireg sum, ireg weights, ireg x) { return _mm512_dpbusd_epi32(sum, weights, x); }

/* bfloat16: pairs of numbers on both sides. */

#define HALF_ROWS 6 /* rows of one tile */
#define ACROSS 8 /* products that run side by side */

typedef uint16_t operand; /* what a row of panels or keys is multiplied with */
typedef __m512 halves;
typedef __m512 pair;

INLINE halves load_halves(const uint16_t *x) { return _mm512_loadu_ps((const float *)x); }
INLINE void store_operands(operand *x, vec a) { store_bf16(x, a); }
INLINE void store_operands_some(operand *x, int64_t left, vec a) {
    _mm256_mask_storeu_epi16(x, tail(left), (__m256i)_mm512_cvtneps_pbh(a));
}
INLINE pair load_pair(const operand *x) {
    int32_t bits;
    memcpy(&bits, x, 4);
    return _mm512_castsi512_ps(_mm512_set1_epi32(bits));
}
INLINE reg dot_halves(reg sum, halves a, pair b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
