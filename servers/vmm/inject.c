/* SPDX-License-Identifier: BSD-2-Clause */
/* See inject.h. */
#include "servers/vmm/inject.h"

_Noreturn void inject_crash(void)
{
    __asm__ volatile("movq $0, 8");
    __builtin_unreachable();
}

static unsigned digits(uint32_t n)
{
    unsigned d = 0;

    for (; n; n >>= 4)
        d++;
    return d;
}

static enum inject_way way_in_turn(const struct vmm_config *c, uint32_t turn)
{
    unsigned ways = digits(c->inject);

    return ways ? (enum inject_way)(c->inject >> turn % ways * 4 & 15) : INJECT_NONE;
}

static enum inject_way way_of(const struct vmm_config *c, uint32_t incarnation)
{
    return c->inject_count && incarnation >= c->inject_count ? INJECT_NONE : way_in_turn(c, incarnation);
}

static uint64_t exit_of(const struct vmm_config *c, uint32_t incarnation)
{
    return c->inject_at + (uint64_t)incarnation * c->inject_every;
}

uint64_t inject_until(const struct vmm_config *c, uint32_t incarnation)
{
    return !UMBRA_DEBUG && way_of(c, incarnation) == INJECT_DELIVERY ? exit_of(c, incarnation) : 0;
}

#if UMBRA_DEBUG
#include "memory.h"
#include "stop.h"
#include "supervisor.h"
#include "sys/sys.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORES_MAX 254u /* chosen: further ones count as the last */
#define PLACES     (INJECT_WAYS + STORES_MAX + 1)
#define SPIN_MS    500u /* of INJECT_MEMMGR: it hangs soon after (HANG_MS in servers/init/watch.c) */

struct death {
    uint64_t seq; /* exit; 0: nobody died */
    uint32_t kind, way, stores, calling;
    uint32_t all; /* stores of the exit when it was handled to its end */
    bool besides;
};

/* Exits of a kind that made so many stores. */
struct tally {
    uint64_t first; /* exit */
    uint32_t times;
};

/* Outlives who writes it: the end of the state segment. */
struct book {
    struct death last, known;  /* known: all of it, not said yet */
    uint32_t row;              /* of deaths at last.seq */
    uint32_t turn[EXIT_KINDS]; /* deaths */
    uint32_t besides;          /* deaths */
    uint64_t by_plan;          /* exit of the last death by plan */
    uint64_t typed;            /* first exit after something was typed; 0: none yet */
    struct tally made[EXIT_KINDS][STORES_MAX + 1];
    uint8_t died[EXIT_KINDS][PLACES];
};
BUILD_ASSERT(sizeof(struct vmm_segment) + sizeof(struct book) <= STATE_BYTES);
#define BOOK ((struct book *)(STATE_ADDRESS + STATE_BYTES - sizeof(struct book)))

static const char *const names[INJECT_WAYS] = { "none", "delivery", "store", "reply",   "loop",
                                                "heap", "wild",     "state", "message", "capability",
                                                "exit", "call",     "memmgr" };
static const char *const kinds[] = EXIT_KIND_NAMES;

static struct {
    const struct umbra_exit_page *exit;
    const struct vmm_config *config;
    enum inject_way way;
    uint32_t ways; /* bits: all of the configuration */
    uint32_t incarnation;
    uint64_t at; /* exit number */
    uint32_t stores, kinds, places;
    uint32_t made; /* stores of this exit */
    bool within;   /* an exit */
    bool due;      /* this exit is the one */
    bool first;    /* nobody died before */
    bool answered; /* an exit; who takes over does not hang over the one that its predecessor did */
} plan;

static uint32_t kind(void)
{
    return plan.exit->kind < EXIT_KINDS ? plan.exit->kind : EXIT_NONE;
}

static bool between_stores(enum inject_way way)
{
    return way == INJECT_STORE || way == INJECT_CALL || way == INJECT_MEMMGR;
}

static uint32_t stores_made(void)
{
    return plan.made < STORES_MAX ? plan.made : STORES_MAX;
}

/* Of a place: a kind of exit with a way, or with the number of stores. */
static uint8_t *deaths_here(enum inject_way way)
{
    return &BOOK->died[kind()][way == INJECT_STORE ? INJECT_WAYS + stores_made() : way];
}

/* --- the ways --- */

static void exhaust(void)
{
    for (size_t n = 1 << 20; n > 16; n /= 2)
        while (malloc(n))
            ;
    abort();
}

static _Noreturn void spin(void)
{
    for (;;)
        __asm__ volatile(""); /* no PAUSE: counting instructions, the emulator waits in one */
}

/* Over the soft state, as a wild pointer would. */
static void scribble(struct vmm *v)
{
    memset(v->shadow, 0xa5, 4096);
    memset(&v->map, 0x5a, sizeof(v->map));
}

static void spin_ticks(uint64_t ticks)
{
    for (uint64_t begin = __builtin_ia32_rdtsc(); __builtin_ia32_rdtsc() - begin < ticks;)
        ;
}

/* A fifth of the time is its own, so that it is found to hang soon, and most likely in a call. */
static _Noreturn void call_memmgr(void)
{
    struct memory_info info;

    spin_ticks(vmm_info()->tsc_hz / 1000 * SPIN_MS);
    for (;;) {
        uint64_t begin = __builtin_ia32_rdtsc();
        __atomic_store_n(&BOOK->last.calling, 1, __ATOMIC_SEQ_CST);
        if (memory_info(CAP_MEMORY, &info) != ERR_OK || !info.mapped_pages)
            abort();
        __atomic_store_n(&BOOK->last.calling, 0, __ATOMIC_SEQ_CST);
        spin_ticks((__builtin_ia32_rdtsc() - begin) / 4);
    }
}

static void leave_word(enum inject_way way)
{
    uint8_t *deaths = deaths_here(way);

    *deaths += *deaths < 255;
    BOOK->turn[kind()]++;
    if (BOOK->last.seq == plan.exit->seq) { /* the second one here */
        BOOK->known = BOOK->last;
        BOOK->row++;
    } else {
        BOOK->row = 1;
    }
    BOOK->last = (struct death){ plan.exit->seq, kind(), way, plan.made, way == INJECT_CALL, 0, false };
}

static _Noreturn void die(enum inject_way way)
{
    struct guest_state none = { 0 };

    leave_word(way);
    BOOK->by_plan = plan.exit->seq;
    if (way == INJECT_MEMMGR)
        call_memmgr();
    if (way == INJECT_CALL)
        supervisor_ended(CAP_SUPERVISOR, END_REASON_INTERNAL, plan.exit->seq, "injected", &none);
    inject_crash();
}

/* --- when --- */

static bool here(enum inject_way way, bool last)
{
    if (!plan.due)
        return false;
    if (plan.places)
        return (plan.ways >> way & 1) && (plan.made || way != INJECT_STORE) &&
               *deaths_here(way) < plan.places;
    return way == plan.way && (last || plan.made == plan.stores);
}

/* Any number of times at one exit: init does not count these. */
static void die_besides(void)
{
    if (!plan.config->inject_besides || !plan.within || !plan.made || !BOOK->last.seq ||
        *deaths_here(INJECT_STORE))
        return;
    if (supervisor_forgive(CAP_SUPERVISOR) != ERR_OK)
        abort();
    leave_word(INJECT_STORE);
    BOOK->last.besides = true;
    BOOK->row = 1;
    BOOK->besides++;
    inject_crash();
}

static void die_between_stores(bool last)
{
    static const enum inject_way ways[] = { INJECT_STORE, INJECT_CALL, INJECT_MEMMGR };

    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        if (here(ways[i], last))
            die(ways[i]);
    die_besides();
}

/* What was announced before has been stored when the next is announced. */
static void counting_note(struct dev_undo *dev, void *field, size_t bytes)
{
    if (plan.made)
        die_between_stores(false);
    plan.made++;
    undo_note(dev, field, bytes);
}

static uint32_t stores_in_turn(const struct vmm_config *c, uint32_t turn)
{
    return c->inject && c->inject_stores ? 1 + turn / digits(c->inject) % c->inject_stores : 1;
}

void inject_open(struct vmm *v, const struct vmm_config *c, uint32_t incarnation)
{
    plan.exit = v->exit;
    plan.config = c;
    plan.incarnation = incarnation;
    plan.first = incarnation == 0;
    plan.kinds = c->inject_kinds;
    for (uint32_t w = c->inject; w; w >>= 4)
        plan.ways |= 1u << (w & 15);
    if (c->inject)
        v->undo.dev.note = counting_note;
    stop_open(c, incarnation, exit_of(c, incarnation));
}

/* Only who serves the guest knows how many have died. */
static void make_plan(void)
{
    const struct vmm_config *c = plan.config;
    uint32_t turn = plan.incarnation - BOOK->besides;

    plan.way = way_of(c, turn);
    plan.at = exit_of(c, turn);
    plan.stores = c->inject_every ? stores_in_turn(c, turn) : c->inject_stores;
    plan.places = plan.way == INJECT_NONE ? 0 : c->inject_places;
}

/* A third death in a row at an exit would be the guest's end. */
static bool may_die_again(const struct vmm *v)
{
    return BOOK->by_plan != v->exit->seq || (!plan.kinds && BOOK->row < 2);
}

static bool too_early(const struct vmm *v)
{
    if (!(plan.kinds & INJECT_TYPED))
        return v->exit->seq < plan.at;
    if (!BOOK->typed && v->state->input_taken)
        BOOK->typed = v->exit->seq;
    return !BOOK->typed || v->exit->seq - BOOK->typed < plan.at;
}

static bool is_due(const struct vmm *v)
{
    if (plan.way == INJECT_NONE || too_early(v))
        return false;
    if ((plan.kinds || plan.places) && !plan.answered && !plan.first && !may_die_again(v))
        return false;
    return !plan.kinds || plan.kinds >> kind() & 1 ||
           (plan.kinds & INJECT_SERIAL && kind() == EXIT_IO &&
            (EXIT_IO_PORT(v->exit->info[0]) & ~7u) == INJECT_SERIAL_PORTS);
}

static void begin_to_die(struct vmm *v)
{
    struct sys_message m = { .tag = TAG(0x7777, 4), .w = { 1, 2, 3, 4 } };

    leave_word(plan.way);
    BOOK->by_plan = v->exit->seq;
    switch (plan.way) {
    case INJECT_LOOP:
        spin();
    case INJECT_HEAP:
        exhaust();
        break;
    case INJECT_WILD:
        scribble(v);
        break;
    case INJECT_STATE:
        v->state->machine.served ^= 1;
        inject_crash();
    case INJECT_MESSAGE:
        if (sys_call(CAP_SUPERVISOR, &m) != ERR_OK || TAG_LABEL(m.tag) != 0)
            abort();
        break;
    case INJECT_CAPABILITY:
        if (sys_invoke1(CAP_VCPU, VCPU_SYNC, ~0ull) != ERR_OK)
            abort();
        break;
    case INJECT_EXIT:
        exit(3);
    default:
        break;
    }
}

void inject_begin(struct vmm *v)
{
    if (plan.answered && v->exit->kind == EXIT_EVENT && v->exit->events & DESC_EVENT_HANG)
        spin();
    if (plan.answered)
        stop_within(v);
    else
        make_plan();
    plan.made = 0;
    plan.within = true;
    plan.due = is_due(v);
    if (plan.due && plan.kinds) { /* else it would always be the same kind's turn */
        plan.way = way_in_turn(plan.config, BOOK->turn[kind()]);
        plan.stores = stores_in_turn(plan.config, BOOK->turn[kind()]);
    }
    if (here(INJECT_DELIVERY, true))
        die(INJECT_DELIVERY);
    if (plan.due && !plan.places && plan.way != INJECT_REPLY && !between_stores(plan.way))
        begin_to_die(v);
}

void inject_say(void)
{
    struct death *d = &BOOK->known;

    if (!plan.ways || !d->seq)
        return;
    printf("inject: exit %llu %s %s%s %u of %u%s\n", (unsigned long long)d->seq, kinds[d->kind],
           names[d->way], d->calling ? " inside" : "", d->stores, d->all, d->besides ? " besides" : "");
    fflush(stdout);
    d->seq = 0;
}

static void note_end_of_first(void)
{
    struct book *b = BOOK;

    if (b->last.seq == plan.exit->seq) {
        b->known = b->last;
        b->known.all = plan.made;
    }
}

static void tally_stores(void)
{
    struct tally *t = &BOOK->made[kind()][stores_made()];

    if (plan.config->inject_besides && !BOOK->last.seq)
        return; /* what comes before the first death is not asked for */
    if (!t->times++)
        t->first = plan.exit->seq;
}

void inject_end(struct vmm *v)
{
    (void)v;
    tally_stores();
    if (!plan.answered)
        note_end_of_first();
    plan.answered = true;
    die_between_stores(true);
    if (here(INJECT_REPLY, true))
        die(INJECT_REPLY);
    plan.within = false;
}

void inject_finish(void)
{
    inject_say();
    for (unsigned i = 0; i < EXIT_KINDS && plan.ways; i++)
        for (unsigned n = 1; n <= STORES_MAX; n++)
            if (BOOK->made[i][n].times)
                printf("inject: %s made %u stores %u times, first at exit %llu\n", kinds[i], n,
                       BOOK->made[i][n].times, (unsigned long long)BOOK->made[i][n].first);
}
#endif
