/* SPDX-License-Identifier: BSD-2-Clause */
/* How the frames of a guest lie in the machine's memory (KERNEL_FRAMES), and which memory every component
 * holds or has mapped (KERNEL_DUMP): by the kernel's own tables. Asked for by the word `audit` on the
 * kernel's command line; changes nothing. tests/system/test_memory.py reads the lines. And what the kernel
 * finds in its own tables, when the management channel asks for an audit. */
#include "init.h"
#include <stdio.h>
#include <stdlib.h>

#define IPC   ((struct umbra_ipc_buffer *)BOOT_IPC_ADDRESS)
#define PIECE 60u

static int by_value(const void *a, const void *b)
{
    int64_t p = *(const int64_t *)a, q = *(const int64_t *)b;
    return p < q ? -1 : p > q;
}

static bool read_frames(cptr_t space, uint64_t gfn, uint64_t n, int64_t *to)
{
    struct sys_message m = { .tag = TAG(KERNEL_FRAMES, 3), .w = { space, gfn, n } };

    if (sys_call(SLOT_KERNEL, &m) != ERR_OK)
        return false;
    for (uint64_t i = 0; i < n; i++)
        to[i] = (int64_t)(i < MSG_REGISTERS ? m.w[i] : IPC->words[i]);
    return true;
}

/* The most frequent value of a sorted list, how often it is there. */
static uint64_t most_frequent(const int64_t *v, uint64_t n)
{
    uint64_t best = 0;

    for (uint64_t i = 0, run; i < n; i += run) {
        for (run = 1; i + run < n && v[i + run] == v[i]; run++)
            ;
        best = run > best ? run : best;
    }
    return best;
}

static void say(const struct component *c, int64_t *frame, uint64_t pages)
{
    uint64_t mapped = 0, pairs = 0, apart = 0, sum = 0;

    for (uint64_t i = 0; i < pages; i++) {
        if (frame[i] < 0)
            continue;
        mapped++;
        sum = sum * 31 + (uint64_t)frame[i];
    }
    for (uint64_t i = 0; i + 1 < pages; i++) {
        if (frame[i] < 0 || frame[i + 1] < 0)
            continue;
        int64_t d = frame[i + 1] - frame[i];
        apart += d > 1 || d < -1;
        frame[pairs++] = d;
    }
    qsort(frame, pairs, sizeof(frame[0]), by_value);
    printf("audit %s pages %lu mapped %lu pairs %lu apart %lu most-frequent-difference %lu order %016lx\n",
           c->name, pages, mapped, pairs, apart, most_frequent(frame, pairs), sum);
}

void audit_guest(struct init *in, struct component *c)
{
    uint64_t pages = c->guest->pages;
    int64_t *frame = malloc(pages * sizeof(frame[0]));

    if (!frame) {
        printf("init: no memory for the audit of %s\n", c->name);
        return;
    }
    bool ok = true;
    for (uint64_t gfn = 0; gfn < pages && ok; gfn += PIECE)
        ok = read_frames(in->group[c->guest->space].cap, gfn, pages - gfn < PIECE ? pages - gfn : PIECE,
                         frame + gfn);
    if (ok)
        say(c, frame, pages);
    free(frame);
}

/* --- the kernel about itself --- */

static void read_tlb(uint64_t to[TLB_COUNTS])
{
    struct sys_message m = { .tag = TAG(KERNEL_TLB, 0) };
    bool ok = sys_call(SLOT_KERNEL, &m) == ERR_OK;

    for (unsigned i = 0; i < TLB_COUNTS; i++)
        to[i] = !ok ? 0 : i < MSG_REGISTERS ? m.w[i] : IPC->words[i];
}

struct kernel_found audit_kernel(const struct init *in, const struct component *c)
{
    struct sys_message m = { .tag = TAG(KERNEL_AUDIT, 1), .w = { in->group[c->guest->vcpu].cap } };
    struct kernel_found f = { 0 };

    if (!in->boot->debug || sys_call(SLOT_KERNEL, &m) != ERR_OK)
        return f; /* it keeps everybody waiting */
    f = (struct kernel_found){ .violations = m.w[0] + (m.w[2] != m.w[3]), .tables = m.w[1] };
    f.entries = IPC->words[MSG_REGISTERS];
    read_tlb(f.tlb);
    return f;
}

void audit_say_tlb(void)
{
    static const char *const names[TLB_COUNTS] = { "entries", "losses",   "begun",   "emptied",
                                                   "owed",    "needless", "sampled", "spared" };
    uint64_t count[TLB_COUNTS];

    read_tlb(count);
    for (unsigned i = 0; i < TLB_COUNTS && count[0]; i++)
        printf("stat kernel tlb_%s %lu\n", names[i], count[i]);
}

/* --- what components hold --- */

static void dump(cptr_t c)
{
    sys_invoke1(SLOT_KERNEL, KERNEL_DUMP, c); /* an empty slot has no line */
}

static void dump_slots(const char *what, const struct component *c, cptr_t cnode, uint32_t slots)
{
    printf("audit %s %s\n", what, c->name);
    for (uint32_t i = 1; i < slots; i++)
        dump(CPTR_SUB(cnode, i));
}

static void dump_process(struct init *in, const struct component *c, const struct process *p)
{
    if (p->state == PROCESS_NONE)
        return;
    cptr_t near = in->scratch_slot; /* a capability address has two levels, and its CNode is in a CNode */
    if (sys_invoke3(SLOT_CNODE, CNODE_COPY, near, p->cnode, RIGHT_READ) == ERR_OK)
        dump_slots("slots", c, near, 1u << c->d->cnode_bits);
    sys_invoke1(SLOT_CNODE, CNODE_DELETE, near);
    dump_slots("held", c, p->slots.sub, p->slots.next);
}

static void dump_component(struct init *in, const struct component *c)
{
    if (c->ended)
        return;
    for (unsigned i = 0; i < 2; i++)
        dump_process(in, c, &c->process[i]);
    if (!c->guest)
        return;
    printf("audit vcpu %s\n", c->name);
    dump(in->group[c->guest->vcpu].cap);
}

void audit_system(struct init *in)
{
    printf("audit boot untyped\n");
    for (uint32_t i = 0; i < in->boot->untyped_count; i++)
        if (!in->boot->untyped[i].device)
            dump(in->boot->untyped[i].cap);
    printf("audit boot modules\n");
    for (uint32_t i = 0; i < in->boot->module_count; i++)
        for (uint32_t k = 0; k < in->boot->module[i].frames; k++)
            dump(in->boot->module[i].cap + k);
    for (uint32_t i = 0; i < in->desc.header.components; i++)
        dump_component(in, &in->component[i]);
    printf("audit end\n");
}
