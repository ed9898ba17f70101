/* The engine's arithmetic on a CPU with AVX-512 VNNI and BF16; see linear.py and attention.py.

   A weight matrix [N, K] lies in panels of 16 rows: [N/16][K/w][16][w] with w = 4 for int8, 2 for bf16, so that
   one register holds w neighbouring numbers of 16 rows, as the dot product instructions want them. The KV
   cache has blocks of 16 tokens: keys [block][kv head][D/2][16][2], values [block][kv head][8][D][2], bf16. */

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <omp.h>

#define INLINE static inline __attribute__((always_inline))
#define LANES 16
#define TOKENS 16        /* of a block */
#define SPAN 4           /* blocks of keys that are scored together */
#define ROWS 32          /* query vectors that walk over the keys together */
#define MAX_DIM 256
#define PARALLEL (1 << 19) /* multiply-adds below which a second thread costs more than it brings */
#define LOWEST -1e30f

/* Memory of the calling thread that grows to the largest request. */
static void *scratch(int slot, size_t bytes) {
    static __thread struct { void *start; size_t size; } held[3];
    if (held[slot].size < bytes) {
        free(held[slot].start);
        held[slot].size = bytes + bytes / 2 + 4096;
        held[slot].start = aligned_alloc(64, (held[slot].size + 63) & ~(size_t)63);
    }
    return held[slot].start;
}

INLINE __m512 exp512(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-87.0f), x); /* this order lets NaN through */
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.9875691500e-4f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
    p = _mm512_fmadd_ps(_mm512_mul_ps(r, r), p, _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
    return _mm512_scalef_ps(p, n);
}

INLINE __m512 sigmoid512(__m512 x) {
    __m512 e = exp512(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_max_ps(_mm512_set1_ps(-80.0f), x)));
    return _mm512_div_ps(_mm512_set1_ps(1.0f), _mm512_add_ps(_mm512_set1_ps(1.0f), e));
}

INLINE __m512 tanh512(__m512 x) { /* 2 sigmoid(2x) - 1 */
    return _mm512_fmsub_ps(_mm512_set1_ps(2.0f), sigmoid512(_mm512_add_ps(x, x)), _mm512_set1_ps(1.0f));
}

INLINE __mmask16 tail(int64_t left) { return left >= LANES ? 0xffff : (__mmask16)((1u << left) - 1); }

INLINE __m512 pair(const void *two_bf16) {
    int32_t bits;
    memcpy(&bits, two_bf16, 4);
    return _mm512_castsi512_ps(_mm512_set1_epi32(bits));
}

INLINE __m512 dot_bf16(__m512 sum, __m512 a, __m512 b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

INLINE void store_bf16(uint16_t *target, __m512 x) {
    _mm256_storeu_si256((__m256i *)target, (__m256i)_mm512_cvtneps_pbh(x));
}

/* ---- Linear layers ------------------------------------------------------------------------------------ */

typedef struct {
    const void *weight;  /* panels, see above; int8 as uint8 = value + 128 */
    const float *scale;  /* int8: [N/16][K/group][16] */
    const float *bias;   /* [N], padded to 16, or NULL */
    int64_t rows, cols, group; /* N, K; group 0 means bf16 */
} matrix;

typedef struct { const int8_t *values; const float *scales; const int32_t *shifts; } quantized;
typedef struct { float *sum; const float *addend; } target; /* rows of N; what is added to the product, or NULL */

/* A row in groups of signed bytes. shift = -128 * their sum takes back the 128 in every weight. */
static void quantize_row(const float *x, int64_t cols, int64_t group, int8_t *values, float *scales, int32_t *shifts) {
    for (int64_t g = 0; g < cols / group; g++, x += group, values += group) {
        __m512 most = _mm512_setzero_ps(), check = _mm512_setzero_ps();
        for (int64_t i = 0; i < group; i += LANES) {
            __m512 part = _mm512_maskz_loadu_ps(tail(group - i), x + i);
            most = _mm512_max_ps(_mm512_abs_ps(part), most);
            check = _mm512_fmadd_ps(part, _mm512_setzero_ps(), check);
        }
        float top = _mm512_reduce_max_ps(most);
        __m512 inverse = _mm512_set1_ps(top > 0 ? 127.0f / top : 0.0f);
        __m512i sum = _mm512_setzero_si512();
        for (int64_t i = 0; i < group; i += LANES) {
            __mmask16 mask = tail(group - i);
            __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), inverse));
            sum = _mm512_add_epi32(sum, q);
            _mm512_mask_cvtsepi32_storeu_epi8(values + i, mask, q);
        }
        scales[g] = top / 127.0f + _mm512_reduce_add_ps(check); /* NaN and infinity have no integer: the scale keeps them */
        shifts[g] = -128 * _mm512_reduce_add_epi32(sum);
    }
}

INLINE void finish(const matrix *w, target y, int64_t block, int rows, int blocks, __m512 out[6][4]) {
    for (int b = 0; b < blocks; b++) {
        int64_t column = (block + b) * LANES;
        __mmask16 mask = tail(w->rows - column);
        __m512 bias = w->bias ? _mm512_loadu_ps(w->bias + column) : _mm512_setzero_ps();
        for (int m = 0; m < rows; m++) {
            const int64_t place = m * w->rows + column;
            __m512 sum = _mm512_add_ps(out[m][b], bias);
            if (y.addend) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, y.addend + place));
            _mm512_mask_storeu_ps(y.sum + place, mask, sum);
        }
    }
}

INLINE void tile_int8(const int rows, const int blocks, const matrix *w, quantized x, int64_t block, target y, const char *ahead[2]) {
    const int64_t groups = w->cols / w->group, steps = w->group / 4, panel = w->cols * LANES;
    const uint8_t *weight = (const uint8_t *)w->weight + block * panel;
    const float *scale = w->scale + block * groups * LANES;
    const int8_t *q = x.values;
    __m512 out[6][4];
    for (int m = 0; m < rows; m++)
        for (int b = 0; b < blocks; b++) out[m][b] = _mm512_setzero_ps();
    for (int64_t g = 0; g < groups; g++) {
        __m512i sum[6][4];
        for (int m = 0; m < rows; m++)
            for (int b = 0; b < blocks; b++) sum[m][b] = _mm512_set1_epi32(x.shifts[m * groups + g]);
        for (int64_t s = 0; s < steps; s++, q += 4, weight += 64) {
            __m512i part[4];
            for (int b = 0; b < blocks; b++) part[b] = _mm512_loadu_si512(weight + b * panel);
            if (rows < 3)
                for (int b = 0; b < blocks; b++) _mm_prefetch((const char *)weight + b * panel + 1024, _MM_HINT_T0);
            else
                for (int i = 0; i < 2; i++) _mm_prefetch(ahead[i], _MM_HINT_T1), ahead[i] += 64;
            for (int m = 0; m < rows; m++) {
                int32_t four;
                memcpy(&four, q + m * w->cols, 4);
                __m512i a = _mm512_set1_epi32(four);
                for (int b = 0; b < blocks; b++) sum[m][b] = _mm512_dpbusd_epi32(sum[m][b], part[b], a);
            }
        }
        for (int b = 0; b < blocks; b++) {
            __m512 by = _mm512_loadu_ps(scale + (b * groups + g) * LANES);
            for (int m = 0; m < rows; m++) {
                __m512 both = _mm512_mul_ps(by, _mm512_set1_ps(x.scales[m * groups + g]));
                out[m][b] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[m][b]), both, out[m][b]);
            }
        }
    }
    finish(w, y, block, rows, blocks, out);
}

INLINE void tile_bf16(const int rows, const int blocks, const matrix *w, const uint16_t *x, int64_t block, target y, const char *ahead[2]) {
    const int64_t panel = w->cols * LANES;
    const uint16_t *weight = (const uint16_t *)w->weight + block * panel;
    __m512 out[6][4];
    for (int m = 0; m < rows; m++)
        for (int b = 0; b < blocks; b++) out[m][b] = _mm512_setzero_ps();
    for (int64_t k = 0; k < w->cols; k += 2, weight += 32) {
        __m512 part[4];
        for (int b = 0; b < blocks; b++) part[b] = _mm512_loadu_ps((const float *)(weight + b * panel));
        for (int i = 0; i < 2; i++) _mm_prefetch(ahead[i], _MM_HINT_T1), ahead[i] += 64;
        for (int m = 0; m < rows; m++) {
            __m512 a = pair(x + m * w->cols + k);
            for (int b = 0; b < blocks; b++) out[m][b] = dot_bf16(out[m][b], part[b], a);
        }
    }
    finish(w, y, block, rows, blocks, out);
}

#define TILES(NAME, INPUT)                                                                                            \
    static void NAME##_tiles(int rows, int blocks, const matrix *w, INPUT x, int64_t block, target y, const char *ahead[2]) { \
        switch (rows * 8 + blocks) {                                                                                 \
        case 1 * 8 + 4: tile_##NAME(1, 4, w, x, block, y, ahead); break; \
        case 1 * 8 + 2: tile_##NAME(1, 2, w, x, block, y, ahead); break; \
        case 1 * 8 + 1: tile_##NAME(1, 1, w, x, block, y, ahead); break; \
        case 2 * 8 + 4: tile_##NAME(2, 4, w, x, block, y, ahead); break; \
        case 2 * 8 + 2: tile_##NAME(2, 2, w, x, block, y, ahead); break; \
        case 2 * 8 + 1: tile_##NAME(2, 1, w, x, block, y, ahead); break; \
        case 3 * 8 + 2: tile_##NAME(3, 2, w, x, block, y, ahead); break; \
        case 3 * 8 + 1: tile_##NAME(3, 1, w, x, block, y, ahead); break; \
        case 4 * 8 + 2: tile_##NAME(4, 2, w, x, block, y, ahead); break; \
        case 4 * 8 + 1: tile_##NAME(4, 1, w, x, block, y, ahead); break; \
        case 5 * 8 + 2: tile_##NAME(5, 2, w, x, block, y, ahead); break; \
        case 5 * 8 + 1: tile_##NAME(5, 1, w, x, block, y, ahead); break; \
        case 6 * 8 + 2: tile_##NAME(6, 2, w, x, block, y, ahead); break; \
        case 6 * 8 + 1: tile_##NAME(6, 1, w, x, block, y, ahead); break; \
        }                                                                                                            \
    }
TILES(int8, quantized)
TILES(bf16, const uint16_t *)

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* This thread's share of count things. */
INLINE void share(int64_t count, int64_t *begin, int64_t *end) {
    int64_t threads = omp_get_num_threads(), me = omp_get_thread_num();
    *begin = count * me / threads, *end = count * (me + 1) / threads;
}

/* The functions that end in _part are called by all threads of a team, and each does its share. */

INLINE size_t linear_bytes(const matrix *w, int64_t tokens) {
    return (size_t)tokens * (w->group ? w->cols + w->cols / w->group * 8 + 64 : w->cols * 2) + 128;
}

INLINE quantized quantized_in(const matrix *w, int64_t tokens, void *memory) {
    float *scales = (float *)((char *)memory + ((tokens * w->cols + 63) & ~63));
    return (quantized){memory, scales, (int32_t *)(scales + tokens * (w->cols / w->group))};
}

/* x as the matrix's format wants it, into memory. */
static void round_part(const matrix *w, const float *x, int64_t tokens, void *memory) {
    const int64_t cols = w->cols;
    int64_t begin, end;
    share(tokens, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        if (w->group) {
            quantized q = quantized_in(w, tokens, memory);
            const int64_t groups = cols / w->group;
            quantize_row(x + t * cols, cols, w->group, (int8_t *)q.values + t * cols, (float *)q.scales + t * groups, (int32_t *)q.shifts + t * groups);
        } else
            for (int64_t i = 0; i < cols; i += LANES) {
                __mmask16 mask = tail(cols - i);
                __m512 part = _mm512_maskz_loadu_ps(mask, x + t * cols + i);
                _mm256_mask_storeu_epi16((uint16_t *)memory + t * cols + i, mask, (__m256i)_mm512_cvtneps_pbh(part));
            }
    }
}

/* y [tokens, N] = what round_part left in memory times the matrix, plus bias, plus what is to be added or NULL. */
static void multiply_part(const matrix *w, void *memory, float *y, int64_t tokens, const float *addend) {
    const int64_t cols = w->cols, groups = w->group ? cols / w->group : 0, panel = cols * LANES * (w->group ? 1 : 2);
    const quantized all = w->group ? quantized_in(w, tokens, memory) : (quantized){0};
    const int width = tokens < 3 ? 4 : 2;
    int64_t begin, end;
    share((w->rows + LANES - 1) / LANES, &begin, &end);
    for (int64_t block = begin; block < end;) {
        int blocks = (int)smaller(width, end - block);
        if (blocks == 3) blocks = 2;
        for (int64_t t = 0, tile = 0; t < tokens; tile++) {
            /* 7 rows as 4 and 3, not as 6 and 1 */
            int64_t left = tokens - t;
            int rows = (int)(left <= 6 ? left : left < 12 ? (left + 1) / 2 : 6);
            /* While these rows are computed, fetch the next panels: both, or one with each of the first two tiles. */
            const char *next = (const char *)w->weight + (block + blocks) * panel, *ahead[2] = {next, next + panel};
            if (tokens > 6) ahead[0] = ahead[1] = t == 0 ? next : tile == 1 ? next + panel : memory;
            target part = {y + t * w->rows, addend ? addend + t * w->rows : NULL};
            if (w->group) {
                quantized q = {all.values + t * cols, all.scales + t * groups, all.shifts + t * groups};
                int8_tiles(rows, blocks, w, q, block, part, ahead);
            } else
                bf16_tiles(rows, blocks, w, (uint16_t *)memory + t * cols, block, part, ahead);
            t += rows;
        }
        block += blocks;
    }
}

void linear(const matrix *w, const float *x, float *y, int64_t tokens) {
    void *memory = scratch(0, linear_bytes(w, tokens));
#pragma omp parallel if (tokens * w->cols * w->rows > PARALLEL)
    {
        round_part(w, x, tokens, memory);
#pragma omp barrier
        multiply_part(w, memory, y, tokens, NULL);
    }
}

/* [N, K] float -> panels. For int8 the scale of each row's group is its largest magnitude / 127. */
void pack(const float *weight, int64_t rows, int64_t cols, int64_t group, void *panels, float *scales) {
#pragma omp parallel for
    for (int64_t n = 0; n < rows; n++) {
        const float *row = weight + n * cols;
        const int64_t panel = n / LANES, lane = n % LANES;
        if (!group) {
            uint16_t *target = (uint16_t *)panels + panel * cols * LANES + lane * 2;
            for (int64_t k = 0; k < cols; k++) {
                __m128bh half = _mm_cvtneps_pbh(_mm_set1_ps(row[k]));
                target[k / 2 * 32 + k % 2] = (uint16_t)_mm_extract_epi16((__m128i)half, 0);
            }
            continue;
        }
        uint8_t *target = (uint8_t *)panels + panel * cols * LANES + lane * 4;
        for (int64_t g = 0; g < cols / group; g++) {
            float top = 0.0f;
            for (int64_t k = g * group; k < (g + 1) * group; k++) top = fmaxf(top, fabsf(row[k]));
            scales[(panel * (cols / group) + g) * LANES + lane] = top / 127.0f;
            float inverse = top > 0 ? 127.0f / top : 0.0f;
            for (int64_t k = g * group; k < (g + 1) * group; k++)
                target[k / 4 * 64 + k % 4] = (uint8_t)((int)lrintf(row[k] * inverse) + 128);
        }
    }
}

/* ---- Norms and gates ---------------------------------------------------------------------------------- */

INLINE void normalize(const float *x, const float *weight, float *y, int64_t size, float eps) {
    __m512 squares = _mm512_setzero_ps();
    for (int64_t i = 0; i < size; i += LANES) {
        __m512 part = _mm512_maskz_loadu_ps(tail(size - i), x + i);
        squares = _mm512_fmadd_ps(part, part, squares);
    }
    __m512 by = _mm512_set1_ps(1.0f / sqrtf(_mm512_reduce_add_ps(squares) / (float)size + eps));
    for (int64_t i = 0; i < size; i += LANES) {
        __mmask16 mask = tail(size - i);
        __m512 part = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), by);
        _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(part, _mm512_maskz_loadu_ps(mask, weight + i)));
    }
}

static void norm_part(const float *x, const float *weight, float *y, int64_t tokens, int64_t size, float eps) {
    int64_t begin, end;
    share(tokens, &begin, &end);
    for (int64_t t = begin; t < end; t++) normalize(x + t * size, weight, y + t * size, size, eps);
}

void rms_norm(const float *x, const float *weight, float *y, int64_t tokens, int64_t size, float eps) {
#pragma omp parallel if (tokens * size * 4 > PARALLEL)
    norm_part(x, weight, y, tokens, size, eps);
}

/* y [tokens, size] = activation(x[:, :size]) * x[:, size:]; SiLU, or GELU by tanh. */
static void gate_part(const float *x, float *y, int64_t tokens, int64_t size, int64_t gelu) {
    int64_t begin, end;
    share(tokens, &begin, &end);
    for (int64_t t = begin; t < end; t++)
        for (int64_t i = 0; i < size; i += LANES) {
            __mmask16 mask = tail(size - i);
            __m512 g = _mm512_maskz_loadu_ps(mask, x + t * 2 * size + i);
            __m512 u = _mm512_maskz_loadu_ps(mask, x + t * 2 * size + size + i);
            __m512 z = g; /* GELU: x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)) */
            if (gelu)
                z = _mm512_mul_ps(_mm512_mul_ps(g, _mm512_set1_ps(1.5957691216f)),
                                  _mm512_fmadd_ps(_mm512_mul_ps(g, g), _mm512_set1_ps(0.044715f), _mm512_set1_ps(1.0f)));
            _mm512_mask_storeu_ps(y + t * size + i, mask, _mm512_mul_ps(_mm512_mul_ps(g, sigmoid512(z)), u));
        }
}

void gate(const float *x, float *y, int64_t tokens, int64_t size, int64_t gelu) {
#pragma omp parallel if (tokens * size * 16 > PARALLEL)
    gate_part(x, y, tokens, size, gelu);
}

/* ---- Attention ---------------------------------------------------------------------------------------- */

typedef struct {
    int64_t tokens;
    const int64_t *slots;     /* [tokens] where keys and values go: block * 16 + offset */
    const int32_t *positions; /* [tokens] in their sequences */
    int64_t items;            /* each: some query rows, one stretch of keys */
    const int32_t *row_begin, *row_end;     /* [items] into rows */
    const int32_t *key_begin, *key_end;     /* [items] positions; begin is a multiple of 16 */
    const int32_t *block_begin;             /* [items] into blocks */
    const int32_t *parts;                   /* [items] first partial result, or -1: the rows have no other item */
    const int32_t *rows, *blocks;
    int64_t merges, partials;
    const int32_t *merge_rows, *merge_begin, *merge_parts; /* [merges], [merges + 1], into partials */
} plan;

typedef struct {
    uint16_t *keys, *values;
    const float *query_norm, *key_norm; /* [dim] or NULL */
    int64_t heads, kv_heads, dim, window; /* window 0: none */
    float scale, softcap, eps;            /* softcap 0: none */
} layer;

typedef struct { const float *data; int64_t token, head; } heads; /* strides in numbers */

INLINE void rotate(const float *x, const float *cos, const float *sin, int64_t rotary, int64_t dim, float *y) {
    const int64_t half = rotary / 2;
    for (int64_t i = 0; i < half; i++) {
        y[i] = x[i] * cos[i] - x[i + half] * sin[i];
        y[i + half] = x[i + half] * cos[i + half] + x[i] * sin[i + half];
    }
    for (int64_t i = rotary; i < dim; i++) y[i] = x[i];
}

/* One head of one token: normalised and rotated where asked for, in the buffer or where it lies. */
INLINE const float *prepared(const layer *l, const float *x, const float *norm, const float *cos, const float *sin, int64_t rotary, float *buffer) {
    float *normed = buffer + MAX_DIM;
    if (norm) normalize(x, norm, normed, l->dim, l->eps), x = normed;
    if (!cos) return x;
    rotate(x, cos, sin, rotary, l->dim, buffer);
    return buffer;
}

INLINE void write_token(const layer *l, const plan *p, heads q, heads k, heads v, const float *cos, const float *sin, int64_t rotary, int64_t t, uint16_t *queries) {
    float buffer[2 * MAX_DIM];
    const int64_t dim = l->dim, block = p->slots[t] / TOKENS, at = p->slots[t] % TOKENS;
    if (cos) cos += t * rotary, sin += t * rotary;
    for (int64_t h = 0; h < l->heads; h++) {
        const float *x = prepared(l, q.data + t * q.token + h * q.head, l->query_norm, cos, sin, rotary, buffer);
        for (int64_t d = 0; d < dim; d += LANES)
            store_bf16(queries + (t * l->heads + h) * dim + d, _mm512_mul_ps(_mm512_loadu_ps(x + d), _mm512_set1_ps(l->scale)));
    }
    for (int64_t h = 0; h < l->kv_heads; h++) {
        uint16_t halves[MAX_DIM];
        const float *x = prepared(l, k.data + t * k.token + h * k.head, l->key_norm, cos, sin, rotary, buffer);
        for (int64_t d = 0; d < dim; d += LANES) store_bf16(halves + d, _mm512_loadu_ps(x + d));
        uint16_t *key = l->keys + (block * l->kv_heads + h) * dim * TOKENS + at * 2;
        for (int64_t d = 0; d < dim; d += 2) memcpy(key + d * TOKENS, halves + d, 4);
        const float *y = v.data + t * v.token + h * v.head;
        for (int64_t d = 0; d < dim; d += LANES) store_bf16(halves + d, _mm512_loadu_ps(y + d));
        uint16_t *value = l->values + (block * l->kv_heads + h) * dim * TOKENS + at / 2 * dim * 2 + at % 2;
        for (int64_t d = 0; d < dim; d++) value[d * 2] = halves[d];
    }
}

typedef struct { const uint16_t *query; int32_t position, row, head; float most, sum; float *output; } vector;

/* A dot product takes several cycles and two start in each, so eight run side by side: of as many vectors as
   there are (count), times blocks of keys or stretches of the output (side). */

INLINE void score_blocks(const int count, const int side, const layer *l, const vector *vs, const uint16_t *const *keys, const uint16_t *const *values, float (*weights)[SPAN * TOKENS], int first) {
    __m512 score[8][4];
    for (int i = 0; i < count; i++)
        for (int b = 0; b < side; b++) score[i][b] = _mm512_setzero_ps();
    for (int64_t d = 0; d < l->dim; d += 2) {
        __m512 key[4];
        for (int b = 0; b < side; b++) {
            key[b] = _mm512_loadu_ps((const float *)(keys[b] + d * TOKENS));
            _mm_prefetch((const char *)(values[b] + d * TOKENS), _MM_HINT_T0);
        }
        for (int i = 0; i < count; i++) {
            __m512 query = pair(vs[i].query + d);
            for (int b = 0; b < side; b++) score[i][b] = dot_bf16(score[i][b], key[b], query);
        }
    }
    for (int i = 0; i < count; i++)
        for (int b = 0; b < side; b++) _mm512_store_ps(weights[i] + (first + b) * TOKENS, score[i][b]);
}

INLINE void weigh(const int count, const int side, vector *vs, const uint16_t *const *values, const uint16_t *const *next, uint16_t (*halves)[SPAN * TOKENS], int blocks, int64_t dim, int64_t d) {
    __m512 output[8][4];
    for (int i = 0; i < count; i++)
        for (int s = 0; s < side; s++) output[i][s] = _mm512_loadu_ps(vs[i].output + d + s * LANES);
    for (int b = 0; b < blocks; b++)
        for (int t = 0; t < TOKENS; t += 2) {
            __m512 value[4];
            for (int s = 0; s < side; s++) {
                const int64_t place = t * dim + (d + s * LANES) * 2;
                value[s] = _mm512_loadu_ps((const float *)(values[b] + place));
                _mm_prefetch((const char *)(next[b] + place), _MM_HINT_T0);
            }
            for (int i = 0; i < count; i++) {
                __m512 weight = pair(halves[i] + b * TOKENS + t);
                for (int s = 0; s < side; s++) output[i][s] = dot_bf16(output[i][s], value[s], weight);
            }
        }
    for (int i = 0; i < count; i++)
        for (int s = 0; s < side; s++) _mm512_storeu_ps(vs[i].output + d + s * LANES, output[i][s]);
}

/* One span of keys for up to 8 vectors: scores, online softmax, weighted values. */
INLINE void attend_span(const int count, const int side, const layer *l, vector *vs, const uint16_t *const *keys, const uint16_t *const *values, const uint16_t *const *next, int blocks, int64_t first, int64_t end) {
    float weights[8][SPAN * TOKENS] __attribute__((aligned(64)));
    uint16_t halves[8][SPAN * TOKENS] __attribute__((aligned(64)));
    const int64_t dim = l->dim;
    for (int b = 0; b < blocks; b += side)
        score_blocks(count, side, l, vs, keys + b, values + b, weights, b);
    for (int i = 0; i < count; i++) {
        vector *v = vs + i;
        int64_t stop = smaller(end, v->position + 1), start = l->window ? v->position - l->window + 1 : 0;
        __m512 most = _mm512_set1_ps(v->most), score[SPAN], sum = _mm512_setzero_ps();
        for (int b = 0; b < blocks; b++) {
            score[b] = _mm512_load_ps(weights[i] + b * TOKENS);
            if (l->softcap > 0)
                score[b] = _mm512_mul_ps(_mm512_set1_ps(l->softcap), tanh512(_mm512_mul_ps(score[b], _mm512_set1_ps(1.0f / l->softcap))));
            int64_t from = start - first - b * TOKENS, to = stop - first - b * TOKENS;
            __mmask16 seen = to <= 0 ? 0 : tail(to);
            if (from > 0) seen &= from >= LANES ? 0 : (__mmask16)(0xffff << from);
            score[b] = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), seen, score[b]);
            most = _mm512_max_ps(score[b], most);
        }
        float top = _mm512_reduce_max_ps(most);
        for (int b = 0; b < blocks; b++) {
            __mmask16 hidden = _mm512_cmp_ps_mask(score[b], _mm512_set1_ps(-INFINITY), _CMP_EQ_OQ);
            score[b] = _mm512_mask_mov_ps(exp512(_mm512_sub_ps(score[b], _mm512_set1_ps(top))), hidden, _mm512_setzero_ps());
            sum = _mm512_add_ps(sum, score[b]);
            store_bf16(halves[i] + b * TOKENS, score[b]);
        }
        if (top > v->most) {
            __m512 by = exp512(_mm512_set1_ps(v->most - top));
            for (int64_t d = 0; d < dim; d += LANES) _mm512_storeu_ps(v->output + d, _mm512_mul_ps(_mm512_loadu_ps(v->output + d), by));
            v->sum *= _mm512_cvtss_f32(by);
            v->most = top;
        }
        v->sum += _mm512_reduce_add_ps(sum);
    }
    for (int64_t d = 0; d < dim;) {
        int64_t left = (dim - d) / LANES;
        if (side >= 4 && left >= 4) weigh(count, 4, vs, values, next, halves, blocks, dim, d), d += 4 * LANES;
        else if (side >= 4 && left == 3) weigh(count, 3, vs, values, next, halves, blocks, dim, d), d += 3 * LANES;
        else if (side >= 2 && left >= 2) weigh(count, 2, vs, values, next, halves, blocks, dim, d), d += 2 * LANES;
        else weigh(count, 1, vs, values, next, halves, blocks, dim, d), d += LANES;
    }
}

static void attend_vectors(const layer *l, const plan *p, int64_t item, int64_t kv_head, vector *vs, int count) {
    const uint16_t *keys[SPAN], *values[SPAN], *next[SPAN];
    const int64_t size = l->dim * TOKENS;
    int64_t last = 0, lowest = INT32_MAX;
    for (int i = 0; i < count; i++) {
        if (vs[i].position > last) last = vs[i].position;
        if (vs[i].position < lowest) lowest = vs[i].position;
    }
    int64_t end = smaller(p->key_end[item], last + 1), begin = p->key_begin[item];
    if (l->window && lowest - l->window + 1 > begin) begin += (lowest - l->window + 1 - begin) / TOKENS * TOKENS;
    for (int64_t first = begin; first < end; first += SPAN * TOKENS) {
        int blocks = (int)smaller(SPAN, (end - first + TOKENS - 1) / TOKENS);
        for (int b = 0; b < blocks; b++) {
            const int32_t *block = p->blocks + p->block_begin[item] + (first - p->key_begin[item]) / TOKENS + b;
            keys[b] = l->keys + (*block * l->kv_heads + kv_head) * size;
            values[b] = l->values + (*block * l->kv_heads + kv_head) * size;
            int more = first + (SPAN + b) * TOKENS < end; /* this head's next keys, or another's first */
            next[b] = more ? l->keys + (block[SPAN] * l->kv_heads + kv_head) * size : l->keys + (p->blocks[p->block_begin[item] + b] * l->kv_heads + kv_head + 1) * size;
        }
        for (int b = blocks; b < SPAN; b++) keys[b] = keys[0], values[b] = values[0];
        for (int i = 0; i < count;) {
            int left = count - i;
            if (left >= 8) attend_span(8, 1, l, vs + i, keys, values, next, blocks, first, end), i += 8;
            else if (left >= 4) attend_span(4, 2, l, vs + i, keys, values, next, blocks, first, end), i += 4;
            else if (left >= 2) attend_span(2, 4, l, vs + i, keys, values, next, blocks, first, end), i += 2;
            else attend_span(1, 4, l, vs + i, keys, values, next, blocks, first, end), i += 1;
        }
    }
}

/* What an item's rows see of its keys, for one key head: final, or a partial result to be merged. */
static void attend_item(const layer *l, const plan *p, int64_t item, int64_t kv_head, const uint16_t *queries, float *partials, float *output) {
    float sums[ROWS][MAX_DIM] __attribute__((aligned(64)));
    vector vs[ROWS];
    const int64_t dim = l->dim, sharing = l->heads / l->kv_heads;
    const int64_t total = (p->row_end[item] - p->row_begin[item]) * sharing;
    for (int64_t done = 0; done < total; done += ROWS) {
        int count = (int)smaller(ROWS, total - done);
        for (int i = 0; i < count; i++) {
            int32_t row = p->rows[p->row_begin[item] + (done + i) / sharing], head = (int32_t)(kv_head * sharing + (done + i) % sharing);
            memset(sums[i], 0, dim * 4);
            vs[i] = (vector){queries + (row * l->heads + head) * dim, p->positions[row], row, head, LOWEST, 0.0f, sums[i]};
        }
        attend_vectors(l, p, item, kv_head, vs, count);
        for (int i = 0; i < count; i++) {
            vector *v = vs + i;
            if (p->parts[item] < 0) {
                float *target = output + (v->row * l->heads + v->head) * dim, by = 1.0f / v->sum;
                for (int64_t d = 0; d < dim; d++) target[d] = sums[i][d] * by;
            } else {
                float *target = partials + ((p->parts[item] + (done + i) / sharing) * l->heads + v->head) * (dim + 2);
                target[0] = v->most, target[1] = v->sum;
                memcpy(target + 2, sums[i], dim * 4);
            }
        }
    }
}

static void merge(const layer *l, const plan *p, int64_t index, const float *partials, float *output) {
    const int64_t dim = l->dim, begin = p->merge_begin[index], end = p->merge_begin[index + 1];
    for (int64_t h = 0; h < l->heads; h++) {
        float most = LOWEST, sum = 0.0f, total[MAX_DIM] = {0};
        for (int64_t i = begin; i < end; i++) {
            float other = partials[(p->merge_parts[i] * l->heads + h) * (dim + 2)];
            most = other > most ? other : most;
        }
        for (int64_t i = begin; i < end; i++) {
            const float *part = partials + (p->merge_parts[i] * l->heads + h) * (dim + 2);
            float by = expf(part[0] - most);
            sum += part[1] * by;
            for (int64_t d = 0; d < dim; d++) total[d] += part[d + 2] * by;
        }
        float *target = output + (p->merge_rows[index] * l->heads + h) * dim;
        for (int64_t d = 0; d < dim; d++) target[d] = total[d] / sum;
    }
}

typedef struct { const float *cos, *sin; int64_t rotary; } rotation; /* [tokens, rotary] each, or NULL: rotated already */
typedef struct { uint16_t *queries; float *partials; int64_t next; } workspace;

INLINE size_t attention_bytes(const layer *l, const plan *p) {
    return (size_t)p->tokens * l->heads * l->dim * 2 + 64 + (size_t)p->partials * l->heads * (l->dim + 2) * 4;
}

INLINE workspace workspace_in(const layer *l, const plan *p, void *memory) {
    const size_t queries = ((size_t)p->tokens * l->heads * l->dim * 2 + 63) & ~(size_t)63;
    return (workspace){memory, (float *)((char *)memory + queries), 0};
}

/* output [tokens, heads, dim] */
static void attention_part(const layer *l, const plan *p, const heads *qkv, rotation r, workspace *w, float *output) {
    int64_t begin, end;
    share(p->tokens, &begin, &end);
    for (int64_t t = begin; t < end; t++) write_token(l, p, qkv[0], qkv[1], qkv[2], r.cos, r.sin, r.rotary, t, w->queries);
#pragma omp barrier
    for (;;) {
        int64_t unit = __atomic_fetch_add(&w->next, 1, __ATOMIC_RELAXED);
        if (unit >= p->items * l->kv_heads) break;
        attend_item(l, p, unit / l->kv_heads, unit % l->kv_heads, w->queries, w->partials, output);
    }
#pragma omp barrier
    share(p->merges, &begin, &end);
    for (int64_t i = begin; i < end; i++) merge(l, p, i, w->partials, output);
}

void attention(const layer *l, const plan *p, const heads *qkv, const float *cos, const float *sin, int64_t rotary, float *output) {
    workspace w = workspace_in(l, p, scratch(1, attention_bytes(l, p)));
    rotation r = {cos, sin, rotary};
#pragma omp parallel if (p->items * l->kv_heads > 3)
    attention_part(l, p, qkv, r, &w, output);
}

/* ---- A decoder layer ---------------------------------------------------------------------------------- */

typedef struct {
    const float *input_norm, *post_norm; /* [size] */
    const matrix *qkv, *o, *gate_up, *down;
    const layer *attention;
    int64_t size, gelu;
    float input_eps, post_eps;
} decoder;

INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* y [tokens, size] = z + MLP(norm(z)), z = x + attention(norm(x)). Rows of a token are normalised, gated and rounded by
   one thread, so only products and attention have to wait for each other. */
void decode(const decoder *l, const plan *p, const float *x, const float *cos, const float *sin, int64_t rotary, float *y) {
    const layer *a = l->attention;
    const int64_t tokens = p->tokens, inner = l->gate_up->rows, wide = l->qkv->rows, attended = a->heads * a->dim;
    float *normed = scratch(2, (size_t)tokens * (l->size + attended + larger(wide, inner) + inner / 2) * 4);
    float *heard = normed + tokens * l->size, *hidden = heard + tokens * attended;
    float *gated = hidden + tokens * larger(wide, inner);
    void *memory = scratch(0, larger(larger(linear_bytes(l->qkv, tokens), linear_bytes(l->o, tokens)),
                                     larger(linear_bytes(l->gate_up, tokens), linear_bytes(l->down, tokens))));
    workspace w = workspace_in(a, p, scratch(1, attention_bytes(a, p)));
    const rotation r = {cos, sin, rotary};
    const heads qkv[3] = {{hidden, wide, a->dim}, {hidden + attended, wide, a->dim}, {hidden + attended + a->kv_heads * a->dim, wide, a->dim}};
#pragma omp parallel
    {
        norm_part(x, l->input_norm, normed, tokens, l->size, l->input_eps);
        round_part(l->qkv, normed, tokens, memory);
#pragma omp barrier
        multiply_part(l->qkv, memory, hidden, tokens, NULL);
#pragma omp barrier
        attention_part(a, p, qkv, r, &w, heard);
#pragma omp barrier
        round_part(l->o, heard, tokens, memory);
#pragma omp barrier
        multiply_part(l->o, memory, y, tokens, x);
#pragma omp barrier
        norm_part(y, l->post_norm, normed, tokens, l->size, l->post_eps);
        round_part(l->gate_up, normed, tokens, memory);
#pragma omp barrier
        multiply_part(l->gate_up, memory, hidden, tokens, NULL);
#pragma omp barrier
        gate_part(hidden, gated, tokens, inner / 2, l->gelu);
        round_part(l->down, gated, tokens, memory);
#pragma omp barrier
        multiply_part(l->down, memory, y, tokens, y);
    }
}
