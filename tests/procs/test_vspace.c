/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames and page tables: what is mapped is reached with exactly the rights given, what is taken away is gone
 * at once, whatever goes first: frame, table or address space. */
#include "support/process.h"

#define RW          (RIGHT_READ | RIGHT_WRITE)
#define FAR_ADDRESS 0x4000000000ul /* in no table of the root task */

static struct thread prober;
static cptr_t ep, reply;
static struct sys_message fault;
static volatile uint64_t probe_result;

static void reads(uint64_t address)
{
    probe_result = *(volatile uint64_t *)address;
}
static void writes(uint64_t address)
{
    *(volatile uint64_t *)address = 0xc3c3c3c3c3c3c3c3;
    probe_result = 1;
}
static void jumps(uint64_t address)
{
    ((void (*)(void))address)();
    probe_result = 1;
}

/* What a thread of this address space finds: 0 all well, else the page fault's error code | 0x100. */
static uint64_t probe(void (*f)(uint64_t), uint64_t address)
{
    if (!prober.tcb && !thread_make(&prober, NULL, 0, 100, ep))
        return ~0ul;
    sys_invoke0(prober.tcb, TCB_SUSPEND);
    if (thread_start(&prober, f, address) != ERR_OK)
        return ~0ul;
    root_priority(1);
    root_priority(255);
    if (sys_poll(ep, reply, &fault) != ERR_OK)
        return 0;
    return fault.tag == TAG(FAULT_PAGE, 4) && fault.w[1] == address ? fault.w[2] | 0x100 : ~0ul;
}

static bool set_up(void)
{
    prober.tcb = 0;
    ep = new_object(OBJ_ENDPOINT, 0);
    reply = new_object(OBJ_REPLY, 0);
    return ep && reply;
}

static err_t map(cptr_t frame, uint64_t address, unsigned rights)
{
    return sys_invoke3(frame, FRAME_MAP, SLOT_VSPACE, address, rights);
}

TEST(rights_of_a_mapping_are_exact)
{
    static const struct {
        uint8_t cap, asked;
        bool ok, write, execute;
    } rows[] = {
        { RIGHT_ALL, RIGHT_READ, 1, 0, 0 },
        { RIGHT_ALL, RW, 1, 1, 0 },
        { RIGHT_ALL, RIGHT_READ | RIGHT_EXEC, 1, 0, 1 },
        { RIGHT_ALL, RIGHT_ALL, 1, 1, 1 },
        { RW, RIGHT_ALL, 1, 1, 0 },
        { RIGHT_READ, RIGHT_ALL, 1, 0, 0 },
        { RIGHT_READ | RIGHT_EXEC, RIGHT_ALL, 1, 0, 1 },
        { RIGHT_WRITE, RIGHT_ALL, 0, 0, 0 },
        { 0, RIGHT_ALL, 0, 0, 0 },
        { RIGHT_ALL, RIGHT_WRITE, 0, 0, 0 },
        { RIGHT_ALL, 0, 0, 0, 0 },
        { RIGHT_ALL, RIGHT_ALL + 1, 0, 0, 0 },
    };
    CHECK(set_up() && map_tables(SLOT_VSPACE, TEST_ADDRESS));
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cptr_t frame = new_object(OBJ_FRAME, FRAME_4K), c = copy_cap(frame, rows[i].cap);
        CHECK_EQ(map(c, TEST_ADDRESS, rows[i].asked), rows[i].ok ? ERR_OK : ERR_NO_RIGHT);
        if (!rows[i].ok)
            continue;
        CHECK_EQ(probe(reads, TEST_ADDRESS), 0);
        CHECK_EQ(probe(writes, TEST_ADDRESS), rows[i].write ? 0 : 0x107);
        if (!rows[i].write) { /* something to execute: RET */
            CHECK_OK(map(frame, TEST_ADDRESS + PAGE_BYTES, RW));
            CHECK_EQ(probe(writes, TEST_ADDRESS + PAGE_BYTES), 0);
        }
        CHECK_EQ(probe(jumps, TEST_ADDRESS), rows[i].execute ? 0 : 0x115);
        CHECK_OK(delete_cap(frame));
        CHECK_EQ(probe(reads, TEST_ADDRESS), 0x104);
    }
}

TEST(frame_map_refusals)
{
    cptr_t f = new_object(OBJ_FRAME, FRAME_4K), big = new_object(OBJ_FRAME, FRAME_2M),
           other = copy_cap(f, RIGHT_ALL);

    CHECK(set_up() && map_tables(SLOT_VSPACE, TEST_ADDRESS));
    CHECK_EQ(sys_invoke0(f, FRAME_UNMAP), ERR_NOT_MAPPED);
    CHECK_EQ(sys_invoke3(f, FRAME_MAP, new_slot(), TEST_ADDRESS, RW), ERR_NO_CAP);
    CHECK_EQ(sys_invoke3(f, FRAME_MAP, ep, TEST_ADDRESS, RW), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke3(f, FRAME_MAP, copy_cap(SLOT_VSPACE, RIGHT_READ), TEST_ADDRESS, RW), ERR_NO_RIGHT);
    CHECK_EQ(map(f, TEST_ADDRESS + 8, RW), ERR_ALIGNMENT);
    CHECK_EQ(map(f, TEST_ADDRESS + 1, RW), ERR_ALIGNMENT);
    CHECK_EQ(map(big, TEST_ADDRESS + PAGE_BYTES, RW), ERR_ALIGNMENT);
    CHECK_EQ(map(f, USER_END, RW), ERR_RANGE);
    CHECK_EQ(map(f, 1ul << 47, RW), ERR_RANGE);
    CHECK_EQ(map(f, 0xffff800000000000, RW), ERR_RANGE);
    CHECK_EQ(map(f, ~0ul << 12, RW), ERR_RANGE);
    CHECK_EQ(map(big, USER_END - PAGE_BYTES, RW), ERR_RANGE);
    CHECK_EQ(map(f, FAR_ADDRESS, RW), ERR_NO_TABLE);
    CHECK_EQ(map(big, FAR_ADDRESS, RW), ERR_NO_TABLE);
    CHECK_EQ(map(big, TEST_ADDRESS, RW), ERR_ALREADY_MAPPED); /* a page table is there */
    CHECK_OK(map(f, TEST_ADDRESS, RW));
    CHECK_EQ(map(f, TEST_ADDRESS, RW), ERR_ALREADY_MAPPED);
    CHECK_EQ(map(f, TEST_ADDRESS + PAGE_BYTES, RW), ERR_ALREADY_MAPPED);
    CHECK_EQ(map(other, TEST_ADDRESS, RW), ERR_ALREADY_MAPPED);
    CHECK_OK(map(other, TEST_ADDRESS + PAGE_BYTES, RW));
    *(volatile uint64_t *)TEST_ADDRESS = 5;
    CHECK_EQ(*(volatile uint64_t *)(TEST_ADDRESS + PAGE_BYTES), 5);
    CHECK_OK(sys_invoke0(f, FRAME_UNMAP));
    CHECK_EQ(probe(reads, TEST_ADDRESS), 0x104);
    CHECK_EQ(probe(reads, TEST_ADDRESS + PAGE_BYTES), 0);
    CHECK_OK(map(f, TEST_ADDRESS, RIGHT_READ));
    CHECK_EQ(probe(writes, TEST_ADDRESS), 0x107);
}

TEST(large_frames_are_mapped_in_one_entry)
{
    cptr_t big = new_object(OBJ_FRAME, FRAME_2M), small = new_object(OBJ_FRAME, FRAME_4K),
           t = new_objects(OBJ_PAGETABLE, 0, 3);

    CHECK(set_up());
    CHECK_OK(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, 0, 3) == ERR_ALREADY_MAPPED ? ERR_OK : ERR_RANGE);
    CHECK_OK(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS & ~((1ul << 39) - 1), 3) ==
                     ERR_ALREADY_MAPPED
                 ? ERR_OK
                 : ERR_RANGE);
    CHECK_OK(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 2));
    CHECK_OK(map(big, FAR_ADDRESS + (2ul << 20), RW));
    volatile uint64_t *p = (uint64_t *)(FAR_ADDRESS + (2ul << 20));
    for (unsigned i = 0; i < 512; i++)
        p[i * 512] = i;
    for (unsigned i = 0; i < 512; i++)
        CHECK_EQ(p[i * 512], i);
    CHECK_EQ(map(small, FAR_ADDRESS + (2ul << 20), RW), ERR_NO_TABLE);
    CHECK_EQ(sys_invoke3(t + 1, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS + (2ul << 20), 1),
             ERR_ALREADY_MAPPED);
    CHECK_OK(delete_cap(big));
    CHECK_EQ(probe(reads, (uint64_t)p + 8), 0x104);
    CHECK_EQ(probe(reads, (uint64_t)(p + 511 * 512)), 0x104);
}

TEST(page_table_refusals)
{
    cptr_t t = new_objects(OBJ_PAGETABLE, 0, 3);

    CHECK(set_up());
    CHECK_EQ(sys_invoke0(t, PAGETABLE_UNMAP), ERR_NOT_MAPPED);
    CHECK_EQ(sys_invoke3(t, PAGETABLE_MAP, new_slot(), FAR_ADDRESS, 2), ERR_NO_CAP);
    CHECK_EQ(sys_invoke3(t, PAGETABLE_MAP, ep, FAR_ADDRESS, 2), ERR_WRONG_TYPE);
    CHECK_EQ(sys_invoke3(t, PAGETABLE_MAP, copy_cap(SLOT_VSPACE, RIGHT_READ), FAR_ADDRESS, 2), ERR_NO_RIGHT);
    CHECK_EQ(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 0), ERR_RANGE);
    CHECK_EQ(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 4), ERR_RANGE);
    CHECK_EQ(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, ~0ul), ERR_RANGE);
    CHECK_EQ(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, 1ul << 47, 3), ERR_RANGE);
    CHECK_EQ(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, 0xffff800000000000, 3), ERR_RANGE);
    CHECK_EQ(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS + PAGE_BYTES, 1), ERR_ALIGNMENT);
    CHECK_EQ(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS + (2ul << 20), 2), ERR_ALIGNMENT);
    CHECK_EQ(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 1), ERR_NO_TABLE);
    CHECK_OK(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 2));
    CHECK_EQ(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS + (1ul << 30), 2), ERR_ALREADY_MAPPED);
    CHECK_EQ(sys_invoke3(t + 1, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 2), ERR_ALREADY_MAPPED);
    cptr_t g = new_object(OBJ_GUESTSPACE, 0);
    CHECK_EQ(sys_invoke3(t + 1, PAGETABLE_MAP, g, 0, 3), ERR_RANGE);
    CHECK_EQ(sys_invoke3(t + 1, PAGETABLE_MAP, g, 1ul << 39, 2), ERR_RANGE);
    CHECK_OK(sys_invoke3(t + 1, PAGETABLE_MAP, g, 0, 2));
}

TEST(a_table_taken_away_takes_its_pages)
{
    cptr_t t = new_objects(OBJ_PAGETABLE, 0, 2), f = new_object(OBJ_FRAME, FRAME_4K),
           g = copy_cap(f, RIGHT_ALL);

    CHECK(set_up());
    for (unsigned round = 0; round < 2; round++) {
        CHECK_OK(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 2));
        CHECK_OK(sys_invoke3(t + 1, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 1));
        CHECK_OK(map(f, FAR_ADDRESS, RW));
        CHECK_EQ(probe(writes, FAR_ADDRESS), 0);
        CHECK_OK(sys_invoke0(t + round, PAGETABLE_UNMAP)); /* the leaf table last, then the one above it */
        CHECK_EQ(probe(reads, FAR_ADDRESS), 0x104);
        if (round == 0) { /* the upper went: the lower is in no tree, but has to be unmapped before it is
                             mapped again */
            CHECK_OK(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 2));
            CHECK_EQ(probe(reads, FAR_ADDRESS), 0x104);
            CHECK_EQ(sys_invoke3(t + 1, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 1), ERR_ALREADY_MAPPED);
            CHECK_OK(sys_invoke0(t + 1, PAGETABLE_UNMAP));
        }
        CHECK_OK(sys_invoke3(t + 1, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 1));
        CHECK_EQ(probe(reads, FAR_ADDRESS), 0x104);            /* empty */
        CHECK_EQ(map(f, FAR_ADDRESS, RW), ERR_ALREADY_MAPPED); /* as far as the frame knows */
        CHECK_OK(map(g, FAR_ADDRESS, RW));
        CHECK_OK(sys_invoke0(g, FRAME_UNMAP));
        CHECK_OK(sys_invoke0(f, FRAME_UNMAP));
        CHECK_OK(sys_invoke0(t + 1, PAGETABLE_UNMAP));
        CHECK_OK(sys_invoke0(t, PAGETABLE_UNMAP));
    }
}

/* A frame whose table went is deleted and its memory used for something else: the old table must not show it.
 */
TEST(a_stale_table_does_not_show_reused_memory)
{
    cptr_t t = new_objects(OBJ_PAGETABLE, 0, 2), u = new_object(OBJ_UNTYPED, 12), f = new_slot();

    CHECK(set_up());
    CHECK_OK(sys_retype(IPC, u, OBJ_FRAME, FRAME_4K, SLOT_CNODE, f, 1));
    CHECK_OK(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 2));
    CHECK_OK(sys_invoke3(t + 1, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 1));
    CHECK_OK(map(f, FAR_ADDRESS, RW));
    CHECK_OK(sys_invoke0(t, PAGETABLE_UNMAP));
    CHECK_OK(delete_cap(f)); /* the way to its entry is cut */
    CHECK_OK(sys_retype(IPC, u, OBJ_TCB, 0, SLOT_CNODE, f, 1));
    CHECK_OK(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 2));
    CHECK_OK(sys_invoke0(t + 1, PAGETABLE_UNMAP));
    CHECK_OK(sys_invoke3(t + 1, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 1));
    CHECK_EQ(probe(reads, FAR_ADDRESS), 0x104);
}

TEST(frames_and_tables_outlive_their_address_space)
{
    cptr_t v = new_object(OBJ_VSPACE, 0), t = new_objects(OBJ_PAGETABLE, 0, 3),
           f = new_object(OBJ_FRAME, FRAME_4K);

    CHECK(set_up());
    for (unsigned level = 3; level >= 1; level--)
        CHECK_OK(sys_invoke3(t + level - 1, PAGETABLE_MAP, v, 0, level));
    CHECK_OK(sys_invoke3(f, FRAME_MAP, v, 0x3000, RW));
    CHECK_OK(delete_cap(v));
    CHECK_EQ(map(f, FAR_ADDRESS, RW), ERR_ALREADY_MAPPED);
    CHECK_OK(sys_invoke0(f, FRAME_UNMAP));
    for (unsigned i = 0; i < 2; i++) /* not in order */
        CHECK_OK(sys_invoke0(t + i, PAGETABLE_UNMAP));
    CHECK_OK(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 2));
    CHECK_OK(sys_invoke3(t + 1, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 1));
    CHECK_EQ(probe(reads, FAR_ADDRESS + 0x3000), 0x104);
    CHECK_OK(map(f, FAR_ADDRESS + 0x3000, RW));
    CHECK_EQ(probe(reads, FAR_ADDRESS + 0x3000), 0);
    CHECK_OK(delete_cap(t + 2)); /* still mapped in what is gone */
}

/* A VSpace made where another was: references to the old one must not act on it. */
TEST(a_new_address_space_in_old_memory_is_another)
{
    cptr_t u = new_object(OBJ_UNTYPED, 12), v = new_slot(), t = new_objects(OBJ_PAGETABLE, 0, 6);
    cptr_t f = new_object(OBJ_FRAME, FRAME_4K), g = copy_cap(f, RIGHT_ALL);

    for (unsigned i = 0; i < 2; i++) {
        CHECK_OK(sys_retype(IPC, u, OBJ_VSPACE, 0, SLOT_CNODE, v, 1));
        for (unsigned level = 3; level >= 1; level--)
            CHECK_OK(sys_invoke3(t + 3 * i + level - 1, PAGETABLE_MAP, v, 0, level));
        CHECK_OK(sys_invoke3(i ? g : f, FRAME_MAP, v, 0, RW));
        if (i == 0)
            CHECK_OK(delete_cap(v));
    }
    CHECK_OK(sys_invoke0(f, FRAME_UNMAP)); /* of the first space: nothing happens in the second */
    CHECK_EQ(sys_invoke3(f, FRAME_MAP, v, 0, RW), ERR_ALREADY_MAPPED);
    CHECK_OK(sys_invoke0(t, PAGETABLE_UNMAP));
    CHECK_EQ(sys_invoke3(f, FRAME_MAP, v, 0, RW), ERR_ALREADY_MAPPED);
    CHECK_OK(sys_invoke0(g, FRAME_UNMAP));
    CHECK_OK(sys_invoke3(f, FRAME_MAP, v, 0, RW));
}

TEST(address_spaces_are_separate)
{
    struct process p, q;

    CHECK(set_up() && process_make(&p, TEST_UNTYPED, 100, 0) && process_make(&q, TEST_UNTYPED, 100, 0));
    CHECK_OK(process_call(&p, (uint64_t)SYS_NULL, 0, 0, 0, 0)); /* same addresses, different pages */
    CHECK_OK(process_call(&q, 0ul - 99, 0, 0, 0, 0));
    root_priority(1);
    root_priority(255);
    CHECK_EQ(p.script->result, ERR_OK);
    CHECK_EQ(q.script->result, ERR_BAD_SYSCALL);
    CHECK_EQ(probe(reads, PROCESS_ADDRESS), 0x104);
}

TEST(boot_modules_are_mapped_read_only)
{
    cptr_t f = boot->module[0].cap, t = new_object(OBJ_PAGETABLE, 0);

    CHECK(set_up());
    CHECK(boot->module[0].frames == 1 && boot->module[0].bytes > 1000);
    CHECK_OK(sys_invoke3(t, PAGETABLE_MAP, SLOT_VSPACE, FAR_ADDRESS, 2));
    CHECK_OK(map(f, FAR_ADDRESS, RIGHT_ALL));
    CHECK_EQ(*(uint32_t *)FAR_ADDRESS, 0x464c457f);
    CHECK_EQ(probe(writes, FAR_ADDRESS), 0x107);
    CHECK_EQ(probe(jumps, FAR_ADDRESS), 0x115);
    CHECK_OK(sys_invoke0(f, FRAME_UNMAP));
}
