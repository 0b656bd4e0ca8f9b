/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: the pair of interrupt controllers. Beside device.h's oracles: masks and trigger modes read as
 * they were written, by a reading of the initialisation sequence of its own; an interrupt that waits is one
 * that is not masked. */
// USES: servers/vmm/dev/*.c tests/fuzz/support/device.c
#include "support/device.h"

#include <string.h>

static struct {
    uint8_t mask, trigger, words; /* words: bits 2, 3, 4: such an ICW is expected */
    bool known;                   /* it has been initialised */
} chip[2];

static void begin(void)
{
    memset(chip, 0, sizeof(chip));
}

static void write_data(unsigned c, uint8_t v)
{
    if (chip[c].words & 4)
        chip[c].words &= (uint8_t)~4;
    else if (chip[c].words & 8)
        chip[c].words &= (uint8_t)~8;
    else if (chip[c].words & 16)
        chip[c].words = 0;
    else
        chip[c].mask = v;
}

static void told_byte(bool write, unsigned port, uint8_t v)
{
    static const uint8_t level[2] = { 0xf8, 0xde };
    unsigned c = port >> 7 & 1;

    if (port == 0x4d0 || port == 0x4d1) {
        c = port & 1;
        chip[c].trigger = write ? v & level[c] : chip[c].trigger;
        CHECK_EQ(write ? chip[c].trigger : v, chip[c].trigger);
    } else if (port & 1 && write) {
        write_data(c, v);
    } else if (write && v & 0x10) {
        chip[c].words = (uint8_t)(4 | (v & 2 ? 0 : 8) | (v & 1 ? 16 : 0));
        chip[c].mask = 0;
        chip[c].known = true;
    }
}

static void told(const struct machine *m, bool write, uint16_t port, unsigned width, uint32_t value)
{
    for (unsigned i = 0; i < width; i++)
        if (port + i == 0x20 || port + i == 0x21 || port + i == 0xa0 || port + i == 0xa1 ||
            port + i == 0x4d0 || port + i == 0x4d1)
            told_byte(write, port + i, (uint8_t)(value >> 8 * i));
    for (unsigned c = 0; c < 2; c++)
        if (chip[c].known && !chip[c].words)
            CHECK_EQ(m->pic.chip[c].imr, chip[c].mask);
}

static bool asks(const struct pic_chip *p)
{
    return (p->edge | (p->level & p->elcr)) & ~p->imr & 0xff;
}

static void check(const struct machine *m, uint64_t now)
{
    (void)now;
    for (unsigned c = 0; c < 2; c++) {
        const struct pic_chip *p = &m->pic.chip[c];
        CHECK(p->lowest < 8 && p->icw <= 4);
        CHECK_EQ(p->elcr, chip[c].trigger);
    }
    if (pic_intr(&m->pic))
        CHECK(asks(&m->pic.chip[0]) || (asks(&m->pic.chip[1]) && !(m->pic.chip[0].imr & 4)));
}

static const uint16_t ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x43 };
const struct fuzz_device fuzz_device = {
    .port = ports, .ports = 8, .told = told, .check = check, .begin = begin
};
