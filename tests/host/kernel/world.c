/* SPDX-License-Identifier: BSD-2-Clause */
/* See world.h. */
#include "world.h"
#include <string.h>
#include <sys/mman.h>

struct cap *root_slots;
static struct frame_meta meta[WORLD_BYTES / PAGE_BYTES];
static struct tcb *caller;

static struct cap *put(unsigned slot, unsigned type, uint64_t obj, unsigned bits)
{
    struct cap *c = &root_slots[slot];

    *c = (struct cap){ .type = type, .rights = RIGHT_ALL, .flags = CAP_ORIGINAL, .obj = obj, .bits = bits };
    cap_insert(c, NULL);
    return c;
}

void world_init(void)
{
    phys_base_host = mmap(NULL, WORLD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(phys_base_host + UNTYPED_AT, 0xd5, 1ul << UNTYPED_BITS); /* boot hands out memory as it is */
    frame_meta = meta;
    frame_meta_count = WORLD_BYTES / PAGE_BYTES;
    for (unsigned i = 0; i < IRQ_LINES; i++)
        cpu.irq[i].holder = OBJ_IRQ;
    root_slots = phys((hpa_t){ CNODE_AT });
    put(SLOT_ROOT, OBJ_CNODE, CNODE_AT, CNODE_BITS);
    put(SLOT_UNTYPED, OBJ_UNTYPED, UNTYPED_AT, UNTYPED_BITS);
    put(SLOT_SCHEDCTL, OBJ_SCHEDCONTROL, 0, 0);
    for (unsigned i = 0; i < CALLERS; i++)
        world_caller(i)->state = THREAD_READY;
    world_choose(0);
}

struct tcb *world_caller(unsigned i)
{
    return phys((hpa_t){ 0x100000 + i * PAGE_BYTES });
}

void world_choose(unsigned i)
{
    caller = world_caller(i);
}

bool anything_dying(void)
{
    bool any = next_dying(NULL, NULL) != NULL;

    for (unsigned i = 0; i < CALLERS; i++)
        any |= next_dying(&world_caller(i)->dying, NULL) != NULL;
    return any;
}

void preempt_after(unsigned n)
{
    cpu.work = n < PREEMPT_STEPS ? PREEMPT_STEPS - 1 - n : 0;
}

err_t call_once(const struct call *c)
{
    struct invocation v = { .caller = caller, .cap = c->cap, .label = c->method, .words = c->words };

    memcpy(v.w, c->w, sizeof(v.w));
    v.buffer = c->w;
    caller->cspace = (struct cap){
        .type = OBJ_CNODE, .rights = RIGHT_ALL, .bits = c->cspace_bits, .obj = phys_to_hpa(c->cspace).v
    };
    return invoke(&v);
}

err_t call(const struct call *c)
{
    for (unsigned i = 0; i < 1000000; i++) {
        err_t e = call_once(c);
        if (e != PREEMPTED)
            return e;
    }
    FAIL("method %u of %s never ends", c->method, object_name(c->cap->type));
}
