/* SPDX-License-Identifier: BSD-2-Clause */
/* The 16550A: what Linux's 8250 driver probes, interrupts and their priorities, FIFOs, loopback,
 * back-pressure. */
// USES: servers/vmm/dev/*.c
#include "rig.h"

#include <string.h>

#define COM 0x3f8
enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static uint8_t get(struct rig *r, unsigned reg)
{
    return in8(r, (uint16_t)(COM + reg));
}

static void put(struct rig *r, unsigned reg, uint8_t v)
{
    out8(r, (uint16_t)(COM + reg), v);
}

static size_t give(struct rig *r, const char *text)
{
    return machine_give(&r->m, NULL, r->now, (const uint8_t *)text, strlen(text));
}

static bool irq4(const struct rig *r)
{
    return r->m.lines.level >> 4 & 1;
}

/* 115200 8N1, FIFOs with trigger level 14, OUT2 as a PC driver sets it. */
static void set_up(struct rig *r, uint8_t fcr, uint8_t ier)
{
    rig_init(r);
    rig_pic(r, 0);
    put(r, LCR, 0x83), put(r, RBR, 1), put(r, IER, 0), put(r, LCR, 3);
    put(r, IIR, fcr);
    put(r, MCR, 0x0b);
    put(r, IER, ier);
}

TEST(uart_linux_autoconfig_finds_a_16550a)
{
    struct rig r;
    rig_init(&r);
    put(&r, IER, 0);
    CHECK_EQ(get(&r, IER) & 15, 0);
    put(&r, IER, 15);
    CHECK_EQ(get(&r, IER) & 15, 15);
    put(&r, IER, 0);
    uint8_t mcr = get(&r, MCR);
    put(&r, MCR, 0x1a); /* loopback, OUT2, RTS */
    CHECK_EQ(get(&r, MSR) & 0xf0, 0x90);
    put(&r, MCR, mcr);
    put(&r, LCR, 0xbf); /* no extended feature register: the divisor shows */
    put(&r, IIR, 0), put(&r, LCR, 0);
    put(&r, IIR, 1);
    CHECK_EQ(get(&r, IIR) >> 6, 3); /* FIFOs work */
    put(&r, IIR, 0);
    CHECK_EQ(get(&r, IIR) >> 6, 0);
    put(&r, IIR, 0x21); /* 64-byte FIFOs of a 16750: not there */
    CHECK_EQ(get(&r, IIR) & 0x20, 0);
}

TEST(uart_registers_read_back)
{
    struct rig r;
    rig_init(&r);
    for (unsigned v = 0; v < 256; v++) {
        put(&r, SCR, (uint8_t)v);
        CHECK_EQ(get(&r, SCR), v);
        put(&r, LCR, (uint8_t)v);
        CHECK_EQ(get(&r, LCR), v);
        put(&r, LCR, 0);
        put(&r, MCR, (uint8_t)v);
        CHECK_EQ(get(&r, MCR), v & 31);
        put(&r, MCR, 0);
        put(&r, IER, (uint8_t)v);
        CHECK_EQ(get(&r, IER), v & 15);
    }
    put(&r, LCR, 0x80);
    put(&r, RBR, 0x34), put(&r, IER, 0x12);
    CHECK_EQ(get(&r, RBR), 0x34);
    CHECK_EQ(get(&r, IER), 0x12);
    put(&r, LSR, 0), put(&r, MSR, 0); /* read-only */
    CHECK_EQ(get(&r, LSR), 0x60);
}

TEST(uart_modem_lines_say_connected)
{
    struct rig r;
    rig_init(&r);
    CHECK_EQ(get(&r, MSR), 0xb0);
}

TEST(uart_sends_in_order)
{
    struct rig r;
    uint8_t out[8];
    set_up(&r, 0xc1, 0);
    for (const char *c = "hello"; *c; c++)
        put(&r, RBR, (uint8_t)*c);
    CHECK_EQ(machine_take(&r.m, NULL, r.now, out, 2), 2);
    CHECK_EQ(machine_take(&r.m, NULL, r.now, out + 2, 6), 3);
    CHECK_MEM_EQ(out, "hello", 5);
    CHECK_EQ(machine_take(&r.m, NULL, r.now, out, 8), 0);
}

TEST(uart_full_ring_holds_the_guest_back_and_loses_nothing)
{
    struct rig r;
    static uint8_t out[UART_OUT_RING];
    for (int fifo = 0; fifo < 2; fifo++) {
        unsigned sent = 0, got = 0;
        set_up(&r, fifo ? 0xc1 : 0, 2);
        put(&r, RBR, (uint8_t)(sent++ * 7)); /* so that the ring does not fill up evenly */
        for (int round = 0; round < 3; round++) {
            while (get(&r, LSR) & 0x20)
                for (int i = 0; i < (fifo ? 16 : 1); i++)
                    put(&r, RBR, (uint8_t)(sent++ * 7));
            CHECK_LT(UART_OUT_RING - 16, uart_waiting(&r.m.uart));
            get(&r, IIR); /* takes the last THRE interrupt, if any */
            CHECK(!irq4(&r));
            size_t n = machine_take(&r.m, NULL, r.now, out, sizeof(out));
            for (size_t i = 0; i < n; i++)
                CHECK_EQ(out[i], (uint8_t)(got++ * 7));
            CHECK(irq4(&r)); /* room again: the guest is told */
            CHECK_EQ(get(&r, IIR) & 15, 2);
        }
        CHECK_EQ(sent, got);
        CHECK_EQ(r.m.uart.overruns, 0);
    }
}

TEST(uart_sending_against_lsr_is_counted)
{
    struct rig r;
    set_up(&r, 0, 0);
    for (int i = 0; i < UART_OUT_RING + 3; i++)
        put(&r, RBR, 0);
    CHECK_EQ(r.m.uart.overruns, 3);
    CHECK_EQ(uart_waiting(&r.m.uart), UART_OUT_RING);
}

TEST(uart_thre_interrupt)
{
    struct rig r;
    set_up(&r, 0xc1, 0);
    CHECK(!irq4(&r));
    put(&r, IER, 2); /* enabling it with an empty register interrupts (Linux's THRE test) */
    CHECK(irq4(&r));
    CHECK_EQ(get(&r, IIR), 0xc2);
    CHECK(!irq4(&r)); /* reading took it */
    CHECK_EQ(get(&r, IIR), 0xc1);
    put(&r, IER, 0), put(&r, IER, 2);
    CHECK_EQ(get(&r, IIR), 0xc2);
    put(&r, RBR, 'x');
    CHECK_EQ(get(&r, IIR), 0xc2); /* sent already */
    put(&r, RBR, 'y');
    put(&r, IER, 0);
    CHECK(!irq4(&r));
}

/* Room for a byte is none for a FIFO of them, but enough without one. */
TEST(uart_whose_fifo_is_switched_off_says_that_it_is_ready)
{
    struct rig r;
    set_up(&r, 0xc1, 2);
    for (int i = 0; i < UART_OUT_RING - 1; i++)
        put(&r, RBR, 0);
    get(&r, IIR);
    CHECK_EQ(get(&r, LSR) & 0x20, 0);
    CHECK(!irq4(&r));
    put(&r, IIR, 0);
    CHECK_EQ(get(&r, LSR) & 0x20, 0x20);
    CHECK(irq4(&r));
    CHECK_EQ(get(&r, IIR), 2);
}

TEST(uart_without_fifo_receives_one_by_one)
{
    struct rig r;
    set_up(&r, 0, 1);
    CHECK_EQ(give(&r, "abc"), 3);
    for (const char *c = "abc"; *c; c++) {
        CHECK(irq4(&r));
        CHECK_EQ(get(&r, IIR), 4);
        CHECK_EQ(get(&r, LSR), 0x61);
        CHECK_EQ(get(&r, RBR), *c);
    }
    CHECK(!irq4(&r));
    CHECK_EQ(get(&r, LSR), 0x60);
}

TEST(uart_trigger_level_and_character_timeout)
{
    static const uint8_t level[] = { 1, 4, 8, 14 };
    for (unsigned i = 0; i < 4; i++) {
        struct rig r;
        check_note("level %u", level[i]);
        set_up(&r, (uint8_t)(i << 6 | 1), 1);
        for (unsigned n = 1; n < level[i]; n++) {
            give(&r, "x");
            CHECK(!irq4(&r));
        }
        if (level[i] > 1) {
            CHECK_EQ(r.m.deadline, r.now + 4 * 86806); /* four characters of ten bits at 115200 */
            rig_wait(&r, 347223);
            CHECK(!irq4(&r));
            rig_wait(&r, 1);
            CHECK_EQ(get(&r, IIR), 0xcc);
            get(&r, RBR);
            CHECK(!irq4(&r)); /* reading restarts it */
            give(&r, "x");
        }
        give(&r, "x");
        CHECK(irq4(&r));
        CHECK_EQ(get(&r, IIR), 0xc4);
    }
}

TEST(uart_timeout_keeps_asking_until_all_is_read)
{
    struct rig r;
    set_up(&r, 0x81, 1);
    give(&r, "abc");
    for (int i = 0; i < 3; i++) {
        rig_wait(&r, MS);
        CHECK(irq4(&r));
        get(&r, RBR);
    }
    rig_wait(&r, MS);
    CHECK(!irq4(&r));
    CHECK_EQ(r.m.deadline, DEV_NEVER);
}

TEST(uart_long_input_waits_outside_the_fifo)
{
    struct rig r;
    char text[UART_IN_RING + 100];
    memset(text, 'q', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    set_up(&r, 0xc1, 1);
    size_t taken = give(&r, text);
    CHECK_EQ(taken, UART_IN_RING);
    CHECK_EQ(give(&r, text), UART_FIFO); /* what moved up made room */
    size_t read = 0;
    while (get(&r, LSR) & 1) {
        CHECK_EQ(get(&r, RBR), 'q');
        read++;
    }
    CHECK_EQ(read, UART_IN_RING + UART_FIFO);
    CHECK_EQ(get(&r, LSR) & 2, 0); /* never an overrun */
}

TEST(uart_loopback_carries_data_and_lines)
{
    struct rig r;
    uint8_t none[4];
    set_up(&r, 0xc7, 0);
    put(&r, MCR, 0x10);
    give(&r, "z"); /* the line is cut off */
    CHECK_EQ(get(&r, LSR), 0x60);
    for (unsigned v = 0; v < 16; v++)
        put(&r, RBR, (uint8_t)(v * 17));
    for (unsigned v = 0; v < 16; v++)
        CHECK_EQ(get(&r, RBR), v * 17);
    CHECK_EQ(machine_take(&r.m, NULL, r.now, none, 4), 0);
    static const uint8_t map[][2] = { { 1, 0x20 }, { 2, 0x10 }, { 4, 0x40 }, { 8, 0x80 } };
    for (int i = 0; i < 4; i++) {
        put(&r, MCR, 0x10 | map[i][0]);
        CHECK_EQ(get(&r, MSR) & 0xf0, map[i][1]);
    }
    put(&r, MCR, 0x0b);
    CHECK_EQ(get(&r, RBR), 'z');
}

TEST(uart_loopback_overruns_and_breaks)
{
    struct rig r;
    set_up(&r, 0xc7, 4);
    put(&r, MCR, 0x18);
    for (int i = 0; i < 17; i++)
        put(&r, RBR, (uint8_t)i);
    CHECK_EQ(get(&r, IIR), 0xc6);
    CHECK_EQ(get(&r, LSR), 0x63);
    CHECK_EQ(get(&r, LSR), 0x61); /* errors are told once */
    CHECK_EQ(get(&r, IIR), 0xc1);
    CHECK_EQ(get(&r, RBR), 0);
    put(&r, LCR, 0x43);
    CHECK_EQ(get(&r, LSR) & 0x10, 0x10);
    put(&r, LCR, 0x03);
}

TEST(uart_modem_deltas)
{
    struct rig r;
    set_up(&r, 0, 8);
    put(&r, MCR, 0x18);
    get(&r, MSR);
    put(&r, MCR, 0x1c); /* RI rises: no delta, only its fall counts */
    CHECK_EQ(get(&r, MSR), 0xc0);
    put(&r, MCR, 0x18);
    CHECK_EQ(get(&r, IIR), 0);
    CHECK_EQ(get(&r, MSR), 0x84);
    CHECK_EQ(get(&r, MSR), 0x80);
    CHECK_EQ(get(&r, IIR), 1);
}

TEST(uart_interrupt_priorities)
{
    struct rig r;
    set_up(&r, 0xc7, 15);
    put(&r, MCR, 0x18);
    for (int i = 0; i < 17; i++)
        put(&r, RBR, 'p');
    put(&r, MCR, 0x10);
    CHECK_EQ(get(&r, IIR), 0xc6);
    get(&r, LSR);
    CHECK_EQ(get(&r, IIR), 0xc4);
    put(&r, IIR, 0xc3);
    CHECK_EQ(get(&r, IIR), 0xc2);
    CHECK_EQ(get(&r, IIR), 0xc0);
    get(&r, MSR);
    CHECK_EQ(get(&r, IIR), 0xc1);
}

TEST(uart_out2_opens_the_interrupt_line)
{
    struct rig r;
    set_up(&r, 0, 1);
    put(&r, MCR, 3);
    give(&r, "a");
    CHECK(!irq4(&r));
    CHECK_EQ(get(&r, IIR), 4);
    put(&r, MCR, 0x0b);
    CHECK(irq4(&r));
    CHECK_EQ(rig_ack(&r), 0x34);
    put(&r, MCR, 0x1b);
    CHECK(!irq4(&r));
}

TEST(uart_interrupt_driven_writer_takes_no_needless_interrupt)
{
    struct rig r;
    set_up(&r, 0xc1, 2);
    CHECK_EQ(rig_ack(&r), 0x34);
    for (int i = 0; i < 10; i++) { /* the driver's loop: look, send 16, look again */
        CHECK_EQ(get(&r, IIR), 0xc2);
        for (int b = 0; b < 16; b++)
            put(&r, RBR, 'w');
    }
    put(&r, IER, 0);
    out8(&r, 0x20, 0x20);
    CHECK_EQ(rig_ack(&r), -1);
}

TEST(uart_switching_fifos_drops_what_they_hold)
{
    struct rig r;
    set_up(&r, 0x81, 0);
    give(&r, "abc");
    put(&r, IIR, 0);
    CHECK_EQ(get(&r, LSR) & 1, 0);
    give(&r, "de");
    put(&r, IIR, 1), put(&r, IIR, 0x83);
    CHECK_EQ(get(&r, LSR) & 1, 0); /* d was in the register, e moved up and was cleared, too */
}
