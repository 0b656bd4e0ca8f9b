/* SPDX-License-Identifier: BSD-2-Clause */
/* control: the management channel. Lines come by a serial port, one request each; init does what they ask.
 *
 * One line at a time: while an answer is on its way nothing is read, so a client that does not take its
 * answers stops itself and costs nothing. Invariant: the UART asks for interrupts exactly for what this waits
 * for. */
#include <stdbool.h>

#include "command.h"
#include "component/component.h"
#include "control_component.h"
#include "supervisor.h"
#include "sys/sys.h"
#include "serial/serial.h"

static struct serial port = { .ports = CAP_SERIAL_PORTS };

struct control {
    char line[LINE_MAX + 1];
    char answer[ANSWER_MAX];
    uint8_t taken[SERIAL_FIFO_BYTES];
    uint32_t next, end;  /* taken[next .. end) was received and waits */
    size_t got;          /* bytes of the line */
    bool too_long;       /* and what did not fit it is lost */
    size_t sent, length; /* of the answer */
};

static bool answering(const struct control *c)
{
    return c->sent != c->length;
}

static void transmit(struct control *c)
{
    if (!answering(c) || !serial_output_empty(&port))
        return;
    for (unsigned n = 0; n < SERIAL_FIFO_BYTES && answering(c); n++)
        serial_put(&port, (uint8_t)c->answer[c->sent++]);
}

static void end_of_line(struct control *c)
{
    if (c->got || c->too_long) {
        c->length = command_answer(c->line, c->got, c->too_long, c->answer);
        c->sent = 0;
    }
    c->got = 0;
    c->too_long = false;
}

static void take_byte(struct control *c, uint8_t byte)
{
    if (byte == '\n')
        end_of_line(c);
    else if (byte == '\r')
        return;
    else if (c->got == LINE_MAX)
        c->too_long = true;
    else
        c->line[c->got++] = (char)byte;
}

static void receive(struct control *c)
{
    while (!answering(c)) {
        if (c->next == c->end) {
            c->next = 0;
            c->end = serial_read(&port, c->taken);
            if (c->end == 0)
                return;
        }
        take_byte(c, c->taken[c->next++]);
    }
}

/* The line is edge-triggered: it is acknowledged only when the UART asks for nothing more. */
static void interrupt(struct control *c)
{
    do {
        receive(c);
        transmit(c);
        serial_want(&port, !answering(c), answering(c));
    } while (serial_pending(&port) || (!answering(c) && c->next != c->end));
    sys_invoke0(CAP_SERIAL_IRQ, IRQ_ACK);
}

int main(void)
{
    static struct control c;

    component_log_to(CAP_SUPERVISOR);
    const struct component_info *info = control_info();
    if (!info)
        return 1;
    port.base = control_config(info)->serial_base;
    serial_init(&port, true);
    if (supervisor_ready(CAP_SUPERVISOR) != ERR_OK)
        return 1;
    interrupt(&c); /* a predecessor may have left the line unacknowledged */
    for (;;) {
        if (sys_wait(CAP_NOTIFICATION) == 0)
            return 1;
        interrupt(&c);
    }
}
