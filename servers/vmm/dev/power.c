/* SPDX-License-Identifier: BSD-2-Clause */
/* Reset control, power off. See power.h for the whole list of a guest's ends. */
#include "servers/vmm/dev/power.h"

#define RESET_KEEPS 0x0e /* bits 1 (hard), 2 (reset), 3 (full) read back */
#define RESET_CPU   0x04

#define POWEROFF_VALUE 0x2000 /* PM1a_CNT: SLP_EN, SLP_TYP 0 */

const char *dev_request_name(uint32_t request)
{
    static const char *const name[DEV_REQUESTS] = { "none",
                                                    "reset by the keyboard controller",
                                                    "reset by port 92h",
                                                    "reset by port CF9h",
                                                    "reset by an INIT to itself",
                                                    "power off",
                                                    "debug exit" };
    return request < DEV_REQUESTS ? name[request] : "unknown";
}

void power_init(struct power *p)
{
    *p = (struct power){ 0 };
}

uint32_t power_in(struct power *p, struct dev_ctx *ctx, uint16_t port, unsigned width)
{
    (void)ctx, (void)width;
    return port == 0xcf9 ? p->reset : 0xffffffff;
}

static void write_reset(struct power *p, struct dev_ctx *ctx, uint8_t v)
{
    bool reset = v & ~p->reset & RESET_CPU;
    DEV_SET(ctx, p->reset, v & RESET_KEEPS);
    if (reset)
        dev_request(ctx, DEV_REQUEST_RESET_CF9);
}

static void write_shutdown(struct power *p, struct dev_ctx *ctx, char v)
{
    static const char word[8] = { 'S', 'h', 'u', 't', 'd', 'o', 'w', 'n' };
    uint8_t seen = v == word[p->shutdown] ? (uint8_t)(p->shutdown + 1) : v == word[0];
    if (seen == sizeof(word)) {
        seen = 0;
        dev_request(ctx, DEV_REQUEST_POWEROFF);
    }
    DEV_SET(ctx, p->shutdown, seen);
}

void power_out(struct power *p, struct dev_ctx *ctx, uint16_t port, unsigned width, uint32_t value)
{
    switch (port) {
    case 0xcf9:
        write_reset(p, ctx, (uint8_t)value);
        break;
    case 0xf4:
        if (ctx->lines->request == DEV_REQUEST_NONE)
            DEV_SET(ctx, p->exit_value, value);
        dev_request(ctx, DEV_REQUEST_EXIT);
        break;
    case 0x604:
        if (width == 2 && value == POWEROFF_VALUE)
            dev_request(ctx, DEV_REQUEST_POWEROFF);
        break;
    case 0x8900:
        write_shutdown(p, ctx, (char)value);
        break;
    default:
        break;
    }
}
