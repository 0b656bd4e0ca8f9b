/* SPDX-License-Identifier: BSD-2-Clause */
/* Untyped memory and Retype: every object type, every refusal, no overlap, no stale data, reuse only when all
 * is free. Placement and zeroing under random load are in tests/host/kernel/test_tree.c. */
#include "support/harness.h"

static err_t retype(cptr_t u, unsigned type, unsigned bits, uint64_t slot, uint64_t count)
{
    return sys_retype(IPC, u, type, bits, SLOT_CNODE, slot, count);
}

static cptr_t small_untyped(unsigned bits)
{
    return new_object(OBJ_UNTYPED, bits);
}

static const struct {
    uint8_t type, bits;
} makeable[] = {
    { OBJ_UNTYPED, 12 },  { OBJ_CNODE, 4 },      { OBJ_TCB, 0 },          { OBJ_SCHED, 0 },
    { OBJ_ENDPOINT, 0 },  { OBJ_REPLY, 0 },      { OBJ_NOTIFICATION, 0 }, { OBJ_TIMER, 0 },
    { OBJ_FRAME, 12 },    { OBJ_FRAME, 21 },     { OBJ_RANGE, 14 },       { OBJ_VSPACE, 0 },
    { OBJ_PAGETABLE, 0 }, { OBJ_GUESTSPACE, 0 }, { OBJ_VM, 0 },           { OBJ_VCPU, 0 },
    { OBJ_SHADOW, 0 },
};
#define MAKEABLE (sizeof(makeable) / sizeof(makeable[0]))

TEST(every_type_is_made_dumped_and_deleted)
{
    for (unsigned i = 0; i < MAKEABLE; i++) {
        cptr_t o = new_objects(makeable[i].type, makeable[i].bits, 2);
        CHECK(o);
        CHECK_OK(sys_invoke1(SLOT_KERNEL, KERNEL_DUMP, o));
        CHECK_OK(delete_cap(o + 1));
        CHECK_OK(delete_cap(o));
        CHECK_EQ(sys_invoke1(SLOT_KERNEL, KERNEL_DUMP, o), ERR_NO_CAP);
    }
}

TEST(retype_arguments_out_of_range_are_range_errors)
{
    static const struct {
        uint64_t type, bits, count;
    } rows[] = {
        { OBJ_NULL, 0, 1 },
        { OBJ_VIEW, 0, 1 },
        { OBJ_IRQ, 0, 1 },
        { OBJ_IRQCONTROL, 0, 1 },
        { OBJ_IOPORT, 0, 1 },
        { OBJ_SCHEDCONTROL, 0, 1 },
        { OBJ_KERNEL, 0, 1 },
        { OBJ_TYPES, 0, 1 },
        { OBJ_ENDPOINT, 0, 0 },
        { OBJ_ENDPOINT, 0, RETYPE_MAX + 1 },
        { OBJ_ENDPOINT, 0, 1ul << 63 },
        { OBJ_ENDPOINT, 6, 1 },
        { OBJ_TCB, 12, 1 },
        { OBJ_UNTYPED, 5, 1 },
        { OBJ_UNTYPED, 39, 1 },
        { OBJ_CNODE, 0, 1 },
        { OBJ_CNODE, 17, 1 },
        { OBJ_CNODE, 64, 1 },
        { OBJ_RANGE, 11, 1 },
        { OBJ_RANGE, 31, 1 },
        { OBJ_FRAME, 0, 1 },
        { OBJ_FRAME, 13, 1 },
        { OBJ_FRAME, 30, 1 },
        { OBJ_FRAME, 268, 1 },
        { OBJ_TYPES + 256, 0, 1 },
    };
    cptr_t slot = new_slot();
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sys_message m = { .tag = TAG(UNTYPED_RETYPE, 5),
                                 .w = { rows[i].type, rows[i].bits, SLOT_CNODE, slot } };
        IPC->words[4] = rows[i].count;
        CHECK_EQ(sys_call(TEST_UNTYPED, &m), ERR_RANGE);
    }
    CHECK_EQ(retype(TEST_UNTYPED, OBJ_ENDPOINT, 0, 0, 1), ERR_RANGE);
    CHECK_EQ(retype(TEST_UNTYPED, OBJ_ENDPOINT, 0, 1ul << ROOT_CNODE_BITS, 1), ERR_RANGE);
    CHECK_EQ(retype(TEST_UNTYPED, OBJ_ENDPOINT, 0, (1ul << ROOT_CNODE_BITS) - 1, 2), ERR_RANGE);
    CHECK_EQ(retype(TEST_UNTYPED, OBJ_ENDPOINT, 0, ~0ul, 2), ERR_RANGE);
    CHECK_OK(retype(TEST_UNTYPED, OBJ_ENDPOINT, 0, (1ul << ROOT_CNODE_BITS) - 1, 1));
    CHECK_OK(delete_cap((1ul << ROOT_CNODE_BITS) - 1));
}

TEST(retype_needs_an_empty_writable_cnode)
{
    cptr_t weak = copy_cap(SLOT_CNODE, RIGHT_READ), ep = new_object(OBJ_ENDPOINT, 0);

    CHECK(weak && ep);
    CHECK_EQ(sys_retype(IPC, TEST_UNTYPED, OBJ_ENDPOINT, 0, weak, new_slot(), 1), ERR_NO_RIGHT);
    CHECK_EQ(sys_retype(IPC, TEST_UNTYPED, OBJ_ENDPOINT, 0, ep, new_slot(), 1), ERR_WRONG_TYPE);
    CHECK_EQ(sys_retype(IPC, TEST_UNTYPED, OBJ_ENDPOINT, 0, new_slot(), new_slot(), 1), ERR_NO_CAP);
    CHECK_EQ(retype(TEST_UNTYPED, OBJ_ENDPOINT, 0, ep, 1), ERR_SLOT_OCCUPIED);
    CHECK_EQ(retype(TEST_UNTYPED, OBJ_ENDPOINT, 0, ep - 1, 2), ERR_SLOT_OCCUPIED);
}

TEST(memory_that_is_not_there_is_no_memory)
{
    cptr_t u = small_untyped(13), slots = new_slots(8);

    CHECK(u);
    CHECK_EQ(retype(u, OBJ_FRAME, FRAME_2M, slots, 1), ERR_NO_MEMORY);
    CHECK_EQ(retype(u, OBJ_FRAME, FRAME_4K, slots, 3), ERR_NO_MEMORY);
    CHECK_EQ(retype(u, OBJ_UNTYPED, 14, slots, 1), ERR_NO_MEMORY);
    CHECK_OK(retype(u, OBJ_ENDPOINT, 0, slots, 1));
    CHECK_EQ(retype(u, OBJ_FRAME, FRAME_4K, slots + 1, 2),
             ERR_NO_MEMORY); /* alignment costs the first page */
    CHECK_EQ(retype(u, OBJ_UNTYPED, 13, slots + 1, 1), ERR_NO_MEMORY);
    CHECK_OK(retype(u, OBJ_FRAME, FRAME_4K, slots + 1, 1));
    CHECK_EQ(retype(u, OBJ_ENDPOINT, 0, slots + 2, 1), ERR_NO_MEMORY);
}

#define PAGES 32

TEST(objects_do_not_overlap)
{
    cptr_t u = small_untyped(18), frames[PAGES];

    CHECK(u && map_tables(SLOT_VSPACE, TEST_ADDRESS));
    for (unsigned i = 0; i < PAGES; i++) { /* endpoints between the frames, so that alignment is at work */
        cptr_t s = new_slots(2);
        CHECK_OK(retype(u, OBJ_FRAME, FRAME_4K, s, 1));
        if (i % 3 == 0)
            CHECK_OK(retype(u, OBJ_NOTIFICATION, 0, s + 1, 1));
        frames[i] = s;
        volatile uint64_t *page = (uint64_t *)(TEST_ADDRESS + i * PAGE_BYTES);
        CHECK_OK(sys_invoke3(s, FRAME_MAP, SLOT_VSPACE, (uint64_t)page, RIGHT_READ | RIGHT_WRITE));
        for (unsigned w = 0; w < 512; w++) {
            CHECK_EQ(page[w], 0);
            page[w] = i << 16 | w;
        }
        if (i % 3 == 0)
            CHECK_OK(sys_signal(s + 1));
    }
    for (unsigned i = 0; i < PAGES; i++)
        for (unsigned w = 0; w < 512; w++)
            CHECK_EQ(((volatile uint64_t *)(TEST_ADDRESS + i * PAGE_BYTES))[w], i << 16 | w);
    for (unsigned i = 0; i < PAGES; i += 3)
        CHECK_EQ(sys_wait(frames[i] + 1), 1);
}

TEST(used_memory_comes_back_zero)
{
    cptr_t u = small_untyped(16), slots = new_slots(16);

    CHECK(u && map_tables(SLOT_VSPACE, TEST_ADDRESS));
    for (unsigned round = 0; round < 3; round++) {
        CHECK_OK(retype(u, OBJ_FRAME, FRAME_4K, slots, 16));
        for (unsigned i = 0; i < 16; i++) {
            uint64_t *page = (uint64_t *)(TEST_ADDRESS + i * PAGE_BYTES);
            CHECK_OK(
                sys_invoke3(slots + i, FRAME_MAP, SLOT_VSPACE, (uint64_t)page, RIGHT_READ | RIGHT_WRITE));
            for (unsigned w = 0; w < 512; w++) {
                CHECK_EQ(page[w], 0);
                page[w] = ~0ul;
            }
        }
        CHECK_OK(sys_invoke1(SLOT_CNODE, CNODE_REVOKE, u));
    }
}

TEST(memory_of_a_child_untyped_comes_back_zero)
{
    cptr_t u = small_untyped(14), child = new_slot(), frame = new_slot();
    volatile uint64_t *page = (uint64_t *)TEST_ADDRESS;

    CHECK(u && map_tables(SLOT_VSPACE, TEST_ADDRESS));
    for (unsigned round = 0; round < 4; round++) {
        CHECK_OK(retype(u, OBJ_UNTYPED, 13, child, 1));
        CHECK_OK(retype(child, OBJ_FRAME, FRAME_4K, frame, 1));
        CHECK_OK(sys_invoke3(frame, FRAME_MAP, SLOT_VSPACE, (uint64_t)page, RIGHT_READ | RIGHT_WRITE));
        CHECK_EQ(page[3], 0);
        page[3] = 77;
        if (round & 1) /* the frame alone, then its untyped, or all at once */
            CHECK_OK(delete_cap(frame));
        CHECK_OK(round & 2 ? delete_cap(child) : sys_invoke1(SLOT_CNODE, CNODE_REVOKE, u));
    }
}

TEST(memory_is_reused_only_when_nothing_is_left)
{
    cptr_t u = small_untyped(13), s = new_slots(4);

    CHECK(u);
    CHECK_OK(retype(u, OBJ_FRAME, FRAME_4K, s, 2));
    CHECK_OK(delete_cap(s));
    CHECK_EQ(retype(u, OBJ_FRAME, FRAME_4K, s, 1), ERR_NO_MEMORY);
    CHECK_OK(delete_cap(s + 1));
    CHECK_OK(retype(u, OBJ_UNTYPED, 13, s, 1));
    CHECK_OK(retype(s, OBJ_FRAME, FRAME_4K, s + 1, 2));
    CHECK_EQ(retype(u, OBJ_FRAME, FRAME_4K, s + 3, 1), ERR_NO_MEMORY);
    CHECK_OK(delete_cap(s)); /* the untyped takes what it made with it */
    CHECK_OK(retype(u, OBJ_FRAME, FRAME_4K, s, 2));
}

TEST(long_zeroing_is_done_by_parts)
{
    cptr_t u = small_untyped(23), s = new_slots(4);

    CHECK(u && map_tables(SLOT_VSPACE, TEST_ADDRESS));
    CHECK_OK(retype(u, OBJ_RANGE, 22, s, 1)); /* 1024 pages: preempted and executed again */
    CHECK_OK(retype(u, OBJ_FRAME, FRAME_2M, s + 1, 2));
    CHECK_EQ(retype(u, OBJ_FRAME, FRAME_4K, s + 3, 1), ERR_NO_MEMORY);
}

TEST(derivation_by_retype_has_a_limit)
{
    cptr_t u = small_untyped(16);
    unsigned depth = 0;
    err_t e = ERR_OK;

    CHECK(u);
    for (; depth < 200 && e == ERR_OK; depth++) {
        cptr_t child = new_slot();
        e = retype(u, OBJ_UNTYPED, 16, child, 1);
        u = child;
    }
    CHECK_EQ(e, ERR_TOO_DEEP);
    CHECK(depth <= DERIVE_DEPTH_MAX);
}

static const struct umbra_boot_untyped *device_untyped(uint64_t address)
{
    for (unsigned i = 0; i < boot->untyped_count; i++) {
        const struct umbra_boot_untyped *u = &boot->untyped[i];
        if (u->device && address >= u->address && address - u->address < 1ul << u->bits)
            return u;
    }
    return NULL;
}

TEST(device_memory_makes_frames_only)
{
    const struct umbra_boot_untyped *d = device_untyped(0xfed00000);
    cptr_t s = new_slots(2);

    CHECK(d);
    for (unsigned i = 0; i < MAKEABLE; i++)
        if (makeable[i].type != OBJ_FRAME && makeable[i].type != OBJ_UNTYPED)
            CHECK_EQ(retype(d->cap, makeable[i].type, makeable[i].bits, s, 1), ERR_DEVICE_MEMORY);
    CHECK_OK(retype(d->cap, OBJ_UNTYPED, 12, s, 1));
    CHECK_EQ(retype(s, OBJ_ENDPOINT, 0, s + 1, 1), ERR_DEVICE_MEMORY);
    CHECK_OK(retype(s, OBJ_FRAME, FRAME_4K, s + 1, 1));
}

TEST(a_device_register_can_be_read)
{
    const struct umbra_boot_untyped *d = device_untyped(0xfed00000); /* HPET of the q35 machine */
    cptr_t gap = new_slots(300), frame = gap + 299;

    CHECK(d && map_tables(SLOT_VSPACE, TEST_ADDRESS));
    CHECK_EQ(0xfed00000 - d->address, 0);
    CHECK_OK(retype(d->cap, OBJ_FRAME, FRAME_4K, frame, 1));
    CHECK_OK(sys_invoke3(frame, FRAME_MAP, SLOT_VSPACE, TEST_ADDRESS, RIGHT_READ));
    CHECK_EQ(*(volatile uint32_t *)TEST_ADDRESS >> 16, 0x8086);
}

TEST(device_memory_has_no_interrupt_controller_and_ram_no_address)
{
    CHECK(!device_untyped(0xfee00000));
    CHECK(!device_untyped(0xfec00000));
    CHECK(!device_untyped(0x100000));
    for (unsigned i = 0; i < boot->untyped_count; i++)
        CHECK(boot->untyped[i].device || boot->untyped[i].address == 0);
}
