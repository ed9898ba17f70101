/* Who is in the team of team.h, and how a job comes to it: threads that begin, sleep and end, and a caller that finds how many
   of them help. */

/* ---- Members ------------------------------------------------------------------------------------------ */

/* Spin, then sleep, until there is another job than `seen` for this member. */
static uint64_t next_job(member *m, uint64_t seen) {
    int64_t until = 0;
    for (int turn = 1;; turn++) {
        const uint64_t now = LOAD(team.now);
        if (LOAD(team.stopping)) return seen;
        if ((now & 255) && now >> 8 != seen && m->id < LOAD(team.size)) return now >> 8;
        _mm_pause();
        if (turn % 64) continue;
        const int64_t time = clock_of(CLOCK_MONOTONIC);
        if (!until) until = time + (time < LOAD(team.crowded) ? CROWDED_SPIN : IDLE_SPIN);
        if (time < until) continue;
        __atomic_store_n(&m->asleep, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&team.now, __ATOMIC_SEQ_CST) == now && !LOAD(team.stopping)) futex_wait(&m->asleep, 1, NULL);
        __atomic_store_n(&m->asleep, 0, __ATOMIC_SEQ_CST);
        until = 0;
    }
}

static void introduce(member *m) {
    if (!own_id) own_id = (pid_t)syscall(SYS_gettid);
    if (m->tid != own_id) pthread_getcpuclockid(pthread_self(), &m->clock);
    m->tid = own_id;
    self = m;
}

static void *attend_jobs(void *mine) {
    member *m = mine;
    introduce(m);
    for (uint64_t seen = UINT64_MAX; !LOAD(team.stopping);) {
        seen = next_job(m, seen);
        take_part(m, seen);
    }
    return NULL;
}

static void wake(member *m) {
    if (__atomic_load_n(&m->asleep, __ATOMIC_SEQ_CST) && __atomic_exchange_n(&m->asleep, 0, __ATOMIC_SEQ_CST)) futex_wake(&m->asleep);
}

/* The signal that evicts: one that nobody uses, is ignored where there is no handler, and needs no queue. */
static void prepare_eviction(void) {
    struct sigaction action;
    team.process = getpid();
    team.signal = 0;
#ifndef __SANITIZE_THREAD__ /* which knows nothing of membarrier, and delays signals */
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0)) return;
    if (sigaction(SIGURG, NULL, &action)) return;
    if (action.sa_handler != leave_piece) {
        if (action.sa_handler != SIG_DFL) return;
        action = (struct sigaction){.sa_handler = leave_piece, .sa_flags = SA_NODEFER | SA_RESTART};
        if (sigaction(SIGURG, &action, NULL)) return;
    }
    team.signal = SIGURG;
#endif
}

static void set_signals(int how, int signal) {
    sigset_t set;
    if (signal) sigemptyset(&set), sigaddset(&set, signal);
    else sigfillset(&set);
    pthread_sigmask(how, &set, NULL);
}

/* As many members as wanted, if there can be so many; how many there are. Members' other signals are the process's. */
static int gather(int wanted) {
    if (!team.started) {
        prepare_eviction();
        team.started = 1;
    }
    if (team.started >= wanted) return wanted;
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    set_signals(SIG_BLOCK, 0);
    if (team.signal) set_signals(SIG_UNBLOCK, team.signal);
    for (; team.started < wanted; team.started++) {
        member *m = &team.members[team.started];
        m->id = team.started;
        if (pthread_create(&m->thread, NULL, attend_jobs, m)) break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return team.started;
}

/* ---- Jobs --------------------------------------------------------------------------------------------- */

int omp_get_max_threads(void) __attribute__((weak)); /* torch's OpenMP, which knows how many are wanted */

static int most_members(void) {
    const int64_t count = omp_get_max_threads ? omp_get_max_threads() : sysconf(_SC_NPROCESSORS_ONLN);
    return (int)(count < 1 ? 1 : count > MOST_MEMBERS ? MOST_MEMBERS : count);
}

static void run_alone(const job *j) {
    for (const phase *p = j->phases; p < j->phases + j->count; p++) {
        if (p->prepare) p->prepare(p->work, 0);
        p->run(p->work, 0, p->units, 0);
    }
}

/* Whether the others help: alone a caller would not have waited, and computed all pieces in the time of its own. */
static void judge(int64_t began, int64_t ended, const member *me, double cost) {
    account *a = &team.account;
    a->time += ended - began, a->waited += me->waited, a->cost += cost, a->own += me->own;
    if (a->time < WINDOW) return;
    const double alone = (double)(a->time - a->waited) * a->cost / a->own;
    const int hindered = a->own > 0 && alone * 1.1 < (double)a->time;
    *a = (account){0};
    team.solitude = !hindered ? 0 : !team.solitude ? SOLITUDE : 2 * team.solitude < LONGEST_SOLITUDE ? 2 * team.solitude : LONGEST_SOLITUDE;
    team.alone = ended + team.solitude;
}

static void run_together(const job *j, int size) {
    member *me = &team.members[0];
    const int64_t began = clock_of(CLOCK_MONOTONIC);
    if (began < team.alone) return run_alone(j);
    const uint64_t base = LOAD(team.now);
    introduce(me);
    me->own = 0, me->waited = 0;
    if (team.signal) set_signals(SIG_UNBLOCK, team.signal);
    team.job = *j;
    for (int i = 0; i < j->count; i++) STORE(team.pieces[i + 1], (uint32_t)j->phases[i].pieces);
    STORE(team.phases, (uint32_t)j->count);
    STORE(team.size, (uint32_t)size);
    __atomic_store_n(&team.now, base | 1, __ATOMIC_SEQ_CST);
    for (int k = 1; k < size; k++) wake(&team.members[k]);
    take_part(me, base >> 8);
    self = NULL;
    judge(began, clock_of(CLOCK_MONOTONIC), me, j->cost);
}

/* Compute a job with up to `size` members, of which the calling thread is one; alone where the team is taken. */
static void run_job(const job *j, int size) {
    if (size < 2 || pthread_mutex_trylock(&callers)) return run_alone(j);
    size = gather(size);
    if (size < 2) run_alone(j);
    else run_together(j, size);
    pthread_mutex_unlock(&callers);
}

/* Another phase, after those before: `units` of so many nanoseconds each. */
static void add_phase(job *j, int size, phase p, double unit) {
    const double total = (double)p.units * unit;
    if (p.units < 1) return;
    int64_t pieces = (int64_t)(total / PIECE / size) * size; /* the same for each, so that they end together */
    if (pieces > 32 * size) pieces = 32 * size;
    if (pieces < size) pieces = total > PIECE / 2 ? size : 1;
    if (pieces > MOST_PIECES) pieces = MOST_PIECES;
    p.pieces = pieces < p.units ? pieces : p.units;
    p.cost = total / (double)p.pieces;
    j->phases[j->count++] = p;
    j->cost += total;
}

/* ---- Forks and the end -------------------------------------------------------------------------------- */

static void before_fork(void) { pthread_mutex_lock(&callers); }
static void after_fork(void) { pthread_mutex_unlock(&callers); }

/* A child has the caller's thread alone. */
static void in_child(void) {
    team.started = 0;
    team.sleepers = 0;
    own_id = 0;
    for (int k = 0; k < MOST_MEMBERS; k++) team.members[k].asleep = 0;
    pthread_mutex_unlock(&callers);
}

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(before_fork, after_fork, in_child); }

__attribute__((destructor)) static void end_team(void) {
    if (!team.started || team.process != getpid()) return;
    STORE(team.stopping, 1);
    for (int k = 1; k < team.started; k++) {
        wake(&team.members[k]);
        pthread_join(team.members[k].thread, NULL);
    }
    team.started = 0;
}

/* How often a member was evicted since the start; for tests and measurements. */
uint64_t evictions(void) { return __atomic_load_n(&team.evictions, __ATOMIC_RELAXED); }
