/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: the serial port. Beside device.h's oracles: registers that only keep what is written read so;
 * rings and FIFO hold no more than they have room for; the interrupt line is what IIR and OUT2 say. */
// USES: servers/vmm/dev/*.c tests/fuzz/support/device.c
#include "support/device.h"

#include <string.h>

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static uint8_t kept[8], divisor[2];

static void begin(void)
{
    memset(kept, 0, sizeof(kept));
    divisor[0] = 12;
    divisor[1] = 0;
}

static void told_byte(bool write, unsigned reg, uint8_t v)
{
    static const uint8_t keeps[8] = { [IER] = 0x0f, [LCR] = 0xff, [MCR] = 0x1f, [SCR] = 0xff };
    bool latch = reg <= IER && kept[LCR] & 0x80;

    if (latch && write)
        divisor[reg] = v;
    else if (latch)
        CHECK_EQ(v, divisor[reg]);
    else if (keeps[reg] && write)
        kept[reg] = v & keeps[reg];
    else if (keeps[reg])
        CHECK_EQ(v, kept[reg]);
}

static void told(const struct machine *m, bool write, uint16_t port, unsigned width, uint32_t value)
{
    (void)m;
    for (unsigned i = 0; i < width; i++)
        if (port + i >= 0x3f8 && port + i <= 0x3ff)
            told_byte(write, port + i - 0x3f8, (uint8_t)(value >> 8 * i));
}

static void check(const struct machine *m, uint64_t now)
{
    static struct machine copy;
    const struct uart *u = &m->uart;

    CHECK_LE(u->rx_count, u->fcr & 1 ? UART_FIFO : 1);
    CHECK_LT(u->rx_head, UART_FIFO);
    CHECK_LE(u->out_head - u->out_tail, UART_OUT_RING);
    CHECK_LE(u->in_head - u->in_tail, UART_IN_RING);
    if (u->timeout_at <= now) /* what is due shows at the next look */
        return;
    copy = *m;
    bool pending = !(machine_in(&copy, NULL, now, 0x3f8 + IIR, 1) & 1), gate = (u->mcr & 0x18) == 8;
    CHECK_EQ(m->lines.level >> 4 & 1, pending && gate);
}

static const uint16_t ports[] = { 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff };
const struct fuzz_device fuzz_device = {
    .port = ports, .ports = 8, .told = told, .check = check, .begin = begin
};
