/* A team of threads that computes a job in phases, and waits for no thread that does not run.

   A phase is cut into pieces. Each piece is claimed, computed and committed by one member, and writes outputs of its
   own from inputs that nobody writes meanwhile, so computing it again gives the same bytes. A member begins at
   its own share and goes on, in order, with what the others have left. When all are committed, whoever sees
   it first moves on: a member that is late finds nothing to do, and nobody has waited for it.

   A member that lost its processor while it held a piece would hold everybody up. After a few microseconds another
   one evicts it and computes the piece again: it takes over the claim, sends the member a signal, and calls
   membarrier, which returns when every thread of the process that runs has been interrupted. So the member, running or
   not, executes no further instruction of the piece: the signal's handler comes first, and jumps out of it. Until then
   its writes are complete or never happen. Nothing is read or written late, not even after the call has returned.

   What makes that right, in order of the words below:
   - `now` is a job's number and phase, and only grows. Phase 0: no job.
   - `words[i]` says of piece i who has it in which phase. A claim is one compare-and-swap from an older phase, a
     takeover one from another member's claim, a commit one from one's own claim: each piece is committed once.
   - A phase cannot end while a piece of it is held. So whoever holds one may read the job; who does not reads of it
     only atomics, and looks at `now` again before it believes them. */

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST_MEMBERS 256
#define MOST_PIECES 1024
#define MOST_PHASES 16
#define LINE 128           /* bytes that two processors do not want at once */
#define PIECE 4000         /* nanoseconds that a piece should take */
#define ALONE 12000        /* nanoseconds of a job that is not worth waking anybody for */
#define PATIENCE 12000     /* nanoseconds to wait for a piece before asking whether its member runs at all */
#define LONG_PATIENCE 2000000 /* and before taking it over in any case, or sleeping */
#define IDLE_SPIN 150000   /* nanoseconds between jobs before a member goes to sleep */
#define CROWDED_SPIN 10000 /* the same while others want the processors */
#define CROWDED 100000000  /* nanoseconds for which an eviction says so */
#define WINDOW 20000000    /* nanoseconds of jobs after which it is asked whether a team pays */
#define SOLITUDE 200000000 /* nanoseconds to compute alone where it does not; each time in a row twice as many */
#define LONGEST_SOLITUDE 3200000000

typedef struct {
    void (*run)(const void *work, int64_t begin, int64_t end, int member); /* units begin..end of the phase */
    void (*prepare)(const void *work, int member); /* or NULL: what a member computes for itself before its first piece */
    const void *work;
    int64_t units, pieces;
    double cost; /* nanoseconds of a piece, roughly */
} phase;

typedef struct {
    phase phases[MOST_PHASES];
    int count;
    double cost; /* nanoseconds, roughly, on one processor */
} job;

/* What a caller's jobs have taken lately: nanoseconds, those of them that it waited, and the cost of all and of its own pieces. */
typedef struct { int64_t time, waited; double cost, own; } account;

typedef struct {
    _Alignas(LINE) uint64_t done; /* phase << 16 | pieces of it that this member has committed */
    _Alignas(LINE) sigjmp_buf home;
    volatile sig_atomic_t inside; /* of a piece: the handler may jump out of it */
    volatile uint64_t phase;      /* of that piece */
    volatile int piece;
    uint64_t prepared; /* phase for which this member has prepared */
    uint64_t at;       /* phase that the next two are about */
    int64_t step, committed;
    double own;        /* cost of the pieces that it has committed, and nanoseconds that it has waited; of the caller's job */
    int64_t waited;
    unsigned rounding; /* the thread's floating point settings */
    int id;
    pid_t tid;
    clockid_t clock; /* of its processor time */
    pthread_t thread;
    _Alignas(LINE) uint32_t asleep; /* a futex: waiting for a job */
} member;

static struct {
    _Alignas(LINE) uint64_t now; /* job << 8 | phase */
    _Alignas(LINE) uint32_t sleepers; /* members that sleep until `now` changes */
    _Alignas(LINE) uint64_t words[MOST_PIECES]; /* phase << 16 | COMMITTED | member */
    _Alignas(LINE) uint32_t pieces[MOST_PHASES + 1], phases, size; /* of the job; size: members that take part */
    job job;
    int started;   /* members that have a thread, and the caller */
    int stopping;
    int signal;    /* 0: members cannot be evicted */
    pid_t process;
    uint64_t evictions;
    int64_t crowded; /* until when */
    int64_t alone, solitude; /* until when the caller computes alone, and for how long that was */
    account account;
    member members[MOST_MEMBERS];
} team;

static pthread_mutex_t callers = PTHREAD_MUTEX_INITIALIZER; /* held by the one that the team works for */
static __thread member *self;
static __thread pid_t own_id; /* as the kernel numbers threads */

#ifndef STALL
#define STALL(MEMBER) /* what tests put into a piece */
#endif
#define COMMITTED (UINT64_C(1) << 15)
#define LOAD(X) __atomic_load_n(&(X), __ATOMIC_ACQUIRE)
#define STORE(X, VALUE) __atomic_store_n(&(X), VALUE, __ATOMIC_RELEASE)
#define SWAP(X, OLD, NEW) __sync_bool_compare_and_swap(&(X), OLD, NEW)

INLINE int64_t clock_of(clockid_t clock) {
    struct timespec t;
    return clock_gettime(clock, &t) ? -1 : t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

INLINE void futex_wait(uint32_t *word, uint32_t value, const struct timespec *most) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, most, NULL, 0);
}

INLINE void futex_wake(uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }

/* ---- Pieces ------------------------------------------------------------------------------------------- */

/* Comes before the next instruction of a member that another has evicted. */
static void leave_piece(int number) {
    member *m = self;
    if (!m || !m->inside) return;
    const uint64_t word = LOAD(team.words[m->piece]);
    if (word >> 16 == m->phase && (word & (COMMITTED - 1)) == (uint64_t)m->id) return; /* another piece's late signal */
    m->inside = 0;
    siglongjmp(m->home, 1);
}

static void compute(member *m, uint64_t now, int64_t i) {
    const phase *p = &team.job.phases[(now & 255) - 1];
    if (p->prepare && m->prepared != now) p->prepare(p->work, m->id), m->prepared = now;
    STALL(m);
    p->run(p->work, p->units * i / p->pieces, p->units * (i + 1) / p->pieces, m->id);
    const double cost = p->cost;
    const int mine = SWAP(team.words[i], now << 16 | m->id, now << 16 | COMMITTED | m->id);
    m->inside = 0;
    if (!mine) return;
    m->own += cost;
    STORE(m->done, now << 16 | ++m->committed);
}

/* Make piece i this member's own, if it is as `word` says. What is `inside` may be jumped out of. */
static int claim(member *m, uint64_t now, int64_t i, uint64_t word) {
    m->phase = now, m->piece = (int)i;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    m->inside = 1;
    if (SWAP(team.words[i], word, now << 16 | m->id)) return 1;
    m->inside = 0;
    return 0;
}

/* Pieces of the present phase, or -1 where `now` is not the present any more. */
INLINE int64_t pieces_of(uint64_t now) {
    const int64_t pieces = LOAD(team.pieces[now & 255]);
    return LOAD(team.now) == now ? pieces : -1;
}

/* Compute one piece that nobody has yet; whether there was one. */
static int take_piece(member *m, uint64_t now, int64_t pieces, int64_t size) {
    const int64_t begin = pieces * m->id / size;
    if (m->at != now) m->at = now, m->step = m->committed = 0;
    while (m->step < pieces) {
        const int64_t i = (begin + m->step++) % pieces;
        const uint64_t word = LOAD(team.words[i]);
        if (word >> 16 < now && claim(m, now, i, word)) {
            compute(m, now, i);
            return 1;
        }
    }
    return 0;
}

/* ---- Phases ------------------------------------------------------------------------------------------- */

static void advance(uint64_t now) {
    const uint64_t next = (now & 255) == LOAD(team.phases) ? ((now >> 8) + 1) << 8 : now + 1;
    if (SWAP(team.now, now, next) && __atomic_load_n(&team.sleepers, __ATOMIC_SEQ_CST)) futex_wake((uint32_t *)&team.now);
}

static int is_complete(uint64_t now, int64_t pieces, int64_t size) {
    int64_t done = 0;
    for (int64_t k = 0; k < size; k++) {
        const uint64_t of = LOAD(team.members[k].done);
        if (of >> 16 == now) done += of & 0xffff;
    }
    return done == pieces;
}

INLINE int is_in(const member *m, uint64_t now, int64_t i) { return m->inside && m->piece == i && m->phase == now; }

/* Whether its processor time goes on, which costs a few microseconds to find out. */
static int is_running(const member *m) {
    const int64_t before = clock_of(m->clock), until = clock_of(CLOCK_MONOTONIC) + 4000;
    while (clock_of(CLOCK_MONOTONIC) < until) _mm_pause();
    return clock_of(m->clock) - before > 500;
}

/* Take piece i over from the member that has it as `word` says, and see to it that nobody else touches it again: that
   member, and any that it has been taking it over from. */
static int evict(member *m, uint64_t now, int64_t i, uint64_t word) {
    struct sigaction action;
    if (sigaction(team.signal, NULL, &action) || action.sa_handler != leave_piece) return 0;
    if (!claim(m, now, i, word)) return 0;
    int failed = 0;
    for (int k = 0; k < team.started; k++) {
        const member *other = &team.members[k];
        if (other != m && is_in(other, now, i)) failed |= syscall(SYS_tgkill, team.process, other->tid, team.signal) != 0;
    }
    failed |= syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0;
    for (int k = 0; failed && k < team.started; k++) /* not known to happen; they leave when they have computed it */
        while (&team.members[k] != m && is_in(&team.members[k], now, i)) sched_yield();
    __atomic_fetch_add(&team.evictions, 1, __ATOMIC_RELAXED);
    STORE(team.crowded, clock_of(CLOCK_MONOTONIC) + CROWDED);
    return 1;
}

/* After waiting for so long: compute a piece that nobody has, or one whose member does not run, or sleep. */
static void rescue(member *m, uint64_t now, int64_t pieces, int64_t waited) {
    int held = 0;
    for (int64_t i = 0; i < pieces; i++) {
        const uint64_t word = LOAD(team.words[i]);
        if (word >> 16 > now) return; /* the phase is over, and that is another's claim */
        if (word >> 16 < now) {
            if (claim(m, now, i, word)) compute(m, now, i);
            return;
        }
        if (word & COMMITTED) continue;
        held = 1;
        if (!team.signal || (waited < LONG_PATIENCE && is_running(&team.members[word & (COMMITTED - 1)]))) continue;
        if (evict(m, now, i, word)) {
            compute(m, now, i);
            return;
        }
    }
    if (!held) return advance(now); /* who had committed the last one has not come to count it */
    if (team.signal && waited < LONG_PATIENCE) return;
    __atomic_fetch_add(&team.sleepers, 1, __ATOMIC_SEQ_CST);
    const struct timespec most = {0, 5000000};
    futex_wait((uint32_t *)&team.now, (uint32_t)now, &most);
    __atomic_fetch_sub(&team.sleepers, 1, __ATOMIC_SEQ_CST);
}

/* Until the phase is over. */
static void wait_for(member *m, uint64_t now, int64_t pieces, int64_t size) {
    int64_t began = 0, time = 0;
    for (int turn = 1; LOAD(team.now) == now; turn++) {
        if (is_complete(now, pieces, size)) {
            advance(now);
            break;
        }
        _mm_pause();
        if (turn % 16) continue;
        time = clock_of(CLOCK_MONOTONIC);
        if (!began) began = time;
        else if (time - began > PATIENCE) rescue(m, now, pieces, time - began);
    }
    m->waited += time - began;
}

/* Compute pieces of the job with this number until it is over. */
static void take_part(member *m, uint64_t number) {
    m->rounding = _mm_getcsr();
    if (sigsetjmp(m->home, 0)) _mm_setcsr(m->rounding); /* the handler had the default */
    for (;;) {
        const uint64_t now = LOAD(team.now);
        if (now >> 8 != number || !(now & 255)) return;
        const int64_t size = LOAD(team.size), pieces = pieces_of(now);
        if (m->id >= size) return;
        if (pieces >= 0 && !take_piece(m, now, pieces, size)) wait_for(m, now, pieces, size);
    }
}
