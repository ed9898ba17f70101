/* What plain C cannot say, for kernels.c, on a processor with AVX-512 VNNI and BF16: one register of sixteen lanes. */

typedef __m512 vec;
typedef __m512i ints;

#define WIDE 16 /* lanes of a register */
#define AFTER(VALUE, POINTER) /* there are registers enough to load early, and to keep an array in them */
#define ASIDE(ARRAY)

INLINE __mmask16 tail(int64_t left) { return left >= WIDE ? 0xffff : (__mmask16)((1u << left) - 1); }

INLINE vec v_all(float x) { return _mm512_set1_ps(x); }
INLINE vec v_load(const float *x) { return _mm512_loadu_ps(x); }
INLINE vec v_load_some(int64_t left, const float *x) { return _mm512_maskz_loadu_ps(tail(left), x); }
INLINE void v_store(float *x, vec a) { _mm512_storeu_ps(x, a); }
INLINE void v_store_some(float *x, int64_t left, vec a) { _mm512_mask_storeu_ps(x, tail(left), a); }
INLINE vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); } /* b where one of them is NaN */
INLINE vec v_round(vec a) { return _mm512_roundscale_ps(a, 0); }
INLINE vec v_power(vec a, vec n) { return _mm512_scalef_ps(a, n); } /* a 2^n */
INLINE float v_sum(vec a) { return _mm512_reduce_add_ps(a); }
INLINE float v_most(vec a) { return _mm512_reduce_max_ps(a); }

/* a in the lanes from..to-1, -infinity elsewhere. */
INLINE vec v_within(vec a, int64_t from, int64_t to) {
    __mmask16 seen = to <= 0 ? 0 : tail(to);
    if (from > 0) seen &= from >= WIDE ? 0 : (__mmask16)(0xffff << from);
    return _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), seen, a);
}

/* a, or zero where x is -infinity. */
INLINE vec v_unless_lowest(vec a, vec x) {
    return _mm512_mask_mov_ps(a, _mm512_cmp_ps_mask(x, _mm512_set1_ps(-INFINITY), _CMP_EQ_OQ), _mm512_setzero_ps());
}

INLINE void store_bf16(uint16_t *x, int64_t left, vec a) {
    _mm256_mask_storeu_epi16(x, tail(left), (__m256i)_mm512_cvtneps_pbh(a));
}

/* Integers: unsigned weights times signed activations, four of a row at once. */

#define STEP 4
#define AT_ONCE 1 /* steps over 64 bytes */
#define OFFSET 128 /* added to a weight */
#define INT8_SPEED 180.0 /* multiply-adds in a nanosecond, roughly */
#define BF16_SPEED 90.0
#define LEVELS 127.0f
#define FEW_WIDTH 4 /* panels side by side for one or two rows, and for more */
#define MANY_WIDTH 2

typedef int8_t activation;

INLINE ints i_all(int32_t x) { return _mm512_set1_epi32(x); }
INLINE ints i_add(ints a, ints b) { return _mm512_add_epi32(a, b); }
INLINE int32_t i_sum(ints a) { return _mm512_reduce_add_epi32(a); }
INLINE ints i_round(vec a) { return _mm512_cvtps_epi32(a); }
INLINE vec i_float(ints a) { return _mm512_cvtepi32_ps(a); }
INLINE void store_activations(activation *x, int64_t left, ints a) { _mm512_mask_cvtsepi32_storeu_epi8(x, tail(left), a); }
INLINE ints load_bytes(const uint8_t *x) { return _mm512_loadu_si512(x); }
INLINE ints dot_bytes(ints sum, ints weights, ints x) { return _mm512_dpbusd_epi32(sum, weights, x); }

/* bfloat16: pairs of numbers on both sides. */

#define HALF_ROWS 6 /* rows of one tile */
#define ACROSS 8 /* products that run side by side */

typedef uint16_t operand; /* what a row of panels or keys is multiplied with */
typedef __m512 halves;
typedef __m512 pair;

INLINE void store_operands(operand *x, int64_t left, vec a) { store_bf16(x, left, a); }
INLINE halves load_halves(const uint16_t *x) { return _mm512_loadu_ps((const float *)x); }
INLINE pair load_pair(const operand *x) {
    int32_t bits;
    memcpy(&bits, x, 4);
    return _mm512_castsi512_ps(_mm512_set1_epi32(bits));
}
INLINE vec dot_halves(vec sum, halves a, pair b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
