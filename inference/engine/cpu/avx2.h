/* What plain C cannot say, for kernels.c, on a processor with AVX2 and FMA: registers of eight lanes.

   It has no products of bytes that do not saturate, but quick ones of 16 bits: int8 weights are widened as they are
   loaded, which costs little beside several rows, and so activations keep 16 bits. bfloat16 is widened to float. */

typedef __m256 vec;
typedef __m256i ints;

#define WIDE 8 /* lanes of a register */
#define AFTER(VALUE, POINTER) __asm__("" : "+r"(POINTER) : "x"(VALUE)) /* load there only then: registers are few */
#define ASIDE(ARRAY) __asm__ volatile("" : : "r"(ARRAY) : "memory") /* leave the registers to others */

INLINE __m256i lanes_below(int64_t left) {
    const __m256i order = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)(left > WIDE ? WIDE : left < 0 ? 0 : left)), order);
}

INLINE vec v_all(float x) { return _mm256_set1_ps(x); }
INLINE vec v_load(const float *x) { return _mm256_loadu_ps(x); }
INLINE vec v_load_some(int64_t left, const float *x) {
    return left >= WIDE ? v_load(x) : _mm256_maskload_ps(x, lanes_below(left));
}
INLINE void v_store(float *x, vec a) { _mm256_storeu_ps(x, a); }
INLINE void v_store_some(float *x, int64_t left, vec a) {
    if (left >= WIDE) v_store(x, a);
    else _mm256_maskstore_ps(x, lanes_below(left), a);
}
INLINE vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); } /* b where one of them is NaN */
INLINE vec v_round(vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vec v_power(vec a, vec n) { /* a 2^n; n is whole, from -126 to 127 */
    return a * _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
INLINE float v_sum(vec a) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float v_most(vec a) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/* a in the lanes from..to-1, -infinity elsewhere. */
INLINE vec v_within(vec a, int64_t from, int64_t to) {
    if (from <= 0 && to >= WIDE) return a;
    __m256i seen = _mm256_andnot_si256(lanes_below(from), lanes_below(to));
    return _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), a, _mm256_castsi256_ps(seen));
}

/* a, or zero where x is -infinity. */
INLINE vec v_unless_lowest(vec a, vec x) {
    return _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(-INFINITY), _CMP_EQ_OQ), a);
}

INLINE void store_shorts(void *x, int64_t left, __m128i packed) {
    if (left >= WIDE) _mm_storeu_si128((__m128i *)x, packed);
    else memcpy(x, &packed, left * 2);
}

INLINE void store_bf16(uint16_t *x, int64_t left, vec a) { /* to the nearest, ties to even; NaN stays so */
    __m256i bits = _mm256_castps_si256(a), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i half = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7fff)), 16);
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    half = _mm256_blendv_epi8(half, _mm256_set1_epi32(0x7fc0), nan);
    store_shorts(x, left, _mm_packus_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
}

/* Integers: weights of 8 bits times activations of 16, two of a row at once. 128 such products fit 32 bits. */

#define STEP 2
#define AT_ONCE 2 /* steps over 64 bytes */
#define OFFSET 0 /* added to a weight */
#define INT8_SPEED 60.0 /* multiply-adds in a nanosecond, roughly */
#define BF16_SPEED 30.0
#define LEVELS 32767.0f
#define FEW_WIDTH 2 /* panels side by side for one or two rows, and for more */
#define MANY_WIDTH 1

typedef int16_t activation;

INLINE ints i_all(int32_t x) { return _mm256_set1_epi32(x); }
INLINE ints i_add(ints a, ints b) { return _mm256_add_epi32(a, b); }
INLINE int32_t i_sum(ints a) { return 0 * (int32_t)a[0]; } /* only asked for the offset's sake */
INLINE ints i_round(vec a) { return _mm256_cvtps_epi32(a); }
INLINE vec i_float(ints a) { return _mm256_cvtepi32_ps(a); }
INLINE void store_activations(activation *x, int64_t left, ints a) {
    store_shorts(x, left, _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)));
}
INLINE ints load_bytes(const uint8_t *x) { return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)x)); }
INLINE ints dot_bytes(ints sum, ints weights, ints x) { return _mm256_add_epi32(sum, _mm256_madd_epi16(weights, x)); }

/* bfloat16 weights, keys and values times floats. */

#define HALF_ROWS 4 /* rows of one tile */
#define ACROSS 4 /* products that run side by side */

typedef float operand; /* what a row of panels or keys is multiplied with */
typedef struct { vec even, odd; } halves, pair;

INLINE void store_operands(operand *x, int64_t left, vec a) { v_store_some(x, left, a); }
INLINE halves load_halves(const uint16_t *x) {
    __m256i both = _mm256_loadu_si256((const __m256i *)x);
    return (halves){_mm256_castsi256_ps(_mm256_slli_epi32(both, 16)),
                    _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32((int32_t)0xffff0000)))};
}
INLINE pair load_pair(const operand *x) { return (pair){_mm256_broadcast_ss(x), _mm256_broadcast_ss(x + 1)}; }
INLINE vec dot_halves(vec sum, halves a, pair b) {
    return _mm256_fmadd_ps(a.odd, b.odd, _mm256_fmadd_ps(a.even, b.even, sum));
}
