/* SPDX-License-Identifier: BSD-2-Clause */
/* The software TLB of debug kernels: which entries without a flush it finds wrong, and which it does not. A
 * VM on tables that the test writes by hand, telling the model. */
// USES: kernel/obj/*.c kernel/[dfils]*.c tests/host/kernel/fake_arch.c
#include "kernel/softtlb.h"
#include "kernel/arch/pte.h"
#include "check.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MEMORY (4ul << 20)
#define ASID   3

enum {
    VM_A = 0x10000,
    VM_B = 0x20000,
    SPACE = 0x30000,
    VCPU_A = 0x40000,
    VCPU_B = 0x50000,
    TABLES = 0x100000
};
enum { TOP, THREE, TWO, ONE, LOOSE, OTHER_TOP, COUNT };

static struct frame_meta meta[MEMORY / PAGE_BYTES];

static hpa_t table(unsigned i)
{
    return (hpa_t){ TABLES + i * PAGE_BYTES };
}
static uint64_t *entry(unsigned t, unsigned index)
{
    return (uint64_t *)phys(table(t)) + index;
}
static void put(unsigned t, unsigned index, uint64_t value)
{
    softtlb_change(entry(t, index), value);
    *entry(t, index) = value;
}
static void link(unsigned t, unsigned index, unsigned child)
{
    put(t, index, table(child).v | PTE_P | PTE_W | PTE_U | PTE_A);
}
static void is_table(unsigned t, uint64_t vm, unsigned level, unsigned format)
{
    meta_of(table(t))->owner =
        META_SHADOW | vm >> PAGE_SHIFT << 4 | (uint64_t)level << 32 | (uint64_t)format << 36;
    softtlb_begun(entry(t, 0));
}

/* A vCPU of a VM on the one guest space, in long mode on a root. */
static struct vcpu *vcpu(uint64_t at, uint64_t vm, unsigned top)
{
    struct vcpu *v = phys((hpa_t){ at });

    v->vm = phys((hpa_t){ vm });
    v->vm->space = phys((hpa_t){ SPACE });
    meta_of((hpa_t){ vm })->owner = META_VM;
    v->root = (struct shadow_root){ .table = { table(top) }, .format = GUEST_LONG };
    return v;
}

/* A runs on TOP, THREE, TWO, ONE, with a page at the first entry, on an ASID that was empty. */
static struct vcpu *begin(void)
{
    phys_base_host = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    frame_meta = meta;
    frame_meta_count = MEMORY / PAGE_BYTES;
    softtlb_asids(16);
    softtlb_open(calloc(1, softtlb_bytes()));
    struct vcpu *v = vcpu(VCPU_A, VM_A, TOP);
    for (unsigned i = 0; i < COUNT; i++)
        is_table(i, VM_A, i == OTHER_TOP ? 4 : i == LOOSE ? 1 : 4 - i, SHADOW_LONG);
    link(TOP, 0, THREE);
    link(THREE, 0, TWO);
    link(TWO, 0, ONE);
    put(ONE, 0, 0x5000 | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D);
    softtlb_enter(v, ASID, SOFTTLB_EMPTY_ALL);
    CHECK(!softtlb_judge(v, ASID, SOFTTLB_KEEP));
    return v;
}

static void is_owed(const struct vcpu *v)
{
    CHECK(softtlb_judge(v, ASID, SOFTTLB_KEEP));
    CHECK(!softtlb_judge(v, ASID, SOFTTLB_EMPTY_ASID));
    CHECK(!softtlb_judge(v, ASID, SOFTTLB_EMPTY_ALL));
    CHECK(!softtlb_judge(v, ASID + 1, SOFTTLB_KEEP)); /* which holds nothing */
}

TEST(softtlb_entry_that_becomes_less_is_owed)
{
    static const uint64_t less[] = { 0,
                                     0x5000 | PTE_P | PTE_U | PTE_A | PTE_D,
                                     0x5000 | PTE_P | PTE_W | PTE_A | PTE_D,
                                     0x5000 | PTE_P | PTE_W | PTE_U | PTE_A,
                                     0x5000 | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D | PTE_NX,
                                     0x6000 | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D };

    for (unsigned i = 0; i < sizeof(less) / sizeof(less[0]); i++) {
        struct vcpu *v = begin();
        put(ONE, 0, less[i]);
        is_owed(v);
        softtlb_enter(v, ASID, SOFTTLB_EMPTY_ASID);
        CHECK(!softtlb_judge(v, ASID, SOFTTLB_KEEP));
        CHECK(softtlb_knows(table(ONE)));
    }
}

TEST(softtlb_entry_that_comes_or_gains_is_not_owed)
{
    struct vcpu *v = begin();

    put(ONE, 1, 0x6000 | PTE_P | PTE_NX);
    put(ONE, 1, 0x6000 | PTE_P | PTE_W | PTE_U | PTE_D);
    *entry(ONE, 0) |= PTE_A | PTE_D; /* the processor's own */
    *entry(ONE, 1) |= PTE_A;
    CHECK(!softtlb_judge(v, ASID, SOFTTLB_KEEP));
    CHECK(softtlb_knows(table(ONE)));
}

TEST(softtlb_loss_below_a_link_that_went_too_is_owed)
{
    struct vcpu *v = begin();

    put(TWO, 0, 0);
    put(ONE, 0, 0);
    is_owed(v);
    v = begin();
    softtlb_cleared(entry(THREE, 0));
    memset(entry(THREE, 0), 0, PAGE_BYTES);
    is_owed(v);
}

TEST(softtlb_loss_where_the_root_does_not_lead_is_not_owed)
{
    struct vcpu *v = begin();

    put(LOOSE, 7, 0x7000 | PTE_P | PTE_W);
    put(LOOSE, 7, 0);
    CHECK(!softtlb_judge(v, ASID, SOFTTLB_KEEP));
    link(TWO, 1, LOOSE); /* after it: nothing of before was seen */
    CHECK(!softtlb_judge(v, ASID, SOFTTLB_KEEP));
    put(LOOSE, 8, 0x7000 | PTE_P);
    put(LOOSE, 8, 0);
    is_owed(v);
}

TEST(softtlb_loss_of_another_vm_is_not_owed)
{
    struct vcpu *v = begin(), *w = vcpu(VCPU_B, VM_B, OTHER_TOP);

    is_table(OTHER_TOP, VM_B, 4, SHADOW_LONG);
    softtlb_enter(w, ASID + 1, SOFTTLB_KEEP);
    put(ONE, 0, 0);
    CHECK(softtlb_judge(v, ASID, SOFTTLB_KEEP));
    CHECK(!softtlb_judge(w, ASID + 1, SOFTTLB_KEEP));
}

TEST(softtlb_asid_serves_one_root_until_it_is_empty)
{
    struct vcpu *v = begin();

    v->root.table[0] = table(OTHER_TOP);
    is_owed(v);
    CHECK(softtlb_judge(v, 0, SOFTTLB_KEEP));
    CHECK(softtlb_judge(v, 16, SOFTTLB_EMPTY_ALL));
    softtlb_enter(v, ASID + 1, SOFTTLB_EMPTY_ALL);
    v->root.table[0] = table(TOP);
    CHECK(!softtlb_judge(v, ASID, SOFTTLB_KEEP)); /* with all others */
}

TEST(softtlb_pae_pointer_that_goes_is_owed_one_that_comes_is_not)
{
    struct vcpu *v = begin();

    is_table(TWO, VM_A, 2, SHADOW_PAE);
    v->root = (struct shadow_root){ .table = { { 0 }, table(TWO) }, .format = GUEST_PAE };
    softtlb_enter(v, ASID, SOFTTLB_EMPTY_ASID);
    v->root.table[0] = table(TWO);
    CHECK(!softtlb_judge(v, ASID, SOFTTLB_KEEP));
    v->root.table[1] = (hpa_t){ 0 };
    is_owed(v);
    v->root.table[1] = table(LOOSE);
    is_owed(v);
}

TEST(softtlb_guest_memory_that_is_taken_is_owed)
{
    struct vcpu *v = begin();

    softtlb_taken(v->vm->space);
    is_owed(v);
}

TEST(softtlb_end_of_a_table_that_was_linked_is_owed)
{
    struct vcpu *v = begin();

    softtlb_ended(table(LOOSE)); /* never linked */
    CHECK(!softtlb_judge(v, ASID, SOFTTLB_KEEP));
    softtlb_ended(table(ONE));
    is_owed(v);
    v = begin();
    softtlb_ended(table(TOP)); /* entered on */
    is_owed(v);
    v = begin();
    softtlb_taken(v->vm->space); /* its epoch ends: what was linked then is in no ASID of later on */
    softtlb_enter(v, ASID + 1, SOFTTLB_KEEP);
    softtlb_ended(table(ONE));
    CHECK(!softtlb_judge(v, ASID + 1, SOFTTLB_KEEP));
}

TEST(softtlb_end_of_a_table_of_the_memory_before_is_not_owed)
{
    struct vcpu *v = begin();
    struct vm *vm = v->vm;

    softtlb_taken(vm->space);
    softtlb_left(vm);
    vm->space = phys((hpa_t){ SPACE + 0x4000 });
    v->root.table[0] = table(OTHER_TOP);
    softtlb_enter(v, ASID, SOFTTLB_EMPTY_ASID);
    softtlb_ended(table(ONE));
    CHECK(!softtlb_judge(v, ASID, SOFTTLB_KEEP));
}

TEST(softtlb_change_that_was_not_told_is_known)
{
    begin();
    CHECK(softtlb_knows(table(ONE)));
    *entry(ONE, 5) = 0x5000 | PTE_P;
    CHECK(!softtlb_knows(table(ONE)));
    *entry(ONE, 5) = 0;
    CHECK(softtlb_knows(table(ONE)));
    *entry(ONE, 1) = *entry(ONE, 0); /* moved */
    *entry(ONE, 0) = 0;
    CHECK(!softtlb_knows(table(ONE)));
}

/* 512 * 512 * 512 ways lead to the last table. */
TEST(softtlb_tables_linked_in_very_many_ways_are_read_for_a_while_only)
{
    struct vcpu *v = begin();

    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        link(TOP, i, THREE);
        link(THREE, i, TWO);
        link(TWO, i, ONE);
    }
    softtlb_enter(v, ASID, SOFTTLB_EMPTY_ASID);
    put(LOOSE, 0, 0x7000 | PTE_P);
    put(LOOSE, 0, 0);
    CHECK(softtlb_judge(v, ASID, SOFTTLB_KEEP)); /* not found out: taken for owed */
}

TEST(softtlb_counts_flushes_by_their_reasons)
{
    struct vcpu *v = begin();
    uint64_t before[TLB_COUNTS], now[TLB_COUNTS];

    softtlb_read(before);
    CHECK_EQ(before[TLB_ENTRIES], 1);
    CHECK_EQ(before[TLB_BEGUN], 1);
    CHECK_EQ(before[TLB_EMPTIED], 1);
    softtlb_enter(v, ASID + 1, SOFTTLB_KEEP); /* for nothing */
    put(LOOSE, 0, 0x7000 | PTE_P);
    put(LOOSE, 0, 0);
    softtlb_enter(v, ASID + 2, SOFTTLB_KEEP); /* for what it never saw */
    put(ONE, 0, 0);
    softtlb_enter(v, ASID + 3, SOFTTLB_KEEP); /* not looked at so closely */
    softtlb_enter(v, ASID + 3, SOFTTLB_KEEP);
    softtlb_read(now);
    CHECK_EQ(now[TLB_ENTRIES], 5);
    CHECK_EQ(now[TLB_LOSSES] - before[TLB_LOSSES], 2);
    CHECK_EQ(now[TLB_BEGUN], 4);
    CHECK_EQ(now[TLB_NEEDLESS], 1);
    CHECK_EQ(now[TLB_OWED], 2);
    CHECK_EQ(now[TLB_SAMPLED], 1);
    CHECK_EQ(now[TLB_SPARED], 1);
}
