/* SPDX-License-Identifier: BSD-2-Clause */
/* init: the root task. Builds the described system, then supervises it. See init.h and README.md. */
#include "init.h"
#include "libc/libc.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEBUG_EXIT_PORT 0xf4
#define BOCHS_EXIT_PORT 0x8900

LIBC_ROOT_HEAP(INIT_HEAP);

static struct init state;

const char *error_name(uint32_t e)
{
    static const char *const names[] = UMBRA_ERROR_NAMES;
    return e < sizeof(names) / sizeof(names[0]) ? names[e] : "?";
}

_Noreturn void end_machine(unsigned status)
{
    sys_invoke3(SLOT_IOPORT, IOPORT_OUT, DEBUG_EXIT_PORT, 1, status);
    for (const char *s = "Shutdown"; *s; s++)
        sys_invoke3(SLOT_IOPORT, IOPORT_OUT, BOCHS_EXIT_PORT, 1, (uint8_t)*s);
    for (;;)
        sys_invoke0(SLOT_TCB, TCB_SUSPEND); /* a real machine stands still */
}

_Noreturn void fail(const struct init *in, err_t e, const char *format, ...)
{
    va_list list;

    printf("init: %s of %s failed: ", in->step, in->subject);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    if (e != ERR_OK)
        printf(" (%s)", error_name(e));
    printf("\n");
    end_machine(END_SYSTEM_FAILED);
}

/* The value of word `key=` of the kernel's command line, or NULL. */
static const char *option(const struct umbra_bootinfo *boot, const char *key)
{
    size_t n = strlen(key);

    for (const char *p = boot->command_line; p && *p; p = strchr(p, ' ')) {
        p += strspn(p, " ");
        if (strncmp(p, key, n) == 0)
            return p + n;
    }
    return NULL;
}

static void open_description(struct init *in)
{
    static const char *const why[] = DESC_WHY_NAMES;

    in->step = "description";
    in->subject = "system";
    if (in->boot->module_count < 2)
        fail(in, ERR_OK, "there is no boot module 1: the loader has to give the compiled description there");
    enum desc_why w = desc_open(&in->desc, module_map(in, 1), in->boot->module[1].bytes);
    if (w != DESC_OK)
        fail(in, ERR_OK, "boot module 1 (%s): %s at record %u", in->boot->module[1].name, why[w],
             in->desc.record);
    if (in->desc.header.components == 0)
        fail(in, ERR_OK, "it has no components");
}

int main(void)
{
    struct init *in = &state;
    const char *seed;

    in->boot = (const struct umbra_bootinfo *)BOOT_INFO_ADDRESS;
    seed = option(in->boot, "seed=");
    in->seed = seed ? strtoull(seed, NULL, 0) : 0;
    in->audit = option(in->boot, "audit") != NULL;
    in->graph = in->boot->debug && option(in->boot, "graph");
    memory_init(in);
    open_description(in);
    printf("init: system %s, %u components, %u records, %lu MB of memory\n",
           desc_name(&in->desc, in->desc.header.name), in->desc.header.components,
           in->desc.header.record_count, in->boot->memory_bytes >> 20);
    in->step = "answers";
    in->reply = objects_new(in, NULL, &in->slots, OBJ_REPLY, 0, 1);
    build_system(in);
    watch_begin(in);
    sys_invoke1(SLOT_KERNEL, KERNEL_STRETCHES,
                KERNEL_STRETCHES_FORGET); /* nobody waited for what was built */
    report_begin(in);
    supervise(in);
}
