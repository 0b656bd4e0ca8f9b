/* SPDX-License-Identifier: BSD-2-Clause */
/* console: the host's serial port for all guests, by interrupt, both directions.
 *
 * Each guest has an output ring (read here) and an input ring (written here); nobody calls anybody. Entries
 * of the output ring are shown only up to the guest's last answered exit (I8): its VMM signals again at its
 * next exit. One guest: the line carries its bytes and nothing else. Several: FFh n selects guest n for what
 * follows, FFh FFh is a byte FFh, in both directions (docs/architecture.md, "Console line"). Ring contents
 * are the guests': positions and lengths are checked, never trusted. */
#include <stdio.h>
#include <stdlib.h>

#include "component/component.h"
#include "console_component.h"
#include "supervisor.h"
#include "sys/sys.h"
#include <umbra/vcpu.h>

#define GUESTS      16u
#define QUEUE_BYTES 4096u /* to the line */
#define ESCAPE      0xffu
#define FIFO_BYTES  16

/* 16550 registers and bits, from the first port of the grant. */
enum { UART_DATA, UART_IER, UART_IIR_FCR, UART_LCR, UART_MCR, UART_LSR };
enum { IER_RX = 1, IER_TX = 2, LSR_RX = 1, LSR_TX_EMPTY = 0x20 };
#define COM1 0x3f8

struct console {
    const struct console_config *config;
    bool framed; /* several guests on the line */
    uint8_t queue[QUEUE_BYTES];
    uint32_t head, count;        /* queue */
    uint32_t sending, receiving; /* selected guest; GUESTS: none */
    bool escape;                 /* the last byte received was ESCAPE */
    uint8_t ier;
    uint64_t taken[GUESTS]; /* output entries; part of one: */
    uint32_t offset[GUESTS];
};

static uint8_t port_in(unsigned reg)
{
    uint64_t value = 0;
    sys_invoke(CAP_SERIAL_PORTS, IOPORT_IN, 2, COM1 + reg, 1, 0, 0, &value);
    return value;
}

static void port_out(unsigned reg, uint8_t value)
{
    sys_invoke3(CAP_SERIAL_PORTS, IOPORT_OUT, COM1 + reg, 1, value);
}

/* --- to the line --- */

static uint32_t room(const struct console *c)
{
    return QUEUE_BYTES - c->count;
}

static void put(struct console *c, uint8_t byte)
{
    c->queue[(c->head + c->count++) % QUEUE_BYTES] = byte;
}

static void set_ier(struct console *c, uint8_t ier)
{
    if (c->ier == ier)
        return;
    c->ier = ier;
    port_out(UART_IER, ier);
}

static void transmit(struct console *c)
{
    while (c->count && (port_in(UART_LSR) & LSR_TX_EMPTY))
        for (unsigned i = 0; i < FIFO_BYTES && c->count; i++) {
            port_out(UART_DATA, c->queue[c->head]);
            c->head = (c->head + 1) % QUEUE_BYTES;
            c->count--;
        }
    set_ier(c, c->count ? IER_RX | IER_TX : IER_RX);
}

static bool connected(uint64_t mask, uint32_t guest)
{
    return mask >> guest & 1;
}

static uint64_t answered(uint32_t guest)
{
    const volatile struct umbra_vm_public *p = (const volatile void *)GUESTS_ADDRESS(guest);
    return p->answered;
}

/* One entry, as far as there is room. False: the queue is full. */
static bool take_entry(struct console *c, uint32_t guest, const volatile struct console_entry *e)
{
    uint32_t length = e->length;

    if (length > CONSOLE_ENTRY_DATA)
        length = CONSOLE_ENTRY_DATA;
    for (; c->offset[guest] < length; c->offset[guest]++) {
        if (room(c) < 4)
            return false;
        uint8_t byte = e->data[c->offset[guest]];
        if (c->framed && c->sending != guest) {
            put(c, ESCAPE);
            put(c, (uint8_t)guest);
            c->sending = guest;
        }
        if (c->framed && byte == ESCAPE)
            put(c, ESCAPE);
        put(c, byte);
    }
    c->offset[guest] = 0;
    return true;
}

static void take_output(struct console *c, uint32_t guest)
{
    const volatile struct console_output *out = console_output(guest);
    struct console_input *in = console_input(guest);
    uint64_t produced = __atomic_load_n(&out->produced, __ATOMIC_ACQUIRE), limit = answered(guest);

    if (produced - c->taken[guest] > CONSOLE_OUTPUT_ENTRIES)
        c->taken[guest] = produced; /* nonsense of the guest's side: nothing to show */
    while (c->taken[guest] != produced) {
        const volatile struct console_entry *e = &out->entry[c->taken[guest] % CONSOLE_OUTPUT_ENTRIES];
        if (e->seq > limit || !take_entry(c, guest, e))
            break;
        c->taken[guest]++;
    }
    __atomic_store_n(&in->output_taken, c->taken[guest], __ATOMIC_RELEASE);
}

/* --- from the line --- */

static void give(struct console *c, uint32_t guest, uint8_t byte)
{
    if (guest >= GUESTS || !connected(c->config->input_connected, guest))
        return;
    struct console_input *in = console_input(guest);
    uint64_t taken = __atomic_load_n(&console_output(guest)->input_taken, __ATOMIC_ACQUIRE);
    if (in->produced - taken >= CONSOLE_INPUT_BYTES) {
        in->lost++;
        return;
    }
    in->data[in->produced % CONSOLE_INPUT_BYTES] = byte;
    __atomic_store_n(&in->produced, in->produced + 1, __ATOMIC_RELEASE);
}

static void received(struct console *c, uint8_t byte, uint32_t *touched)
{
    if (c->framed && !c->escape && byte == ESCAPE) {
        c->escape = true;
        return;
    }
    if (c->escape && byte != ESCAPE) {
        c->escape = false;
        c->receiving = byte < GUESTS ? byte : GUESTS;
        return;
    }
    c->escape = false;
    give(c, c->receiving, byte);
    if (c->receiving < GUESTS)
        *touched |= 1u << c->receiving;
}

static void receive(struct console *c)
{
    uint32_t touched = 0;

    for (unsigned i = 0; i < QUEUE_BYTES && (port_in(UART_LSR) & LSR_RX); i++)
        received(c, port_in(UART_DATA), &touched);
    for (; touched; touched &= touched - 1) {
        uint32_t guest = (uint32_t)__builtin_ctz(touched);
        if (connected(c->config->typed_connected, guest))
            sys_signal(CAP_TYPED + guest);
    }
}

/* --- the loop --- */

static void pump(struct console *c)
{
    uint32_t before;

    do {
        before = c->count;
        for (uint32_t g = 0; g < GUESTS; g++)
            if (connected(c->config->output_connected, g))
                take_output(c, g);
        transmit(c);
    } while (c->count < before); /* room again: maybe more to take */
}

static void begin(struct console *c)
{
    uint64_t guests = c->config->output_connected;

    c->framed = (guests & (guests - 1)) != 0;
    c->sending = GUESTS;
    c->receiving = guests ? (uint32_t)__builtin_ctzll(guests) : GUESTS;
    for (uint32_t g = 0; g < GUESTS; g++)
        if (connected(c->config->output_connected, g)) {
            /* A second incarnation goes on where the first one was. */
            c->taken[g] = console_input(g)->output_taken;
            console_input(g)->magic = CONSOLE_MAGIC;
        }
    port_out(UART_IER, 0);
    port_out(UART_LCR, 0x80);
    port_out(UART_DATA, 1); /* 115200 */
    port_out(UART_IER, 0);
    port_out(UART_LCR, 3);
    port_out(UART_IIR_FCR, 7);
    port_out(UART_MCR, 0xb); /* DTR RTS OUT2: the interrupt line */
    set_ier(c, IER_RX);
    sys_invoke0(CAP_SERIAL_IRQ, IRQ_ACK);
}

int main(void)
{
    static struct console c;
    const struct component_info *info = console_info();
    struct guest_state none = { 0 };

    if (!info) {
        supervisor_ended(CAP_SUPERVISOR, END_REASON_BAD_IMAGE, 0,
                         "this program was built for another description", &none);
        return 1;
    }
    c.config = console_config(info);
    begin(&c);
    if (supervisor_ready(CAP_SUPERVISOR) != ERR_OK)
        return 1;
    for (;;) {
        uint64_t bits = sys_wait(CAP_NOTIFICATION);
        if (bits & EVENT_SERIAL_IRQ) {
            port_in(UART_IIR_FCR);
            receive(&c);
        }
        pump(&c);
        if (bits & EVENT_SERIAL_IRQ)
            sys_invoke0(CAP_SERIAL_IRQ, IRQ_ACK);
    }
}
