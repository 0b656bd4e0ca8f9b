/* SPDX-License-Identifier: BSD-2-Clause */
/* console: the rings of all guests on one side, the serial port on the other, nothing in between but one
 * staging buffer.
 *
 * Rings are read once and checked: a client can spoil its own console only. Output is taken up to the guest's
 * last answered exit (I8). Invariant: while staged bytes wait, the transmitter's interrupt is on. */
#include "component/component.h"
#include "components_types.h"
#include "console_component.h"
#include "frame.h"
#include "supervisor.h"
#include "sys/sys.h"
#include "serial/serial.h"
#include <stdio.h>
#include <string.h>
#include <umbra/vcpu.h>

#define STAGED_MAX 4096u
#define TURNS_MAX  64u /* of one interrupt; a serial port that never rests waits for the next */

static const struct serial COM1 = { CAP_SERIAL_PORTS, 0x3f8 };

struct port {
    bool there, observed;
    uint64_t taken;    /* output entries */
    uint64_t produced; /* input bytes */
};

struct console {
    struct port port[CONSOLE_GUESTS];
    struct framer out;
    struct deframer in;
    uint8_t staged[STAGED_MAX];
    uint32_t head, tail; /* staged[head .. tail) waits */
    uint32_t turn;       /* whose output comes next */
    bool interrupting;   /* the transmitter's interrupt is on */
};

/* --- output: rings -> staged -> port --- */

static uint32_t room(const struct console *c)
{
    return STAGED_MAX - c->tail;
}

/* May an entry of this exit be shown? */
static bool answered(const struct console *c, uint32_t i, uint64_t seq)
{
    const struct umbra_vm_public *p = (const void *)GUESTS_ADDRESS((uint64_t)i);
    return seq == 0 || !c->port[i].observed || seq <= __atomic_load_n(&p->answered, __ATOMIC_ACQUIRE);
}

static bool stage_entry(struct console *c, uint32_t i)
{
    struct port *p = &c->port[i];
    const struct console_output *ring = console_output(i);
    struct console_entry e;
    uint64_t produced = __atomic_load_n(&ring->produced, __ATOMIC_ACQUIRE), waiting = produced - p->taken;

    if (ring->magic != CONSOLE_MAGIC || waiting == 0 || room(c) < FRAME_BYTES_MAX(CONSOLE_ENTRY_DATA))
        return false;
    if (waiting > CONSOLE_OUTPUT_ENTRIES) { /* the client broke its ring: begin anew */
        p->taken = produced;
        return false;
    }
    memcpy(&e, &ring->entry[p->taken % CONSOLE_OUTPUT_ENTRIES], sizeof(e));
    if (!answered(c, i, e.seq))
        return false;
    uint32_t n = e.length < CONSOLE_ENTRY_DATA ? e.length : CONSOLE_ENTRY_DATA;
    c->tail += frame_out(&c->out, (uint8_t)i, e.data, n, c->staged + c->tail);
    __atomic_store_n(&console_input(i)->output_taken, ++p->taken, __ATOMIC_RELEASE);
    if (waiting == CONSOLE_OUTPUT_ENTRIES) /* it was full: the client may wait for room */
        sys_signal(CAP_TYPED + i);
    return true;
}

/* Takes what fits from all rings in turns. */
static void stage(struct console *c)
{
    if (c->head == c->tail)
        c->head = c->tail = 0;
    for (uint32_t idle = 0; idle < CONSOLE_GUESTS;) {
        uint32_t i = c->turn++ % CONSOLE_GUESTS;
        idle = c->port[i].there && stage_entry(c, i) ? 0 : idle + 1;
    }
}

static void transmit(struct console *c)
{
    if (c->head == c->tail)
        stage(c);
    if (c->head != c->tail && serial_output_empty(&COM1)) {
        for (uint32_t n = 0; n < SERIAL_FIFO_BYTES && c->head != c->tail; n++)
            serial_put(&COM1, c->staged[c->head++]);
        if (c->head == c->tail)
            stage(c);
    }
    bool waits = c->head != c->tail;
    if (waits != c->interrupting)
        serial_want(&COM1, true, waits);
    c->interrupting = waits;
}

/* --- input: port -> ring --- */

static bool deliver(struct console *c, uint32_t i, uint8_t byte)
{
    struct port *p = &c->port[i];
    struct console_input *ring = console_input(i);
    uint64_t taken = __atomic_load_n(&console_output(i)->input_taken, __ATOMIC_ACQUIRE);

    if (!p->there)
        return false;
    if (p->produced - taken >= CONSOLE_INPUT_BYTES) {
        ring->lost++;
        return false;
    }
    ring->data[p->produced % CONSOLE_INPUT_BYTES] = byte;
    __atomic_store_n(&ring->produced, ++p->produced, __ATOMIC_RELEASE);
    return true;
}

static void receive(struct console *c)
{
    uint8_t from, byte;
    uint32_t told = 0;

    while (serial_get(&COM1, &from))
        if (frame_in(&c->in, from, &byte) && c->in.current < CONSOLE_GUESTS &&
            deliver(c, c->in.current, byte))
            told |= 1u << c->in.current;
    for (uint32_t i = 0; i < CONSOLE_GUESTS; i++)
        if (told & 1u << i)
            sys_signal(CAP_TYPED + i);
}

/* The line is edge-triggered: it is acknowledged only when the UART asks for nothing more. */
static void interrupt(struct console *c)
{
    for (unsigned i = 0; i < TURNS_MAX; i++) {
        receive(c);
        transmit(c);
        if (!serial_pending(&COM1))
            break;
    }
    sys_invoke0(CAP_SERIAL_IRQ, IRQ_ACK);
}

/* Both directions of a console are connected, or none is. */
static void start(struct console *c, const struct console_config *config)
{
    uint64_t all = config->output_connected & config->input_connected & config->typed_connected;

    for (uint32_t i = 0; i < CONSOLE_GUESTS; i++) {
        c->port[i].there = all >> i & 1;
        c->port[i].observed = config->guests_observed >> i & 1;
        if (c->port[i].there)
            console_input(i)->magic = CONSOLE_MAGIC;
    }
    c->out.framed = c->in.framed = config->prefix;
    serial_init(&COM1, false);
}

int main(void)
{
    static struct console c;
    const struct component_info *info = console_info();

    if (!info) {
        printf("console: this program was built for another system description\n");
        return 1;
    }
    start(&c, console_config(info));
    if (supervisor_ready(CAP_SUPERVISOR) != ERR_OK)
        return 1;
    for (;;) {
        uint64_t events = sys_wait(CAP_NOTIFICATION);
        if (events == 0)
            return 1;
        transmit(&c);
        if (events & EVENT_SERIAL_IRQ)
            interrupt(&c);
    }
}
