/* SPDX-License-Identifier: BSD-2-Clause */
/* Setup code of a bzImage in real mode. See realmode.h. */
#include "servers/vmm/boot/realmode.h"
#include "servers/vmm/boot/bios.h"
#include "servers/vmm/boot/bytes.h"
#include "servers/vmm/boot/bzimage_header.h"

#define HEAP_END (BOOT_CMDLINE - REALMODE_SETUP - 0x200) /* the setup segment's end less a stack */
#define STACK    (BOOT_CMDLINE - REALMODE_SETUP - 16)
#define ENTRY    0x20 /* paragraphs from the setup segment: where the header's jump is */

BUILD_ASSERT(REALMODE_SETUP_MAX<HEAP_END && REALMODE_SETUP_MAX> BZIMAGE_HEADER_BYTES);

struct boot_result realmode_plan(uint64_t setup_bytes, struct boot_plan *plan)
{
    if (setup_bytes > REALMODE_SETUP_MAX)
        return (struct boot_result){ BOOT_SETUP_TOO_BIG, setup_bytes, REALMODE_SETUP_MAX };
    plan->format = BOOT_BZIMAGE_REAL;
    plan->setup = (struct boot_piece){ REALMODE_SETUP, setup_bytes };
    bios_cpu(&plan->cpu);
    return (struct boot_result){ BOOT_OK, 0, 0 };
}

bool realmode_load(const struct bzimage_request *r, const struct boot_plan *plan, const struct boot_memory *m)
{
    static const struct bios_start start = {
        .ip = 0, .cs = (REALMODE_SETUP >> 4) + ENTRY, .segment = REALMODE_SETUP >> 4, .sp = STACK
    };
    uint8_t head[BZIMAGE_HEADER_BYTES];

    for (unsigned i = 0; i < sizeof(head); i++)
        head[i] = r->image[i];
    bzimage_tell(plan, head);
    put_bytes(head, HDR_LOADFLAGS, 1, head[HDR_LOADFLAGS] | LOADFLAG_HEAP);
    put_bytes(head, HDR_HEAP_END, 2, HEAP_END);
    return bios_write(plan, &start, m) &&
           m->write(m->context, (gpa_t){ plan->setup.start }, head, sizeof(head)) &&
           m->write(m->context, (gpa_t){ plan->setup.start + sizeof(head) }, r->image + sizeof(head),
                    plan->setup.bytes - sizeof(head));
}
