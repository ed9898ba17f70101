/* The engine's arithmetic on a CPU; see linear.py and attention.py, and for its instructions avx512.h and avx2.h.

   A weight matrix [N, K] lies in panels of 16 rows: [N/16][K/w][16][w] with w = STEP for int8, 2 for bf16, so that
   w neighbouring numbers of 16 rows lie side by side, as the dot product instructions want them. The KV cache has blocks of 16 tokens: keys [block][layer][kv head][D/2][16][2], values [block][layer][kv head][8][D][2], bf16. */

#define _GNU_SOURCE
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define LANES 16
#define TOKENS 16        /* of a block */
#define SPAN 4           /* blocks of keys that are scored together */
#define ROWS 32          /* query vectors that walk over the keys together */
#define MAX_DIM 256
#define LOWEST -1e30f

#include "team.h"
#include "jobs.h"

/* Memory of the calling thread that grows to the largest request; NULL where there is none left. */
static void *scratch(int slot, size_t bytes) {
    static __thread struct { void *start; size_t size; } held[3];
    if (held[slot].size < bytes) {
        free(held[slot].start);
        held[slot].size = (bytes + bytes / 2 + 4096) & ~(size_t)63;
        held[slot].start = aligned_alloc(64, held[slot].size);
        if (!held[slot].start) held[slot].size = 0;
    }
    return held[slot].start;
}

#if defined(__AVX512VNNI__) && defined(__AVX512BF16__)
#include "avx512.h"
#else
#include "avx2.h"
#endif

#define PER (LANES / WIDE) /* registers of sixteen lanes */

INLINE vec v_exp(vec x) {
    x = v_max(v_all(-87.0f), x); /* this order lets NaN through */
    const vec n = v_round(x * 1.44269504f), r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return v_power(r * r * p + (r + 1.0f), n);
}

INLINE vec v_sigmoid(vec x) { return 1.0f / (v_exp(-v_max(v_all(-80.0f), x)) + 1.0f); }
INLINE vec v_tanh(vec x) { return 2.0f * v_sigmoid(2.0f * x) - 1.0f; }

/* ---- Norms and gates ---------------------------------------------------------------------------------- */

INLINE void normalize(const float *x, const float *weight, float *y, int64_t size, float eps) {
    vec squares = {0};
    for (int64_t i = 0; i < size; i += WIDE) {
        vec part = v_load_some(size - i, x + i);
        squares += part * part;
    }
    const float by = 1.0f / sqrtf(v_sum(squares) / (float)size + eps);
    for (int64_t i = 0; i < size; i += WIDE) {
        const int64_t left = size - i;
        v_store_some(y + i, left, v_load_some(left, x + i) * by * v_load_some(left, weight + i));
    }
}

/* y [size] = activation(x[:size]) * x[size:]; SiLU, or GELU by tanh. */
INLINE void gate_row(const float *x, float *y, int64_t size, int64_t gelu) {
    for (int64_t i = 0; i < size; i += WIDE) {
        const int64_t left = size - i;
        vec g = v_load_some(left, x + i), u = v_load_some(left, x + size + i), z = g;
        if (gelu) z = g * 1.5957691216f * (g * g * 0.044715f + 1.0f); /* x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)) */
        v_store_some(y + i, left, g * v_sigmoid(z) * u);
    }
}

/* Nanoseconds of one number, roughly: of a row that is rounded, normalised, gated. */
#define ROUNDING 0.15
#define NORMING 0.1
#define GATING 0.4

typedef struct { const float *x, *weight; float *y; int64_t size, gelu; float eps; } rowwise;

static void norm_rows(const void *work, int64_t begin, int64_t end, int member) {
    const rowwise *r = work;
    for (int64_t t = begin; t < end; t++) normalize(r->x + t * r->size, r->weight, r->y + t * r->size, r->size, r->eps);
}

static void gate_rows(const void *work, int64_t begin, int64_t end, int member) {
    const rowwise *r = work;
    for (int64_t t = begin; t < end; t++) gate_row(r->x + t * 2 * r->size, r->y + t * r->size, r->size, r->gelu);
}

/* One phase over rows. In place it is not to be computed twice, so by nobody else. */
static void each_row(void (*run)(const void *, int64_t, int64_t, int), const rowwise *r, int64_t tokens, double number) {
    const int size = r->x == r->y || (double)(tokens * r->size) * number < ALONE ? 1 : most_members();
    job j = {0};
    add_phase(&j, size, (phase){run, NULL, r, tokens}, (double)r->size * number);
    run_job(&j, size);
}

void rms_norm(const float *x, const float *weight, float *y, int64_t tokens, int64_t size, float eps) {
    const rowwise r = {x, weight, y, size, 0, eps};
    each_row(norm_rows, &r, tokens, NORMING);
}

/* y [tokens, size] = activation(x[:, :size]) * x[:, size:] */
void gate(const float *x, float *y, int64_t tokens, int64_t size, int64_t gelu) {
    const rowwise r = {x, NULL, y, size, gelu, 0};
    each_row(gate_rows, &r, tokens, GATING);
}

/* ---- Linear layers ------------------------------------------------------------------------------------ */

typedef struct {
    const void *weight;  /* panels, see above; int8 as value + OFFSET */
    const float *scale;  /* int8: [N/16][K/group][16] */
    const float *bias;   /* [N], padded to 16, or NULL */
    int64_t rows, cols, group; /* N, K; group 0 means bf16 */
} matrix;

typedef struct { const activation *values; const float *scales; const int32_t *shifts; } quantized;
typedef struct { float *sum; const float *addend; } target; /* rows of N; what is added to the product, or NULL */

/* A row in groups of integers. shift = -OFFSET * their sum takes back what every weight has too much. */
static void quantize_row(const float *x, int64_t cols, int64_t group, activation *values, float *scales, int32_t *shifts) {
    for (int64_t g = 0; g < cols / group; g++, x += group, values += group) {
        vec most = {0}, check = {0};
        for (int64_t i = 0; i < group; i += WIDE) {
            vec part = v_load_some(group - i, x + i);
            most = v_max(v_max(part, -part), most);
            check += part * 0.0f;
        }
        float top = v_most(most);
        const float inverse = top > 0 ? LEVELS / top : 0.0f;
        ints sum = i_all(0);
        for (int64_t i = 0; i < group; i += WIDE) {
            const int64_t left = group - i;
            ints q = i_round(v_load_some(left, x + i) * inverse);
            sum = i_add(sum, q);
            store_activations(values + i, left, q);
        }
        scales[g] = top / LEVELS + v_sum(check); /* NaN and infinity have no integer: the scale keeps them */
        shifts[g] = (int32_t)(0u - OFFSET * (uint32_t)i_sum(sum)); /* of such a row it may wrap around */
    }
}

INLINE void finish(const matrix *w, target y, int64_t block, int rows, int columns, vec out[6][4 * PER]) {
    for (int c = 0; c < columns; c++) {
        const int64_t column = block * LANES + c * WIDE, left = w->rows - column;
        if (left <= 0) return;
        vec bias = w->bias ? v_load(w->bias + column) : v_all(0.0f);
        for (int m = 0; m < rows; m++) {
            const int64_t place = m * w->rows + column;
            vec sum = out[m][c] + bias;
            if (y.addend) sum += v_load_some(left, y.addend + place);
            v_store_some(y.sum + place, left, sum);
        }
    }
}

/* The columns of a tile are registers: PER of them make the 16 rows of a panel, WIDE rows each. */

INLINE void tile_int8(const int rows, const int blocks, const matrix *w, quantized x, int64_t block, target y, const char *const fetched[2]) {
    const char *ahead[2] = {fetched[0], fetched[1]};
    const int64_t groups = w->cols / w->group, steps = w->group / STEP, panel = w->cols * LANES;
    const uint8_t *weight = (const uint8_t *)w->weight + block * panel;
    const float *scale = w->scale + block * groups * LANES;
    const activation *q = x.values;
    const int columns = blocks * PER;
    vec out[6][4 * PER];
    for (int m = 0; m < rows; m++)
        for (int c = 0; c < columns; c++) out[m][c] = v_all(0.0f);
    for (int64_t g = 0; g < groups; g++) {
        ints sum[6][4 * PER];
        for (int m = 0; m < rows; m++)
            for (int c = 0; c < columns; c++) sum[m][c] = i_all(x.shifts[m * groups + g]);
        ASIDE(out);
        for (int64_t s = 0; s < steps; s += AT_ONCE) {
            if (rows < 3)
                for (int b = 0; b < blocks; b++) _mm_prefetch((const char *)weight + b * panel + 1024, _MM_HINT_T0);
            else
                for (int i = 0; i < 2; i++) _mm_prefetch(ahead[i], _MM_HINT_T1), ahead[i] += 64;
            for (int i = 0; i < AT_ONCE; i++, q += STEP, weight += STEP * LANES) {
                ints part[4 * PER];
                for (int c = 0; c < columns; c++) part[c] = load_bytes(weight + c / PER * panel + c % PER * WIDE * STEP);
                const activation *row = q;
                for (int m = 0; m < rows; m++) {
                    int32_t several;
                    memcpy(&several, row + m * w->cols, 4);
                    ints a = i_all(several);
                    for (int c = 0; c < columns; c++) sum[m][c] = dot_bytes(sum[m][c], part[c], a);
                    for (int c = 0; c < columns; c++) AFTER(sum[m][c], row);
                }
            }
        }
        for (int c = 0; c < columns; c++) {
            vec by = v_load(scale + (c / PER * groups + g) * LANES + c % PER * WIDE);
            for (int m = 0; m < rows; m++) {
                vec both = by * v_all(x.scales[m * groups + g]);
                out[m][c] += i_float(sum[m][c]) * both;
            }
        }
    }
    finish(w, y, block, rows, columns, out);
}

INLINE void tile_bf16(const int rows, const int blocks, const matrix *w, const operand *x, int64_t block, target y, const char *const fetched[2]) {
    const char *ahead[2] = {fetched[0], fetched[1]};
    const int64_t panel = w->cols * LANES;
    const uint16_t *weight = (const uint16_t *)w->weight + block * panel;
    const int columns = blocks * PER;
    vec out[6][4 * PER];
    for (int m = 0; m < rows; m++)
        for (int c = 0; c < columns; c++) out[m][c] = v_all(0.0f);
    for (int64_t k = 0; k < w->cols; k += 2, weight += 2 * LANES) {
        for (int i = 0; i < 2; i++) _mm_prefetch(ahead[i], _MM_HINT_T1), ahead[i] += 64;
        halves part[4 * PER];
        for (int c = 0; c < columns; c++) part[c] = load_halves(weight + c / PER * panel + c % PER * WIDE * 2);
        const operand *row = x + k;
        for (int m = 0; m < rows; m++, row += w->cols) {
            pair a = load_pair(row);
            for (int c = 0; c < columns; c++) out[m][c] = dot_halves(out[m][c], part[c], a);
            for (int c = 0; c < columns; c++) AFTER(out[m][c], row);
        }
    }
    finish(w, y, block, rows, columns, out);
}

#define TILES(NAME, INPUT)                                                                                            \
    static void NAME##_tiles(int rows, int blocks, const matrix *w, INPUT x, int64_t block, target y, const char *const ahead[2]) { \
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
TILES(bf16, const operand *)

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* A product of a step: what goes in, with what, and where to. */
typedef struct {
    const matrix *w;
    const float *x;      /* [tokens, K] */
    const float *norm;   /* [K] by which rows are normalised first, or NULL */
    float eps;
    int gated, gelu;     /* x is [tokens, 2 K], to be gated first */
    int64_t tokens;
    float *y;            /* [tokens, N] */
    const float *addend; /* the same, not in place: a piece may be computed twice. Or NULL */
    char *memory;        /* for rows as the matrix's format wants them */
    size_t stride;       /* between the memories of members, or 0: they share one */
    int members;
} product;

#define OWN_ROUNDING 2500.0 /* nanoseconds up to which each member rounds all rows for itself, rather than wait for others */

INLINE size_t row_bytes(const matrix *w) { return ((size_t)w->cols * 4 + 127) & ~(size_t)63; }

INLINE size_t rounded_bytes(const matrix *w, int64_t tokens) {
    const int64_t numbers = tokens * w->cols;
    const size_t bytes = w->group ? numbers * sizeof(activation) + numbers / w->group * 8 + 64 : numbers * sizeof(operand);
    return (bytes + 127) & ~(size_t)63;
}

INLINE double rounding_cost(const product *p) {
    return (double)p->w->cols * (ROUNDING + (p->norm ? NORMING : 0) + (p->gated ? GATING : 0));
}

INLINE int is_rounded_by_each(const product *p) { return (double)p->tokens * rounding_cost(p) < OWN_ROUNDING; }

/* Rounded rows, and one for each member that is not rounded yet. */
INLINE size_t product_bytes(const product *p, int size) {
    const size_t rounded = rounded_bytes(p->w, p->tokens);
    return (is_rounded_by_each(p) ? rounded * size : rounded) + row_bytes(p->w) * size;
}

INLINE quantized quantized_in(const matrix *w, int64_t tokens, const void *memory) {
    const float *scales = (const float *)((const char *)memory + ((tokens * w->cols * sizeof(activation) + 63) & ~63));
    return (quantized){memory, scales, (const int32_t *)(scales + tokens * (w->cols / w->group))};
}

INLINE char *rounded_of(const product *p, int member) { return p->memory + member * p->stride; }

/* Rows begin..end as the matrix's format wants them. */
static void round_rows(const void *work, int64_t begin, int64_t end, int member) {
    const product *p = work;
    const matrix *w = p->w;
    const int64_t cols = w->cols;
    char *memory = rounded_of(p, member), *rows = p->memory + (p->stride ? p->stride * p->members : rounded_bytes(w, p->tokens));
    float *buffer = (float *)(rows + member * row_bytes(w));
    for (int64_t t = begin; t < end; t++) {
        const float *x = p->x + t * cols * (p->gated ? 2 : 1);
        if (p->norm) normalize(x, p->norm, buffer, cols, p->eps), x = buffer;
        if (p->gated) gate_row(x, buffer, cols, p->gelu), x = buffer;
        if (w->group) {
            const quantized q = quantized_in(w, p->tokens, memory);
            const int64_t groups = cols / w->group;
            quantize_row(x, cols, w->group, (activation *)q.values + t * cols, (float *)q.scales + t * groups, (int32_t *)q.shifts + t * groups);
        } else
            for (int64_t i = 0; i < cols; i += WIDE)
                store_operands((operand *)memory + t * cols + i, cols - i, v_load_some(cols - i, x + i));
    }
}

static void round_all(const void *work, int member) { round_rows(work, 0, ((const product *)work)->tokens, member); }

#define PANELS 2 /* a unit of work: what tiles of many rows want side by side */

/* Units begin..end of y = the rounded rows times the matrix, plus bias, plus what is to be added. */
static void multiply(const void *work, int64_t begin, int64_t end, int member) {
    const product *p = work;
    const matrix *w = p->w;
    begin *= PANELS, end = smaller(end * PANELS, (w->rows + LANES - 1) / LANES);
    const void *memory = rounded_of(p, member);
    const int64_t tokens = p->tokens, cols = w->cols, groups = w->group ? cols / w->group : 0, panel = cols * LANES * (w->group ? 1 : 2);
    const quantized all = w->group ? quantized_in(w, tokens, memory) : (quantized){0};
    const int width = tokens < 3 ? FEW_WIDTH : MANY_WIDTH, most = w->group ? 6 : HALF_ROWS;
    const int64_t second = width > 1 ? panel : 0;
    for (int64_t block = begin; block < end;) {
        int blocks = (int)smaller(width, end - block);
        if (blocks == 3) blocks = 2;
        for (int64_t t = 0, tile = 0; t < tokens; tile++) {
            /* 7 rows as 4 and 3, not as 6 and 1 */
            int64_t left = tokens - t;
            int rows = (int)(left <= most ? left : left < 2 * most ? (left + 1) / 2 : most);
            /* While these rows are computed, fetch the next panels: both, or one with each of the first two tiles. */
            const char *next = (const char *)w->weight + (block + blocks) * panel, *ahead[2] = {next, next + second};
            if (tokens > most) ahead[0] = ahead[1] = t == 0 ? next : tile == 1 ? next + second : memory;
            target part = {p->y + t * w->rows, p->addend ? p->addend + t * w->rows : NULL};
            if (w->group) {
                quantized q = {all.values + t * cols, all.scales + t * groups, all.shifts + t * groups};
                int8_tiles(rows, blocks, w, q, block, part, ahead);
            } else
                bf16_tiles(rows, blocks, w, (const operand *)memory + t * cols, block, part, ahead);
            t += rows;
        }
        block += blocks;
    }
}

/* Nanoseconds of a panel, roughly: its bytes from memory, or its products. */
static double panel_cost(const matrix *w, int64_t tokens) {
    const double numbers = (double)(w->cols * LANES), bytes = numbers * (w->group ? 1 : 2);
    return fmax(bytes / 10, numbers * (double)tokens / (w->group ? INT8_SPEED : BF16_SPEED));
}

INLINE double product_cost(const product *p) {
    return (double)p->tokens * rounding_cost(p) + panel_cost(p->w, p->tokens) * (double)(p->w->rows / LANES);
}

/* The phases of a product, with memory of product_bytes. */
static void add_product(job *j, int size, product *p, char *memory) {
    const int64_t units = (p->w->rows + PANELS * LANES - 1) / (PANELS * LANES);
    p->memory = memory, p->members = size;
    p->stride = is_rounded_by_each(p) ? rounded_bytes(p->w, p->tokens) : 0;
    if (!p->stride) add_phase(j, size, (phase){round_rows, NULL, p, p->tokens}, rounding_cost(p));
    add_phase(j, size, (phase){multiply, p->stride ? round_all : NULL, p, units}, panel_cost(p->w, p->tokens) * PANELS);
}

/* Into how many steps up to its largest magnitude a group of activations is rounded. */
int64_t activation_levels(void) { return (int64_t)LEVELS; }

/* These three return 0, or 1 without having done anything when there is not enough memory. */

int linear(const matrix *w, const float *x, float *y, int64_t tokens) {
    product p = {.w = w, .x = x, .tokens = tokens, .y = y};
    const int size = product_cost(&p) < ALONE ? 1 : most_members();
    char *memory = scratch(0, product_bytes(&p, size));
    if (!memory) return 1;
    job j = {0};
    add_product(&j, size, &p, memory);
    run_job(&j, size);
    return 0;
}

typedef struct { const float *weight; int64_t rows, cols, group; void *panels; float *scales; } packing;

static void pack_panels(const void *work, int64_t begin, int64_t end, int member) {
    const packing *p = work;
    const int64_t cols = p->cols, group = p->group;
    for (int64_t n = begin * LANES; n < smaller(end * LANES, p->rows); n++) {
        const float *row = p->weight + n * cols;
        const int64_t panel = n / LANES, lane = n % LANES;
        if (!group) {
            uint16_t rounded[WIDE], *target = (uint16_t *)p->panels + panel * cols * LANES + lane * 2;
            for (int64_t k = 0; k < cols; k++) {
                if (k % WIDE == 0) store_bf16(rounded, cols - k, v_load_some(cols - k, row + k));
                target[k / 2 * 32 + k % 2] = rounded[k % WIDE];
            }
            continue;
        }
        uint8_t *target = (uint8_t *)p->panels + panel * cols * LANES + lane * STEP;
        for (int64_t g = 0; g < cols / group; g++) {
            float top = 0.0f;
            for (int64_t k = g * group; k < (g + 1) * group; k++) top = fmaxf(top, fabsf(row[k]));
            p->scales[(panel * (cols / group) + g) * LANES + lane] = top / 127.0f;
            float inverse = top > 0 ? 127.0f / top : 0.0f;
            for (int64_t k = g * group; k < (g + 1) * group; k++)
                target[k / STEP * (LANES * STEP) + k % STEP] = (uint8_t)((int)lrintf(row[k] * inverse) + OFFSET);
        }
    }
}

/* [N, K] float -> panels. For int8 the scale of each row's group is its largest magnitude / 127. */
void pack(const float *weight, int64_t rows, int64_t cols, int64_t group, void *panels, float *scales) {
    const packing p = {weight, rows, cols, group, panels, scales};
    const int size = most_members();
    job j = {0};
    add_phase(&j, size, (phase){pack_panels, NULL, &p, (rows + LANES - 1) / LANES}, (double)(cols * LANES) * 2);
    run_job(&j, size);
}

/* ---- Attention ---------------------------------------------------------------------------------------- */

typedef struct {
    const int64_t *slots;     /* [tokens] where keys and values go: block * 16 + offset */
    const int32_t *positions; /* [tokens] in their sequences */
    const int32_t *row_begin, *row_end;     /* [items] into rows */
    const int32_t *key_begin, *key_end;     /* [items] positions; begin is a multiple of 16 */
    const int32_t *block_begin;             /* [items] into blocks */
    const int32_t *parts;                   /* [items] first partial result, or -1: the rows have no other item */
    const int32_t *rows, *blocks;
    const int32_t *merge_rows, *merge_begin, *merge_parts; /* [merges], [merges + 1], into partials */
    int64_t tokens, items, merges, partials; /* an item: some query rows, one stretch of keys */
} plan;

typedef struct {
    uint16_t *keys, *values;
    const float *query_norm, *key_norm; /* [dim] or NULL */
    int64_t heads, kv_heads, dim, window; /* window 0: none */
    int64_t block;                        /* numbers from one block of the layer's keys, or values, to the next */
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

typedef struct { const float *cos, *sin; int64_t rotary; } rotation; /* [tokens, rotary] each, or NULL: rotated already */

/* What a layer's attention works with and on. */
typedef struct {
    const layer *l;
    const plan *p;
    heads q, k, v;
    rotation r;
    operand *queries; /* [tokens, heads, dim] */
    float *partials;  /* [partials, heads, 2 + dim] */
    float *output;    /* [tokens, heads, dim] */
} attending;

/* A key head's key, value and queries of one token: the former two into the cache. */
INLINE void write_head(const attending *a, int64_t t, int64_t h) {
    float buffer[2 * MAX_DIM];
    uint16_t rounded[MAX_DIM];
    const layer *l = a->l;
    const int64_t dim = l->dim, sharing = l->heads / l->kv_heads, rotary = a->r.rotary;
    const int64_t place = a->p->slots[t] / TOKENS * l->block + h * dim * TOKENS, at = a->p->slots[t] % TOKENS;
    const float *cos = a->r.cos ? a->r.cos + t * rotary : NULL, *sin = cos ? a->r.sin + t * rotary : NULL;
    for (int64_t g = h * sharing; g < (h + 1) * sharing; g++) {
        const float *x = prepared(l, a->q.data + t * a->q.token + g * a->q.head, l->query_norm, cos, sin, rotary, buffer);
        for (int64_t d = 0; d < dim; d += WIDE)
            store_operands(a->queries + (t * l->heads + g) * dim + d, WIDE, v_load(x + d) * l->scale);
    }
    const float *x = prepared(l, a->k.data + t * a->k.token + h * a->k.head, l->key_norm, cos, sin, rotary, buffer);
    for (int64_t d = 0; d < dim; d += WIDE) store_bf16(rounded + d, WIDE, v_load(x + d));
    uint16_t *key = l->keys + place + at * 2;
    for (int64_t d = 0; d < dim; d += 2) memcpy(key + d * TOKENS, rounded + d, 4);
    const float *y = a->v.data + t * a->v.token + h * a->v.head;
    for (int64_t d = 0; d < dim; d += WIDE) store_bf16(rounded + d, WIDE, v_load(y + d));
    uint16_t *value = l->values + place + at / 2 * dim * 2 + at % 2;
    for (int64_t d = 0; d < dim; d++) value[d * 2] = rounded[d];
}

typedef struct { const operand *query; int32_t position, row, head; float most, sum; float *output; } vector;

/* A dot product takes several cycles and two start in each, so ACROSS run side by side: of as many vectors as
   there are (count), times blocks of keys or stretches of the output (side). */

INLINE void score_blocks(const int count, const int side, const layer *l, const vector *vs, const uint16_t *const *keys, const uint16_t *const *values, float (*weights)[SPAN * TOKENS], int first) {
    vec score[8][4 * PER];
    for (int i = 0; i < count; i++)
        for (int c = 0; c < side * PER; c++) score[i][c] = v_all(0.0f);
    for (int64_t d = 0; d < l->dim; d += 2)
        for (int c = 0; c < side * PER; c++) {
            halves key = load_halves(keys[c / PER] + d * TOKENS + c % PER * WIDE * 2);
            if (c % PER == 0) _mm_prefetch((const char *)(values[c / PER] + d * TOKENS), _MM_HINT_T0);
            for (int i = 0; i < count; i++) {
                const operand *query = vs[i].query + d;
                if (count > 2) AFTER(score[i][c], query);
                score[i][c] = dot_halves(score[i][c], key, load_pair(query));
            }
        }
    for (int i = 0; i < count; i++)
        for (int c = 0; c < side * PER; c++) v_store(weights[i] + first * TOKENS + c * WIDE, score[i][c]);
}

INLINE void weigh(const int count, const int side, vector *vs, const uint16_t *const *values, const uint16_t *const *next, operand (*shares)[SPAN * TOKENS], int blocks, int64_t dim, int64_t d) {
    vec output[8][4 * PER];
    for (int i = 0; i < count; i++)
        for (int c = 0; c < side * PER; c++) output[i][c] = v_load(vs[i].output + d + c * WIDE);
    for (int b = 0; b < blocks; b++)
        for (int t = 0; t < TOKENS; t += 2)
            for (int c = 0; c < side * PER; c++) {
                const int64_t place = t * dim + (d + c * WIDE) * 2;
                halves value = load_halves(values[b] + place);
                if (c % PER == 0) _mm_prefetch((const char *)(next[b] + place), _MM_HINT_T0);
                for (int i = 0; i < count; i++) {
                    const operand *share = shares[i] + b * TOKENS + t;
                    if (count > 2) AFTER(output[i][c], share);
                    output[i][c] = dot_halves(output[i][c], value, load_pair(share));
                }
            }
    for (int i = 0; i < count; i++)
        for (int c = 0; c < side * PER; c++) v_store(vs[i].output + d + c * WIDE, output[i][c]);
}

/* One span of keys for up to 8 vectors: scores, online softmax, weighted values. */
INLINE void attend_span(const int count, const int side, const layer *l, vector *vs, const uint16_t *const *keys, const uint16_t *const *values, const uint16_t *const *next, int blocks, int64_t first, int64_t end) {
    float weights[8][SPAN * TOKENS] __attribute__((aligned(64)));
    operand shares[8][SPAN * TOKENS] __attribute__((aligned(64)));
    const int64_t dim = l->dim;
    for (int b = 0; b < blocks; b += side)
        score_blocks(count, side, l, vs, keys + b, values + b, weights, b);
    for (int i = 0; i < count; i++) {
        vector *v = vs + i;
        int64_t stop = smaller(end, v->position + 1), start = l->window ? v->position - l->window + 1 : 0;
        vec most = v_all(v->most), score[SPAN * PER], sum = {0};
        const int pieces = blocks * PER;
        for (int c = 0; c < pieces; c++) {
            score[c] = v_load(weights[i] + c * WIDE);
            if (l->softcap > 0) score[c] = l->softcap * v_tanh(score[c] * (1.0f / l->softcap));
            score[c] = v_within(score[c], start - first - c * WIDE, stop - first - c * WIDE);
            most = v_max(score[c], most);
        }
        float top = v_most(most);
        for (int c = 0; c < pieces; c++) {
            score[c] = v_unless_lowest(v_exp(score[c] - top), score[c]);
            sum += score[c];
            store_operands(shares[i] + c * WIDE, WIDE, score[c]);
        }
        if (top > v->most) {
            vec by = v_exp(v_all(v->most - top));
            for (int64_t d = 0; d < dim; d += WIDE) v_store(v->output + d, v_load(v->output + d) * by);
            v->sum *= by[0];
            v->most = top;
        }
        v->sum += v_sum(sum);
    }
    for (int64_t d = 0; d < dim;) {
        int64_t left = (dim - d) / LANES;
        if (side >= 4 && left >= 4) weigh(count, 4, vs, values, next, shares, blocks, dim, d), d += 4 * LANES;
        else if (side >= 4 && left == 3) weigh(count, 3, vs, values, next, shares, blocks, dim, d), d += 3 * LANES;
        else if (side >= 2 && left >= 2) weigh(count, 2, vs, values, next, shares, blocks, dim, d), d += 2 * LANES;
        else weigh(count, 1, vs, values, next, shares, blocks, dim, d), d += LANES;
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
            keys[b] = l->keys + *block * l->block + kv_head * size;
            values[b] = l->values + *block * l->block + kv_head * size;
            int more = first + (SPAN + b) * TOKENS < end; /* this head's next keys, or another's first */
            next[b] = more ? l->keys + block[SPAN] * l->block + kv_head * size : l->keys + p->blocks[p->block_begin[item] + b] * l->block + (kv_head + 1) * size;
        }
        for (int b = blocks; b < SPAN; b++) keys[b] = keys[0], values[b] = values[0];
        for (int i = 0; i < count;) {
            int left = count - i;
            if (ACROSS == 8 && left >= 8) attend_span(8, 1, l, vs + i, keys, values, next, blocks, first, end), i += 8;
            else if (left >= 4) attend_span(4, ACROSS / 4, l, vs + i, keys, values, next, blocks, first, end), i += 4;
            else if (left >= 2) attend_span(2, ACROSS / 2, l, vs + i, keys, values, next, blocks, first, end), i += 2;
            else attend_span(1, 4, l, vs + i, keys, values, next, blocks, first, end), i += 1;
        }
    }
}

/* What an item's rows see of its keys, for one key head: final, or a partial result to be merged. */
static void attend_item(const layer *l, const plan *p, int64_t item, int64_t kv_head, const operand *queries, float *partials, float *output) {
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

INLINE size_t attention_bytes(const layer *l, const plan *p) {
    return (size_t)p->tokens * l->heads * l->dim * sizeof(operand) + 64 + (size_t)p->partials * l->heads * (l->dim + 2) * 4;
}

/* Units: a key head of a token. */
static void write_heads(const void *work, int64_t begin, int64_t end, int member) {
    const attending *a = work;
    for (int64_t i = begin; i < end; i++) write_head(a, i / a->l->kv_heads, i % a->l->kv_heads);
}

/* Units: a key head of an item. */
static void attend_items(const void *work, int64_t begin, int64_t end, int member) {
    const attending *a = work;
    const int64_t heads = a->l->kv_heads;
    for (int64_t i = begin; i < end; i++) attend_item(a->l, a->p, i / heads, i % heads, a->queries, a->partials, a->output);
}

/* Units: a key head of the only item, whose one row is the only one to see its key. */
static void attend_token(const void *work, int64_t begin, int64_t end, int member) {
    for (int64_t i = begin; i < end; i++) write_heads(work, i, i + 1, member), attend_items(work, i, i + 1, member);
}

static void merge_rows(const void *work, int64_t begin, int64_t end, int member) {
    const attending *a = work;
    for (int64_t i = begin; i < end; i++) merge(a->l, a->p, i, a->partials, a->output);
}

/* Nanoseconds of all items, roughly. */
static double items_cost(const layer *l, const plan *p) {
    double cost = 0;
    for (int64_t i = 0; i < p->items; i++) {
        const double keys = p->key_end[i] - p->key_begin[i], rows = p->row_end[i] - p->row_begin[i];
        cost += keys * (double)l->dim * (rows * (double)l->heads / 16 + (double)l->kv_heads * 4 / 10) + 200;
    }
    return cost;
}

/* The phases of an attention, with memory of attention_bytes. */
static void add_attention(job *j, int size, attending *a, char *memory) {
    const layer *l = a->l;
    const plan *p = a->p;
    const int64_t units = p->items * l->kv_heads;
    const double head = (double)(l->dim * (l->heads / l->kv_heads + 2)) * 0.5, unit = items_cost(l, p) / (double)(units ? units : 1);
    a->queries = (operand *)memory;
    a->partials = (float *)(memory + (((size_t)p->tokens * l->heads * l->dim * sizeof(operand) + 63) & ~(size_t)63));
    if (p->tokens == 1 && p->items == 1)
        return add_phase(j, size, (phase){attend_token, NULL, a, units}, unit + head);
    add_phase(j, size, (phase){write_heads, NULL, a, p->tokens * l->kv_heads}, head);
    add_phase(j, size, (phase){attend_items, NULL, a, units}, unit);
    add_phase(j, size, (phase){merge_rows, NULL, a, p->merges}, (double)(l->heads * l->dim));
}

/* output [tokens, heads, dim] */
int attention(const layer *l, const plan *p, const heads *qkv, const float *cos, const float *sin, int64_t rotary, float *output) {
    char *memory = scratch(1, attention_bytes(l, p));
    if (!memory) return 1;
    attending a = {l, p, qkv[0], qkv[1], qkv[2], {cos, sin, rotary}, .output = output};
    const int size = items_cost(l, p) < ALONE ? 1 : most_members();
    job j = {0};
    add_attention(&j, size, &a, memory);
    run_job(&j, size);
    return 0;
}

/* ---- A decoder layer ---------------------------------------------------------------------------------- */

typedef struct {
    const float *input_norm, *post_norm; /* [size] */
    const matrix *qkv, *o, *gate_up, *down;
    const layer *attention;
    int64_t size, gelu;
    float input_eps, post_eps;
} decoder;

INLINE size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* y [tokens, size] = z + MLP(norm(z)), z = x + attention(norm(x)) */
int decode(const decoder *l, const plan *p, const float *x, const float *cos, const float *sin, int64_t rotary, float *y) {
    const layer *a = l->attention;
    const int size = most_members();
    const int64_t tokens = p->tokens, wide = l->qkv->rows, inner = l->gate_up->rows, attended = a->heads * a->dim;
    float *hidden = scratch(2, (size_t)tokens * ((size_t)larger(wide, inner) + attended + l->size) * 4);
    float *heard = hidden + tokens * larger(wide, inner), *between = heard + tokens * attended;
    product qkv = {.w = l->qkv, .x = x, .norm = l->input_norm, .eps = l->input_eps, .tokens = tokens, .y = hidden};
    product o = {.w = l->o, .x = heard, .tokens = tokens, .y = between, .addend = x};
    product gate_up = {.w = l->gate_up, .x = between, .norm = l->post_norm, .eps = l->post_eps, .tokens = tokens, .y = hidden};
    product down = {.w = l->down, .x = hidden, .gated = 1, .gelu = (int)l->gelu, .tokens = tokens, .y = y, .addend = between};
    char *memory = scratch(0, larger(larger(product_bytes(&qkv, size), product_bytes(&o, size)), larger(product_bytes(&gate_up, size), product_bytes(&down, size))));
    char *space = scratch(1, attention_bytes(a, p));
    if (!hidden || !memory || !space) return 1;
    attending attend = {a, p, {hidden, wide, a->dim}, {hidden + attended, wide, a->dim}, {hidden + attended + a->kv_heads * a->dim, wide, a->dim}, {cos, sin, rotary}, .output = heard};
    job j = {0};
    add_product(&j, size, &qkv, memory);
    add_attention(&j, size, &attend, space);
    add_product(&j, size, &o, memory);
    add_product(&j, size, &gate_up, memory);
    add_product(&j, size, &down, memory);
    run_job(&j, j.cost < ALONE ? 1 : size);
    return 0;
}
