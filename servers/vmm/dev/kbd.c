/* SPDX-License-Identifier: BSD-2-Clause */
/* The i8042 without devices: controller commands, the output port, port 92h. See kbd.h for what holds. */
#include "servers/vmm/dev/kbd.h"

#define STATUS_FULL     0x01
#define STATUS_SYSTEM   0x04
#define STATUS_COMMAND  0x08
#define STATUS_UNLOCKED 0x10
#define STATUS_TIMEOUT  0x40

#define CONFIG_IRQ       0x01
#define CONFIG_KBD_OFF   0x10
#define CONFIG_AUX_OFF   0x20
#define CONFIG_TRANSLATE 0x40

#define OUTPUT_RESET 1 /* output port bit 0: low resets the processor */
#define OUTPUT_A20   2

#define IRQ_KBD 1

enum {
    CMD_READ_RAM = 0x20, /* ..3Fh; byte 0 is the command byte */
    CMD_WRITE_RAM = 0x60,
    CMD_AUX_DISABLE = 0xa7,
    CMD_AUX_ENABLE = 0xa8,
    CMD_AUX_TEST = 0xa9,
    CMD_SELF_TEST = 0xaa,
    CMD_KBD_TEST = 0xab,
    CMD_KBD_DISABLE = 0xad,
    CMD_KBD_ENABLE = 0xae,
    CMD_READ_INPUT = 0xc0,
    CMD_READ_OUTPUT = 0xd0,
    CMD_WRITE_OUTPUT = 0xd1,
    CMD_KBD_ECHO = 0xd2,
    CMD_AUX_ECHO = 0xd3,
    CMD_AUX_SEND = 0xd4,
    CMD_PULSE = 0xf0, /* ..FFh: pulse those of output bits 0..3 whose bit is 0 */
};

static void drive(struct kbd *k, struct dev_ctx *ctx)
{
    dev_line(ctx, IRQ_KBD, k->full && (k->config & CONFIG_IRQ));
}

static void reply(struct kbd *k, struct dev_ctx *ctx, uint8_t data, bool timeout)
{
    DEV_SET(ctx, k->data, data);
    DEV_SET(ctx, k->full, 1);
    DEV_SET(ctx, k->status, timeout ? k->status | STATUS_TIMEOUT : k->status & ~STATUS_TIMEOUT);
}

static uint8_t output_port(const struct kbd *k, const struct dev_ctx *ctx)
{
    return (uint8_t)(0xcc | OUTPUT_RESET | (ctx->lines->a20 ? OUTPUT_A20 : 0) | (k->full ? 0x10 : 0));
}

static void write_output(struct kbd *k, struct dev_ctx *ctx, uint8_t v)
{
    (void)k;
    DEV_SET(ctx, ctx->lines->a20, v >> 1 & 1);
    if (!(v & OUTPUT_RESET))
        dev_request(ctx, DEV_REQUEST_RESET_KBD);
}

static void command(struct kbd *k, struct dev_ctx *ctx, uint8_t v)
{
    DEV_SET(ctx, k->command, 0);
    switch (v) {
    case CMD_READ_RAM:
        reply(k, ctx, k->config, false);
        break;
    case CMD_WRITE_RAM:
    case CMD_WRITE_OUTPUT:
    case CMD_KBD_ECHO:
    case CMD_AUX_ECHO:
    case CMD_AUX_SEND:
        DEV_SET(ctx, k->command, v);
        break;
    case CMD_AUX_DISABLE:
    case CMD_AUX_ENABLE:
        break; /* no such port: its bit in the command byte stays as it is, which is how drivers find out */
    case CMD_AUX_TEST:
        reply(k, ctx, 1, false); /* clock line stuck low */
        break;
    case CMD_SELF_TEST:
        DEV_SET(ctx, k->status, k->status | STATUS_SYSTEM);
        reply(k, ctx, 0x55, false);
        break;
    case CMD_KBD_TEST:
        reply(k, ctx, 0, false);
        break;
    case CMD_KBD_DISABLE:
        DEV_SET(ctx, k->config, k->config | CONFIG_KBD_OFF);
        break;
    case CMD_KBD_ENABLE:
        DEV_SET(ctx, k->config, k->config & ~CONFIG_KBD_OFF);
        break;
    case CMD_READ_INPUT:
        reply(k, ctx, 0x80, false); /* keyboard not locked */
        break;
    case CMD_READ_OUTPUT:
        reply(k, ctx, output_port(k, ctx), false);
        break;
    default:
        if (v >= CMD_PULSE && !(v & OUTPUT_RESET))
            dev_request(ctx, DEV_REQUEST_RESET_KBD);
    }
}

/* A byte at port 60h: the parameter of a command, or for the keyboard that is not there. */
static void data_byte(struct kbd *k, struct dev_ctx *ctx, uint8_t v)
{
    uint8_t waiting = k->command;
    DEV_SET(ctx, k->command, 0);
    switch (waiting) {
    case CMD_WRITE_RAM:
        DEV_SET(ctx, k->config, v | CONFIG_AUX_OFF);
        DEV_SET(ctx, k->status, v & STATUS_SYSTEM ? k->status | STATUS_SYSTEM : k->status & ~STATUS_SYSTEM);
        break;
    case CMD_WRITE_OUTPUT:
        write_output(k, ctx, v);
        break;
    case CMD_KBD_ECHO:
    case CMD_AUX_ECHO: /* comes back as if from the keyboard: there is no mouse buffer */
        reply(k, ctx, v, false);
        break;
    case CMD_AUX_SEND:
        reply(k, ctx, 0xfe, true);
        break;
    default:
        DEV_SET(ctx, k->config, k->config & ~CONFIG_KBD_OFF); /* sending switches the interface on */
        reply(k, ctx, 0xfe, true);
    }
}

static uint8_t read_data(struct kbd *k, struct dev_ctx *ctx)
{
    if (k->full) {
        DEV_SET(ctx, k->full, 0);
        DEV_SET(ctx, k->status, k->status & ~STATUS_TIMEOUT);
    }
    return k->data;
}

static void write_port92(struct kbd *k, struct dev_ctx *ctx, uint8_t v)
{
    bool reset = v & ~k->port92 & 1;
    DEV_SET(ctx, k->port92, v & 1);
    DEV_SET(ctx, ctx->lines->a20, v >> 1 & 1);
    if (reset)
        dev_request(ctx, DEV_REQUEST_RESET_PORT92);
}

void kbd_init(struct kbd *k)
{
    *k = (struct kbd){ .status = STATUS_SYSTEM, .config = CONFIG_AUX_OFF | CONFIG_TRANSLATE | STATUS_SYSTEM };
}

uint32_t kbd_in(struct kbd *k, struct dev_ctx *ctx, uint16_t port, unsigned width)
{
    (void)width;
    if (port == 0x92)
        return k->port92 | (ctx->lines->a20 ? 2u : 0);
    if (port == 0x64)
        return k->status | STATUS_UNLOCKED | (k->full ? STATUS_FULL : 0);
    uint8_t v = read_data(k, ctx);
    drive(k, ctx);
    return v;
}

void kbd_out(struct kbd *k, struct dev_ctx *ctx, uint16_t port, unsigned width, uint32_t value)
{
    (void)width;
    if (port == 0x92) {
        write_port92(k, ctx, (uint8_t)value);
        return;
    }
    bool is_command = port == 0x64;
    DEV_SET(ctx, k->status, is_command ? k->status | STATUS_COMMAND : k->status & ~STATUS_COMMAND);
    if (is_command)
        command(k, ctx, (uint8_t)value);
    else
        data_byte(k, ctx, (uint8_t)value);
    drive(k, ctx);
}
