/* SPDX-License-Identifier: BSD-2-Clause */
/* Raw images. See flat.h. */
#include "servers/vmm/boot/flat.h"

#define REAL_MEMORY_MIN 0x10000ull

static struct boot_result check_memory(const struct flat_request *r)
{
    uint64_t least = r->mode == FLAT_REAL16 ? REAL_MEMORY_MIN : BOOT_LOW_END + PAGE_BYTES;
    if (r->memory_bytes < least || r->memory_bytes % PAGE_BYTES)
        return (struct boot_result){ BOOT_MEMORY_SIZE, r->memory_bytes, least };
    if (r->memory_bytes > BOOT_MEMORY_MAX)
        return (struct boot_result){ BOOT_MEMORY_SIZE, r->memory_bytes, BOOT_MEMORY_MAX };
    return (struct boot_result){ BOOT_OK, 0, 0 };
}

struct boot_result flat_plan(const struct flat_request *r, struct boot_plan *plan)
{
    bool real = r->mode == FLAT_REAL16;
    *plan = (struct boot_plan){ .format = BOOT_FLAT,
                                .memory_bytes = r->memory_bytes,
                                .long_mode = r->mode == FLAT_LONG64 };
    struct boot_result e = check_memory(r);
    if (e.error != BOOT_OK)
        return e;
    uint64_t start = real ? FLAT_REAL_START : BOOT_LOW_END;
    uint64_t end = real && r->memory_bytes > BOOT_BASE_END ? BOOT_BASE_END : r->memory_bytes;
    if (!r->image_bytes || r->image_bytes > end - start)
        return (struct boot_result){ BOOT_FLAT_TOO_BIG, r->image_bytes, end - start };
    plan->kernel = plan->room = (struct boot_piece){ start, r->image_bytes };
    if (r->memory_bytes > BOOT_LOW_END)
        plan->e820_count = boot_e820(r->memory_bytes, plan->e820);
    if (real)
        boot_cpu_real(&plan->cpu, 0, FLAT_REAL_START);
    else if (plan->long_mode)
        boot_cpu_long(&plan->cpu, start);
    else
        boot_cpu_protected(&plan->cpu, start);
    plan->cpu.gpr[RSP] = real ? FLAT_REAL_START : BOOT_BASE_END;
    return e;
}

bool flat_load(const struct flat_request *r, const struct boot_plan *plan, const struct boot_memory *m)
{
    if (r->mode != FLAT_REAL16 && !boot_write_long_mode(m))
        return false;
    return m->write(m->context, (gpa_t){ plan->kernel.start }, r->image, r->image_bytes);
}
