/* SPDX-License-Identifier: BSD-2-Clause */
/* The VM of tables.h. */
#include "tables.h"
#include <stdlib.h>
#include <string.h>

enum {
    PAGE_CNODE = 1,
    PAGE_VM = 2,
    PAGE_SPACE = 4,
    PAGE_MIDDLE = 6,
    PAGE_LOW,
    PAGE_VCPU = 8,
    PAGE_TABLES = 16
};

static _Alignas(1ul << BITS_VM) unsigned char memory[TABLES_BYTES];
static struct frame_meta meta[FRAMES_MAX];
struct tcb caller;

static void *page(unsigned n)
{
    return memory + n * PAGE_BYTES;
}

struct vcpu *the_vcpu(void)
{
    return page(PAGE_VCPU);
}
struct vm *the_vm(void)
{
    return page(PAGE_VM);
}
struct guestspace *the_space(void)
{
    return page(PAGE_SPACE);
}
uint64_t *shadow_entry(cptr_t table, unsigned index)
{
    return (uint64_t *)page(PAGE_TABLES + table) + index;
}
struct frame_meta *shadow_meta(cptr_t table)
{
    return &meta[PAGE_TABLES + table];
}
uint64_t *small_page(void)
{
    return (uint64_t *)page(PAGE_LOW) + SMALL_GFN;
}
uint64_t *large_page(void)
{
    return (uint64_t *)page(PAGE_MIDDLE) + LARGE_GFN / LARGE_PAGES;
}

static void cap_at(cptr_t p, unsigned type, uint64_t obj, unsigned bits)
{
    struct cap *c = (struct cap *)page(PAGE_CNODE) + p;

    *c = (struct cap){ .type = type, .rights = RIGHT_ALL, .bits = bits, .obj = obj };
}

static void own_tables(void)
{
    for (unsigned p = 1; p <= CPTR_SPARE; p++)
        *shadow_meta(p) =
            (struct frame_meta){ META_SHADOW | (uint64_t)PAGE_VM << 4 |
                                     (uint64_t)(p == CPTR_SPARE ? 1 : p) << 32 | (uint64_t)SHADOW_LONG << 36,
                                 the_space()->epoch };
}

void tables_init(void)
{
    static void *tlb;

    phys_base_host = memory;
    frame_meta = meta;
    frame_meta_count = FRAMES_MAX;
    memset(memory, 0, sizeof(memory));
    memset(meta, 0, sizeof(meta));
    if (!tlb) {
        softtlb_asids(16);
        tlb = calloc(1, softtlb_bytes());
    }
    softtlb_open(tlb);
    for (unsigned p = 1; p <= CPTR_SPARE; p++)
        cap_at(p, OBJ_SHADOW, (PAGE_TABLES + p) * PAGE_BYTES, BITS_SHADOW);
    cap_at(CPTR_UNBOUND, OBJ_SHADOW, (PAGE_TABLES + CPTR_UNBOUND) * PAGE_BYTES, BITS_SHADOW);
    cap_at(CPTR_RANGE, OBJ_RANGE, 0xc00000, 22);
    caller = (struct tcb){ .cspace = { .type = OBJ_CNODE, .bits = 3, .obj = PAGE_CNODE * PAGE_BYTES } };
    tcb_set_slots(&caller);
    the_space()->epoch = unique_number();
    meta[PAGE_SPACE] = (struct frame_meta){ META_GUESTSPACE, unique_number() };
    meta[PAGE_VM].owner = META_VM;
    the_vm()->space = the_space();
    the_vcpu()->vm = the_vm();
    the_vcpu()->format = GUEST_LONG;
    the_space()->table[0] = PAGE_MIDDLE * PAGE_BYTES | PTE_P | PTE_W | PTE_U;
    *(uint64_t *)page(PAGE_MIDDLE) = PAGE_LOW * PAGE_BYTES | PTE_P | PTE_W | PTE_U;
    own_tables();
}

err_t apply(const uint64_t *ops, unsigned words)
{
    unsigned index;

    the_vcpu()->ops_done = 0;
    return shadow_apply(the_vcpu(), &caller, ops, words, &index);
}
