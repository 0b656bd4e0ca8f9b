/* SPDX-License-Identifier: BSD-2-Clause */
/* The console rings of guests as init sees them: what a guest has written is shown when it has ended, too,
 * whatever numbers the exits of the next guest there have.
 *
 * Invariant: of a guest that has ended no entry waits for an exit's answer (tests/system/test_ends.py). */
#include "console_types.h"
#include "init.h"
#include <string.h>

#define INIT_RINGS_STEP 0x10000ul
#define RING_PAGES      ((sizeof(struct console_output) + PAGE_BYTES - 1) / PAGE_BYTES)

/* The console's rings as init sees them, at the same distances as in the component: output, then input. */
static void map(struct init *in, struct component *c)
{
    uint64_t base = INIT_RINGS + c->d->head.component * INIT_RINGS_STEP;

    for (const struct desc_record *r = desc_next(&in->desc, NULL); r; r = desc_next(&in->desc, r)) {
        const struct desc_map *m = (const void *)r;
        if (r->op != DESC_OP_MAP || r->component != c->d->head.component ||
            m->address - DESC_DATAPORT >= INIT_RINGS_STEP - RING_PAGES * PAGE_BYTES || m->count > RING_PAGES)
            continue;
        uint64_t at = base + (m->address - DESC_DATAPORT);
        for (uint32_t i = 0; i < m->count; i++)
            space_frame(in, &in->space,
                        derived(in, &in->slots, group_cap(&in->group[m->group], m->first + i),
                                RIGHT_READ | RIGHT_WRITE, 0),
                        FRAME_4K, at + i * PAGE_BYTES, RIGHT_READ | RIGHT_WRITE);
        if (!c->rings.output)
            c->rings.output = (struct console_output *)at;
        else if (!c->rings.input)
            c->rings.input = (struct console_input *)at;
    }
}

void rings_map(struct init *in)
{
    for (uint32_t i = 0; i < in->desc.header.components; i++)
        if (in->component[i].guest)
            map(in, &in->component[i]);
}

/* False: no guest has ever said anything there, or it is no console; or one has written over the magic
 * number, and nobody looks at what is there. */
static bool rings_there(const struct component *c)
{
    return c->rings.output && c->rings.input && c->rings.output->magic == CONSOLE_MAGIC &&
           c->rings.input->magic == CONSOLE_MAGIC;
}

void rings_settle(struct init *in, struct component *c, uint64_t upto)
{
    struct console_output *out = c->rings.output;

    if (!rings_there(c))
        return;
    uint64_t taken = __atomic_load_n(&c->rings.input->output_taken, __ATOMIC_ACQUIRE), end = out->produced;
    if (end - taken > CONSOLE_OUTPUT_ENTRIES)
        end = taken;
    while (end != taken && out->entry[(end - 1) % CONSOLE_OUTPUT_ENTRIES].seq > upto)
        end--;
    __atomic_store_n(&out->produced, end, __ATOMIC_RELEASE);
    for (; taken != end; taken++)
        __atomic_store_n(&out->entry[taken % CONSOLE_OUTPUT_ENTRIES].seq, 0, __ATOMIC_RELEASE);
    restart_ping_servers(in);
}

void rings_drop_input(struct component *c)
{
    if (rings_there(c))
        __atomic_store_n(&c->rings.output->input_taken, c->rings.input->produced, __ATOMIC_RELEASE);
}

bool rings_empty(const struct component *c)
{
    return !rings_there(c) ||
           c->rings.output->produced == __atomic_load_n(&c->rings.input->output_taken, __ATOMIC_ACQUIRE);
}

/* A console that was stopped in the midst of an entry, or of a byte that was typed, counts it whenever it, or
 * the next one, goes on: by a store of the position behind it (servers/console/flow.c). Who comes here next
 * begins behind it in any case. */
void rings_pass(struct component *c)
{
    struct console_input *in = c->rings.input;

    if (!c->rings.output || !in)
        return;
    __atomic_store_n(&in->output_taken, in->output_taken + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&in->produced, in->produced + 1, __ATOMIC_RELEASE);
}

/* The console's positions go on, contents do not, and all that the guest before could write is as it was
 * before any: whatever that one made of its ring, its magic number too. */
void rings_clear(struct component *c)
{
    struct console_output *out = c->rings.output;

    if (!out || !c->rings.input)
        return;
    memset(out, 0, sizeof(*out));
    memset(c->rings.input->data, 0, sizeof(c->rings.input->data));
    __atomic_store_n(&out->produced, c->rings.input->output_taken, __ATOMIC_RELEASE);
    __atomic_store_n(&out->input_taken, c->rings.input->produced, __ATOMIC_RELEASE);
}
