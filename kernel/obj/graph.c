/* SPDX-License-Identifier: BSD-2-Clause */
/* All capabilities and all entries of address spaces as they are, in the log: KERNEL_GRAPH, KERNEL_SPACE. A
 * checker compares them with what the system's description says (tools/umbra/graph.py). Debug builds only;
 * changes nothing. A call writes LINES lines at most, so that others wait no longer than for a line of
 * KERNEL_LOG; what began is refused when the tree has changed meanwhile (tests/procs/test_device.c). */
#include "space.h"

#if UMBRA_DEBUG
#include "cpu.h"
#include "log.h"

#define LINES   4u   /* of a call */
#define ENTRIES 8u   /* of a line */
#define STEPS   512u /* capabilities or entries looked at in a call */

static struct {
    const struct cap *next;
    uint64_t changes;
} graph;

/* A slot by its address; of an interrupt line by the line. */
static uint64_t place_of(const struct cap *c)
{
    return !c ? 0 : c->holder == OBJ_IRQ ? (uint64_t)(c - cpu.irq) : phys_to_hpa(c).v;
}

/* What the object is known by besides: the VM of a ShadowTable, the id of a space. */
static uint64_t meta_word(const struct cap *c)
{
    switch (c->type) {
    case OBJ_SHADOW:
        return hpa_of(META_HFN(meta_of((hpa_t){ c->obj })->owner)).v;
    case OBJ_VSPACE:
    case OBJ_GUESTSPACE:
        return meta_of((hpa_t){ c->obj })->stamp;
    default:
        return 0;
    }
}

static void say_cap(const struct cap *c, const char *what)
{
    log_printf("graph %s %lx %lx %s %lx %x %x %u %u %u %lx %lx %lx\n", what, place_of(c), place_of(c->parent),
               object_name(c->type), c->obj, c->rights, c->flags, c->bits, c->holder, c->kind, c->d0, c->d1,
               meta_word(c));
}

/* Capabilities in slots one after the other that differ in object, address and parent only, each by one: b's
 * is the next of its predecessor's. 0: it is not; else how, so that a row goes on in one way. */
static unsigned follows(const struct cap *b)
{
    const struct cap *a = b - 1;
    uint64_t bytes = 1ull << b->bits;
    bool same = a->type == b->type && a->rights == b->rights && a->flags == b->flags && a->bits == b->bits &&
                !a->holder && !b->holder && a->kind == b->kind && a->d1 == b->d1;

    if (!same || b->type == OBJ_NULL || b->obj - a->obj != bytes || meta_word(a) != meta_word(b))
        return 0;
    if (b->d0 != a->d0 && b->d0 - a->d0 != bytes)
        return 0;
    if (b->parent != a->parent && b->parent != a->parent + 1)
        return 0;
    return 1 + (b->d0 != a->d0) + 2 * (b->parent != a->parent);
}

/* Slot 0 of a CNode is the kernel's, so every slot has one before it; behind the last is some other object.
 */
static bool begins(const struct cap *c)
{
    unsigned by = follows(c);

    return !by || (follows(c - 1) && follows(c - 1) != by);
}

/* A row has a line for its first and one for its last, the others none. Returns the lines. */
static unsigned say_end_of_row(const struct cap *c)
{
    if (c->holder) {
        say_cap(c, "cap");
        return 1;
    }
    bool first = begins(c), last = begins(c + 1);
    if (first || last)
        say_cap(c, first && last ? "cap" : first ? "from" : "to");
    return first || last;
}

err_t kernel_graph(struct invocation *v)
{
    if (v->words < 1)
        return ERR_SHORT_MESSAGE;
    if (arg(v, 0) == 0) {
        graph.next = cap_next_of(NULL);
        graph.changes = cap_changes;
    }
    if (graph.changes != cap_changes)
        return ERR_WRONG_STATE;
    for (unsigned lines = 0, steps = 0; lines < LINES && steps < STEPS && graph.next; steps++) {
        lines += say_end_of_row(graph.next);
        graph.next = cap_next_of(graph.next);
    }
    result(v, graph.next != NULL);
    return ERR_OK;
}

static bool is_leaf(uint64_t e, unsigned level)
{
    return level == 1 || (e & PTE_PS) || (level == 4 && (e & PTE_WINDOW));
}

/* How many entries from this one on are there, of frames side by side. */
static unsigned row_of(const uint64_t *entry, unsigned room, unsigned level)
{
    unsigned n = 0;

    while (n < room && (entry[n] & PTE_P) && is_leaf(entry[n], level) &&
           entry[n] == entry[0] + n * level_bytes(level))
        n++;
    return n;
}

/* Entries side by side in one table, from the one of address on; returns the address behind them. */
static uint64_t say_entries(const struct space *s, const uint64_t *table, unsigned level, uint64_t address)
{
    unsigned i = pte_index(address, level);

    address &= ~(level_bytes(level) - 1);
    log_printf("graph map %lx %lx %u", s->guest ? phys_to_hpa(s->guest).v : phys_to_hpa(s->root).v, address,
               level);
    for (unsigned said = 0, n; said < ENTRIES && (n = row_of(&table[i], TABLE_ENTRIES - i, level)); said++) {
        log_printf(n > 1 ? " %lx*%u" : " %lx", table[i], n);
        i += n;
        address += n * level_bytes(level);
    }
    log_printf("\n");
    return address;
}

err_t kernel_space(struct invocation *v)
{
    struct space s;

    if (v->words < 2)
        return ERR_SHORT_MESSAGE;
    err_t e = space_argument(v->caller, (cptr_t)arg(v, 0), true, &s);
    if (e != ERR_OK)
        return e;
    uint64_t at = arg(v, 1), end = s.guest ? GUEST_FRAMES_MAX * PAGE_BYTES : USER_END;
    if (at >= end)
        return ERR_RANGE;
    for (unsigned lines = 0, steps = 0; at < end && lines < LINES && steps < STEPS; steps++) {
        const uint64_t *table = s.root;
        unsigned level = s.top;
        uint64_t entry;
        while (((entry = table[pte_index(at, level)]) & PTE_P) && !is_leaf(entry, level)) {
            table = phys(pte_hpa(entry));
            level--;
        }
        if (entry & PTE_P) {
            at = say_entries(&s, table, level, at);
            lines++;
        } else {
            at = (at & ~(level_bytes(level) - 1)) + level_bytes(level);
        }
    }
    result(v, at < end ? at : UINT64_MAX);
    return ERR_OK;
}
#else
err_t kernel_graph(struct invocation *v)
{
    (void)v;
    return ERR_BAD_METHOD;
}

err_t kernel_space(struct invocation *v)
{
    (void)v;
    return ERR_BAD_METHOD;
}
#endif
