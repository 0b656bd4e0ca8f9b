/* SPDX-License-Identifier: BSD-2-Clause */
/* All capabilities and address spaces by the kernel's own tables (KERNEL_GRAPH, KERNEL_SPACE), with the names
 * that the description has for them: lines `graph ..` in the log, which tools/umbra/graph.py compares with
 * the description. Asked for by the word `graph` on the kernel's command line, in debug builds; whenever
 * components came or went. Names are places in init's CSpace, which the kernel's lines show, too. Changes
 * nothing. */
#include "init.h"
#include <stdio.h>

#define TRIES 8u /* chosen: others may run between two calls when init's turn is over */

static uint64_t switches(void)
{
    struct sys_message m = { .tag = TAG(KERNEL_COUNTERS, 0) };
    const struct umbra_ipc_buffer *ipc = (const void *)BOOT_IPC_ADDRESS;

    return sys_call(SLOT_KERNEL, &m) == ERR_OK ? ipc->words[COUNT_SWITCHES] : 0;
}

static void say_process(const struct component *c, const struct process *p)
{
    if (p->state == PROCESS_NONE)
        return;
    printf("graph process %s %u %u %u %x %x %x %x %x %x %x %x\n", c->name, c->d->head.component,
           p == &c->process[1], p == c->now, p->cnode, p->tcb, p->space.vspace, p->sched, p->quota.cap,
           p->slots_place, p->info_frame, (uintptr_t)p->image.file >= INIT_IMAGES);
}

static void say_names(struct init *in)
{
    for (uint32_t i = 0; i < in->desc.header.groups; i++)
        printf("graph group %u %x %u %u\n", i, in->group[i].cap, in->group[i].sub, in->group[i].count);
    for (uint32_t i = 0; i < in->boot->module_count; i++)
        printf("graph module %u %x %u %s\n", i, in->boot->module[i].cap, in->boot->module[i].frames,
               in->boot->module[i].name);
    for (uint32_t i = 0; i < in->desc.header.components; i++) {
        const struct component *c = &in->component[i];
        printf("graph component %u %x %x %u %u %u %u\n", i, c->sched, c->builder, c->ended, c->created.used,
               c->created.module[DESC_MODULE_KERNEL], c->created.module[DESC_MODULE_INITRD]);
        say_process(c, &c->process[0]);
        say_process(c, &c->process[1]);
    }
}

static bool say_caps(void)
{
    uint64_t more;

    for (uint64_t go_on = 0;; go_on = 1) {
        if (sys_invoke(SLOT_KERNEL, KERNEL_GRAPH, 1, go_on, 0, 0, 0, &more) != ERR_OK)
            return false;
        if (!more)
            return true;
    }
}

static bool say_space(cptr_t space)
{
    for (uint64_t at = 0; at != UINT64_MAX;)
        if (sys_invoke(SLOT_KERNEL, KERNEL_SPACE, 2, space, at, 0, 0, &at) != ERR_OK)
            return false;
    return true;
}

static bool say_spaces(struct init *in)
{
    bool ok = say_space(SLOT_VSPACE);

    for (uint32_t i = 0; i < in->desc.header.components; i++)
        for (unsigned k = 0; k < 2; k++)
            if (in->component[i].process[k].state != PROCESS_NONE)
                ok = ok && say_space(in->component[i].process[k].space.vspace);
    for (uint32_t i = 0; i < in->desc.header.groups; i++)
        if (in->desc.group[i].type == OBJ_GUESTSPACE)
            ok = ok && say_space(in->group[i].cap);
    return ok;
}

/* Who was built has set itself up, and whoever can have a successor has one: nothing more is built. */
static bool is_settled(const struct component *c)
{
    const struct process *next = &c->process[c->now == &c->process[0]];

    if (c->ended || c->now->state == PROCESS_BUILT)
        return true;
    return c->now->state == PROCESS_READY &&
           (!c->restartable || c->cnode || c->paused || c->failures || next->state == PROCESS_WAITING);
}

void graph_say(struct init *in)
{
    for (uint32_t i = 0; i < in->desc.header.components; i++)
        if (!is_settled(&in->component[i]))
            return;
    in->graph_due = false;
    for (unsigned i = 0; i < TRIES; i++) {
        printf("graph begin\n");
        say_names(in);
        uint64_t before = switches();
        bool ok = say_caps() && say_spaces(in) && switches() == before;
        printf("graph %s\n", ok ? "end" : "again");
        if (ok)
            return;
    }
}
