/* SPDX-License-Identifier: BSD-2-Clause */
/* The 8259 pair: initialisation, priorities, every kind of EOI and rotation, masks, triggering, poll,
 * spurious. */
// USES: servers/vmm/dev/*.c
#include "rig.h"

/* Drives line irq from outside, through the same helper that devices use. */
static void line(struct rig *r, unsigned irq, bool high)
{
    struct dev_ctx ctx = { .now = r->now, .lines = &r->m.lines };
    dev_line(&ctx, irq, high);
    pic_sample(&r->m.pic, &ctx);
}

static void raise(struct rig *r, unsigned irq)
{
    line(r, irq, false);
    line(r, irq, true);
}

static uint8_t isr(struct rig *r)
{
    out8(r, 0x20, 0x0b);
    uint8_t v = in8(r, 0x20);
    out8(r, 0x20, 0x0a);
    return v;
}

TEST(pic_before_initialisation_is_silent)
{
    struct rig r;
    rig_init(&r);
    raise(&r, 3);
    CHECK(!machine_intr(&r.m));
    CHECK_EQ(in8(&r, 0x20) & 8, 8);
}

TEST(pic_linux_probe_reads_back_its_mask)
{
    struct rig r;
    rig_init(&r);
    out8(&r, 0xa1, 0xff);
    out8(&r, 0x21, 0xfb);
    CHECK_EQ(in8(&r, 0x21), 0xfb);
    CHECK_EQ(in8(&r, 0xa1), 0xff);
}

TEST(pic_vectors_follow_icw2_and_lines)
{
    for (unsigned irq = 0; irq < 16; irq++) {
        struct rig r;
        rig_init(&r);
        rig_pic(&r, 0);
        if (irq == 2)
            continue; /* the cascade */
        check_note("irq %u", irq);
        raise(&r, irq);
        CHECK_EQ(rig_ack(&r), 0x30 + (int)irq);
        CHECK_EQ(isr(&r), irq < 8 ? 1u << irq : 4);
        CHECK(!machine_intr(&r.m));
    }
}

TEST(pic_single_and_without_icw4_expect_fewer_words)
{
    struct rig r;
    rig_init(&r);
    out8(&r, 0x20, 0x12); /* single, no ICW4 */
    out8(&r, 0x21, 0x47);
    out8(&r, 0x21, 0xfe); /* is the mask already */
    CHECK_EQ(in8(&r, 0x21), 0xfe);
    raise(&r, 0);
    CHECK_EQ(rig_ack(&r), 0x40);
}

TEST(pic_icw1_clears_masks_service_and_latched_edges)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    raise(&r, 3);
    raise(&r, 4);
    CHECK_EQ(rig_ack(&r), 0x33);
    rig_pic(&r, 0);
    CHECK_EQ(isr(&r), 0);
    CHECK_EQ(rig_ack(&r), -1); /* line 4 is still high, but there was no edge since */
    raise(&r, 4);
    CHECK_EQ(rig_ack(&r), 0x34);
}

TEST(pic_fixed_priority_nests)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    raise(&r, 5);
    raise(&r, 3);
    CHECK_EQ(rig_ack(&r), 0x33);
    CHECK_EQ(rig_ack(&r), -1); /* 5 waits for 3 */
    raise(&r, 1);
    CHECK_EQ(rig_ack(&r), 0x31); /* 1 does not */
    CHECK_EQ(isr(&r), 0x0a);
    out8(&r, 0x20, 0x20); /* ends 1 */
    CHECK_EQ(isr(&r), 0x08);
    CHECK_EQ(rig_ack(&r), -1);
    out8(&r, 0x20, 0x20);
    CHECK_EQ(rig_ack(&r), 0x35);
}

TEST(pic_slave_takes_two_ends_of_interrupt)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    raise(&r, 12);
    raise(&r, 14);
    CHECK_EQ(rig_ack(&r), 0x3c);
    raise(&r, 8);
    CHECK_EQ(rig_ack(&r), -1); /* the master serves line 2, fully nested */
    out8(&r, 0x20, 0x62);
    CHECK_EQ(rig_ack(&r), 0x38);
    out8(&r, 0x20, 0x62);
    CHECK_EQ(rig_ack(&r), -1);
    out8(&r, 0xa0, 0x20); /* ends 8 */
    out8(&r, 0xa0, 0x20); /* ends 12 */
    CHECK_EQ(rig_ack(&r), 0x3e);
}

TEST(pic_special_fully_nested_lets_a_better_slave_line_through)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    out8(&r, 0x20, 0x11), out8(&r, 0x21, 0x30), out8(&r, 0x21, 4), out8(&r, 0x21, 0x11);
    raise(&r, 12);
    CHECK_EQ(rig_ack(&r), 0x3c);
    raise(&r, 13);
    CHECK_EQ(rig_ack(&r), -1);
    raise(&r, 8);
    CHECK_EQ(rig_ack(&r), 0x38);
}

TEST(pic_specific_end_of_interrupt_ends_that_one)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    raise(&r, 6), rig_ack(&r);
    raise(&r, 1), rig_ack(&r);
    out8(&r, 0x20, 0x66);
    CHECK_EQ(isr(&r), 0x02);
}

TEST(pic_rotations)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    raise(&r, 3), rig_ack(&r);
    out8(&r, 0x20, 0xa0); /* rotate on non-specific end: 3 is lowest, 4 highest */
    raise(&r, 0);
    raise(&r, 5);
    CHECK_EQ(rig_ack(&r), 0x35);
    out8(&r, 0x20, 0xe5); /* rotate on specific end: 5 is lowest */
    raise(&r, 7);
    CHECK_EQ(rig_ack(&r), 0x37);
    out8(&r, 0x20, 0x20);
    CHECK_EQ(isr(&r), 0); /* the best in service by the present order */
    out8(&r, 0x20, 0xc7); /* set priority: 7 is lowest, as at first */
    raise(&r, 7);
    CHECK_EQ(rig_ack(&r), 0x30);
}

TEST(pic_automatic_end_of_interrupt_leaves_nothing_in_service)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    out8(&r, 0x20, 0x11), out8(&r, 0x21, 0x30), out8(&r, 0x21, 4), out8(&r, 0x21, 3);
    raise(&r, 3);
    CHECK_EQ(rig_ack(&r), 0x33);
    CHECK_EQ(isr(&r), 0);
    raise(&r, 5);
    CHECK_EQ(rig_ack(&r), 0x35);
    out8(&r, 0x20, 0x80); /* rotate in automatic mode */
    raise(&r, 3), rig_ack(&r);
    raise(&r, 2 + 3), raise(&r, 3);
    CHECK_EQ(rig_ack(&r), 0x35);
    out8(&r, 0x20, 0x00); /* and no more */
    CHECK_EQ(rig_ack(&r), 0x33);
}

TEST(pic_mask_holds_back_and_keeps_the_edge)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0xffff);
    raise(&r, 4);
    CHECK_EQ(rig_ack(&r), -1);
    CHECK_EQ(in8(&r, 0x20) & 0x10, 0x10);
    out8(&r, 0x21, 0xef);
    CHECK_EQ(rig_ack(&r), 0x34);
}

TEST(pic_masked_tells_also_of_the_cascade)
{
    struct rig r;
    rig_init(&r);
    CHECK(pic_masked(&r.m.pic, 0));
    rig_pic(&r, 0x0104);
    CHECK(!pic_masked(&r.m.pic, 0));
    CHECK(pic_masked(&r.m.pic, 8));
    CHECK(pic_masked(&r.m.pic, 9));
    out8(&r, 0x21, 0);
    CHECK(!pic_masked(&r.m.pic, 9));
    CHECK(pic_masked(&r.m.pic, 8));
}

TEST(pic_special_mask_mode_opens_lower_levels)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    raise(&r, 3), rig_ack(&r);
    raise(&r, 6);
    CHECK_EQ(rig_ack(&r), -1);
    out8(&r, 0x21, 0x08);
    out8(&r, 0x20, 0x68);
    CHECK_EQ(rig_ack(&r), 0x36);
    out8(&r, 0x20, 0x20); /* ends 6: 3 is masked, so it does not count */
    CHECK_EQ(isr(&r), 0x08);
    out8(&r, 0x20, 0x48); /* special mask mode off */
    raise(&r, 6);
    CHECK_EQ(rig_ack(&r), -1);
}

TEST(pic_edge_request_goes_with_its_line)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    raise(&r, 4);
    CHECK(machine_intr(&r.m));
    line(&r, 4, false);
    CHECK(!machine_intr(&r.m));
    CHECK_EQ(machine_ack(&r.m, NULL, r.now), 0x37); /* asked all the same: spurious, */
    CHECK_EQ(isr(&r), 0);                           /* and nothing is in service */
}

TEST(pic_edge_comes_once)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    raise(&r, 4);
    CHECK_EQ(rig_ack(&r), 0x34);
    out8(&r, 0x20, 0x20);
    CHECK_EQ(rig_ack(&r), -1);
}

TEST(pic_level_line_asks_until_it_falls)
{
    struct rig r;
    rig_init(&r);
    out8(&r, 0x4d1, 0xff);
    out8(&r, 0x4d0, 0xff);
    CHECK_EQ(in8(&r, 0x4d0), 0xf8);
    CHECK_EQ(in8(&r, 0x4d1), 0xde);
    rig_pic(&r, 0);
    line(&r, 11, true);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(rig_ack(&r), 0x3b);
        out8(&r, 0xa0, 0x20);
        out8(&r, 0x20, 0x20);
    }
    line(&r, 11, false);
    CHECK_EQ(rig_ack(&r), -1);
}

TEST(pic_poll_acknowledges)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    out8(&r, 0x20, 0x0c);
    CHECK_EQ(in8(&r, 0x20), 0);
    raise(&r, 5);
    raise(&r, 10);
    out8(&r, 0x20, 0x0c);
    CHECK_EQ(in8(&r, 0x20), 0x82);
    out8(&r, 0xa0, 0x0c);
    CHECK_EQ(in8(&r, 0xa0), 0x82);
    CHECK_EQ(isr(&r), 4);
    CHECK(!machine_intr(&r.m));
    CHECK_EQ(in8(&r, 0x21), 0); /* the mask again, not a poll */
}

TEST(pic_cascade_shows_in_the_masters_requests)
{
    struct rig r;
    rig_init(&r);
    rig_pic(&r, 0);
    raise(&r, 9);
    CHECK_EQ(in8(&r, 0x20) & 4, 4);
    CHECK_EQ(in8(&r, 0xa0), 2);
    out8(&r, 0xa1, 2);
    CHECK_EQ(in8(&r, 0x20) & 4, 0);
}
