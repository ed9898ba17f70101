/* Random work for the team of threads in team.h, each result compared byte for byte with that of one thread: from two
   callers at once, then in a forked child. `soak ROUNDS [MILLISECONDS PIECES]`; with the latter, a thread that is not the
   caller's stops for so long in the midst of every so many pieces, as if it had lost its processor.
   Prints how often that was, how often a thread was evicted, and the seconds that all took. Exit status 0: all was right. */

#define _GNU_SOURCE
#include <stdint.h>
#include <time.h>

static int stop_for, stop_each, stops;

static void stop_now_and_then(int member) {
    static __thread unsigned pieces;
    if (!stop_for || !member || ++pieces % stop_each) return;
    __atomic_fetch_add(&stops, 1, __ATOMIC_RELAXED);
    const struct timespec time = {stop_for / 1000, stop_for % 1000 * 1000000L};
    nanosleep(&time, NULL);
}
#define STALL(MEMBER) stop_now_and_then((MEMBER)->id)

#include "kernels.c"

#include <stdio.h>
#include <sys/wait.h>

static __thread int wanted = 1;
static __thread unsigned seed;

int omp_get_max_threads(void) { return wanted; }

static int64_t below(int64_t most) { return (seed = seed * 1664525u + 1013904223u, (int64_t)((seed >> 8) % (unsigned)most)); }

static void *room(size_t bytes) { /* zeroed; kernels fetch ahead of what they read */
    void *memory = aligned_alloc(64, (bytes + 4159) & ~(size_t)63);
    return memset(memory, 0, (bytes + 4159) & ~(size_t)63);
}

static float *numbers(int64_t count) {
    float *x = room((size_t)count * 4);
    for (int64_t i = 0; i < count; i++) x[i] = (float)(below(2001) - 1000) / 1000.0f;
    return x;
}

static matrix packed(int64_t rows, int64_t cols, int64_t group) {
    const int64_t padded = (rows + 15) / 16 * 16;
    float *weight = numbers(rows * cols);
    matrix m = {room((size_t)padded * cols * 2), room((size_t)(group ? padded * (cols / group) : 1) * 4), NULL, rows, cols, group};
    pack(weight, rows, cols, group, (void *)m.weight, (float *)m.scale);
    free(weight);
    return m;
}

static void drop(matrix m) { free((void *)m.weight), free((void *)m.scale); }

static int differ(const float *x, const float *y, int64_t count) { return memcmp(x, y, (size_t)count * 4) != 0; }

static int try_linear(int threads) {
    const int64_t group = below(2) ? 32 : 0, cols = (1 + below(12)) * 32, rows = 1 + below(900), tokens = 1 + below(40);
    float *x = numbers(tokens * cols), *one = room((size_t)(tokens * rows) * 4), *many = room((size_t)(tokens * rows) * 4);
    wanted = threads;
    const matrix m = packed(rows, cols, group);
    int failed = linear(&m, x, many, tokens);
    wanted = 1;
    failed |= linear(&m, x, one, tokens) || differ(one, many, tokens * rows);
    drop(m), free(x), free(one), free(many);
    return failed;
}

/* Sequences of their own, each with its newest token; layers of a small Llama. */
static int try_layer(int threads) {
    const int64_t tokens = 1 + (below(2) ? 0 : below(12)), keys = 1 + below(300), blocks = keys / 16 + 1, heads = 4, kv = 2, dim = 32, size = 128, inner = 256;
    const int64_t cached = tokens * blocks * kv * 16 * dim;
    const matrix qkv = packed((heads + 2 * kv) * dim, size, 32), o = packed(size, heads * dim, 32), up = packed(2 * inner, size, 32), down = packed(size, inner, 32);
    int64_t *slots = room((size_t)tokens * 8);
    int32_t *table = room((size_t)tokens * blocks * 4), *n[7];
    for (int i = 0; i < 7; i++) n[i] = room((size_t)tokens * 4);
    for (int64_t t = 0; t < tokens; t++) {
        const int32_t of[7] = {(int32_t)keys - 1, (int32_t)t, (int32_t)t + 1, 0, (int32_t)keys, (int32_t)(t * blocks), -1};
        for (int i = 0; i < 7; i++) n[i][t] = of[i];
        slots[t] = t * blocks * 16 + keys - 1;
        for (int64_t b = 0; b < blocks; b++) table[t * blocks + b] = (int32_t)(t * blocks + b);
    }
    const plan p = {slots, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[1], table, NULL, NULL, NULL, tokens, tokens, 0, 0};
    float *norm = numbers(size), *x = numbers(tokens * size), *turn = numbers(tokens * dim), *result[2];
    int failed = 0;
    for (int way = 0; way < 2; way++) {
        layer a = {room((size_t)cached * 2), room((size_t)cached * 2), NULL, NULL, heads, kv, dim, 0, 0.2f, 0, 0};
        const decoder d = {norm, norm, &qkv, &o, &up, &down, &a, size, 0, 1e-5f, 1e-5f};
        result[way] = room((size_t)(tokens * size) * 4);
        wanted = way ? threads : 1;
        failed |= decode(&d, &p, x, turn, turn, dim, result[way]);
        free(a.keys), free(a.values);
    }
    failed |= differ(result[0], result[1], tokens * size);
    for (int i = 0; i < 7; i++) free(n[i]);
    drop(qkv), drop(o), drop(up), drop(down);
    free(slots), free(table), free(norm), free(x), free(turn), free(result[0]), free(result[1]);
    return failed;
}

static int try_rows(int threads) {
    const int64_t size = 16 + below(3000), tokens = 1 + below(64);
    float *x = numbers(tokens * 2 * size), *weight = numbers(size), *y[4];
    for (int i = 0; i < 4; i++) {
        y[i] = room((size_t)(tokens * size) * 4);
        wanted = i % 2 ? threads : 1;
        if (i < 2) rms_norm(x, weight, y[i], tokens, size, 1e-5f);
        else gate(x, y[i], tokens, size, i % 2);
    }
    gate(x, y[2], tokens, size, 1);
    const int failed = differ(y[0], y[1], tokens * size) || differ(y[2], y[3], tokens * size);
    free(x), free(weight);
    for (int i = 0; i < 4; i++) free(y[i]);
    return failed;
}

typedef struct { unsigned seed; int rounds; } call;

static void *soak(void *what) {
    static const int sizes[] = {1, 2, 3, 8};
    const call *c = what;
    intptr_t wrong = 0;
    seed = c->seed;
    for (int round = 0; round < c->rounds; round++) {
        const int threads = sizes[below(4)];
        wrong += try_linear(threads) + try_layer(threads) + try_rows(threads);
    }
    return (void *)wrong;
}

/* For how long the caller computes alone after WINDOW nanoseconds, of which it has waited some, and its share of the work. */
static int64_t solitude(int64_t waited, double share) {
    const member me = {.waited = waited, .own = 100 * share};
    judge(0, WINDOW, &me, 100);
    return team.alone - WINDOW;
}

static int misjudged(void) {
    int wrong = solitude(WINDOW / 20, 0.5) != 0;          /* half was done by others */
    wrong |= solitude(WINDOW / 20, 1) != 0;               /* they did not help, and hardly hindered */
    wrong |= solitude(WINDOW / 2, 0.9) != SOLITUDE;       /* alone it would have taken five ninths of the time */
    wrong |= solitude(WINDOW / 2, 0.9) != 2 * SOLITUDE;
    for (int i = 0; i < 5; i++) wrong |= solitude(WINDOW / 2, 0.9) > LONGEST_SOLITUDE;
    wrong |= solitude(WINDOW / 2, 0.3) != 0;              /* slow, but alone it would have been slower */
    wrong |= solitude(WINDOW / 2, 0.9) != SOLITUDE;
    team.alone = 0;
    return wrong;
}

int main(int count, char **words) {
    call calls[3] = {{1, atoi(words[1])}, {2, atoi(words[1])}, {3, atoi(words[1]) / 4 + 1}};
    void *wrong[3];
    pthread_t other;
    if (misjudged()) return 2;
    if (count > 3) stop_for = atoi(words[2]), stop_each = atoi(words[3]);
    const int64_t began = clock_of(CLOCK_MONOTONIC);
    pthread_create(&other, NULL, soak, &calls[1]);
    wrong[0] = soak(&calls[0]);
    pthread_join(other, &wrong[1]);
    int status = 0;
#ifndef __SANITIZE_THREAD__ /* which takes the threads of a forked child for its parent's */
    if (!fork()) exit(soak(&calls[2]) != NULL);
    wait(&status);
#endif
    wrong[2] = soak(&calls[2]); /* the parent's team is still there */
    printf("%d %ld %.3f\n", stops, (long)evictions(), (double)(clock_of(CLOCK_MONOTONIC) - began) / 1e9);
    return wrong[0] || wrong[1] || wrong[2] || status;
}
